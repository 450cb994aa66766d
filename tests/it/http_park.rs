//! Streams without a thread: woken by a bell, given a thread when they need
//! one, and ended as provenly as any other.

use std::io::{self, IoSlice, Read, Write};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, unbounded};
use towpath::http::{Bell, ChunkWriter, Config, Course, Gate, Reply, Request, Sent, Step};

use super::http_raw::{Client, PATIENCE, Running, limits};
use crate::support::wait::until;

/// What a stream is told to do.
enum Tell {
    Write(Vec<u8>),
    Finish,
    Panic,
    /// Asks to be asked again so soon, and writes this then.
    Later(&'static str),
}

/// Streams that are parked from their first moment on, told what to do over one channel.
#[derive(Clone, Default)]
struct Lot {
    tellers: Arc<Mutex<Vec<Sender<Tell>>>>,
    bell: Arc<Mutex<Option<Bell>>>,
    /// How many streams were given a thread again.
    resumed: Arc<AtomicUsize>,
    /// How many there are.
    alive: Arc<AtomicUsize>,
}

struct Told {
    tells: Receiver<Tell>,
    later: Option<&'static str>,
    lot: Lot,
    finish: bool,
}

impl Lot {
    fn serve(&self, config: Config) -> Running {
        let lot = self.clone();
        Running::start(config, move |request: &mut Request<'_>, reply: Reply<'_>| {
            if request.path() == "/alive" {
                return reply.send("alive");
            }
            let (teller, tells) = unbounded();
            let out = reply.stream()?;
            *lot.bell.lock().unwrap() = out.bell();
            lot.tellers.lock().unwrap().push(teller);
            lot.alive.fetch_add(1, Ordering::SeqCst);
            out.park(Box::new(Told { tells, later: None, lot: lot.clone(), finish: false }))
        })
    }

    /// Tells the stream, and rings.
    fn tell(&self, stream: usize, tell: Tell) {
        self.tellers.lock().unwrap()[stream].send(tell).unwrap();
        let bell = self.bell.lock().unwrap().clone();
        bell.unwrap().ring();
    }

    fn ask(&self, server: &Running, version: &str) -> Client<std::net::TcpStream> {
        let before = self.tellers.lock().unwrap().len();
        let mut client = server.connect();
        client.send(format!("GET / HTTP/{version}\r\nHost: localhost\r\n\r\n"));
        assert_eq!(client.head().status, 200);
        until("the stream", || self.tellers.lock().unwrap().len() > before);
        client
    }
}

impl Course for Told {
    fn advance(&mut self, out: &mut Gate<'_>) -> Step {
        if let Some(text) = self.later.take() {
            assert!(out.write_chunk(&[IoSlice::new(text.as_bytes())]));
        }
        while let Ok(tell) = self.tells.try_recv() {
            match tell {
                Tell::Write(bytes) => {
                    if !out.write_chunk(&[IoSlice::new(&bytes)]) {
                        return Step::Resume;
                    }
                }
                Tell::Finish => {
                    self.finish = true;
                    return Step::Resume;
                }
                Tell::Panic => panic!("on the way"),
                Tell::Later(text) => {
                    self.later = Some(text);
                    return Step::Wait(Duration::from_millis(20));
                }
            }
        }
        Step::Wait(Duration::MAX)
    }

    fn resume(self: Box<Self>, out: ChunkWriter<'_>) -> io::Result<Sent> {
        self.lot.resumed.fetch_add(1, Ordering::SeqCst);
        if self.finish {
            return out.finish();
        }
        if out.stop().is_set() {
            return out.fail("stopped");
        }
        out.park(self)
    }
}

impl Drop for Told {
    fn drop(&mut self) {
        self.lot.alive.fetch_sub(1, Ordering::SeqCst);
    }
}

fn text(text: &str) -> Tell {
    Tell::Write(text.as_bytes().to_vec())
}

#[test]
fn each_of_many_parked_streams_gets_its_chunks_and_its_end_and_its_connection_goes_on() {
    let lot = Lot::default();
    let server = lot.serve(Config::new());
    // One: the ringer serves it; twenty: the server's thread does.
    for count in [1, 20] {
        let first = lot.tellers.lock().unwrap().len();
        let mut clients: Vec<_> = (0..count).map(|_| lot.ask(&server, "1.1")).collect();
        for round in ["one\n", "two\n"] {
            for stream in 0..count {
                lot.tell(first + stream, text(&format!("{stream} {round}")));
            }
            for (stream, client) in clients.iter_mut().enumerate() {
                assert_eq!(client.chunk().unwrap(), format!("{stream} {round}").as_bytes());
            }
        }
        for (stream, client) in clients.iter_mut().enumerate() {
            lot.tell(first + stream, Tell::Finish);
            assert_eq!(client.chunk(), None, "the last chunk");
            client.send("GET /alive HTTP/1.1\r\nHost: localhost\r\n\r\n");
            assert_eq!(client.reply().text(), "alive");
        }
    }
    until("no stream left", || lot.alive.load(Ordering::SeqCst) == 0);
    server.stop().unwrap();
}

#[test]
fn who_has_no_room_gets_a_thread_and_all_of_it_in_order() {
    let lot = Lot::default();
    let server = lot.serve(Config::new());
    let (mut slow, mut lively) = (lot.ask(&server, "1.1"), lot.ask(&server, "1.1"));
    // Far more than socket buffers hold.
    let big: Vec<u8> = (0..32 * 1024 * 1024_u32).map(|at| (at / 7) as u8).collect();
    lot.tell(0, Tell::Write(big.clone()));
    lot.tell(0, text("behind\n"));
    lot.tell(1, text("not in the way\n"));
    assert_eq!(lively.chunk().unwrap(), b"not in the way\n");
    assert!(slow.chunk().unwrap() == big, "the big one arrives whole");
    assert_eq!(slow.chunk().unwrap(), b"behind\n");
    assert_eq!(lot.resumed.load(Ordering::SeqCst), 1, "by a thread");
    // And it is parked again: the next is no thread's.
    lot.tell(0, text("again\n"));
    assert_eq!(slow.chunk().unwrap(), b"again\n");
    assert_eq!(lot.resumed.load(Ordering::SeqCst), 1);
}

#[test]
fn a_client_that_goes_is_noticed_though_nothing_is_written() {
    let lot = Lot::default();
    let server = lot.serve(Config::new());
    let (gone, mut stays) = (lot.ask(&server, "1.1"), lot.ask(&server, "1.1"));
    until("both", || lot.alive.load(Ordering::SeqCst) == 2);
    drop(gone);
    until("one to be gone", || lot.alive.load(Ordering::SeqCst) == 1);
    lot.tell(1, text("still here\n"));
    assert_eq!(stays.chunk().unwrap(), b"still here\n");
}

#[test]
fn a_stop_gives_parked_streams_their_end() {
    let lot = Lot::default();
    let server = lot.serve(limits(|l| l.linger_time = Duration::from_millis(100)));
    let mut clients: Vec<_> = (0..12).map(|_| lot.ask(&server, "1.1")).collect();
    server.stop().unwrap();
    for client in &mut clients {
        assert_eq!(client.chunk().unwrap(), b"stopped\n");
        assert_eq!(client.rest().0, b"", "no last chunk: it was cut");
    }
    assert_eq!(lot.alive.load(Ordering::SeqCst), 0);
}

#[test]
fn a_panic_costs_its_own_stream_and_is_recorded_with_its_request() {
    let lot = Lot::default();
    let (record, records) = unbounded();
    let server = lot.serve(Config::new().on_panic(move |panic| {
        record.send((panic.message().to_owned(), panic.context().to_vec())).unwrap();
    }));
    let (mut struck, mut other) = (lot.ask(&server, "1.1"), lot.ask(&server, "1.1"));
    lot.tell(0, Tell::Panic);
    assert_eq!(struck.rest().0, b"", "cut, without a last chunk");
    let (message, context) = records.recv_timeout(PATIENCE).unwrap();
    assert_eq!(message, "on the way");
    assert!(context.contains(&("request", "GET / HTTP/1.1".to_owned())), "{context:?}");
    lot.tell(1, text("unharmed\n"));
    assert_eq!(other.chunk().unwrap(), b"unharmed\n");
}

#[test]
fn a_parked_stream_is_asked_again_at_its_time_though_nobody_rings() {
    let lot = Lot::default();
    let server = lot.serve(Config::new());
    let mut client = lot.ask(&server, "1.1");
    lot.tell(0, Tell::Later("at its time\n"));
    assert_eq!(client.chunk().unwrap(), b"at its time\n");
}

#[test]
fn http_1_0_gets_bytes_while_parked_and_a_close_only_for_a_proven_end() {
    let lot = Lot::default();
    let server = lot.serve(limits(|l| l.linger_time = Duration::from_millis(100)));
    let (mut whole, mut cut) = (lot.ask(&server, "1.0"), lot.ask(&server, "1.0"));
    for stream in 0..2 {
        lot.tell(stream, text("bytes\n"));
    }
    assert_eq!(whole.exactly(6), b"bytes\n");
    lot.tell(0, Tell::Finish);
    assert_eq!(whole.rest().0, b"");
    assert_eq!(cut.exactly(6), b"bytes\n");
    lot.tell(1, Tell::Panic);
    let reset = cut.stream.read(&mut [0; 16]).unwrap_err();
    assert_eq!(reset.kind(), io::ErrorKind::ConnectionReset);
}

#[test]
fn parked_streams_count_as_connections() {
    let lot = Lot::default();
    let server = lot.serve(limits(|l| l.connections = 2));
    let (first, _second) = (lot.ask(&server, "1.1"), lot.ask(&server, "1.1"));
    let mut third = server.connect();
    third.send("GET /alive HTTP/1.1\r\nHost: localhost\r\n\r\n");
    assert_eq!(third.reply().status, 503);
    drop(first);
    until("room", || {
        let mut client = server.connect();
        let asked = client.stream.write_all(b"GET /alive HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
        let mut answer = String::new();
        asked.is_ok() && client.stream.read_to_string(&mut answer).is_ok() && answer.starts_with("HTTP/1.1 200")
    });
}
