//! Images: their names, the credentials that a registry wants, pulling them, and
//! which there are.
//!
//! A pull is a value to finish. The daemon answers "200" before it has asked the
//! registry for anything, so what proves an image is the end of the stream
//! without an error in it, and the image itself, looked at: [`Pull::finish`]
//! gives the [`LocalImage`] that a container is made of, and nothing else but
//! [`Docker::local_image`](super::Docker::local_image) does.

mod credentials;
mod helper;
mod list;
mod local;
mod objects;
mod obtain;
mod progress;
mod pull;
mod reference;

pub use credentials::Credentials;
pub use list::ImageSummary;
pub use local::LocalImage;
pub use obtain::{InvalidPullPolicy, PullPolicy};
pub use progress::Progress;
pub use pull::{Pull, PullOptions};
pub use reference::{ImageRef, InvalidReference};
