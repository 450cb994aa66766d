//! The attendant: a container in the foreground, as if it were the command.

use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::time::Duration;

use crossbeam_channel::{Receiver, bounded, select};
use signal_hook::consts as sig;

use super::sweep::sweep;
use super::{Task, say};
use crate::clock::Moment;
use crate::docker::{
    AskedBy, Container, ContainerSpec, Docker, Error, ErrorKind, ImageRef, Limits, LocalImage, Owner, PullPolicy,
    attend, exit_code_of_start,
};
use crate::job::{exit_code, with_causes};
use crate::thread::signals::Signals;
use crate::thread::{Stop, spawn};

/// What is passed on to the container.
const SIGNALS: [i32; 6] = [sig::SIGTERM, sig::SIGINT, sig::SIGHUP, sig::SIGQUIT, sig::SIGUSR1, sig::SIGUSR2];

/// How long the attendant tries to remove a container whose end it doesn't know.
const SWEEP_FOR: Duration = Duration::from_secs(600);

/// Runs as an attendant; gives the exit code.
pub(super) fn main() -> i32 {
    // The name is for `ps` alone.
    let _: rustix::io::Result<()> = rustix::thread::set_name(c"towpath-attend");
    let run = std::panic::catch_unwind(|| match Task::read(io::stdin().lock()) {
        Some(task) => course(&task),
        None => {
            say("an attendant is started by towpath alone");
            i32::from(exit_code::USAGE)
        }
    });
    // By a signal, so that the keeper has what is left swept up.
    run.unwrap_or_else(|_| std::process::abort())
}

fn course(task: &Task) -> i32 {
    let internal = i32::from(exit_code::INTERNAL);
    let signals = match Signals::listen(&SIGNALS) {
        Ok(signals) => signals,
        Err(error) => {
            say(&format!("can't listen for signals: {error}"));
            return internal;
        }
    };
    let container = match prepare(task, signals.receiver()) {
        Ok(container) => container,
        Err(Unprepared::Asked(signal)) => return 128 + signal,
        Err(Unprepared::Failed(error)) => {
            say(&with_causes(&error));
            return internal;
        }
    };
    let limits = Limits { timeout: None, grace: task.grace };
    let ended = match streams() {
        Ok((out, err)) => attend(&container, limits, signals.receiver(), out, err),
        Err(error) => {
            say(&format!("can't write a container's output: {error}"));
            sweep_up(task);
            return internal;
        }
    };
    let code = match &ended {
        Ok(ended) => {
            if ended.exit.oom_killed {
                say("the container was ended for want of memory");
            }
            i32::try_from(ended.exit.code).unwrap_or(internal)
        }
        // As any command whose reader has left: it was ended by the pipe.
        Err(error) if error.kind() == ErrorKind::Local && !is_broken_pipe(error) => {
            say(&with_causes(error));
            internal
        }
        Err(error) if error.kind() == ErrorKind::Local => 128 + sig::SIGPIPE,
        Err(error) => {
            say(&with_causes(error));
            i32::from(exit_code_of_start(error))
        }
    };
    match container.remove(true) {
        Ok(()) => {}
        // It has ended, so what is left does nothing.
        Err(error) if ended.is_ok() => say(&with_causes(&error)),
        Err(_) => sweep_up(task),
    }
    if let Ok(ended) = ended
        && ended.asked_by == AskedBy::Nobody
        && code == 128 + sig::SIGKILL
    {
        log::debug!("somebody else killed the container");
    }
    code
}

/// Why there is no container to attend to.
enum Unprepared {
    /// The end was asked for first, by this signal.
    Asked(i32),
    Failed(Error),
}

/// Finds the daemon and the image, and makes the container. On a thread, as it may take
/// long, and signals have to be heard meanwhile.
fn prepare(task: &Task, signals: &Receiver<i32>) -> Result<Container, Unprepared> {
    let (image, pull) = (task.image.clone(), task.pull);
    let spec = task.spec.clone().owned_by(&Owner::this_process(&task.run));
    let (done, ready) = bounded(1);
    let worker = spawn("container", move |stop| {
        // Nobody waits for it when the end was asked for, and it is known by its label then.
        let _: Result<(), crossbeam_channel::SendError<_>> = done.send(make(&image, pull, &spec, stop));
    });
    let failed = |text: &str| Unprepared::Failed(Error::local(text));
    let worker = worker.map_err(|_| failed("can't start a thread to make a container"))?;
    let mut asked_by = None;
    let made = loop {
        select! {
            recv(ready) -> made => break made,
            recv(signals) -> signal => if let Ok(signal) = signal && ![sig::SIGUSR1, sig::SIGUSR2].contains(&signal) {
                asked_by.get_or_insert(signal);
                worker.stop();
            },
        }
    };
    match (made, asked_by) {
        (Ok(Ok(container)), Some(signal)) => {
            if let Err(error) = container.remove(true) {
                say(&with_causes(&error));
            }
            Err(Unprepared::Asked(signal))
        }
        (_, Some(signal)) => Err(Unprepared::Asked(signal)),
        (Ok(made), None) => made.map_err(Unprepared::Failed),
        (Err(_), None) => Err(failed("the thread that makes a container died")),
    }
}

fn make(image: &str, pull: PullPolicy, spec: &ContainerSpec, stop: &Stop) -> Result<Container, Error> {
    let docker = Docker::from_environment()?;
    let image = find(&docker, image, pull, stop)?;
    if stop.is_set() {
        return Err(Error::local("it was asked to end before the container was made"));
    }
    let created = docker.create(&image, spec)?;
    for warning in created.warnings {
        say(&warning);
    }
    Ok(created.container)
}

fn find(docker: &Docker, name: &str, pull: PullPolicy, stop: &Stop) -> Result<LocalImage, Error> {
    if pull != PullPolicy::Always {
        match docker.local_image(name) {
            Err(error) if error.kind() == ErrorKind::NotFound && pull == PullPolicy::Missing => {}
            other => return other,
        }
    }
    let image: ImageRef = name.parse().map_err(|error| Error::local(&with_causes(&error)))?;
    let mut pull = docker.pull(&image)?;
    for progress in pull.by_ref() {
        progress?;
        if stop.is_set() {
            return Err(Error::local("it was asked to end before the image was pulled"));
        }
    }
    pull.finish()
}

/// Our streams without a buffer: what comes is seen at once.
fn streams() -> io::Result<(File, File)> {
    let file = |stream: &dyn AsFdOf| stream.fd().try_clone_to_owned().map(File::from);
    Ok((file(&io::stdout())?, file(&io::stderr())?))
}

trait AsFdOf {
    fn fd(&self) -> std::os::fd::BorrowedFd<'_>;
}

impl<T: AsFd> AsFdOf for T {
    fn fd(&self) -> std::os::fd::BorrowedFd<'_> {
        self.as_fd()
    }
}

/// The container may run on: it is removed, however long the daemon is away.
fn sweep_up(task: &Task) {
    if let Err(error) = sweep(&task.run, Moment::now() + SWEEP_FOR) {
        say(&format!("{}; a container may be left: towpath docker stop --orphans finds it", with_causes(&error)));
    }
}

fn is_broken_pipe(error: &Error) -> bool {
    let source = std::error::Error::source(error).and_then(|source| source.downcast_ref::<io::Error>());
    source.is_some_and(|source| source.kind() == io::ErrorKind::BrokenPipe)
}
