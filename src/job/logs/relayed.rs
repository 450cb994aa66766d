//! A relayed run as logs: its lines printed and served on, with its own name,
//! gaps and end, so that who watches here sees what it would see there.

use std::io;
use std::os::fd::AsFd;
use std::time::Duration;

use crossbeam_channel::{Receiver, SendError, Sender, bounded, select};

use super::super::feeding::Feeding;
use super::super::listen::Served;
use super::super::output::Printer;
use super::super::signals::{Heard, Leaving, die};
use super::carry::{Carried, Carrier};
use super::course::take_carried;
use super::{Logs, LogsEnd};
use crate::flow::merge::{Event, Item, Lines};
use crate::live::relay::{RelayError, Relayed, Sight};
use crate::live::{End, Record, Run};
use crate::process::Terminal;
use crate::thread::{Panic, Stop, Worker, catch, spawn};

/// Items on their way from Redis to stdout; a slow stdout slows the reading, and
/// what the relay drops meanwhile is a gap.
const WAITING: usize = 64;

/// A question of the store takes at most so long.
const ENDS_WITHIN: Duration = Duration::from_secs(4);

type Reading = Worker<Result<End, RelayError>>;
type Carrying = Worker<Result<Carried, Panic>>;

/// What the reading thread has to say beside lines.
struct Told {
    begun: Sender<(Run, Vec<String>)>,
    items: Sender<Item>,
}

impl Logs {
    /// Carries a relayed run's lines instead of sources of our own, until its end,
    /// which is [`LogsEnd::relayed`]. As [`Logs::run`] otherwise; sources and a
    /// command that were given are left out.
    pub fn run_relayed(mut self, relayed: Relayed, signals: &Receiver<i32>) -> LogsEnd {
        let mut leaving = Leaving::new(signals, self.kill_after);
        let mut end = LogsEnd::default();
        let (begun, has_begun) = bounded(1);
        let (items, carried) = bounded(WAITING);
        let told = Told { begun, items };
        let reading = match spawn("relay", move |stop| read(relayed, &told, stop)) {
            Ok(reading) => reading,
            Err(error) => return LogsEnd { start_error: Some(error), ..end },
        };
        let began = wait_begun(&reading, &has_begun, &mut leaving);
        let mut on_air = None;
        let mut carrying = None;
        if let Some((run, sources)) = began {
            match self.go_on_air(run, &sources) {
                Ok(served) => on_air = served,
                Err(()) => {
                    reading.stop();
                    return LogsEnd { not_served: true, ..end };
                }
            }
            let feeding = on_air.as_ref().map(|(_, feeding)| feeding.clone());
            match self.carry_relayed(sources, carried, feeding) {
                Ok(worker) => carrying = Some(worker),
                Err(error) => return LogsEnd { start_error: Some(error), ..end },
            }
        }
        let whole = carrying.as_ref().is_none_or(|carrying| wait(&reading, carrying, &mut leaving));
        if let Some(carrying) = carrying.filter(Worker::is_finished) {
            take_carried(carrying, &mut end);
        }
        end_of(reading, &mut end);
        end.undelivered = !whole;
        end.asked_by = leaving.asked_by;
        end.interrupted = leaving.asked_by == Some(signal_hook::consts::SIGINT);
        if let Some((served, feeding)) = on_air {
            if let Some(Ok(its)) = &end.relayed {
                feeding.finish(Record::End(its.clone()), whole);
            }
            // Without its end readers are cut, as we were.
            drop(feeding);
            served.finish(&mut leaving);
        }
        end
    }

    /// Serves it, if that is asked for; `Err` if it can't be, which was told.
    fn go_on_air(&mut self, run: Run, sources: &[String]) -> Result<Option<(Served, Feeding)>, ()> {
        let Some(listen) = self.listen.take() else { return Ok(None) };
        let begun = listen.bind().begin(run, sources.to_vec(), Duration::ZERO);
        begun.map(|(served, feed)| Some((served, Feeding::new(feed)))).ok_or(())
    }

    fn carry_relayed(
        &mut self,
        sources: Vec<String>,
        items: Receiver<Item>,
        feeding: Option<Feeding>,
    ) -> io::Result<Carrying> {
        let stdout = Printer::new(io::stdout().as_fd().try_clone_to_owned()?);
        let tell = std::mem::replace(&mut self.tell, Box::new(|_| {}));
        let carrier = Carrier::new(sources, &self.filter, self.prefix, stdout, feeding, tell);
        spawn("lines", move |_| {
            catch(|| Terminal::from_background(|| carrier.run([(0, items), (0, closed()), (0, closed())])))
        })
    }
}

/// Reads the run to its end. Ends too when nobody takes its lines.
fn read(mut relayed: Relayed, told: &Told, stop: &Stop) -> Result<End, RelayError> {
    let (mut sources, mut last) = (0, 0);
    loop {
        let item = match relayed.next_sight(stop)? {
            Sight::Run(run, names) => {
                sources = names.len();
                // There is room for it, and one of them.
                let _: Result<(), SendError<_>> = told.begun.send((run, names));
                continue;
            }
            Sight::Piece { tag, start, end, bytes } if usize::from(tag) < sources => {
                last = usize::from(tag);
                Item { source: usize::from(tag), event: Event::Lines(Lines { bytes, start, end }) }
            }
            // Of a source that was never named.
            Sight::Piece { .. } => continue,
            Sight::Gap(missed) => Item { source: 0, event: Event::Missed(missed) },
            Sight::Lost(why) => Item { source: 0, event: Event::Trouble(io::Error::other(why)) },
            Sight::End(end) => {
                // The last line may have no end, and keeps none if it is the last.
                for source in (0..sources).filter(|source| *source != last).chain([last]) {
                    let _: Result<(), SendError<Item>> = told.items.send(Item { source, event: Event::End(Ok(())) });
                }
                return Ok(end);
            }
        };
        if told.items.send(item).is_err() {
            return Err(RelayError::Stopped);
        }
    }
}

/// Which run it is; `None` if it can't be followed, or somebody wants us gone.
fn wait_begun(
    reading: &Reading,
    begun: &Receiver<(Run, Vec<String>)>,
    leaving: &mut Leaving,
) -> Option<(Run, Vec<String>)> {
    loop {
        select! {
            recv(begun) -> run => return run.ok(),
            recv(reading.ended()) -> _ => return begun.try_recv().ok(),
            recv(leaving.signals) -> signal => match leaving.hear(signal) {
                Heard::Nothing => {}
                Heard::Asked => {
                    reading.stop();
                    return None;
                }
                Heard::Again(signal) => die(signal),
            },
        }
    }
}

/// Waits until all is carried; whether it was. Who asks for the end waits for
/// stdout's reader no longer than for a command.
fn wait(reading: &Reading, carrying: &Carrying, leaving: &mut Leaving) -> bool {
    loop {
        select! {
            recv(carrying.ended()) -> _ => return true,
            recv(leaving.too_long()) -> _ => return carrying.is_finished(),
            recv(leaving.signals) -> signal => match leaving.hear(signal) {
                Heard::Nothing => {}
                Heard::Asked => reading.stop(),
                Heard::Again(signal) => die(signal),
            },
        }
    }
}

/// How the reading ended. If it hasn't, nobody takes its lines; what it asks of
/// the store has a limit of its own, so it is waited for.
fn end_of(reading: Reading, end: &mut LogsEnd) {
    reading.stop();
    match reading.join_within(ENDS_WITHIN) {
        Ok(Ok(result)) => end.relayed = Some(result),
        Ok(Err(panic)) => {
            panic.log();
            end.thread_died = true;
        }
        Err(_left_to_its_limit) => end.relayed = Some(Err(RelayError::Stopped)),
    }
}

/// A channel that has ended.
fn closed<T>() -> Receiver<T> {
    bounded(0).1
}
