//! Clients that are slow, many, or gone; and a system without descriptors.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, bounded, unbounded};
use towpath::http::{Reply, Request, Woken};

use super::http_raw::{Client, PATIENCE, Running, echo, hello, limits};

const SOON: Duration = Duration::from_millis(200);

#[test]
fn a_slow_head_is_408_however_it_drips() {
    // A reset may eat the reply of a client that is slow to read it, as on a busy machine.
    let limits = limits(|l| (l.head_time, l.linger_time) = (SOON, Duration::from_secs(5)));
    let server = Running::start(limits, hello);
    let mut client = server.connect();
    let mut dripping = client.stream.try_clone().unwrap();
    let drip = std::thread::spawn(move || {
        let start = b"GET / HTTP/1.1\r\nHost: localhost\r\n";
        // Always another byte before anything could call it idle.
        for byte in start.iter().chain(std::iter::repeat(&b'x')) {
            if dripping.write_all(&[*byte]).is_err() {
                return;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    });
    assert_eq!(client.reply().status, 408);
    client.assert_closed();
    drip.join().unwrap();
    // Nothing at all is closed without a word.
    server.connect().assert_closed();
    server.assert_answers();
}

#[test]
fn a_connection_without_a_request_is_closed() {
    let server = Running::start(limits(|l| l.idle_time = SOON), hello);
    let mut client = server.connect();
    client.send("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n");
    assert_eq!(client.reply().status, 200);
    client.assert_closed();
}

#[test]
fn a_slow_body_is_408_and_a_slow_handler_is_not_the_clients_fault() {
    let limits = limits(|l| {
        l.body_window = SOON;
        l.body_window_bytes = 1000;
    });
    let server = Running::start(limits, |request: &mut Request<'_>, reply: Reply<'_>| {
        if request.path() == "/slow-handler" {
            let mut byte = [0];
            request.body().read_exact(&mut byte)?;
            // Longer than the client may take.
            std::thread::sleep(SOON * 3);
        }
        echo(request, reply)
    });
    for framing in ["Content-Length: 1000", "Transfer-Encoding: chunked"] {
        let mut client = server.connect();
        client.send(format!("POST / HTTP/1.1\r\nHost: localhost\r\n{framing}\r\n\r\n1"));
        let mut dripping = client.stream.try_clone().unwrap();
        let drip = std::thread::spawn(move || {
            while dripping.write_all(b"0").is_ok() {
                std::thread::sleep(Duration::from_millis(20));
            }
        });
        let status = client.reply().status;
        // Dripping zeros is also too long a chunk size, on a slow machine the later of the two.
        assert!(status == 408 || (status == 400 && framing.contains("chunked")), "{status}");
        client.assert_closed();
        drip.join().unwrap();
    }
    let mut client = server.connect();
    client.send("POST /slow-handler HTTP/1.1\r\nHost: localhost\r\nContent-Length: 3\r\n\r\nabc");
    assert_eq!(client.reply().text(), "bc");
}

#[test]
fn a_reader_that_does_not_read_is_cut_and_harms_nobody() {
    let (said, ended) = unbounded();
    let server = Running::start(limits(|l| l.write_time = SOON), move |request: &mut Request<'_>, reply: Reply<'_>| {
        let line = [b'x'; 1000];
        let result = match request.path() {
            "/stream" => reply.stream().and_then(|mut stream| {
                loop {
                    stream.write_all(&line)?;
                    stream.flush()?;
                }
            }),
            "/send" => reply.send(vec![b'x'; 1 << 26]),
            _ => return reply.send("alive"),
        };
        said.send(result.as_ref().map(|_| ()).map_err(io::Error::kind)).unwrap();
        result
    });
    for path in ["/stream", "/send"] {
        let mut client = server.connect();
        client.send(format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n"));
        // Without reading anything. The kernel may notice first: TCP_USER_TIMEOUT.
        let kind = ended.recv_timeout(PATIENCE).unwrap().unwrap_err();
        assert!(matches!(kind, io::ErrorKind::TimedOut | io::ErrorKind::ConnectionReset), "{kind:?}");
        server.assert_answers();
        let (rest, _) = client.rest();
        assert!(!rest.ends_with(b"0\r\n\r\n"), "it looks complete");
    }
}

#[test]
fn a_client_that_leaves_a_quiet_stream_is_noticed() {
    assert!(towpath::http::Limits::default().gone_time < Duration::from_secs(5));
    let (said, woken) = unbounded();
    let server = Running::start(limits(|l| l.gone_time = SOON), move |_: &mut Request<'_>, reply: Reply<'_>| {
        let mut stream = reply.stream()?;
        // Messages that are filtered out don't keep it from looking.
        let (busy, messages) = bounded(1);
        let reason = loop {
            let _ = busy.try_send(());
            match stream.wait(&messages, PATIENCE) {
                Woken::Message(()) => std::thread::sleep(Duration::from_millis(1)),
                other => break other,
            }
        };
        said.send(reason).unwrap();
        drop(stream);
        Err(io::Error::other("gone"))
    });
    for half_close in [false, true] {
        let mut client = server.connect();
        client.send("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n");
        assert_eq!(client.head().status, 200);
        if half_close {
            client.half_close();
        } else {
            drop(client);
        }
        assert_eq!(woken.recv_timeout(PATIENCE).unwrap(), Woken::Gone);
    }
}

#[test]
fn six_hundred_connections_at_once_are_served_or_told_to_come_again() {
    let (release, released): (_, Receiver<()>) = bounded(0);
    let server = Running::start(limits(|_| ()), move |request: &mut Request<'_>, reply: Reply<'_>| {
        if request.path() != "/alive" {
            // Holds its place until all have come.
            let _ = released.recv();
        }
        reply.send("hello\n")
    });
    let mut clients: Vec<_> = (0..600).map(|_| server.connect()).collect();
    // A place is taken by connecting, so those who come last are turned away, whatever they say.
    for client in &mut clients {
        client.try_send("GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    }
    for client in &mut clients[512..] {
        let answer = client.reply();
        assert_eq!((answer.status, answer.header("Retry-After")), (503, Some("1")), "{}", answer.text());
        client.assert_closed();
    }
    drop(release);
    for client in &mut clients[..512] {
        assert_eq!(client.reply().status, 200);
        client.assert_closed();
    }
    // Their places are free again, as soon as their threads have ended.
    let start = Instant::now();
    loop {
        let mut client = server.connect();
        client.try_send("GET /alive HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
        match client.reply().status {
            200 => break,
            status => assert!(status == 503 && start.elapsed() < PATIENCE, "{status}"),
        }
    }
}

#[test]
fn who_gets_no_thread_is_told_to_come_again() {
    // A stack that no system has the address space for.
    let server = Running::start(limits(|l| l.stack_bytes = 1 << 60), hello);
    for _ in 0..3 {
        let mut client = server.connect();
        client.try_send("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n");
        let answer = client.reply();
        assert_eq!((answer.status, answer.header("Retry-After")), (503, Some("1")));
        client.assert_closed();
    }
    server.stop().unwrap();
}

#[test]
fn a_body_that_ends_too_early_is_the_clients_fault() {
    let server = Running::start(limits(|_| ()), echo);
    for framing in ["Content-Length: 10", "Transfer-Encoding: chunked"] {
        let mut client = server.connect();
        client.send(format!("POST / HTTP/1.1\r\nHost: localhost\r\n{framing}\r\n\r\n2\r\nab\r\n"));
        client.half_close();
        assert_eq!(client.reply().status, 400, "{framing}");
        client.assert_closed();
    }
}

#[test]
fn out_of_descriptors_it_waits_and_goes_on() {
    let mut server = Program::start("30");
    // More than it has descriptors for; the kernel accepts for it meanwhile.
    let mut clients: Vec<_> = (0..40).map(|_| Client::to(server.address)).collect();
    let mut last = Client::to(server.address);
    last.send("GET / HTTP/1.0\r\n\r\n");
    server.wait_for_error("can't accept connections just now");
    let spent = server.cpu_time();
    // Not spinning: a second of waiting costs next to nothing.
    std::thread::sleep(Duration::from_secs(1));
    assert!(server.cpu_time() - spent < Duration::from_millis(500));
    clients.clear();
    let (said, _) = last.rest();
    assert!(said.starts_with(b"HTTP/1.1 200 OK"), "{}", String::from_utf8_lossy(&said));
    assert!(server.child.try_wait().unwrap().is_none());
}

/// The example `flushed`, with a limit on its descriptors.
struct Program {
    child: Child,
    address: SocketAddr,
    errors: Receiver<String>,
}

impl Program {
    fn start(descriptors: &str) -> Program {
        let tests = std::env::current_exe().unwrap();
        let path = tests.parent().unwrap().parent().unwrap().join("examples/flushed");
        assert!(path.exists(), "build it first: cargo build --example flushed");
        let mut child = Command::new("sh")
            .args(["-c", "ulimit -n \"$1\"; exec \"$0\" 127.0.0.1:0 1ms"])
            .arg(path)
            .arg(descriptors)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let (line, errors) = unbounded();
        let stderr = BufReader::new(child.stderr.take().unwrap());
        // Ends with the program; nobody has to join it.
        std::thread::spawn(move || stderr.lines().map_while(Result::ok).try_for_each(|l| line.send(l)));
        let mut first = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut first).unwrap();
        let address = first.trim().strip_prefix("http://").expect(&first).parse().unwrap();
        Program { child, address, errors }
    }

    fn wait_for_error(&mut self, what: &str) {
        while !self.errors.recv_timeout(PATIENCE).unwrap().contains(what) {}
    }

    #[track_caller]
    fn wait_until(&self, condition: impl Fn(&Program) -> bool) {
        let start = Instant::now();
        while !condition(self) {
            assert!(start.elapsed() < PATIENCE, "descriptors and threads: {:?}", self.open());
            // Nothing tells when a thread of another process has ended.
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Its descriptors and its threads.
    fn open(&self) -> (usize, usize) {
        let count = |what: &str| std::fs::read_dir(format!("/proc/{}/{what}", self.child.id())).unwrap().count();
        (count("fd"), count("task"))
    }

    /// User and system time so far: `proc_pid_stat(5)`.
    fn cpu_time(&self) -> Duration {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.child.id())).unwrap();
        let fields: Vec<&str> = stat.rsplit_once(')').unwrap().1.split_whitespace().collect();
        let ticks: u64 = fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap();
        Duration::from_millis(ticks * 1000 / rustix::param::clock_ticks_per_second())
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn many_connections_leave_neither_threads_nor_descriptors_behind() {
    let server = Program::start("1024");
    let mut before = (0, 0);
    for round in 0..100 {
        if round == 1 {
            // The first has been served: it is all set up.
            server.wait_until(|server| server.open().1 == 1);
            before = server.open();
        }
        let mut client = Client::to(server.address);
        client.send("HEAD / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
        assert_eq!(client.head().status, 200);
        client.assert_closed();
    }
    server.wait_until(|server| server.open() == before);
}
