//! A run seen live: its lines served over HTTP while it runs, its end to
//! everybody who reads, and for a while to those who come late.

use std::fmt;
use std::io;
use std::time::{Duration, SystemTime};

use crossbeam_channel::{after, select};

use super::Outcome;
use super::signals::{Heard, Leaving};
use crate::clock::{Moment, rfc3339};
use crate::flow::tail::Feed;
use crate::http::{Address, Config, Server, Stopper};
use crate::live::{Broadcast, End, Record, Run};
use crate::process::Status;
use crate::thread::{Worker, spawn};

/// How long readers who are connected may take to get the end.
const END_WITHIN: Duration = Duration::from_secs(5);

/// Beyond that, how long the server may take to end, connections being cut.
const SERVER_ENDS_WITHIN: Duration = Duration::from_secs(5);

/// How long a run that waited for another's end waits for its address too, which
/// the other still has while its readers get their end.
pub(super) const ADDRESS_WITHIN: Duration = Duration::from_secs(2);

/// Between two tries.
const TRY_AGAIN: Duration = Duration::from_millis(20);

/// Where a run can be watched.
pub struct Listen {
    /// The address to serve at.
    pub address: Address,
    /// The server's settings; the time of its stop is ours: 5 s.
    pub config: Config,
    /// The URL to tell others, if it isn't the address itself.
    pub advertise: Option<String>,
    /// How long to stay after the end, for those who come late. Not longer than
    /// until the next signal that ends a run, and not at all if one ended it.
    pub linger: Duration,
    /// How much of the output is kept for late and slow readers, in bytes.
    pub keep_bytes: usize,
    /// Told once: the URL, or why there is none. The run goes on without.
    pub told: Told,
}

/// What is told when it is known whether the run can be watched.
pub type Told = Box<dyn FnOnce(Result<&str, &io::Error>) + Send>;

impl fmt::Debug for Listen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Listen").field("address", &self.address).field("config", &self.config).finish_non_exhaustive()
    }
}

impl Listen {
    /// Takes the address, if it is free. Nobody is served yet: who comes waits,
    /// and is refused if the run isn't to be.
    pub(super) fn bind(self) -> Bound {
        let server = self.server().ok();
        Bound { listen: self, server }
    }

    fn server(&self) -> io::Result<Server> {
        Server::bind(&self.address, self.config.clone().stop_time(END_WITHIN))
    }

    fn server_within(&self, patience: Duration) -> io::Result<Server> {
        let until = Moment::now() + patience;
        loop {
            match self.server() {
                Err(error) if error.kind() == io::ErrorKind::AddrInUse && !until.has_passed() => {
                    // An address that comes free tells nobody.
                    std::thread::sleep(TRY_AGAIN.min(until.remaining()));
                }
                server => return server,
            }
        }
    }

    fn url(&self, server: &Server) -> String {
        self.advertise.clone().unwrap_or_else(|| server.local_address().url(self.config.speaks_tls()))
    }
}

/// An address that is ours, or may become so: an earlier run may have had it still.
pub(super) struct Bound {
    listen: Listen,
    server: Option<Server>,
}

impl Bound {
    /// The URL by which others find the run; only of an address that is ours.
    pub(super) fn url(&self) -> Option<String> {
        self.server.as_ref().map(|server| self.listen.url(server))
    }

    /// Serves the run, whose lines' tags are indices into `sources`. `None`,
    /// once it was told why, if that can't be. An address that wasn't ours is
    /// tried again for up to `patience`: the run before may be sending its readers home.
    pub(super) fn begin(self, run: Run, sources: Vec<String>, patience: Duration) -> Option<(Served, Feed<Record>)> {
        let Bound { listen, server } = self;
        let server = server.map_or_else(|| listen.server_within(patience), Ok);
        let began = server.and_then(|server| serve(&listen, server, run, sources));
        match began {
            Ok((served, feed)) => {
                (listen.told)(Ok(&served.url));
                Some((served, feed))
            }
            Err(error) => {
                (listen.told)(Err(&error));
                None
            }
        }
    }
}

fn serve(listen: &Listen, server: Server, run: Run, sources: Vec<String>) -> io::Result<(Served, Feed<Record>)> {
    let url = listen.url(&server);
    let (broadcast, feed) = Broadcast::new(run, sources, listen.keep_bytes);
    let stopper = server.stopper();
    // Isolated: the run goes on though nobody can watch it any more.
    let told = broadcast.clone();
    let worker = spawn("listen", move |_| server.serve(move |request, reply| broadcast.answer(request, reply)))?;
    Ok((Served { url, broadcast: told, stopper, worker, linger: listen.linger }, feed))
}

/// A run that is being served.
pub(super) struct Served {
    pub(super) url: String,
    pub(super) broadcast: Broadcast,
    stopper: Stopper,
    worker: Worker<io::Result<()>>,
    linger: Duration,
}

impl Served {
    /// Stays for late readers unless somebody wants us gone, then ends the
    /// server. Readers who are connected get their end within 5 s, or are cut.
    ///
    /// The first signal that asks for the end, also one of before, ends the
    /// lingering; the second ends the wait for connected readers too.
    pub(super) fn finish(self, leaving: &mut Leaving) {
        let over = after(self.linger);
        while !leaving.is_asked() {
            select! {
                recv(over) -> _ => break,
                recv(self.worker.ended()) -> _ => break,
                recv(leaving.signals) -> signal => { leaving.hear(signal); },
            }
        }
        self.stopper.stop();
        let too_long = after(END_WITHIN + SERVER_ENDS_WITHIN);
        loop {
            select! {
                recv(self.worker.ended()) -> _ => break,
                recv(too_long) -> _ => return log::warn!("the live view didn't end in time"),
                recv(leaving.signals) -> signal => if let Heard::Again(_) = leaving.hear(signal) {
                    return;
                },
            }
        }
        match self.worker.join() {
            Ok(Ok(())) => {}
            Ok(Err(error)) => log::warn!("the live view didn't end in order: {error}"),
            Err(panic) => panic.log(),
        }
    }
}

/// The end as readers get it.
pub(super) fn end_of(outcome: &Outcome, busy: u8) -> End {
    end_here(outcome.run.clone(), outcome.word(), outcome.exit_code(busy), outcome.status, outcome.ran)
}

/// The end of a run of this process.
pub(super) fn end_here(run: String, outcome: &str, exit_code: u8, status: Option<Status>, ran: Duration) -> End {
    let command_exit_code = match status {
        Some(Status::Exited(code)) => Some(code),
        _ => None,
    };
    let signal = status.and_then(Status::signal);
    let duration_ms = u64::try_from(ran.as_millis()).unwrap_or(u64::MAX);
    End { run, outcome: outcome.to_owned(), exit_code, command_exit_code, signal, duration_ms }
}

/// The run as readers get it.
pub(super) fn run_of(outcome: &Outcome) -> Run {
    let command = outcome.argv.iter().map(|word| word.to_string_lossy().into_owned()).collect();
    run_here(outcome.run.clone(), command, outcome.key.clone(), outcome.began)
}

/// A run of this process.
pub(super) fn run_here(run: String, command: Vec<String>, key: Option<String>, began: SystemTime) -> Run {
    let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
    Run { run, command, key, host, pid: std::process::id(), began: rfc3339(began) }
}
