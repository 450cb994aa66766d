//! The server: it binds, accepts, and ends in order.

use std::fmt;
use std::io::{self, ErrorKind, IoSlice};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crossbeam_channel::Receiver;
use rustix::event::{PollFd, PollFlags};

use super::address::Address;
use super::config::Config;
use super::connection::Service;
use super::courier::Courier;
use super::crew::{Crew, Seat};
use super::guard::Guard;
use super::listener::{Accepted, BackOff, Listener};
use super::park::Parked;
use super::reply::{Reply, Sent};
use super::request::{Peer, Request};
use super::socket::{Socket, moment_in, wait};
use super::wire::Ends;
use crate::thread::{self, Flag, Stop};

/// What a client gets for whom there is no room. One write, so that the thread
/// that accepts never waits for a client.
const FULL: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 1\r\nConnection: close\r\n\
    Content-Type: text/plain; charset=utf-8\r\nContent-Length: 31\r\n\r\nno room for another connection\n";
/// So many of those are waited for until they have read it.
const TURNED_AWAY: usize = 256;
/// How long connections that were cut may take to notice.
const CUT_TIME: Duration = Duration::from_secs(2);

/// A server that is bound and not serving yet: clients already queue up.
#[derive(Debug)]
pub struct Server {
    listener: Listener,
    config: Config,
    stopper: Stopper,
}

/// Stops a server, from any thread. Clones stop the same one.
#[derive(Clone)]
pub struct Stopper {
    stopper: thread::Stopper,
    ends: Arc<Ends>,
}

impl Server {
    /// Listens on the address. Whoever connects before
    /// [`serve`](Server::serve) waits.
    ///
    /// The file of a Unix socket whose server is gone is replaced.
    ///
    /// # Errors
    /// `InvalidInput` if other hosts can reach the address and neither a token
    /// nor [`open`](Config::open) is configured, or a limit serves nobody;
    /// `AddrInUse`, `AddrNotAvailable`, `PermissionDenied` as `bind(2)` says.
    pub fn bind(address: &Address, config: Config) -> io::Result<Server> {
        config.check(address)?;
        let (stopper, stop) = Stop::new();
        let ends = Arc::new(Ends { stop, stopping: Flag::new()?, cut: Flag::new()? });
        let listener = Listener::bind(address)?;
        Ok(Server { listener, config, stopper: Stopper { stopper, ends } })
    }

    /// The address that it listens on, with the port that the system chose.
    pub fn local_address(&self) -> &Address {
        self.listener.address()
    }

    /// What stops this server.
    pub fn stopper(&self) -> Stopper {
        self.stopper.clone()
    }

    /// Serves, each connection on a thread of its own, until a
    /// [`Stopper`] says otherwise. Only that ends it: a failing `accept(2)` is
    /// tried again after a pause.
    ///
    /// Stopped, it closes the listener and all connections without a request,
    /// lets active requests finish for at most
    /// [`stop_time`](super::Limits::stop_time), cuts the rest, and joins all
    /// their threads. Handlers learn of the stop by [`Request::stop`] and
    /// [`ChunkWriter::wait`](super::ChunkWriter::wait).
    ///
    /// A handler that panics costs its own request only: the client gets a 500
    /// if nothing was sent, else a cut reply.
    ///
    /// # Errors
    /// `TimedOut` if handlers didn't end even after their connections were
    /// cut; their threads are left behind. Otherwise what `poll(2)` and
    /// `eventfd(2)` say at a lack of memory or descriptors.
    pub fn serve<H>(self, handler: H) -> io::Result<()>
    where
        H: Fn(&mut Request<'_>, Reply<'_>) -> io::Result<Sent> + Send + Sync + 'static,
    {
        let Server { listener, config, stopper } = self;
        let ends = Arc::clone(&stopper.ends);
        let mut crew = Crew::new(config.limits.stack_bytes)?;
        let stop_time = config.limits.stop_time;
        let guard = Guard::new(listener.address(), config.token.clone(), config.hosts.clone());
        let (courier, resumed) = Courier::new(Arc::clone(crew.bell()), config.on_panic.clone())?;
        let service = Arc::new(Service { handler, config, guard, ends: Arc::clone(&ends), courier });
        let mut door = Door::new(listener, Arc::clone(&service), &mut crew, resumed);
        let accepted = door.keep();
        // Also when accepting failed: connections don't outlive their server.
        stopper.stop();
        service.courier.close();
        door.resume();
        drop(door);
        if !crew.join_all(moment_in(stop_time))? {
            log::warn!("{} requests are still active after {stop_time:?}: cut", crew.count());
            ends.cut.raise();
            if !crew.join_all(moment_in(CUT_TIME))? {
                let text = format!("{} handlers don't end though their connections were cut", crew.count());
                return Err(io::Error::new(ErrorKind::TimedOut, text));
            }
        }
        accepted
    }
}

impl Stopper {
    /// Asks for the stop and returns at once. Asking again changes nothing.
    pub fn stop(&self) {
        // In this order: who sees the flag also sees the stop.
        self.stopper.stop();
        self.ends.stopping.raise();
    }
}

impl fmt::Debug for Stopper {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stopper").field("asked", &self.ends.stop.is_set()).finish()
    }
}

/// Where connections come in.
struct Door<'a, H> {
    listener: Listener,
    service: Arc<Service<H>>,
    crew: &'a mut Crew,
    /// How many connections there are, with a thread or without.
    seats: Arc<AtomicUsize>,
    /// Parked streams that want a thread again.
    resumed: Receiver<Box<Parked>>,
    /// Clients without room, until they have read so.
    turned_away: Vec<(Socket, Instant)>,
    back_off: BackOff,
}

impl<H> Door<'_, H>
where
    H: Fn(&mut Request<'_>, Reply<'_>) -> io::Result<Sent> + Send + Sync + 'static,
{
    fn new(
        listener: Listener,
        service: Arc<Service<H>>,
        crew: &mut Crew,
        resumed: Receiver<Box<Parked>>,
    ) -> Door<'_, H> {
        let (turned_away, back_off) = (Vec::new(), BackOff::default());
        Door { listener, service, crew, seats: Arc::default(), resumed, turned_away, back_off }
    }

    /// Lets clients in until the server is asked to stop.
    fn keep(&mut self) -> io::Result<()> {
        let ends = Arc::clone(&self.service.ends);
        while !ends.stop.is_set() {
            let mut fds = vec![
                PollFd::new(&self.listener, PollFlags::IN),
                PollFd::new(&**self.crew.bell(), PollFlags::IN),
                PollFd::new(&ends.stopping, PollFlags::IN),
            ];
            fds.extend(self.turned_away.iter().map(|(socket, _)| PollFd::new(socket, PollFlags::IN)));
            wait(&mut fds, self.turned_away.first().map(|(_, until)| *until))?;
            let (came, ended) = (!fds[0].revents().is_empty(), !fds[1].revents().is_empty());
            if ended {
                self.crew.join_ended();
                self.resume();
            }
            self.tend_turned_away();
            if came && let Err(error) = self.let_in() {
                if self.back_off.is_new() {
                    log::warn!("can't accept connections just now: {error}");
                }
                // A pause that the stop ends.
                let until = moment_in(self.back_off.next());
                wait(&mut [PollFd::new(&ends.stopping, PollFlags::IN)], Some(until))?;
            }
        }
        Ok(())
    }

    fn let_in(&mut self) -> io::Result<()> {
        let Accepted::Connection(socket, peer) = self.listener.accept(self.service.config.limits.write_time)? else {
            return Ok(());
        };
        if self.seats.load(Ordering::SeqCst) >= self.service.config.limits.connections {
            self.turn_away(socket, peer);
        } else {
            let (service, seat) = (Arc::clone(&self.service), Seat::take(&self.seats));
            let serve = move |(socket, seat)| service.serve(socket, peer, seat);
            if let Err((back, error)) = self.on_thread((socket, seat), serve) {
                back.into_iter().for_each(|(socket, _)| self.turn_away(socket, peer));
                return Err(error);
            }
        }
        self.back_off.reset();
        Ok(())
    }

    /// Gives threads to parked streams that want one.
    fn resume(&mut self) {
        while let Ok(parked) = self.resumed.try_recv() {
            let service = Arc::clone(&self.service);
            if let Err((parked, error)) = self.on_thread(parked, move |parked| service.resume(*parked)) {
                log::warn!("a stream is cut, as there is no thread to go on with it: {error}");
                parked.into_iter().for_each(|parked| parked.cut());
            }
        }
    }

    /// Has a thread of its own do it, or gives back what it would have done it with.
    fn on_thread<T: Send + 'static>(
        &mut self,
        with: T,
        act: impl FnOnce(T) + Send + 'static,
    ) -> Result<(), (Option<T>, io::Error)> {
        // On both sides, as the system may refuse.
        let seat = Arc::new(Mutex::new(Some(with)));
        let theirs = Arc::clone(&seat);
        let body = move || {
            if let Some(with) = take(&theirs) {
                act(with);
            }
        };
        self.crew.add(body).map_err(|error| (take(&seat), error))
    }

    fn turn_away(&mut self, socket: Socket, peer: Peer) {
        log::debug!(peer:% = peer; "turned away: {} connections are open", self.seats.load(Ordering::SeqCst));
        if self.service.config.speaks_tls() {
            // It would take a handshake to say why.
            return;
        }
        // A new socket has room for so little.
        if matches!(socket.try_write(&[IoSlice::new(FULL)]), Ok(Some(_))) {
            socket.half_close();
            if self.turned_away.len() == TURNED_AWAY {
                self.turned_away.remove(0);
            }
            self.turned_away.push((socket, moment_in(self.service.config.limits.linger_time)));
        }
    }

    /// Reads what they sent, so that closing doesn't take back what we said.
    fn tend_turned_away(&mut self) {
        let now = Instant::now();
        self.turned_away.retain(|(socket, until)| {
            let mut unread = [0; 1024];
            now < *until
                && loop {
                    match socket.try_read(&mut unread) {
                        // Full pieces would keep a fast sender's thread here.
                        Ok(Some(read)) if read == unread.len() => return true,
                        Ok(Some(read)) if read > 0 => {}
                        Ok(None) => return true,
                        Ok(Some(_)) | Err(_) => break false,
                    }
                }
        });
    }
}

/// What one of two threads has in hand, whichever comes first.
fn take<T>(seat: &Mutex<Option<T>>) -> Option<T> {
    seat.lock().unwrap_or_else(PoisonError::into_inner).take()
}
