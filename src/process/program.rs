//! The path of this very program, so that it can be started again as a keeper.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// `/proc/self/exe`, which names the running file even when it was replaced by
/// a newer one; where there is no `/proc`, the path that the kernel executed
/// (`AT_EXECFN`, `getauxval(3)`).
pub(super) fn path() -> PathBuf {
    let link = Path::new("/proc/self/exe");
    if link.exists() {
        return link.to_owned();
    }
    PathBuf::from(OsStr::from_bytes(rustix::param::linux_execfn().to_bytes()))
}
