//! A TCP proxy that cuts connections when it is told to, or after so many bytes.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

/// A proxy on a port of its own, which it keeps whatever becomes of the server.
pub(crate) struct Proxy {
    address: SocketAddr,
    state: Arc<Mutex<State>>,
    acceptor: Option<JoinHandle<()>>,
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
    stopped: bool,
}

impl Proxy {
    /// A proxy for a server.
    pub(crate) fn to(server: SocketAddr) -> Proxy {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let state = Arc::new(Mutex::new(State { to: Some(server), ..State::default() }));
        let shared = state.clone();
        let acceptor = std::thread::spawn(move || accept(&listener, &shared));
        Proxy { address, state, acceptor: Some(acceptor) }
    }

    /// Cuts the first connection after so many bytes from the server, the next
    /// after so many, and none beyond.
    pub(crate) fn cutting_after(self, bytes: &[usize]) -> Proxy {
        self.state.lock().unwrap().cuts = bytes.iter().rev().copied().collect();
        self
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Sends what comes from now on elsewhere, or closes it.
    pub(crate) fn aim(&self, server: Option<SocketAddr>) {
        self.state.lock().unwrap().to = server;
    }

    /// Cuts every connection there is.
    pub(crate) fn cut(&self) {
        for stream in self.state.lock().unwrap().open.drain(..) {
            // It may have ended by itself.
            let _ = stream.shutdown(Shutdown::Both);
        }
    }

    /// How many connections there were.
    pub(crate) fn accepted(&self) -> usize {
        self.state.lock().unwrap().accepted
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.state.lock().unwrap().stopped = true;
        let _ = TcpStream::connect(self.address);
        let _ = self.acceptor.take().unwrap().join();
        self.cut();
        let pumps = std::mem::take(&mut self.state.lock().unwrap().pumps);
        for pump in pumps {
            let _ = pump.join();
        }
    }
}

fn accept(listener: &TcpListener, shared: &Arc<Mutex<State>>) {
    for client in listener.incoming() {
        let client = client.unwrap();
        let mut state = shared.lock().unwrap();
        if state.stopped {
            return;
        }
        state.accepted += 1;
        let Some(server) = state.to.and_then(|to| TcpStream::connect(to).ok()) else { continue };
        let most = state.cuts.pop().unwrap_or(usize::MAX);
        for (from, to, most) in [(&client, &server, usize::MAX), (&server, &client, most)] {
            let (from, to) = (from.try_clone().unwrap(), to.try_clone().unwrap());
            state.open.push(from.try_clone().unwrap());
            state.pumps.push(std::thread::spawn(move || pump(from, to, most)));
        }
    }
}

/// Carries up to `most` bytes; then both ends are cut.
fn pump(mut from: TcpStream, mut to: TcpStream, most: usize) {
    let mut left = most;
    let mut buffer = [0; 16 * 1024];
    while left > 0 {
        let room = buffer.len().min(left);
        match from.read(&mut buffer[..room]) {
            Ok(0) | Err(_) => break,
            Ok(count) if to.write_all(&buffer[..count]).is_err() => break,
            Ok(count) => left -= count,
        }
    }
    let _ = (from.shutdown(Shutdown::Both), to.shutdown(Shutdown::Both));
}
