//! What a lock protects: a resource that takes a write only if its fence is no
//! smaller than any before.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

/// Listens on a Unix socket: a line with the writer's name, then a line with a
/// fence for each write; it answers `taken` or `stale`.
pub(super) struct Resource {
    path: PathBuf,
    state: Arc<Mutex<State>>,
    acceptor: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct State {
    report: Report,
    highest: u64,
    last_writer: Option<String>,
    /// Whose each fence is: of a connection, or of the test.
    owners: HashMap<u64, String>,
    ended: bool,
}

/// What came.
#[derive(Clone, Default)]
pub(super) struct Report {
    pub(super) taken: usize,
    pub(super) stale: usize,
    /// Fences that came from two.
    pub(super) shared: Vec<(u64, String, String)>,
}

impl Resource {
    pub(super) fn at(path: &Path) -> Resource {
        let listener = UnixListener::bind(path).unwrap();
        let state = Arc::<Mutex<State>>::default();
        let of_acceptor = state.clone();
        let acceptor = std::thread::spawn(move || accept(&listener, &of_acceptor));
        Resource { path: path.to_owned(), state, acceptor: Some(acceptor) }
    }

    pub(super) fn path(&self) -> String {
        self.path.to_str().unwrap().to_owned()
    }

    /// Whether a write with this fence is taken.
    pub(super) fn write(&self, fence: u64, writer: &str) -> bool {
        self.state.lock().unwrap().write(fence, writer, writer)
    }

    pub(super) fn highest(&self) -> u64 {
        self.state.lock().unwrap().highest
    }

    /// How many leases have written.
    pub(super) fn turns(&self) -> usize {
        self.state.lock().unwrap().owners.len()
    }

    pub(super) fn last_writer(&self) -> Option<String> {
        self.state.lock().unwrap().last_writer.clone()
    }

    pub(super) fn report(&self) -> Report {
        self.state.lock().unwrap().report.clone()
    }
}

impl State {
    fn write(&mut self, fence: u64, writer: &str, owner: &str) -> bool {
        let known = self.owners.entry(fence).or_insert_with(|| owner.to_owned());
        if known != owner {
            self.report.shared.push((fence, known.clone(), owner.to_owned()));
        }
        let taken = fence >= self.highest;
        if taken {
            self.highest = fence;
            self.last_writer = Some(writer.to_owned());
            self.report.taken += 1;
        } else {
            self.report.stale += 1;
        }
        taken
    }
}

impl Drop for Resource {
    fn drop(&mut self) {
        if let Ok(mut state) = self.state.lock() {
            state.ended = true;
        }
        // It looks whether it is to end when somebody comes.
        let _ = UnixStream::connect(&self.path);
        if let Some(acceptor) = self.acceptor.take() {
            let _ = acceptor.join();
        }
    }
}

fn accept(listener: &UnixListener, state: &Arc<Mutex<State>>) {
    let mut serving = Vec::new();
    for (number, stream) in listener.incoming().enumerate() {
        if state.lock().unwrap().ended {
            break;
        }
        let (stream, state) = (stream.unwrap(), state.clone());
        // Each ends with its contender, which the test ends before this.
        serving.push(std::thread::spawn(move || serve(stream, number, &state)));
    }
    for thread in serving {
        thread.join().unwrap();
    }
}

fn serve(mut stream: UnixStream, number: usize, state: &Mutex<State>) {
    let mut lines = BufReader::new(stream.try_clone().unwrap()).lines().map_while(Result::ok);
    let Some(writer) = lines.next() else { return };
    let owner = format!("{writer} by connection {number}");
    for line in lines {
        let Ok(fence) = line.parse() else { return };
        let taken = state.lock().unwrap().write(fence, &writer, &owner);
        let answer: &[u8] = if taken { b"taken\n" } else { b"stale\n" };
        // It may have been killed meanwhile.
        if stream.write_all(answer).is_err() {
            return;
        }
    }
}
