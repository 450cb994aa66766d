//! A server that says the same to everybody, whatever was asked.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::JoinHandle;

/// It reads a request's head, writes its answer, and closes.
pub(crate) struct Fake {
    address: SocketAddr,
    asked: Arc<AtomicUsize>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Fake {
    /// A server that answers with these bytes.
    pub(crate) fn saying(answer: impl Into<Vec<u8>>) -> Fake {
        let answer = answer.into();
        Fake::start(move |client| client.write_all(&answer))
    }

    /// A server that answers with a head, and then with these bytes until the client goes.
    pub(crate) fn saying_for_ever(head: &'static str, rest: &'static [u8]) -> Fake {
        Fake::start(move |client| {
            client.write_all(head.as_bytes())?;
            loop {
                client.write_all(rest)?;
            }
        })
    }

    fn start(answer: impl Fn(&mut TcpStream) -> std::io::Result<()> + Send + 'static) -> Fake {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (asked, stop) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicBool::new(false)));
        let (count, stopped) = (asked.clone(), stop.clone());
        let thread = std::thread::spawn(move || {
            for client in listener.incoming() {
                let mut client = client.unwrap();
                if stopped.load(Ordering::SeqCst) {
                    return;
                }
                count.fetch_add(1, Ordering::SeqCst);
                read_head(&mut client);
                // The client may go when it has heard enough.
                let _ = answer(&mut client);
            }
        });
        Fake { address, asked, stop, thread: Some(thread) }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// How often it was asked.
    pub(crate) fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }
}

impl Drop for Fake {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        let _ = TcpStream::connect(self.address);
        let _ = self.thread.take().unwrap().join();
    }
}

fn read_head(client: &mut TcpStream) {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") && client.read(&mut byte).is_ok_and(|count| count == 1) {
        head.push(byte[0]);
    }
}
