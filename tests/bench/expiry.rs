//! How soon after its time somebody hears of a key that expires, among very many
//! that don't: by `expiry watch`, and by a subscription alone.
//!
//! A key's time is by Redis' clock, which is this host's; so is the moment when
//! its line or its event is read here.

use std::cell::Cell;
use std::collections::HashMap;
use std::io::{BufRead, BufReader};
use std::process::{Child, Stdio};
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant, SystemTime};

use redis::{Connection, RedisError, RedisResult};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::compare::{Comparison, Effort, Side};
use crate::figure::{Bar, Figure, Unit};
use crate::memory::status_kib;
use crate::programs::on_path;
use crate::support::redis::{Redis, Settings};
use crate::support::scene::Scene;

/// The others expire in so long: tomorrow.
const SOME_DAY: Duration = Duration::from_secs(24 * 3600);
/// Before the first of those that expire is due: they are all set by then.
const AHEAD: Duration = Duration::from_millis(250);
/// From one to the next.
const APART: Duration = Duration::from_millis(6);
/// The same where all of them are to fall due during a scan.
const CLOSE: Duration = Duration::from_millis(1);
/// How long before it is due a key is set that is set during the scan.
const YOUNG: Duration = Duration::from_millis(20);
/// No scan goes on: it made no step for so long.
const STILL: Duration = Duration::from_millis(300);
const LOOK: Duration = Duration::from_millis(5);
/// How long a watcher may take to lead, to look at all keys, and to end.
const PATIENCE: Duration = Duration::from_secs(60);

type Words<T> = Result<T, String>;
/// When each key is due, and when it was heard of, in Unix milliseconds.
type Times = HashMap<String, f64>;

pub(crate) fn comparisons(effort: Effort) -> Vec<Comparison> {
    let crowd = on_path("redis-server").map(|_| Rc::new(Crowd::new(effort)));
    let side = |label: &str, measure: fn(&Crowd) -> Words<Vec<f64>>| match &crowd {
        None => Side::absent(label, "redis-server is not installed"),
        Some(crowd) => {
            let crowd = Rc::clone(crowd);
            Side::new(label, move || crowd.ready().and_then(|()| measure(&crowd)))
        }
    };
    let comparison = |name: &str, figures, ours, peer| Comparison {
        name: format!("expiry among {} keys, {name}", effort.volatile_keys),
        rounds: effort.slow_rounds,
        figures,
        ours,
        peer,
    };
    let wall = |name| Figure { name, unit: Unit::WallMs, bar: None };
    let barred = |name| Figure { bar: Some(Bar::AtMost(50.0)), ..wall(name) };
    let worst = |name| Figure { unit: Unit::WorstMs, ..wall(name) };
    let missed = Figure { name: "missed", unit: Unit::Missing, bar: Some(Bar::AtMost(0.0)) };
    vec![
        comparison(
            "due to handled",
            vec![wall("p50"), barred("p99"), worst("max"), missed],
            side("towpath", watched),
            Some(side("PSUBSCRIBE", subscribed)),
        ),
        comparison(
            "due during the first scan",
            vec![wall("the scan"), barred("p99 of keys set meanwhile"), wall("p99 of keys not reached yet"), missed],
            side("towpath", scanned),
            None,
        ),
        comparison(
            "memory",
            vec![Figure { name: "RssAnon a known key", unit: Unit::Bytes, bar: None }],
            side("towpath", remembered),
            None,
        ),
    ]
}

/// A Redis with many keys that expire some day.
struct Crowd {
    server: Redis,
    effort: Effort,
    is_there: Cell<bool>,
    rounds: Cell<usize>,
}

impl Crowd {
    fn new(effort: Effort) -> Crowd {
        let server = Redis::with(Settings::new().line("notify-keyspace-events Exg"));
        Crowd { server, effort, is_there: Cell::new(false), rounds: Cell::new(0) }
    }

    /// Sets the others, once.
    fn ready(&self) -> Words<()> {
        if self.is_there.replace(true) {
            return Ok(());
        }
        let mut connection = self.connect()?;
        let names: Vec<String> = (0..self.effort.volatile_keys).map(|at| format!("other:{at:06}")).collect();
        let due = now_ms() + SOME_DAY.as_millis() as f64;
        set(&mut connection, &names.into_iter().map(|name| (name, due)).collect())
    }

    fn connect(&self) -> Words<Connection> {
        let client = redis::Client::open(self.server.url()).map_err(words)?;
        client.get_connection_with_timeout(PATIENCE).map_err(words)
    }

    /// Keys that expire one after the other, with names that no round before had.
    fn expire(&self, count: usize, ahead: Duration, apart: Duration) -> Words<Times> {
        let round = self.rounds.replace(self.rounds.get() + 1);
        let first = (now_ms() + ahead.as_millis() as f64).floor();
        let due = |at: usize| first + at as f64 * apart.as_millis() as f64;
        let times = (0..count).map(|at| (format!("due:{round}:{at}"), due(at))).collect();
        set(&mut self.connect()?, &times)?;
        Ok(times)
    }

    /// How often it was scanned.
    fn scans(connection: &mut Connection) -> RedisResult<u64> {
        let info: String = redis::cmd("INFO").arg("commandstats").query(connection)?;
        let line = info.lines().find_map(|line| line.strip_prefix("cmdstat_scan:calls=")?.split(',').next());
        Ok(line.and_then(|calls| calls.parse().ok()).unwrap_or(0))
    }

    /// From the first step to the last of the scan that begins now, in Unix milliseconds.
    fn scan(&self) -> Words<(f64, f64)> {
        let mut connection = self.connect()?;
        let before = Crowd::scans(&mut connection).map_err(words)?;
        let (mut last, mut began, mut ended, late) = (before, now_ms(), now_ms(), Instant::now() + PATIENCE);
        while last == before || now_ms() - ended < STILL.as_millis() as f64 {
            if Instant::now() > late {
                return Err("it doesn't look at the keys".to_owned());
            }
            std::thread::sleep(LOOK);
            match Crowd::scans(&mut connection).map_err(words)? {
                none if none == before => began = now_ms(),
                same if same == last => {}
                more => (last, ended) = (more, now_ms()),
            }
        }
        Ok((began, ended))
    }
}

fn set(connection: &mut Connection, due: &Times) -> Words<()> {
    let due: Vec<_> = due.iter().collect();
    for some in due.chunks(1000) {
        let mut pipe = redis::pipe();
        some.iter().for_each(|(key, due)| {
            pipe.cmd("SET").arg(key).arg("v").arg("PXAT").arg(**due as u64).ignore();
        });
        pipe.exec(connection).map_err(words)?;
    }
    Ok(())
}

/// `towpath expiry watch`, and what it writes.
struct Watcher {
    _scene: Scene,
    child: Child,
    lines: Receiver<(String, f64)>,
}

impl Watcher {
    fn start(crowd: &Crowd, flags: &[&str]) -> Watcher {
        let scene = Scene::new();
        let mut command = scene.towpath();
        command.args(["expiry", "watch", "--config", &scene.name("towpath.conf"), "--store", &crowd.server.url()]);
        let mut child = command.args(flags).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let (out, (to, lines)) = (BufReader::new(child.stdout.take().unwrap()), channel());
        std::thread::spawn(move || {
            for line in out.lines().map_while(Result::ok) {
                let at = now_ms();
                let line: Value = serde_json::from_str(&line).unwrap_or_default();
                let key = line["key"].as_str().unwrap_or_default().to_owned();
                if to.send((key, at)).is_err() {
                    return;
                }
            }
        });
        Watcher { _scene: scene, child, lines }
    }

    /// What it tells of these keys until they are all there, or the last has been given up.
    fn hear(&self, due: &Times, patience: Duration) -> Times {
        let until = last_of(due) + patience.as_millis() as f64;
        let mut seen = Times::new();
        while seen.len() < due.len() {
            let left = Duration::from_secs_f64((until - now_ms()).max(0.0) / 1000.0);
            let Ok((key, at)) = self.lines.recv_timeout(left) else { break };
            if due.contains_key(&key) {
                seen.entry(key).or_insert(at);
            }
        }
        seen
    }

    fn end(mut self) -> Words<()> {
        let pid = Pid::from_child(&self.child);
        kill_process(pid, Signal::TERM).map_err(|error| error.to_string())?;
        let status = self.child.wait().map_err(|error| error.to_string())?;
        if status.code() == Some(143) { Ok(()) } else { Err(format!("expiry watch: {status}")) }
    }
}

/// With a watcher that leads and knows all the keys.
fn watched(crowd: &Crowd) -> Words<Vec<f64>> {
    let watcher = Watcher::start(crowd, &[]);
    crowd.scan()?;
    let due = crowd.expire(crowd.effort.expiring_keys, AHEAD, APART)?;
    let seen = watcher.hear(&due, crowd.effort.expiry_patience);
    watcher.end()?;
    figures(&due, &seen, crowd.effort.expiry_patience)
}

/// What the Go original does, and nobody else.
fn subscribed(crowd: &Crowd) -> Words<Vec<f64>> {
    let mut connection = crowd.connect()?;
    let mut subscription = connection.as_pubsub();
    subscription.psubscribe("__keyevent@*__:expired").map_err(words)?;
    let due = crowd.expire(crowd.effort.expiring_keys, AHEAD, APART)?;
    let until = last_of(&due) + crowd.effort.expiry_patience.as_millis() as f64;
    let mut seen = Times::new();
    while seen.len() < due.len() && now_ms() < until {
        let left = Duration::from_secs_f64((until - now_ms()).max(1.0) / 1000.0);
        subscription.set_read_timeout(Some(left)).map_err(words)?;
        match subscription.get_message() {
            Ok(message) => {
                let key = String::from_utf8_lossy(message.get_payload_bytes()).into_owned();
                if due.contains_key(&key) {
                    seen.entry(key).or_insert_with(now_ms);
                }
            }
            Err(error) if error.is_timeout() => break,
            Err(error) => return Err(words(error)),
        }
    }
    drop(subscription);
    figures(&due, &seen, crowd.effort.expiry_patience)
}

/// Those who are due while a watcher that knows no keys yet looks at all of them.
fn scanned(crowd: &Crowd) -> Words<Vec<f64>> {
    // More than the scan takes milliseconds.
    let due = crowd.expire(crowd.effort.expiring_keys * 4, CLOSE * 50, CLOSE)?;
    let is_over = AtomicBool::new(false);
    let (watcher, scan, young) = std::thread::scope(|scope| {
        let connection = crowd.connect()?;
        let is_over = &is_over;
        let setter = scope.spawn(move || set_young(connection, is_over));
        let watcher = Watcher::start(crowd, &[]);
        let scan = crowd.scan();
        is_over.store(true, Ordering::Relaxed);
        let young = setter.join().map_err(|_| "a setter died".to_owned())??;
        Ok::<_, String>((watcher, scan?, young))
    })?;
    let all: Times = due.iter().chain(&young).map(|(key, at)| (key.clone(), *at)).collect();
    let seen = watcher.hear(&all, crowd.effort.expiry_patience);
    watcher.end()?;
    // What was set before the scan isn't known until it is reached, however young it is.
    let figures = |times: &Times, since: f64| {
        let is_in = |at: f64| at >= since && at <= scan.1;
        let in_scan = times.iter().filter(|(_, at)| is_in(**at)).map(|(key, at)| (key.clone(), *at)).collect();
        figures(&in_scan, &seen, crowd.effort.expiry_patience)
    };
    let (old, young) = (figures(&due, scan.0)?, figures(&young, scan.0 + (YOUNG + LOOK).as_millis() as f64)?);
    Ok(vec![scan.1 - scan.0, young[1], old[1], old[3] + young[3]])
}

/// Sets a key each moment that soon expires, until the scan is over.
fn set_young(mut connection: Connection, is_over: &AtomicBool) -> Words<Times> {
    let mut young = Times::new();
    while !is_over.load(Ordering::Relaxed) {
        let due = (now_ms() + YOUNG.as_millis() as f64).floor();
        let one = Times::from([(format!("young:{due}:{}", young.len()), due)]);
        set(&mut connection, &one)?;
        young.extend(one);
        std::thread::sleep(CLOSE);
    }
    Ok(young)
}

/// What a watcher holds that knows all keys, beside one that knows none.
fn remembered(crowd: &Crowd) -> Words<Vec<f64>> {
    let held = |flags: &[&str]| -> Words<f64> {
        let watcher = Watcher::start(crowd, flags);
        crowd.scan()?;
        let held = status_kib(watcher.child.id() as i32, "RssAnon:");
        watcher.end()?;
        Ok(held)
    };
    let (all, none) = (held(&[])?, held(&["--match", "none"])?);
    Ok(vec![(all - none) * 1024.0 / crowd.effort.volatile_keys as f64])
}

/// p50, p99 and the worst; one that nobody told of is as late as it was waited for. And how many those are.
fn figures(due: &Times, seen: &Times, patience: Duration) -> Words<Vec<f64>> {
    let given_up = patience.as_millis() as f64;
    let late = |(key, due): (&String, &f64)| seen.get(key).map_or(given_up, |at| at - due);
    let mut late: Vec<f64> = due.iter().map(late).collect();
    late.sort_by(f64::total_cmp);
    let (Some(first), Some(worst)) = (late.first(), late.last()) else { return Err("nothing was due".to_owned()) };
    if *first < 0.0 {
        return Err(format!("a key was told of {first} ms before it was due"));
    }
    let missed = due.keys().filter(|key| !seen.contains_key(*key)).count();
    Ok(vec![late[late.len() / 2], late[late.len() * 99 / 100], *worst, missed as f64])
}

fn last_of(due: &Times) -> f64 {
    due.values().copied().fold(now_ms(), f64::max)
}

fn now_ms() -> f64 {
    SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default().as_secs_f64() * 1000.0
}

#[allow(clippy::needless_pass_by_value)] // as `map_err` gives it
fn words(error: RedisError) -> String {
    error.to_string()
}
