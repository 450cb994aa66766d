//! What containers print, and how they end.

mod attend;
mod frames;
mod logs;
mod recall;
mod running;

pub use attend::{AskedBy, Attended, Limits, attend};
pub use frames::{Chunk, Frames, Std};
pub use logs::{Ender, Logs, LogsQuery};
pub use running::{Exit, GiveUp, Running};
