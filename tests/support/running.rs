//! A program under test: its output collected while it runs, its end waited for.

use std::io::{Read, Write};
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use rustix::process::Signal;

use super::process::Process;
use super::wait::{eventually, until};

/// A started program. Its scene ends it if nobody waits for its end.
pub(crate) struct Running {
    child: Child,
    stdout: Collected,
    stderr: Collected,
}

/// How it ended, and all that it wrote.
#[derive(Debug)]
pub(crate) struct Finished {
    /// The exit code; `None` if a signal ended it.
    pub(crate) code: Option<i32>,
    pub(crate) signal: Option<i32>,
    pub(crate) out: Vec<u8>,
    pub(crate) err: Vec<u8>,
}

impl Running {
    /// Starts it with a pipe for each output.
    pub(crate) fn start(command: &mut Command) -> Running {
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let stdout = Collected::from(child.stdout.take());
        let stderr = Collected::from(child.stderr.take());
        Running { child, stdout, stderr }
    }

    /// Starts it with a pipe for each output, of which nobody reads standard
    /// output but who takes the pipe that comes with it.
    pub(crate) fn start_unread(command: &mut Command) -> (Running, ChildStdout) {
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let unread = child.stdout.take().expect("a piped stream");
        let stderr = Collected::from(child.stderr.take());
        (Running { child, stdout: Collected::from(Some(std::io::empty())), stderr }, unread)
    }

    /// The program's own process.
    pub(crate) fn process(&self) -> Process {
        Process::of(i32::try_from(self.child.id()).unwrap())
    }

    /// Sends it a signal.
    pub(crate) fn send(&self, signal: Signal) {
        self.process().send(signal);
    }

    /// Its standard input, if it was started with a pipe for one. Dropping it closes it.
    pub(crate) fn stdin(&mut self) -> ChildStdin {
        self.child.stdin.take().expect("started with a pipe for stdin")
    }

    /// What it has written to standard output so far.
    pub(crate) fn out(&self) -> String {
        self.stdout.text()
    }

    /// What it has written to standard error so far.
    pub(crate) fn err(&self) -> String {
        self.stderr.text()
    }

    /// Waits until its standard output has this text.
    #[track_caller]
    pub(crate) fn wait_out(&self, text: &str) {
        until(format!("{text:?} on stdout"), || self.out().contains(text));
    }

    /// Waits until its standard error has this text.
    #[track_caller]
    pub(crate) fn wait_err(&self, text: &str) {
        until(format!("{text:?} on stderr"), || self.err().contains(text));
    }

    /// Whether it has ended.
    pub(crate) fn has_ended(&mut self) -> bool {
        self.child.try_wait().unwrap().is_some()
    }

    /// Waits for its end, and for the end of its outputs.
    #[track_caller]
    pub(crate) fn finish(mut self) -> Finished {
        let status = eventually("the end of a program", || self.child.try_wait().unwrap());
        until("the end of its output", || self.stdout.has_ended() && self.stderr.has_ended());
        Finished { code: status.code(), signal: status.signal(), out: self.stdout.take(), err: self.stderr.take() }
    }
}

impl Finished {
    /// Its standard output.
    pub(crate) fn out(&self) -> String {
        String::from_utf8_lossy(&self.out).into_owned()
    }

    /// Its standard error.
    pub(crate) fn err(&self) -> String {
        String::from_utf8_lossy(&self.err).into_owned()
    }

    /// Fails unless it exited with this code.
    #[track_caller]
    pub(crate) fn assert_code(&self, code: i32) -> &Finished {
        assert_eq!(self.code, Some(code), "signal {:?}\nstdout: {}\nstderr: {}", self.signal, self.out(), self.err());
        self
    }

    /// Fails unless it wrote nothing at all.
    #[track_caller]
    pub(crate) fn assert_silent(&self) -> &Finished {
        assert_eq!((self.out().as_str(), self.err().as_str()), ("", ""));
        self
    }

    /// Fails unless standard error is one line of ours that has all of these.
    #[track_caller]
    pub(crate) fn assert_one_line(&self, parts: &[&str]) -> &Finished {
        let err = self.err();
        assert!(err.starts_with("towpath: ") && err.ends_with('\n') && err.lines().count() == 1, "{err:?}");
        for part in parts {
            assert!(err.contains(part), "no {part:?} in {err:?}");
        }
        self
    }
}

/// The bytes of a stream, read as they come.
struct Collected {
    bytes: Arc<Mutex<Vec<u8>>>,
    reader: JoinHandle<()>,
}

impl Collected {
    fn from(stream: Option<impl Read + Send + 'static>) -> Collected {
        let mut stream = stream.expect("a piped stream");
        let bytes = Arc::new(Mutex::new(Vec::new()));
        let sink = bytes.clone();
        let reader = std::thread::spawn(move || {
            let mut buffer = vec![0; 64 * 1024];
            loop {
                match stream.read(&mut buffer) {
                    Ok(0) | Err(_) => return,
                    Ok(count) => sink.lock().unwrap().write_all(&buffer[..count]).unwrap(),
                }
            }
        });
        Collected { bytes, reader }
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&self.bytes.lock().unwrap()).into_owned()
    }

    fn has_ended(&self) -> bool {
        self.reader.is_finished()
    }

    fn take(&self) -> Vec<u8> {
        std::mem::take(&mut self.bytes.lock().unwrap())
    }
}
