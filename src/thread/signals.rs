//! Signals as channel messages, and as a stop in order.
//!
//! [`Signals`] hands the signals of a process to a channel, where `select!`
//! waits for them beside work. [`stop_on_signals`] is the usual use: the first
//! signal asks for a stop in order, the second ends the process at once.
//!
//! Signals that were ignored when the process started stay ignored: `nohup`
//! and a shell's background jobs rely on it. Signals that come faster than
//! they are fetched merge, each kind with itself, as they do in the kernel
//! (`signal(7)`). When the last listener of a signal is gone, that signal
//! has its default action again, whoever else handled it before.
//!
//! A signal is a number here, as in libc; `raise(3)` and `kill(2)` take the same.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock};

use crossbeam_channel::{Receiver, bounded, select};
use signal_hook::consts::FORBIDDEN;
use signal_hook::iterator;
use signal_hook::low_level::{signal_name, unregister};
use signal_hook::{SigId, flag};

use super::{Stop, Stopper, Worker, lock, spawn};

pub use signal_hook::consts::signal::{
    SIGALRM, SIGCHLD, SIGCONT, SIGHUP, SIGINT, SIGPIPE, SIGQUIT, SIGTERM, SIGTSTP, SIGTTIN, SIGTTOU, SIGUSR1, SIGUSR2,
    SIGWINCH,
};

/// How many signals wait in the channel of a [`Signals`]; more wait, merged, before it.
const WAITING: usize = 8;

/// Hands signals of this process to a channel, by a thread named
/// `towpath-signals`.
///
/// Dropping it stops and joins the thread; what wasn't fetched is lost.
#[derive(Debug)]
pub struct Signals {
    receiver: Receiver<i32>,
    _listener: Listener,
}

/// A stop in order on the first signal, the end at once on the second. From
/// [`stop_on_signals`]; dropping it gives the signals their default action back.
#[derive(Debug)]
pub struct StopOnSignals {
    received: Arc<AtomicUsize>,
    _trap: Trap,
    _listener: Listener,
}

impl Signals {
    /// Starts to listen to `signals`, except those that were
    /// [ignored at start](ignored_at_start) (SIGCHLD is listened to even then:
    /// it is ignored to be rid of children, not to be left alone).
    ///
    /// # Errors
    /// `InvalidInput` for a number that can't be handled: no signal, a
    /// real-time one, SIGKILL, SIGSTOP, SIGSEGV, SIGILL, SIGFPE. Otherwise what the system says, when
    /// it gives no thread or no descriptor.
    pub fn listen(signals: &[i32]) -> io::Result<Signals> {
        let (sender, receiver) = bounded(WAITING);
        let listener = Listener::start(signals, move |stop, signal| {
            // A full channel holds the thread here, and signals merge behind it.
            select! {
                send(sender, signal) -> _ => {}
                recv(stop.receiver()) -> _ => {}
            }
        })?;
        Ok(Signals { receiver, _listener: listener })
    }

    /// Where the signals arrive. It stays connected as long as this lives.
    pub fn receiver(&self) -> &Receiver<i32> {
        &self.receiver
    }
}

/// The first of `signals` asks `stopper` for a stop in order; the second, of
/// the same or another kind, ends the process at once, as if it had never been
/// handled. That holds even when every thread hangs: it is done in the handler.
///
/// Programs that end on Ctrl-C and on a service manager's stop give
/// `&[SIGINT, SIGTERM]`. Those ignored at start are left out, as in
/// [`Signals::listen`].
///
/// # Errors
/// As [`Signals::listen`].
pub fn stop_on_signals(signals: &[i32], stopper: Stopper) -> io::Result<StopOnSignals> {
    let received = Arc::new(AtomicUsize::new(0));
    let trap = Trap::set(&heedable(signals)?, &received)?;
    let late = stopper.clone();
    // After the trap: who sees the stop knows that the next signal is the second.
    let listener = Listener::start(signals, move |_, _| stopper.stop())?;
    let this = StopOnSignals { received, _trap: trap, _listener: listener };
    if this.received().is_some() {
        // It came before there was a listener.
        late.stop();
    }
    Ok(this)
}

impl StopOnSignals {
    /// The signal that came, if one did: what a program that wants to end by
    /// the rules of a shell adds to 128.
    pub fn received(&self) -> Option<i32> {
        i32::try_from(self.received.load(Ordering::SeqCst)).ok().filter(|&signal| signal != 0)
    }
}

/// Ends the process, in the handler, at the second signal.
#[derive(Debug)]
struct Trap {
    ids: Vec<SigId>,
}

impl Trap {
    fn set(signals: &[i32], received: &Arc<AtomicUsize>) -> io::Result<Trap> {
        let asked = Arc::new(AtomicBool::new(false));
        let mut this = Trap { ids: Vec::new() };
        for &signal in signals {
            // A handler runs its actions in the order they were registered in.
            let number = usize::try_from(signal).unwrap_or(0);
            this.ids.push(flag::register_usize(signal, Arc::clone(received), number)?);
            this.ids.push(flag::register_conditional_default(signal, Arc::clone(&asked))?);
            this.ids.push(flag::register(signal, Arc::clone(&asked))?);
        }
        Ok(this)
    }
}

impl Drop for Trap {
    fn drop(&mut self) {
        for &id in &self.ids {
            unregister(id);
        }
    }
}

/// Whether `signal` was ignored when this process started.
///
/// Read once, at the first call here or the first listener, from the SigIgn
/// mask in `/proc/self/status` (`proc(5)`): false where there is no `/proc`, and wrong if
/// somebody changed the signal before. SIGPIPE is ignored in nearly every Rust
/// program, by its runtime.
pub fn ignored_at_start(signal: i32) -> bool {
    static IGNORED: OnceLock<u64> = OnceLock::new();
    let mask = *IGNORED.get_or_init(|| ignored_mask(&fs::read_to_string("/proc/self/status").unwrap_or_default()));
    // Bit 0 is signal 1; beyond 64 there is none.
    let bit = u32::try_from(signal).ok().and_then(|number| number.checked_sub(1));
    bit.and_then(|bit| mask.checked_shr(bit)).is_some_and(|shifted| shifted & 1 == 1)
}

fn ignored_mask(status: &str) -> u64 {
    let field = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    field.and_then(|hex| u64::from_str_radix(hex.trim(), 16).ok()).unwrap_or(0)
}

/// Those of `signals` that are not to stay ignored, if all can be handled.
fn heedable(signals: &[i32]) -> io::Result<Vec<i32>> {
    // signal-hook would panic on these.
    if let Some(wrong) = signals.iter().find(|signal| signal_name(**signal).is_none() || FORBIDDEN.contains(signal)) {
        let text = format!("signal {wrong} can't be handled by a program");
        return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
    }
    // A set: a signal named twice would be its own second.
    let kinds: BTreeSet<i32> = signals.iter().copied().collect();
    Ok(kinds.into_iter().filter(|&signal| signal == SIGCHLD || !ignored_at_start(signal)).collect())
}

/// The thread behind both, and the signals it listens to.
#[derive(Debug)]
struct Listener {
    heard: Vec<i32>,
    handle: iterator::Handle,
    worker: Option<Worker<()>>,
}

impl Listener {
    fn start(signals: &[i32], mut on_signal: impl FnMut(&Stop, i32) + Send + 'static) -> io::Result<Listener> {
        let heedable = heedable(signals)?;
        let mut incoming = iterator::Signals::new(&heedable)?;
        let mut this = Listener { heard: Vec::new(), handle: incoming.handle(), worker: None };
        for signal in heedable {
            default_handler::suspend(signal)?;
            this.heard.push(signal);
        }
        let work = move |stop: &Stop| incoming.forever().for_each(|signal| on_signal(stop, signal));
        this.worker = Some(spawn("towpath-signals", work)?);
        Ok(this)
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        for &signal in &self.heard {
            default_handler::resume(signal);
        }
        // Ends the thread's iterator; then the worker stops and joins it.
        self.handle.close();
    }
}

/// signal-hook never takes its handler away, so a signal without listeners
/// would be swallowed: a program that can't be ended. Here it has its default
/// action again.
mod default_handler {
    use super::{Arc, AtomicBool, BTreeMap, Mutex, Ordering, flag, io, lock};

    struct Entry {
        listeners: usize,
        unheard: Arc<AtomicBool>,
    }

    static ENTRIES: Mutex<BTreeMap<i32, Entry>> = Mutex::new(BTreeMap::new());

    pub(super) fn suspend(signal: i32) -> io::Result<()> {
        let mut entries = lock(&ENTRIES);
        if let Some(entry) = entries.get_mut(&signal) {
            entry.listeners += 1;
            entry.unheard.store(false, Ordering::SeqCst);
            return Ok(());
        }
        let unheard = Arc::new(AtomicBool::new(false));
        flag::register_conditional_default(signal, Arc::clone(&unheard))?;
        entries.insert(signal, Entry { listeners: 1, unheard });
        Ok(())
    }

    pub(super) fn resume(signal: i32) {
        if let Some(entry) = lock(&ENTRIES).get_mut(&signal) {
            entry.listeners -= 1;
            entry.unheard.store(entry.listeners == 0, Ordering::SeqCst);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mask_is_read_from_the_status_file() {
        assert_eq!(ignored_mask("Name:\tx\nSigBlk:\t0000000000000004\nSigIgn:\t0000000000001001\n"), 0x1001);
        assert_eq!(ignored_mask(""), 0);
        assert_eq!(ignored_mask("SigIgn:\tnonsense\n"), 0);
    }

    #[test]
    fn numbers_that_are_no_signals_are_not_ignored() {
        for signal in [i32::MIN, -1, 0, 65, i32::MAX] {
            assert!(!ignored_at_start(signal), "{signal}");
        }
    }
}
