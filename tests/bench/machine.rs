//! On what the figures were taken: without that they say nothing.

use crate::compare::Effort;

pub(crate) fn headline(effort: Effort) -> String {
    let cores = std::thread::available_parallelism().map_or_else(|_| "?".to_owned(), |cores| cores.to_string());
    let system = rustix::system::uname();
    let name = format!("{} {}", system.sysname().to_string_lossy(), system.release().to_string_lossy());
    format!(
        "towpath {}, {cores} cores, {name}, {}: median of {} rounds ({} where one takes seconds) after a warm-up (processor time: mean), sides in turns",
        env!("CARGO_PKG_VERSION"),
        std::env::consts::ARCH,
        effort.rounds,
        effort.slow_rounds
    )
}
