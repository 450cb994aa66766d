//! A served folder, and clients of it: curl, and bytes on a socket.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::PathBuf;

use rustix::process::Signal;
use serde_json::Value;

use super::running::Running;
use super::scene::Scene;
use super::wait::{PATIENCE, eventually};

/// A started `towpath serve`.
pub(crate) struct Inbox {
    pub(crate) run: Running,
    /// What it told: `http://127.0.0.1:40000`.
    pub(crate) url: String,
    pub(crate) root: PathBuf,
}

/// What a client got.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: Vec<u8>,
}

impl Scene {
    /// Serves the folder `root` of the scene at a port of its own, and waits
    /// until it tells its address.
    #[track_caller]
    pub(crate) fn inbox(&self, flags: &[&str]) -> Inbox {
        std::fs::create_dir_all(self.path("root")).unwrap();
        self.inbox_in("root", flags)
    }

    /// The same in another folder.
    #[track_caller]
    pub(crate) fn inbox_in(&self, root: &str, flags: &[&str]) -> Inbox {
        let mut command = self.towpath();
        command.args(["serve", root, "--listen", "127.0.0.1:0", "--config", &self.name("towpath.conf"), "-v"]);
        let run = Running::start(command.args(flags));
        let url = eventually("the address of the served folder", || {
            let err = run.err();
            let (_, told) = err.split_once("towpath: serving ")?;
            let (line, _) = told.split_once('\n')?;
            line.split_once(" at ").map(|(_, url)| url.to_owned())
        });
        Inbox { run, url, root: self.path(root) }
    }

    /// What curl gets; the last head, if there were several.
    #[track_caller]
    pub(crate) fn curl_answer(&self, arguments: &[&str]) -> Answer {
        let end =
            Running::start(self.program("curl").args(["-sS", "-i", "--max-time", "120"]).args(arguments)).finish();
        assert_eq!(end.code, Some(0), "curl {arguments:?}: {}", end.err());
        let mut rest = &end.out[..];
        loop {
            let answer = Answer::parse(rest);
            if answer.status >= 200 {
                return answer;
            }
            rest = &rest[answer.head.len() + 4..];
        }
    }
}

impl Inbox {
    /// The URL of a path.
    pub(crate) fn at(&self, path: &str) -> String {
        format!("{}{path}", self.url)
    }

    /// A connection to it.
    pub(crate) fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.url.strip_prefix("http://").unwrap()).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        stream
    }

    /// Sends these bytes and no more, and reads the answer until the server
    /// closes. A server that closes early isn't written to further.
    pub(crate) fn say(&self, bytes: &[u8]) -> Answer {
        let mut stream = self.connect();
        let _ = stream.write_all(bytes);
        let _ = stream.shutdown(std::net::Shutdown::Write);
        read_answer(&mut stream)
    }

    /// A form of this body, with a boundary of `b`.
    pub(crate) fn post(&self, body: &[u8]) -> Answer {
        let head = format!(
            "POST /upload HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: {}\r\n\
             Content-Type: multipart/form-data; boundary=b\r\n\r\n",
            body.len()
        );
        self.say(&[head.as_bytes(), body].concat())
    }

    /// All names in the folder, the hidden ones too.
    pub(crate) fn names(&self) -> Vec<String> {
        let entries = std::fs::read_dir(&self.root).unwrap();
        let mut names: Vec<String> =
            entries.map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned()).collect();
        names.sort_unstable();
        names
    }

    pub(crate) fn read(&self, name: &str) -> Vec<u8> {
        std::fs::read(self.root.join(name)).unwrap()
    }

    /// How many descriptors the server has open.
    pub(crate) fn descriptors(&self) -> usize {
        std::fs::read_dir(format!("/proc/{}/fd", self.run.process().pid)).unwrap().count()
    }

    /// Ends it, and holds that it ends in order.
    #[track_caller]
    pub(crate) fn stop(self) -> String {
        self.run.send(Signal::TERM);
        let end = self.run.finish();
        assert_eq!(end.code, Some(143), "{}", end.err());
        end.err()
    }
}

impl Answer {
    #[track_caller]
    pub(crate) fn parse(bytes: &[u8]) -> Answer {
        let end = memchr::memmem::find(bytes, b"\r\n\r\n");
        let end = end.unwrap_or_else(|| panic!("no head in {:?}", String::from_utf8_lossy(bytes)));
        let head = String::from_utf8(bytes[..end].to_vec()).unwrap();
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or_else(|| panic!("{head}"));
        Answer { status, head, body: bytes[end + 4..].to_vec() }
    }

    /// A header of the reply.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| {
            let (key, value) = line.split_once(':')?;
            key.eq_ignore_ascii_case(name).then_some(value.trim())
        })
    }

    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.text()))
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The names of the files that it says are stored.
    #[track_caller]
    pub(crate) fn stored(&self) -> Vec<String> {
        let json = self.json();
        let files = json["files"].as_array().unwrap().iter();
        files.filter(|it| it["status"] == 201).map(|it| it["name"].as_str().unwrap().to_owned()).collect()
    }

    #[track_caller]
    pub(crate) fn assert_status(&self, status: u16) -> &Answer {
        assert_eq!(self.status, status, "{}\n{}", self.head, self.text());
        self
    }
}

/// Reads until the end, past interim responses.
pub(crate) fn read_answer(stream: &mut TcpStream) -> Answer {
    let mut bytes = Vec::new();
    // A reset behind the answer takes nothing of it away.
    let _ = stream.read_to_end(&mut bytes);
    let mut rest = &bytes[..];
    loop {
        let answer = Answer::parse(rest);
        if answer.status >= 200 {
            return answer;
        }
        rest = &rest[answer.head.len() + 4..];
    }
}

/// A file part of a form whose boundary is `b`.
pub(crate) fn part(name: &str, content: &[u8]) -> Vec<u8> {
    let head = format!("--b\r\nContent-Disposition: form-data; name=\"file\"; filename=\"{name}\"\r\n\r\n");
    [head.as_bytes(), content, b"\r\n"].concat()
}

/// Bytes that look like nothing else, the same each time.
pub(crate) fn noise(seed: u64, length: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut bytes = Vec::with_capacity(length + 8);
    while bytes.len() < length {
        // xorshift64*
        state ^= state >> 12;
        state ^= state << 25;
        state ^= state >> 27;
        bytes.extend_from_slice(&state.wrapping_mul(0x2545_f491_4f6c_dd1d).to_ne_bytes());
    }
    bytes.truncate(length);
    bytes
}
