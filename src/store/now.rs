//! The clocks that a record is measured by, read together.

use std::time::SystemTime;

use crate::clock::Moment;

/// All that this host knows of the time at one point.
#[derive(Clone, Debug)]
pub(super) struct Now {
    pub(super) wall: SystemTime,
    pub(super) boot: Moment,
    /// Tells boots apart; `None` where there is no /proc.
    pub(super) boot_id: Option<String>,
}

impl Now {
    pub(super) fn read() -> Now {
        // Read anew each time, and not kept: it is rare, and a checkpointed
        // process (CRIU) may wake up in another boot.
        let boot_id = std::fs::read_to_string("/proc/sys/kernel/random/boot_id");
        Now {
            wall: SystemTime::now(),
            boot: Moment::now(),
            boot_id: boot_id.ok().map(|id| id.trim().to_owned()).filter(|id| !id.is_empty()),
        }
    }

    /// Without what tells boots apart: for a store that lapses by the servers'
    /// time, and is asked too often for a read of a file.
    #[cfg(feature = "redis")]
    pub(super) fn of_clocks() -> Now {
        Now { wall: SystemTime::now(), boot: Moment::now(), boot_id: None }
    }
}
