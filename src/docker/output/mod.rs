//! What containers print, and how they end.

mod again;
mod attend;
mod frames;
mod gather;
mod logs;
mod recall;
mod running;

pub use attend::{AskedBy, Attended, Limits, attend};
pub use frames::{Chunk, Frames, Std};
pub use logs::{Ender, Logs, LogsQuery};
pub use running::{Exit, GiveUp, Running};
