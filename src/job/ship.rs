//! What a run made, sent away before others may run.
//!
//! It is sent after the command succeeded and its output is delivered, and
//! before the lock is given back: another run could write the same files. A
//! shipment has limits of its own, and the time limit of the command isn't one
//! of them: it counts for the command alone.

use std::path::PathBuf;
use std::time::Duration;

use crossbeam_channel::{never, select};

use super::causes::with_causes;
use super::signals::{Heard, Leaving};
use crate::inbox::Meter;
use crate::inbox::send::{Item, Shipment, ShippedFile};
use crate::lock::Lease;
use crate::thread::{Stop, spawn};

/// How long one that is stopped may take to end: its connection is cut.
const STOPPED_WITHIN: Duration = Duration::from_secs(5);

/// A file to be sent away when the command has succeeded.
#[derive(Debug)]
pub struct Ship {
    /// The file, which need not be there before.
    pub file: PathBuf,
    /// Where and how; without files of its own.
    pub shipment: Shipment,
}

/// What became of it.
#[derive(Debug)]
pub struct Shipping {
    /// The file.
    pub file: PathBuf,
    /// To where: scheme and host.
    pub target: String,
    /// The file as the server has it, or why it hasn't.
    pub result: Result<ShippedFile, String>,
}

/// Sends the files one after the other, each whatever became of the others.
/// Blocks until they are sent, a signal asks for the end, or the lease is lost.
pub(super) fn ship(ships: Vec<Ship>, lease: Option<&Lease>, leaving: &mut Leaving) -> Vec<Shipping> {
    let mut shippings = Vec::new();
    for Ship { file, shipment } in ships {
        let target = shipment.target().to_string();
        let result = match refusal(lease, leaving) {
            Some(why) => Err(why.to_owned()),
            None => one(&file, shipment, lease, leaving),
        };
        shippings.push(Shipping { file, target, result });
    }
    shippings
}

fn refusal(lease: Option<&Lease>, leaving: &Leaving) -> Option<&'static str> {
    if leaving.is_asked() {
        return Some("not sent: the end was asked for");
    }
    lease.and_then(|lease| lease.check().err()).map(|_| "not sent: the lock was lost")
}

fn one(
    file: &std::path::Path,
    shipment: Shipment,
    lease: Option<&Lease>,
    leaving: &mut Leaving,
) -> Result<ShippedFile, String> {
    let item = Item::file(file).map_err(|error| error.to_string())?;
    let transfer = shipment.transfer();
    let cut = transfer.cutter();
    let sent = move |stop: &Stop| {
        let shipped = shipment.item(item).send_with(&transfer, &Meter::default(), stop)?;
        Ok::<_, crate::inbox::send::SendError>(shipped.all()?.pop())
    };
    let worker = spawn("ship", sent).map_err(|error| error.to_string())?;
    let lost = lease.map_or_else(never, |lease| lease.lost().clone());
    let why = loop {
        select! {
            recv(worker.ended()) -> _ => break None,
            recv(lost) -> _ => break Some("not sent: the lock was lost"),
            recv(leaving.signals) -> signal => {
                if leaving.hear(signal) != Heard::Nothing {
                    break Some("not sent: the end was asked for");
                }
            }
        }
    };
    if why.is_some() {
        worker.stop();
        cut();
    }
    match worker.join_within(STOPPED_WITHIN) {
        Ok(Ok(Ok(Some(file)))) => Ok(file),
        Ok(Ok(Err(error))) => Err(why.map_or_else(|| with_causes(&error), str::to_owned)),
        Ok(Err(panic)) => {
            panic.log();
            Err(panic.to_string())
        }
        // It is left to its connection, which is cut.
        Ok(Ok(Ok(None))) | Err(_) => Err(why.unwrap_or("not sent").to_owned()),
    }
}
