//! What locks in Redis cost, and how soon the next one has them: beside bare
//! round trips to the same server, and beside redis-py's `Lock`.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::rc::Rc;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use towpath::lock::{Acquired, Lease, Locks, Request};
use towpath::store::Key;
use towpath::thread::Stop;

use crate::compare::{Comparison, Effort, Side};
use crate::figure::{Bar, Figure, Unit};
use crate::programs::on_path;
use crate::support::redis::{Cluster, Redis};
use crate::support::scene::Scene;

const KEY: &str = "bench";
const TTL: Duration = Duration::from_secs(30);
/// The holder that crashes: so long at most the next one waits.
const SHORT_TTL: &str = "2s";
/// How long a holder holds before it hands over, so that the next one surely waits by then.
const HOLD: Duration = Duration::from_millis(15);
/// Debian's Python, for which the package python3-redis is.
const PYTHON: &str = "/usr/bin/python3";

pub(crate) fn comparisons(effort: Effort) -> Vec<Comparison> {
    if on_path("redis-server").is_none() {
        let side = || Side::absent("towpath", "redis-server is not installed");
        return vec![comparison("lock+unlock", effort.rounds, vec![rate(None)], side(), None)];
    }
    let server = Rc::new(Redis::start());
    let handovers = effort.slow_rounds * 40;
    let figure = |name, most| Figure { name, unit: Unit::WallMs, bar: Some(Bar::AtMost(most)) };
    let (pairs, to_next) = (effort.lock_pairs, vec![figure("p50", 3.0), figure("p99", 20.0)]);
    vec![
        comparison(
            "lock+unlock",
            effort.rounds,
            vec![rate(Some(Bar::TimesAtLeast(0.8)))],
            our_pairs(&server, pairs),
            Some(bare_pairs(&server, pairs)),
        ),
        comparison(
            "lock+unlock in Python",
            effort.slow_rounds,
            vec![rate(None)],
            our_pairs(&server, pairs),
            Some(redis_py(&server, "pairs", pairs, move |seconds| vec![pairs as f64 / seconds[0]])),
        ),
        comparison(
            "release to next holder",
            effort.slow_rounds,
            to_next,
            our_handovers(&server, handovers),
            Some(redis_py(&server, "handovers", handovers, |seconds| {
                vec![percentile_ms(seconds, 50), percentile_ms(seconds, 99)]
            })),
        ),
        comparison(
            "holder killed",
            effort.slow_rounds,
            vec![figure("next holder after the ttl's end", 50.0)],
            our_crashes(&server),
            None,
        ),
        comparison(
            "master of a Cluster killed",
            effort.slow_rounds.min(3),
            vec![Figure { name: "until a lock can be taken", unit: Unit::WallMs, bar: None }],
            Side::new("towpath", || Ok(vec![ms(failover()?)])),
            None,
        ),
    ]
}

fn comparison(name: &str, rounds: usize, figures: Vec<Figure>, ours: Side, peer: Option<Side>) -> Comparison {
    Comparison { name: name.to_owned(), rounds, figures, ours, peer }
}

fn rate(bar: Option<Bar>) -> Figure {
    Figure { name: "pairs", unit: Unit::PairsPerSecond, bar }
}

fn locks(url: &str) -> Locks {
    Locks::open(&url.parse().unwrap()).unwrap()
}

fn request() -> Request {
    Request::new(Key::new(KEY).unwrap()).ttl(TTL)
}

/// Takes and releases, with fence, record and renewal, as every user of ours does.
fn our_pairs(server: &Rc<Redis>, count: usize) -> Side {
    let (server, locks) = (Rc::clone(server), locks(&server.url()));
    Side::new("towpath", move || {
        let _kept = &server;
        let (request, began) = (request(), Instant::now());
        for _ in 0..count {
            let Ok(Acquired::Lease(lease)) = locks.try_acquire(&request) else { return Err("not taken".to_owned()) };
            lease.release().map_err(|error| error.to_string())?;
        }
        Ok(vec![count as f64 / began.elapsed().as_secs_f64()])
    })
}

/// What the network and the server allow: a SET for each half, no client library.
fn bare_pairs(server: &Rc<Redis>, count: usize) -> Side {
    let server = Rc::clone(server);
    Side::new("two bare SETs", move || {
        let stream = TcpStream::connect(server.address()).map_err(|error| error.to_string())?;
        stream.set_nodelay(true).unwrap();
        let mut stream = BufReader::new(stream);
        let (mut answer, began) = (String::new(), Instant::now());
        for _ in 0..count * 2 {
            let set = b"*3\r\n$3\r\nSET\r\n$4\r\nbare\r\n$32\r\n0123456789abcdef0123456789abcdef\r\n";
            stream.get_mut().write_all(set).unwrap();
            answer.clear();
            stream.read_line(&mut answer).unwrap();
        }
        if answer == "+OK\r\n" { Ok(vec![count as f64 / began.elapsed().as_secs_f64()]) } else { Err(answer) }
    })
}

/// Two with a store of their own each, by turns: one holds, the other waits.
fn our_handovers(server: &Rc<Redis>, count: usize) -> Side {
    let server = Rc::clone(server);
    Side::new("towpath", move || {
        let url = server.url();
        let (mine, theirs) = (locks(&url), locks(&url));
        let mut seconds = Vec::with_capacity(count);
        let mut lease = take(&mine)?;
        for at in 0..count {
            let next = if at % 2 == 0 { &theirs } else { &mine };
            let held = lease;
            let (released, (next, at)) = std::thread::scope(|scope| {
                let waiter = scope.spawn(|| (take(next), Instant::now()));
                std::thread::sleep(HOLD);
                let released = Instant::now();
                held.release().map_err(|error| error.to_string())?;
                Ok::<_, String>((released, waiter.join().map_err(|_| "a waiter died".to_owned())?))
            })?;
            seconds.push((at - released).as_secs_f64());
            lease = next?;
        }
        lease.release().map_err(|error| error.to_string())?;
        Ok(vec![percentile_ms(&mut seconds, 50), percentile_ms(&mut seconds, 99)])
    })
}

fn take(locks: &Locks) -> Result<Lease, String> {
    match locks.acquire(&request(), TTL * 2, &Stop::never()) {
        Ok(Acquired::Lease(lease)) => Ok(lease),
        other => Err(format!("{other:?}")),
    }
}

/// A run that is killed, and one that waits: how much later than the ttl's end it has the lock.
fn our_crashes(server: &Rc<Redis>) -> Side {
    let server = Rc::clone(server);
    Side::new("towpath", move || {
        let (scene, url) = (Scene::new(), server.url());
        let flags = ["--store", &url, "--once", KEY, "--ttl", SHORT_TTL, "--wait", "1m"];
        let run = scene.start_sh(&flags, "echo on; exec sleep 1000");
        run.wait_out("on");
        std::thread::scope(|scope| {
            let waiter = scope.spawn(|| (take(&locks(&url)), Instant::now()));
            std::thread::sleep(HOLD * 10);
            run.send(Signal::KILL);
            let _ = run.finish();
            let left: i64 = server.cli(&["PTTL", KEY]).parse().unwrap();
            let free = Instant::now() + Duration::from_millis(u64::try_from(left).map_err(|_| "no key".to_owned())?);
            let (lease, at) = waiter.join().unwrap();
            lease?.release().map_err(|error| error.to_string())?;
            Ok(vec![ms(at.saturating_duration_since(free))])
        })
    })
}

/// From the end of the key's master until a lock can be taken again.
fn failover() -> Result<Duration, String> {
    let cluster = Cluster::start();
    let locks = locks(&cluster.url());
    take(&locks)?.release().map_err(|error| error.to_string())?;
    cluster.master_of(KEY).kill();
    let began = Instant::now();
    while began.elapsed() < TTL {
        // While the servers sort themselves out it is an error; each try lasts until its time is over.
        if let Ok(Acquired::Lease(lease)) = locks.try_acquire(&request()) {
            let took = began.elapsed();
            lease.release().map_err(|error| error.to_string())?;
            return Ok(took);
        }
    }
    Err("no lock after a failover".to_owned())
}

/// redis-py's `Lock` with its defaults, in a process that does a round for each line.
fn redis_py(
    server: &Rc<Redis>,
    what: &str,
    count: usize,
    figures: impl Fn(&mut Vec<f64>) -> Vec<f64> + 'static,
) -> Side {
    let has = Command::new(PYTHON).args(["-c", "import redis"]).stderr(Stdio::null()).status();
    if !has.is_ok_and(|status| status.success()) {
        return Side::absent("redis-py", "python3-redis is not installed");
    }
    let server = Rc::clone(server);
    let mut peer = Peer::start(&server.url(), what, count);
    Side::new("redis-py", move || {
        let _kept = &server;
        let line = peer.round().map_err(|error| error.to_string())?;
        let seconds = line.split_whitespace().map(str::parse).collect::<Result<Vec<f64>, _>>();
        Ok(figures(&mut seconds.map_err(|_| format!("redis-py says {line:?}"))?))
    })
}

struct Peer {
    child: Child,
    to: ChildStdin,
    from: BufReader<ChildStdout>,
}

impl Peer {
    fn start(url: &str, what: &str, count: usize) -> Peer {
        let mut command = Command::new(PYTHON);
        command.arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/peers/redis_py_bench.py"));
        command.args([url, KEY, what, &count.to_string()]).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let (to, from) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
        Peer { child, to, from: BufReader::new(from) }
    }

    fn round(&mut self) -> std::io::Result<String> {
        self.to.write_all(b"\n")?;
        let mut line = String::new();
        self.from.read_line(&mut line)?;
        Ok(line)
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn percentile_ms(seconds: &mut [f64], percent: usize) -> f64 {
    seconds.sort_by(f64::total_cmp);
    let at = (seconds.len() * percent / 100).min(seconds.len().saturating_sub(1));
    seconds.get(at).map_or(f64::NAN, |seconds| seconds * 1000.0)
}

fn ms(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1000.0
}
