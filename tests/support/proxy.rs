//! A TCP proxy that cuts connections when it is told to, or after so many
//! bytes; or is slow, or passes nothing on, as a network does that is broken.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// A proxy on a port of its own, which it keeps whatever becomes of the server.
pub(crate) struct Proxy {
    address: SocketAddr,
    shared: Arc<Shared>,
    acceptor: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    /// Where connections go; none: they are closed.
    to: Option<SocketAddr>,
    /// After how many bytes of the server's the next connections are cut.
    cuts: Vec<usize>,
    accepted: usize,
    open: Vec<TcpStream>,
    pumps: Vec<JoinHandle<()>>,
    /// Whether what arrives stays here.
    hangs: bool,
    /// How long what arrives is kept, each way.
    delay: Duration,
    /// How often all connections were cut.
    cut_times: usize,
    stopped: bool,
}

impl Proxy {
    /// A proxy for a server.
    pub(crate) fn to(server: SocketAddr) -> Proxy {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared::default());
        shared.state.lock().unwrap().to = Some(server);
        let acceptor = std::thread::spawn({
            let shared = shared.clone();
            move || accept(&listener, &shared)
        });
        Proxy { address, shared, acceptor: Some(acceptor) }
    }

    /// Cuts the first connection after so many bytes from the server, the next
    /// after so many, and none beyond.
    #[cfg(feature = "http")]
    pub(crate) fn cutting_after(self, bytes: &[usize]) -> Proxy {
        self.shared.state.lock().unwrap().cuts = bytes.iter().rev().copied().collect();
        self
    }

    /// Its URL for a server of HTTP.
    #[cfg(feature = "http")]
    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// `127.0.0.1:PORT`, as a part of a URL.
    pub(crate) fn host(&self) -> String {
        self.address.to_string()
    }

    /// Sends what comes from now on elsewhere, or closes it.
    pub(crate) fn aim(&self, server: Option<SocketAddr>) {
        self.shared.state.lock().unwrap().to = server;
    }

    /// Cuts every connection there is.
    pub(crate) fn cut(&self) {
        self.change(|state| state.cut_times += 1);
        for stream in self.shared.state.lock().unwrap().open.drain(..) {
            // It may have ended by itself.
            let _ = stream.shutdown(Shutdown::Both);
        }
    }

    /// From now on connections are taken, and nothing passes, not even their
    /// ends: what arrives waits for [`Proxy::heal`].
    pub(crate) fn hang(&self) {
        self.change(|state| state.hangs = true);
    }

    /// Keeps what arrives for so long, each way.
    pub(crate) fn delay(&self, time: Duration) {
        self.change(|state| state.delay = time);
    }

    /// Passes on what waited, and from now on everything at once.
    pub(crate) fn heal(&self) {
        self.change(|state| (state.hangs, state.delay) = (false, Duration::ZERO));
    }

    /// How many connections there were.
    pub(crate) fn accepted(&self) -> usize {
        self.shared.state.lock().unwrap().accepted
    }

    fn change<T>(&self, change: impl FnOnce(&mut State) -> T) {
        change(&mut self.shared.state.lock().unwrap());
        self.shared.changed.notify_all();
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.change(|state| state.stopped = true);
        let _ = TcpStream::connect(self.address);
        let _ = self.acceptor.take().unwrap().join();
        self.cut();
        let pumps = std::mem::take(&mut self.shared.state.lock().unwrap().pumps);
        for pump in pumps {
            let _ = pump.join();
        }
    }
}

fn accept(listener: &TcpListener, shared: &Arc<Shared>) {
    for client in listener.incoming() {
        let client = client.unwrap();
        let mut state = shared.state.lock().unwrap();
        if state.stopped {
            return;
        }
        state.accepted += 1;
        let Some(server) = state.to.and_then(|to| TcpStream::connect(to).ok()) else { continue };
        let most = state.cuts.pop().unwrap_or(usize::MAX);
        let made = state.cut_times;
        for (from, to, most) in [(&client, &server, usize::MAX), (&server, &client, most)] {
            let (from, to) = (from.try_clone().unwrap(), to.try_clone().unwrap());
            let shared = shared.clone();
            state.open.push(from.try_clone().unwrap());
            state.pumps.push(std::thread::spawn(move || pump(from, to, most, || shared.lets_pass(made))));
        }
    }
}

impl Shared {
    /// Waits until what has just arrived may be passed on; false if its
    /// connection, made after so many cuts, is cut before that.
    fn lets_pass(&self, made: usize) -> bool {
        let arrived = Instant::now();
        let mut state = self.state.lock().unwrap();
        loop {
            if state.stopped || state.cut_times > made {
                return false;
            }
            let left = state.delay.saturating_sub(arrived.elapsed());
            state = match (state.hangs, left.is_zero()) {
                (false, true) => return true,
                (false, false) => self.changed.wait_timeout(state, left).unwrap().0,
                (true, _) => self.changed.wait(state).unwrap(),
            };
        }
    }
}

/// Carries up to `most` bytes; then both ends are cut.
fn pump(mut from: TcpStream, mut to: TcpStream, most: usize, lets_pass: impl Fn() -> bool) {
    let mut left = most;
    let mut buffer = [0; 16 * 1024];
    while left > 0 {
        let room = buffer.len().min(left);
        let read = from.read(&mut buffer[..room]);
        match (lets_pass(), read) {
            (false, _) | (_, Ok(0) | Err(_)) => break,
            (_, Ok(count)) if to.write_all(&buffer[..count]).is_err() => break,
            (_, Ok(count)) => left -= count,
        }
    }
    let _ = (from.shutdown(Shutdown::Both), to.shutdown(Shutdown::Both));
}
