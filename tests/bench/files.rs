//! Files to `towpath serve` and back: beside a bare loop of reads and writes,
//! two servers in Go, and nginx.

use std::cell::OnceCell;
use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::rc::Rc;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::compare::{Comparison, Effort, Side};
use crate::figure::{Bar, Figure, Unit};
use crate::hub::GoProgram;
use crate::memory::status_kib;
use crate::programs::{command, on_path, towpath};

/// The argument by which the bench starts itself as the bare loop.
pub(crate) const BARE_LOOP: &str = "--bare-loop";

const BUFFER_BYTES: usize = 64 * 1024;

pub(crate) fn comparisons(effort: Effort) -> Vec<Comparison> {
    let bench = Rc::new(Bench { bytes: effort.upload_bytes, made: OnceCell::new() });
    let go = Rc::new(GoProgram::new("upload.go", "bench-upload"));
    let mib = effort.upload_bytes >> 20;
    let comparison = |name: String, figures, ours, peer| Comparison {
        name,
        rounds: effort.slow_rounds,
        figures,
        ours,
        peer: Some(peer),
    };
    let upload = |bench: &Rc<Bench>| side("towpath", bench, Bench::upload, serve);
    let bars = |wall: f64, cpu: Option<f64>| {
        let figure = |name, unit, bar| Figure { name, unit, bar };
        vec![
            figure("wall", Unit::WallMs, Some(Bar::TimesAtMost(wall))),
            figure("server's CPU", Unit::CpuMs, cpu.map(Bar::TimesAtMost)),
            figure("server's RssAnon", Unit::Mebibytes, Some(Bar::AtMost(4.0))),
        ]
    };
    let in_go = |label: &str, mode: &'static str| match on_path("go") {
        None => Side::absent(label, "go is not installed"),
        Some(_) => {
            let go = Rc::clone(&go);
            side(label, &bench, Bench::upload, move |place| {
                let place = place.to_str().ok_or("a strange temporary directory")?;
                started(Command::new(go.program()?).args([mode, place]))
            })
        }
    };
    let nginx = match on_path("nginx").or_else(|| Some("/usr/sbin/nginx".into()).filter(|it: &PathBuf| it.is_file())) {
        None => Side::absent("nginx", "not installed"),
        Some(program) => side("nginx", &bench, Bench::download, move |place| nginx(&program, place)),
    };
    let bare = side("bare loop", &bench, Bench::upload, |place| {
        let itself = std::env::current_exe().map_err(|error| error.to_string())?;
        started(Command::new(itself).arg(BARE_LOOP).arg(place.join("bench.bin")))
    });
    vec![
        comparison(format!("upload of {mib} MiB"), bars(1.25, Some(1.25)), upload(&bench), bare),
        comparison(
            format!("upload of {mib} MiB, Go streaming"),
            bars(0.4, None),
            upload(&bench),
            in_go("Go", "stream"),
        ),
        comparison(format!("upload of {mib} MiB, Go form"), bars(0.285, None), upload(&bench), in_go("Go", "form")),
        comparison(
            format!("download of {mib} MiB"),
            bars(1.1, None),
            side("towpath", &bench, Bench::download, serve),
            nginx,
        ),
    ]
}

/// Where the files are: a memory disk, so that no disk is measured.
struct Bench {
    bytes: u64,
    /// The place and the source, made when they are first asked for.
    made: OnceCell<(TempDir, PathBuf)>,
}

type Pass = fn(&Bench, &Server, &Path) -> Result<(), String>;

fn side(label: &str, bench: &Rc<Bench>, pass: Pass, start: impl Fn(&Path) -> Result<Server, String> + 'static) -> Side {
    let bench = Rc::clone(bench);
    Side::new(label, move || {
        let (memory, source) = bench.made();
        let place = TempDir::new_in(memory).map_err(|error| error.to_string())?;
        fs::hard_link(source, place.path().join("fetch.bin")).map_err(|error| error.to_string())?;
        let server = start(place.path())?;
        let (cpu, began) = (cpu_of(server.child.id()), Instant::now());
        pass(&bench, &server, place.path())?;
        let wall = began.elapsed();
        Ok(vec![
            wall.as_secs_f64() * 1e3,
            (cpu_of(server.child.id()) - cpu) * 1e3,
            status_kib(server.child.id() as i32, "RssAnon:") / 1024.0,
        ])
    })
}

impl Bench {
    fn made(&self) -> (&Path, &Path) {
        let (place, source) = self.made.get_or_init(|| {
            let memory = Path::new("/dev/shm");
            let place = if memory.is_dir() { TempDir::new_in(memory) } else { TempDir::new() }.unwrap();
            let source = place.path().join("source");
            // Not zeros: a search for a delimiter shall have something to look at.
            let mut file = File::create(&source).unwrap();
            let mut random = File::open("/dev/urandom").unwrap().take(self.bytes);
            std::io::copy(&mut random, &mut file).unwrap();
            (place, source)
        });
        (place.path(), source)
    }

    fn upload(&self, server: &Server, place: &Path) -> Result<(), String> {
        let file = format!("file=@{};filename=bench.bin", self.made().1.display());
        curl(&["-F", &file, &format!("http://{}/upload", server.address)])?;
        // The bare loop keeps the form's own lines too.
        let stored = fs::metadata(place.join("bench.bin")).map_err(|error| error.to_string())?.len();
        if stored >= self.bytes { Ok(()) } else { Err(format!("{stored} of {} bytes are stored", self.bytes)) }
    }

    fn download(&self, server: &Server, _: &Path) -> Result<(), String> {
        curl(&["-o", "/dev/null", &format!("http://{}/files/fetch.bin", server.address)])
    }
}

fn curl(arguments: &[&str]) -> Result<(), String> {
    let status =
        command(&[&["curl", "-sSf"], arguments].concat()).status().map_err(|error| format!("curl: {error}"))?;
    if status.success() { Ok(()) } else { Err(format!("curl {arguments:?}: {status}")) }
}

/// A server in the course of one round. Dropped, it ends.
struct Server {
    child: Child,
    address: SocketAddr,
    /// Open until the end, for what else it says.
    _said: Option<Box<dyn BufRead>>,
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn serve(place: &Path) -> Result<Server, String> {
    started(command(&[towpath(), "serve", "--listen", "127.0.0.1:0"]).arg(place))
}

/// Starts it, and reads what it prints until that names its address.
fn started(command: &mut Command) -> Result<Server, String> {
    let (read, write) = std::io::pipe().map_err(|error| error.to_string())?;
    let copy = write.try_clone().map_err(|error| error.to_string())?;
    let child = command.stdin(Stdio::null()).stdout(write).stderr(copy).spawn().map_err(|error| error.to_string())?;
    // Ours of the pipe's ends are the command's until it is dropped or set anew.
    command.stdout(Stdio::null()).stderr(Stdio::null());
    let mut said = BufReader::new(read);
    let mut lines = said.by_ref().lines().map_while(Result::ok);
    let address = lines.find_map(|line| line.split_once("http://")?.1.split('/').next()?.parse().ok());
    let none = SocketAddr::from(([127, 0, 0, 1], 0));
    let server = Server { child, address: address.unwrap_or(none), _said: Some(Box::new(said)) };
    if address.is_some() { Ok(server) } else { Err("the server doesn't say its address".to_owned()) }
}

fn nginx(program: &Path, place: &Path) -> Result<Server, String> {
    let free = TcpListener::bind("127.0.0.1:0").and_then(|it| it.local_addr()).map_err(|error| error.to_string())?;
    let shown = place.display();
    let configuration = format!(
        "daemon off; master_process off; pid {shown}/pid; error_log {shown}/errors;
         events {{ worker_connections 64; }}
         http {{ access_log off; sendfile on; tcp_nopush on; client_body_temp_path {shown}/b; proxy_temp_path {shown}/p;
           fastcgi_temp_path {shown}/f; uwsgi_temp_path {shown}/u; scgi_temp_path {shown}/s;
           server {{ listen {free}; location /files/ {{ alias {shown}/; }} }} }}\n"
    );
    let file = place.join("nginx.conf");
    fs::write(&file, configuration).map_err(|error| error.to_string())?;
    let child = command(&[&program.to_string_lossy(), "-c"]).arg(&file).spawn().map_err(|error| error.to_string())?;
    let server = Server { child, address: free, _said: None };
    let deadline = Instant::now() + Duration::from_secs(20);
    while TcpStream::connect(free).is_err() {
        if Instant::now() > deadline {
            return Err(format!(
                "nginx doesn't come up: {}",
                fs::read_to_string(place.join("errors")).unwrap_or_default()
            ));
        }
        // It says nothing when it is there.
        std::thread::sleep(Duration::from_millis(5));
    }
    Ok(server)
}

/// Processor time of one process, its threads together, in seconds.
fn cpu_of(pid: u32) -> f64 {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let fields: Vec<&str> = stat.rsplit(") ").next().unwrap_or("").split(' ').collect();
    let ticks: f64 = fields.iter().skip(11).take(2).filter_map(|field| field.parse::<f64>().ok()).sum();
    ticks / rustix::param::clock_ticks_per_second() as f64
}

/// The floor: a body read and written, 64 KiB at a time, and nothing looked at.
pub(crate) fn bare_loop(file: &str) -> std::io::Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    println!("http://{}/", listener.local_addr()?);
    for client in listener.incoming() {
        let mut client = client?;
        let mut file = File::create(file)?;
        let mut buffer = vec![0; BUFFER_BYTES];
        let read = client.read(&mut buffer)?;
        let text = String::from_utf8_lossy(&buffer[..read]).to_lowercase();
        let head = text.find("\r\n\r\n").map_or(read, |at| at + 4);
        let length = text.split_once("content-length: ").and_then(|(_, rest)| rest.split('\r').next()?.parse().ok());
        let mut left: usize = length.unwrap_or(0);
        if text.contains("100-continue") {
            client.write_all(b"HTTP/1.1 100 Continue\r\n\r\n")?;
        }
        file.write_all(&buffer[head..read])?;
        left -= read - head;
        while left > 0 {
            let read = client.read(&mut buffer)?;
            if read == 0 {
                break;
            }
            file.write_all(&buffer[..read])?;
            left = left.saturating_sub(read);
        }
        client.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")?;
    }
    Ok(())
}
