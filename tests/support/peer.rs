//! A server that plays a script: what it says to each request, and when it
//! stops listening. It keeps what it was asked.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

/// One turn of the script; each is for one connection. The last is repeated.
#[derive(Clone)]
pub(crate) enum Say {
    /// Takes the whole request, and says this.
    Answer(Vec<u8>),
    /// Says this once it has so many bytes of the body, and closes at once.
    Early(usize, Vec<u8>),
    /// Takes so many bytes of the body, and closes without a word.
    CutAfter(usize),
    /// Takes the whole request, says this, and doesn't close before it is let go.
    Stay(Vec<u8>),
}

impl Say {
    /// The same answer, after which the connection stays.
    pub(crate) fn and_stay(self) -> Say {
        match self {
            Say::Answer(bytes) => Say::Stay(bytes),
            other => other,
        }
    }
}

/// What was asked.
#[derive(Clone, Debug, Default)]
pub(crate) struct Asked {
    pub(crate) method: String,
    pub(crate) path: String,
    headers: Vec<(String, String)>,
    /// As far as it was taken.
    pub(crate) body: Vec<u8>,
}

impl Asked {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }
}

/// The server. Dropping it ends it.
pub(crate) struct Peer {
    address: SocketAddr,
    asked: Arc<Mutex<Vec<Asked>>>,
    /// Connections that stay.
    staying: Arc<Mutex<Vec<TcpStream>>>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

/// An answer with its length, after which the connection is closed.
pub(crate) fn answer(status: &str, headers: &str, body: &str) -> Vec<u8> {
    let length = body.len();
    format!("HTTP/1.1 {status}\r\n{headers}Content-Length: {length}\r\nConnection: close\r\n\r\n{body}").into_bytes()
}

impl Peer {
    pub(crate) fn playing(script: impl Into<Vec<Say>>) -> Peer {
        let script = script.into();
        let mut turn = 0;
        Peer::start(move |_| {
            turn += 1;
            script[(turn - 1).min(script.len() - 1)].clone()
        })
    }

    /// A server that decides by the request's head.
    pub(crate) fn start(mut say: impl FnMut(&Asked) -> Say + Send + 'static) -> Peer {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (asked, stop) = (Arc::new(Mutex::new(Vec::new())), Arc::new(AtomicBool::new(false)));
        let staying = Arc::new(Mutex::new(Vec::new()));
        let (kept, stopped, held) = (asked.clone(), stop.clone(), staying.clone());
        let thread = std::thread::spawn(move || {
            for client in listener.incoming() {
                if stopped.load(Ordering::SeqCst) {
                    return;
                }
                // A client that has gone is no reason to end.
                let _ = serve(&client.unwrap(), &mut say, &kept, &held);
            }
        });
        Peer { address, asked, staying, stop, thread: Some(thread) }
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// All that it was asked, in order.
    pub(crate) fn asked(&self) -> Vec<Asked> {
        self.asked.lock().unwrap().clone()
    }

    /// Closes the connections that stay.
    pub(crate) fn let_go(&self) {
        self.staying.lock().unwrap().clear();
    }

    /// How it was asked, in short: `PUT /a PUT /b`.
    pub(crate) fn methods(&self) -> String {
        let asked: Vec<String> = self.asked().iter().map(|asked| asked.method.clone()).collect();
        asked.join(" ")
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        let _ = TcpStream::connect(self.address);
        let _ = self.thread.take().unwrap().join();
    }
}

fn serve(
    stream: &TcpStream,
    say: &mut impl FnMut(&Asked) -> Say,
    kept: &Mutex<Vec<Asked>>,
    held: &Mutex<Vec<TcpStream>>,
) -> std::io::Result<()> {
    let mut reader = BufReader::with_capacity(1024, stream.try_clone()?);
    let mut asked = head(&mut reader)?;
    let what = say(&asked);
    let most = match &what {
        Say::Answer(_) | Say::Stay(_) => u64::MAX,
        Say::Early(bytes, _) | Say::CutAfter(bytes) => *bytes as u64,
    };
    if most > 0 && asked.header("expect").is_some() {
        (&*stream).write_all(b"HTTP/1.1 100 Continue\r\n\r\n")?;
    }
    let taken = body(&mut reader, &mut asked, most);
    kept.lock().unwrap().push(asked);
    taken?;
    match what {
        Say::Answer(bytes) | Say::Early(_, bytes) => (&*stream).write_all(&bytes)?,
        Say::Stay(bytes) => {
            (&*stream).write_all(&bytes)?;
            held.lock().unwrap().push(stream.try_clone()?);
        }
        Say::CutAfter(_) => stream.shutdown(Shutdown::Both)?,
    }
    Ok(())
}

fn head(reader: &mut impl BufRead) -> std::io::Result<Asked> {
    let mut asked = Asked::default();
    let mut line = String::new();
    reader.read_line(&mut line)?;
    let mut words = line.split_whitespace().map(str::to_owned);
    asked.method = words.next().ok_or(std::io::ErrorKind::UnexpectedEof)?;
    asked.path = words.next().ok_or(std::io::ErrorKind::UnexpectedEof)?;
    loop {
        line.clear();
        reader.read_line(&mut line)?;
        let Some((name, value)) = line.trim_end().split_once(':') else { return Ok(asked) };
        asked.headers.push((name.to_owned(), value.trim().to_owned()));
    }
}

fn body(reader: &mut impl BufRead, asked: &mut Asked, most: u64) -> std::io::Result<()> {
    if let Some(length) = asked.header("content-length").map(|length| length.parse::<u64>().unwrap()) {
        reader.take(length.min(most)).read_to_end(&mut asked.body)?;
        return if asked.body.len() as u64 == length.min(most) {
            Ok(())
        } else {
            Err(std::io::ErrorKind::UnexpectedEof.into())
        };
    }
    if asked.header("transfer-encoding").is_none() {
        return Ok(());
    }
    while (asked.body.len() as u64) < most {
        let mut line = String::new();
        reader.read_line(&mut line)?;
        let length = u64::from_str_radix(line.trim(), 16).map_err(std::io::Error::other)?;
        reader.take(length).read_to_end(&mut asked.body)?;
        reader.read_line(&mut line)?;
        if length == 0 {
            return Ok(());
        }
    }
    Ok(())
}
