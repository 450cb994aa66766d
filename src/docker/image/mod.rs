//! Images.

mod local;

pub use local::LocalImage;
