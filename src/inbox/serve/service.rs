//! A server of a folder, from its start to its end in order.

use std::io;
use std::time::Duration;

use crossbeam_channel::{Receiver, after, select};

use super::super::folder::Folder;
use super::event::Told;
use super::inbox::Inbox;
use super::settings::Settings;
use crate::http::{Address, Config, Server};
use crate::thread::{Panic, spawn};

/// Between two looks for uploads that nobody came back for.
const TIDY_EVERY: Duration = Duration::from_secs(15 * 60);

/// A folder's server that is bound and not serving yet.
#[derive(Debug)]
pub struct Service {
    server: Server,
    inbox: Inbox,
    url: String,
}

/// How a service ended.
#[derive(Debug)]
pub enum End {
    /// This signal asked for it.
    Asked(i32),
    /// It couldn't serve, or its end wasn't in order.
    Failed(io::Error),
    /// Its thread panicked.
    Died(Panic),
}

impl Service {
    /// Binds the address and sweeps the folder.
    ///
    /// # Errors
    /// Those of [`Server::bind`] and [`Inbox::new`].
    pub fn bind(
        folder: Folder,
        address: &Address,
        config: Config,
        settings: Settings,
        told: Told,
    ) -> io::Result<Service> {
        let with_tls = config.speaks_tls();
        let server = Server::bind(address, config)?;
        let url = server.local_address().url(with_tls);
        Ok(Service { server, inbox: Inbox::new(folder, settings, told)?, url })
    }

    /// Where it is, with the port that the system chose.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Serves until the first signal, then ends in order: uploads and downloads
    /// that have begun may finish, for at most
    /// [`stop_time`](crate::http::Limits::stop_time). The second signal ends
    /// the waiting.
    pub fn run(self, signals: &Receiver<i32>) -> End {
        let Service { server, inbox, .. } = self;
        let stopper = server.stopper();
        let answering = inbox.clone();
        let serve = move |_: &_| server.serve(move |request, reply| answering.answer(request, reply));
        let worker = match spawn("serve", serve) {
            Ok(worker) => worker,
            Err(error) => return End::Failed(error),
        };
        let asked_by = loop {
            select! {
                recv(signals) -> signal => if let Ok(signal) = signal { break Some(signal) },
                recv(worker.ended()) -> _ => break None,
                recv(after(TIDY_EVERY)) -> _ => inbox.tidy(),
            }
        };
        stopper.stop();
        let second = if asked_by.is_some() { signals.clone() } else { crossbeam_channel::never() };
        select! {
            recv(worker.ended()) -> _ => {}
            recv(second) -> _ => {}
        }
        match (asked_by, worker.is_finished().then(|| worker.join())) {
            (_, Some(Err(panic))) => End::Died(panic),
            (_, Some(Ok(Err(error)))) => End::Failed(error),
            (Some(signal), _) => End::Asked(signal),
            (None, _) => End::Failed(io::Error::other("the server ended by itself")),
        }
    }
}
