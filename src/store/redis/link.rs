//! One thread's way to the server of a key: connects, finds the server anew
//! when it moves, and keeps to a limit of time.

use std::collections::HashMap;
use std::sync::Arc;
use std::thread::sleep;
use std::time::Duration;

use redis::{Connection, RedisError, RedisResult};

use super::super::Error;
use super::super::url::Address;
use super::dial::{Dialer, set_limit};
use super::fault::{Next, failed, next};
use super::names::Names;
use super::route::{Group, Route};
use super::script::{Answer, Ask};
use crate::clock::Moment;

/// Between two looks for a server, while a failover goes on.
const PAUSE: Duration = Duration::from_millis(50);
/// How often a Cluster may send us on before we look for ourselves.
const REDIRECTIONS: u32 = 8;

/// What is asked of a server, over its connection.
type Question<'q> = dyn FnMut(&mut Connection) -> RedisResult<()> + 'q;

/// A way to one server or Cluster.
pub(super) struct Link {
    dialer: Arc<Dialer>,
    route: Route,
    open: HashMap<Address, Open>,
    servers: HashMap<u16, Address>,
}

/// A connection, and the limit that its reads and writes have now.
struct Open {
    connection: Connection,
    limit: Duration,
}

/// An attempt that failed.
struct Failure {
    address: Address,
    error: RedisError,
    /// The connection had been used before: the server may have closed it since.
    stale: bool,
}

impl Link {
    pub(super) fn new(dialer: Arc<Dialer>, route: Route) -> Link {
        Link { dialer, route, open: HashMap::new(), servers: HashMap::new() }
    }

    /// Asks the server that has the lock of `names`, for at most `limit` in all.
    ///
    /// # Errors
    /// As [`Link::ask`].
    pub(super) fn put(&mut self, ask: &Ask, names: &Names, limit: Duration) -> Result<Answer, Error> {
        self.ask(names.slot, limit, |connection| ask.put(names, connection))
    }

    /// Asks the server of `slot`, for at most `limit` in all. The question may be
    /// put more than once: where the server moved, or an answer was lost.
    ///
    /// # Errors
    /// No answer: whether the ask was done isn't known, unless
    /// [`Error::is_unreachable`] came before anything was sent.
    pub(super) fn ask<T>(
        &mut self,
        slot: u16,
        limit: Duration,
        mut question: impl FnMut(&mut Connection) -> RedisResult<T>,
    ) -> Result<T, Error> {
        let mut answer = None;
        self.carry(slot, limit, &mut |connection| {
            answer = Some(question(connection)?);
            Ok(())
        })?;
        // It is there: carrying succeeds with the question alone.
        answer.ok_or_else(|| Error::unreachable("a server's answer is missing"))
    }

    fn carry(&mut self, slot: u16, limit: Duration, question: &mut Question<'_>) -> Result<(), Error> {
        let deadline = Moment::now() + limit;
        let mut asking: Option<Address> = None;
        let mut redirections = 0;
        loop {
            let failure = match self.try_put(slot, question, asking.take().as_ref(), deadline)? {
                Ok(()) => return Ok(()),
                Err(failure) => failure,
            };
            let late = deadline.has_passed();
            match next(&failure.error) {
                Next::Follow(address) if self.route.may_move() && redirections < REDIRECTIONS && !late => {
                    redirections += 1;
                    self.servers.insert(slot, address);
                }
                Next::AskAt(address) if self.route.may_move() && redirections < REDIRECTIONS && !late => {
                    redirections += 1;
                    asking = Some(address);
                }
                Next::LookAgain | Next::Follow(_) | Next::AskAt(_) if self.route.may_move() && !late => {
                    self.forget(slot, &failure.address);
                    // The servers tell nobody when they are done; the deadline ends it.
                    sleep(PAUSE.min(deadline.remaining()));
                }
                Next::Reconnect => {
                    self.forget(slot, &failure.address);
                    if late || !(failure.stale || self.route.may_move()) {
                        return Err(failed(&failure.address, failure.error));
                    }
                    if !failure.stale {
                        // As above.
                        sleep(PAUSE.min(deadline.remaining()));
                    }
                }
                _ => {
                    self.forget(slot, &failure.address);
                    return Err(failed(&failure.address, failure.error));
                }
            }
        }
    }

    /// Where the lock of `names` was last found.
    pub(super) fn known_address(&self, names: &Names) -> Option<&Address> {
        self.servers.get(&names.slot)
    }

    /// All servers that have keys now, asked for within `limit`.
    ///
    /// # Errors
    /// None that could know answered, or what they said makes no sense.
    pub(super) fn groups(&mut self, limit: Duration) -> Result<Vec<Group>, Error> {
        self.route.groups(&self.dialer, Moment::now() + limit)
    }

    /// A new connection to one server, for the caller alone.
    ///
    /// # Errors
    /// It can't be connected to.
    pub(super) fn dial_at(&mut self, address: &Address, limit: Duration) -> Result<Connection, Error> {
        self.dialer.dial(address, limit).map_err(|error| {
            self.route.doubt(address);
            failed(address, error)
        })
    }

    /// The same way, with connections of its own.
    pub(super) fn another(&self) -> Link {
        Link::new(Arc::clone(&self.dialer), self.route.clone())
    }

    /// A new connection to the server of `names`, for the caller alone.
    pub(super) fn dial(&mut self, names: &Names, limit: Duration) -> Result<Connection, Error> {
        let address = self.server(names.slot, Moment::now() + limit)?;
        self.dialer.dial(&address, limit).map_err(|error| {
            self.forget(names.slot, &address);
            failed(&address, error)
        })
    }

    fn try_put(
        &mut self,
        slot: u16,
        question: &mut Question<'_>,
        asking: Option<&Address>,
        deadline: Moment,
    ) -> Result<Result<(), Failure>, Error> {
        let address = match asking {
            Some(address) => address.clone(),
            None => self.server(slot, deadline)?,
        };
        let stale = self.open.contains_key(&address);
        let answer = self.connection(&address, deadline).and_then(|connection| {
            if asking.is_some() {
                redis::cmd("ASKING").exec(connection)?;
            }
            question(connection)
        });
        Ok(answer.map_err(|error| Failure { address, error, stale }))
    }

    fn server(&mut self, slot: u16, deadline: Moment) -> Result<Address, Error> {
        if let Some(address) = self.servers.get(&slot) {
            return Ok(address.clone());
        }
        let address = self.route.find(slot, &self.dialer, deadline)?;
        self.servers.insert(slot, address.clone());
        Ok(address)
    }

    fn connection(&mut self, address: &Address, deadline: Moment) -> RedisResult<&mut Connection> {
        // In whole milliseconds it is the same from one ask to the next, and needn't be set again.
        let limit = Duration::from_millis(u64::try_from(deadline.remaining().as_millis()).unwrap_or(u64::MAX - 1) + 1);
        if !self.open.contains_key(address) {
            let connection = self.dialer.dial(address, limit)?;
            self.open.insert(address.clone(), Open { connection, limit });
        }
        let open = self.open.get_mut(address);
        // It was inserted above if it wasn't there.
        let open = open.ok_or((redis::ErrorKind::Client, "a connection is missing"))?;
        if open.limit != limit {
            set_limit(&open.connection, limit)?;
            open.limit = limit;
        }
        Ok(&mut open.connection)
    }

    fn forget(&mut self, slot: u16, address: &Address) {
        self.open.remove(address);
        self.servers.remove(&slot);
        self.route.doubt(address);
    }
}

impl std::fmt::Debug for Link {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Link").field("route", &self.route).finish_non_exhaustive()
    }
}
