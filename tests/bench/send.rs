//! `towpath send` beside `curl -F`: the same file to the same sink, which reads
//! and drops it.

use std::cell::LazyCell;
use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::rc::Rc;
use std::sync::mpsc::{Receiver, channel};

use tempfile::TempDir;

use crate::compare::{Comparison, Effort, Side};
use crate::figure::{Bar, Figure, Unit};
use crate::programs::{command, cost_of, on_path, towpath};

const BUFFER_BYTES: usize = 256 * 1024;

pub(crate) fn comparisons(effort: Effort) -> Vec<Comparison> {
    // Made when it is first asked for: what isn't measured costs nothing.
    let bench = Rc::new(LazyCell::new(move || Bench::new(effort.upload_bytes)));
    let mib = effort.upload_bytes >> 20;
    let figures = |bar: Option<Bar>| {
        let figure = |name, unit| Figure { name, unit, bar };
        vec![figure("wall", Unit::WallMs), figure("cpu", Unit::CpuMs)]
    };
    let ours = |flags: &'static [&'static str]| {
        let bench = Rc::clone(&bench);
        Side::new("towpath", move || {
            let (file, url) = (bench.file(), bench.url());
            bench.send(&[&[towpath(), "send"], flags, &[&file, &url]].concat())
        })
    };
    let curl = || match on_path("curl") {
        None => Side::absent("curl -F", "not installed"),
        Some(_) => {
            let bench = Rc::clone(&bench);
            Side::new("curl -F", move || {
                let (form, url) = (format!("file=@{}", bench.file()), bench.url());
                bench.send(&["curl", "-sS", "-F", &form, &url])
            })
        }
    };
    let comparison = |name: String, bar, flags| Comparison {
        name,
        rounds: effort.rounds,
        figures: figures(bar),
        ours: ours(flags),
        peer: Some(curl()),
    };
    vec![
        comparison(format!("send of {mib} MiB, no hash"), Some(Bar::TimesAtMost(1.05)), &["--no-verify"]),
        comparison(format!("send of {mib} MiB, hashed"), None, &[]),
    ]
}

/// A file, and a sink for it.
struct Bench {
    dir: TempDir,
    address: SocketAddr,
    /// How long each body was that came.
    came: Receiver<u64>,
    bytes: u64,
}

impl Bench {
    fn new(bytes: u64) -> Bench {
        let memory = Path::new("/dev/shm");
        let dir = if memory.is_dir() { TempDir::new_in(memory) } else { TempDir::new() }.unwrap();
        let mut file = File::create(dir.path().join("file")).unwrap();
        std::io::copy(&mut std::io::repeat(b'x').take(bytes), &mut file).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (sender, came) = channel();
        // It ends with the bench.
        std::thread::spawn(move || {
            for client in listener.incoming() {
                if sender.send(client.and_then(|client| sink(&client)).unwrap_or(0)).is_err() {
                    return;
                }
            }
        });
        Bench { dir, address, came, bytes }
    }

    fn file(&self) -> String {
        self.dir.path().join("file").to_str().unwrap().to_owned()
    }

    fn url(&self) -> String {
        format!("http://{}/upload", self.address)
    }

    /// Runs a sender; fails unless it succeeds and all of it came.
    fn send(&self, arguments: &[&str]) -> Result<Vec<f64>, String> {
        let cost = cost_of(|| {
            let status = command(arguments).status().map_err(|error| error.to_string())?;
            if status.success() { Ok(()) } else { Err(format!("{} failed: {status}", arguments[0])) }
        })?;
        match self.came.recv() {
            Ok(came) if came > self.bytes => Ok([cost.wall, cost.cpu].map(|seconds| seconds * 1000.0).to_vec()),
            came => Err(format!("{came:?} bytes came of more than {}", self.bytes)),
        }
    }
}

/// Takes one request in, and drops it.
fn sink(client: &TcpStream) -> std::io::Result<u64> {
    let mut reader = BufReader::with_capacity(BUFFER_BYTES, client);
    let (mut length, mut line) = (0, String::new());
    loop {
        line.clear();
        reader.read_line(&mut line)?;
        let line = line.trim().to_ascii_lowercase();
        if let Some(value) = line.strip_prefix("content-length:") {
            length = value.trim().parse().unwrap_or(0);
        }
        if line.starts_with("expect:") {
            (&*client).write_all(b"HTTP/1.1 100 Continue\r\n\r\n")?;
        }
        if line.is_empty() {
            break;
        }
    }
    let mut left: u64 = length;
    while left > 0 {
        let len = reader.fill_buf()?.len();
        if len == 0 {
            return Ok(length - left);
        }
        reader.consume(len);
        left = left.saturating_sub(len as u64);
    }
    (&*client).write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")?;
    Ok(length)
}
