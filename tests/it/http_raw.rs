//! A server under test, and a client that sends exactly the bytes it is told to.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::Duration;

use towpath::http::{Address, Config, Limits, Reply, Request, Sent, Server, Stopper};
use towpath::thread::{Worker, spawn};

/// For what must come: far beyond what a loaded machine needs.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// A server that is stopped, and whose threads are joined, when it is dropped.
pub(crate) struct Running {
    address: Address,
    stopper: Stopper,
    worker: Option<Worker<io::Result<()>>>,
}

impl Running {
    pub(crate) fn start<H>(config: Config, handler: H) -> Running
    where
        H: Fn(&mut Request<'_>, Reply<'_>) -> io::Result<Sent> + Send + Sync + 'static,
    {
        Running::start_at(&"127.0.0.1:0".parse().unwrap(), config, handler)
    }

    pub(crate) fn start_at<H>(address: &Address, config: Config, handler: H) -> Running
    where
        H: Fn(&mut Request<'_>, Reply<'_>) -> io::Result<Sent> + Send + Sync + 'static,
    {
        let server = Server::bind(address, config).unwrap();
        let (address, stopper) = (server.local_address().clone(), server.stopper());
        let worker = spawn("server", move |_| server.serve(handler)).unwrap();
        Running { address, stopper, worker: Some(worker) }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        let Address::Tcp(address) = self.address else { panic!("a Unix socket") };
        address
    }

    pub(crate) fn stopper(&self) -> &Stopper {
        &self.stopper
    }

    pub(crate) fn connect(&self) -> Client<TcpStream> {
        Client::to(self.address())
    }

    /// One request on a connection of its own; the server goes on answering.
    #[track_caller]
    pub(crate) fn assert_answers(&self) {
        let mut client = self.connect();
        client.send("GET /alive HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
        assert_eq!(client.reply().status, 200);
    }

    /// Stops it and gives what `serve` returned.
    pub(crate) fn stop(mut self) -> io::Result<()> {
        self.stopper.stop();
        let worker = self.worker.take().unwrap();
        worker.join_within(PATIENCE).expect("it doesn't stop").unwrap()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.stopper.stop();
        if let Some(worker) = self.worker.take()
            && !std::thread::panicking()
        {
            worker.join_within(PATIENCE).expect("it doesn't stop").unwrap().unwrap();
        }
    }
}

/// Limits under which what must be cut is cut soon, and what must not isn't.
pub(crate) fn limits(change: impl FnOnce(&mut Limits)) -> Config {
    let mut limits = Limits::default();
    change(&mut limits);
    Config::new().limits(limits)
}

/// Says hello, whatever is asked.
pub(crate) fn hello(_: &mut Request<'_>, reply: Reply<'_>) -> io::Result<Sent> {
    reply.send("hello\n")
}

/// Gives the body back.
pub(crate) fn echo(request: &mut Request<'_>, reply: Reply<'_>) -> io::Result<Sent> {
    let body = request.body().read_all(1 << 20)?;
    reply.send(body)
}

pub(crate) struct Client<S> {
    pub(crate) stream: S,
}

/// What came back.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let prefix = format!("{}:", name.to_ascii_lowercase());
        let line = self.head.lines().find(|line| line.to_ascii_lowercase().starts_with(&prefix));
        line.map(|line| line[prefix.len()..].trim())
    }

    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }
}

impl Client<TcpStream> {
    pub(crate) fn to(address: SocketAddr) -> Client<TcpStream> {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        stream.set_nodelay(true).unwrap();
        Client { stream }
    }

    /// Says that it will send no more.
    pub(crate) fn half_close(&self) {
        self.stream.shutdown(Shutdown::Write).unwrap();
    }
}

impl<S: Read + Write> Client<S> {
    pub(crate) fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.stream.write_all(bytes.as_ref()).unwrap();
    }

    /// As [`send`](Client::send); the server may have closed already.
    pub(crate) fn try_send(&mut self, bytes: impl AsRef<[u8]>) {
        let _ = self.stream.write_all(bytes.as_ref());
    }

    /// The head of a reply, up to its empty line.
    #[track_caller]
    pub(crate) fn head(&mut self) -> Answer {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            let read = self.stream.read(&mut byte).unwrap();
            assert_eq!(read, 1, "ended after {:?}", String::from_utf8_lossy(&head));
            head.push(byte[0]);
        }
        let head = String::from_utf8(head).unwrap();
        let status = head.strip_prefix("HTTP/1.1 ").expect(&head)[..3].parse().unwrap();
        Answer { status, head, body: Vec::new() }
    }

    /// A whole reply with a length, or of chunks that end.
    #[track_caller]
    pub(crate) fn reply(&mut self) -> Answer {
        let mut answer = self.head();
        if answer.header("Transfer-Encoding") == Some("chunked") {
            while let Some(chunk) = self.chunk() {
                answer.body.extend(chunk);
            }
        } else if let Some(length) = answer.header("Content-Length") {
            answer.body = self.exactly(length.parse().unwrap());
        }
        answer
    }

    /// The next chunk; none for the last.
    #[track_caller]
    pub(crate) fn chunk(&mut self) -> Option<Vec<u8>> {
        let mut line = Vec::new();
        while !line.ends_with(b"\r\n") {
            line.extend(self.exactly(1));
        }
        let size = usize::from_str_radix(std::str::from_utf8(&line).unwrap().trim(), 16).unwrap();
        let chunk = self.exactly(size);
        assert_eq!(self.exactly(2), b"\r\n");
        (size > 0).then_some(chunk)
    }

    #[track_caller]
    pub(crate) fn exactly(&mut self, count: usize) -> Vec<u8> {
        let mut bytes = vec![0; count];
        self.stream.read_exact(&mut bytes).unwrap();
        bytes
    }

    /// All that still comes, and whether it ended by an error. Time passing
    /// without an end fails the test.
    #[track_caller]
    pub(crate) fn rest(&mut self) -> (Vec<u8>, Option<io::Error>) {
        let mut bytes = Vec::new();
        let error = self.stream.read_to_end(&mut bytes).err();
        let late = |e: &io::Error| matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut);
        assert!(!error.as_ref().is_some_and(late), "not closed; so far: {:?}", String::from_utf8_lossy(&bytes));
        (bytes, error)
    }

    /// The connection ends here, in whatever way, with nothing more said.
    #[track_caller]
    pub(crate) fn assert_closed(&mut self) {
        let (rest, _) = self.rest();
        assert_eq!(String::from_utf8_lossy(&rest), "");
    }
}
