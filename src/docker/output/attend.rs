//! A container in the foreground: its output carried, signals passed on, a time limit
//! kept, and its end proven.

use std::io::Write;
use std::time::Duration;

use crossbeam_channel::{Receiver, after, bounded, never, select};
use signal_hook::consts as sig;

use super::super::container::Container;
use super::super::error::{Error, ErrorKind};
use super::running::Exit;
use crate::clock::Moment;
use crate::thread::spawn;

/// How long a container that was killed, and its output, may take to end.
const AFTER_KILL: Duration = Duration::from_secs(30);

/// How long the daemon may take for a signal.
const PATIENCE: Duration = Duration::from_secs(10);
/// At most so long between two looks at the clock.
const LOOK_EVERY: Duration = Duration::from_secs(5);

/// Limits on a container in the foreground.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// It is asked to end so long after its start. Default: none.
    pub timeout: Option<Duration>,
    /// It is killed so long after it was asked to end, by the time limit or by a
    /// signal. Default: 10 s, as the daemon has it.
    pub grace: Duration,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits { timeout: None, grace: Duration::from_secs(10) }
    }
}

/// How a container in the foreground ended, and who wanted that.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Attended {
    /// How it ended.
    pub exit: Exit,
    /// Who asked it to end.
    pub asked_by: AskedBy,
}

/// Who asked a container to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AskedBy {
    /// Nobody: it ended by itself.
    Nobody,
    /// The time limit.
    Timeout,
    /// A signal to us.
    Signal(i32),
}

/// Starts a container that was made, and stays until it has ended: its output goes to
/// the writers as it comes, and whatever signal comes is passed on.
///
/// TERM, INT, HUP and QUIT also ask for the end: what doesn't obey within the grace is
/// killed, and at once by the second. Who doesn't write any more (a reader who left)
/// ends it in the same way.
///
/// Blocks until the container has ended. The container isn't removed.
///
/// # Errors
/// The start failed, or the end isn't known; then the container was killed as far as
/// the daemon could be reached. [`ErrorKind::Local`]: its output couldn't be written.
pub fn attend(
    container: &Container,
    limits: Limits,
    signals: &Receiver<i32>,
    mut out: impl Write + Send + 'static,
    mut err: impl Write + Send + 'static,
) -> Result<Attended, Error> {
    let mut running = container.run()?;
    let give_up = running.give_up();
    let (leaves, left) = bounded::<()>(1);
    let carrier = spawn("container", move |_| {
        let copied = running.copy_to(&mut out, &mut err);
        // Whoever can't be written to: the end is wanted all the same. What is printed
        // until then is still taken: a daemon doesn't let go of a container before.
        if let Err(error) = &copied
            && error.kind() == ErrorKind::Local
        {
            // There is room for the one message there is.
            let _: Result<(), _> = leaves.try_send(());
            return (running.finish(), copied);
        }
        (copied.and_then(|()| running.finish()), Ok(()))
    });
    let carrier = match carrier {
        Ok(carrier) => carrier,
        Err(error) => {
            let _: Result<(), Error> = container.kill("KILL");
            return Err(Error::new(ErrorKind::Local, "can't start a thread for a container's output").because(error));
        }
    };
    let mut course = Course::of(container, limits);
    let (mut signals, mut left) = (signals.clone(), left);
    loop {
        select! {
            recv(carrier.ended()) -> _ => break,
            recv(left) -> word => {
                left = never();
                if word.is_ok() {
                    course.ask(AskedBy::Nobody, "TERM");
                }
            },
            recv(signals) -> signal => match signal {
                Ok(signal) => course.on_signal(signal),
                Err(_) => signals = never(),
            },
            recv(after(course.next_in())) -> _ => if course.keep_time() { give_up.now() },
        }
    }
    let asked_by = course.asked_by;
    let (exit, copied) = match carrier.join() {
        Ok(ends) => ends,
        Err(panic) => {
            panic.log();
            let _: Result<(), Error> = course.container.kill("KILL");
            return Err(Error::new(ErrorKind::Local, "the thread for a container's output died"));
        }
    };
    if exit.is_err() {
        // Its output is lost, so is its end: it isn't left to run unseen.
        let _: Result<(), Error> = course.container.kill("KILL");
    }
    copied?;
    Ok(Attended { exit: exit?, asked_by })
}

/// What is done to a container in the foreground, and when.
struct Course {
    container: Container,
    grace: Duration,
    asked_by: AskedBy,
    /// When it is asked to end, killed, and given up; [`Moment::NEVER`] if not at all.
    timeout_at: Moment,
    kill_at: Moment,
    give_up_at: Moment,
}

impl Course {
    fn of(container: &Container, limits: Limits) -> Course {
        let mut container = container.clone();
        container.docker = container.docker.with_patience(PATIENCE);
        let timeout_at = limits.timeout.map_or(Moment::NEVER, |timeout| Moment::now() + timeout);
        let (kill_at, give_up_at) = (Moment::NEVER, Moment::NEVER);
        Course { container, grace: limits.grace, asked_by: AskedBy::Nobody, timeout_at, kill_at, give_up_at }
    }

    /// How long until something falls due. Timers stand still during suspend, and
    /// these moments don't: so it is looked now and then.
    fn next_in(&self) -> Duration {
        self.timeout_at.min(self.kill_at).min(self.give_up_at).remaining().min(LOOK_EVERY)
    }

    /// Does what has fallen due; whether it is time to give up.
    fn keep_time(&mut self) -> bool {
        if self.timeout_at.has_passed() {
            self.timeout_at = Moment::NEVER;
            self.ask(AskedBy::Timeout, "TERM");
        }
        if self.kill_at.has_passed() {
            self.kill();
        }
        let gives_up = self.give_up_at.has_passed();
        if gives_up {
            self.give_up_at = Moment::NEVER;
        }
        gives_up
    }

    fn on_signal(&mut self, signal: i32) {
        match signal {
            sig::SIGTERM | sig::SIGINT | sig::SIGHUP | sig::SIGQUIT if self.asked_by == AskedBy::Nobody => {
                self.ask(AskedBy::Signal(signal), &signal.to_string());
            }
            sig::SIGTERM | sig::SIGINT | sig::SIGHUP | sig::SIGQUIT => self.kill(),
            // Ours alone: what they mean is between us and our terminal or parent.
            sig::SIGCHLD | sig::SIGPIPE | sig::SIGTSTP | sig::SIGTTIN | sig::SIGTTOU | sig::SIGCONT | sig::SIGWINCH => {
            }
            other => self.tell(&other.to_string()),
        }
    }

    fn ask(&mut self, by: AskedBy, signal: &str) {
        if self.asked_by == AskedBy::Nobody {
            self.asked_by = by;
            self.kill_at = self.kill_at.min(Moment::now() + self.grace);
        }
        self.tell(signal);
    }

    fn kill(&mut self) {
        self.kill_at = Moment::NEVER;
        self.give_up_at = Moment::now() + AFTER_KILL;
        self.tell("KILL");
    }

    /// It may have ended just now; and a daemon that can't be reached is tried again by the kill.
    fn tell(&self, signal: &str) {
        if let Err(error) = self.container.kill(signal)
            && error.kind() != ErrorKind::Conflict
        {
            log::warn!("{error}");
        }
    }
}
