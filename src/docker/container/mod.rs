//! Containers: made, run, watched, ended, removed.

mod commit;
mod handle;
mod list;
mod ports;
mod restart;
mod size;
mod spec;
mod state;

pub use commit::CommitSpec;
pub use handle::{Container, Created, exit_code_of_start};
pub use list::{Filters, Listed};
pub use ports::{InvalidPort, PortMapping};
pub use restart::{InvalidRestart, Restart};
pub use size::{InvalidSize, parse_cpus, parse_size};
pub use spec::ContainerSpec;
pub use state::State;
