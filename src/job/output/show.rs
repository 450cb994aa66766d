//! What is shown of the output: now, or after a failure.

use std::io;
use std::os::fd::OwnedFd;

use super::log::Log;
use super::printer::Printer;
use super::spool::Spool;
use super::{SpoolTally, Stream, Tally};
use crate::flow::{Filter, Sieve};

/// The filter, and behind it our own streams or the spool.
#[derive(Debug)]
pub(super) struct Show {
    sieves: Option<[Sieve; 2]>,
    passing: Vec<u8>,
    printers: [Printer; 2],
    spool: Option<Spool>,
    spool_tally: Option<SpoolTally>,
}

impl Show {
    pub(super) fn new(filter: Option<Filter>, spool: Option<Spool>, printers: [OwnedFd; 2]) -> Show {
        let filter = filter.filter(|filter| !filter.passes_all());
        Show {
            sieves: filter.map(|filter| [Sieve::new(filter.clone()), Sieve::new(filter)]),
            passing: Vec::new(),
            printers: printers.map(Printer::new),
            spool,
            spool_tally: None,
        }
    }

    /// Whether what a stream says can still be of use.
    pub(super) fn wants(&self, stream: Stream) -> bool {
        self.spool.is_some() || !self.printers[stream.index()].is_closed()
    }

    pub(super) fn push(&mut self, stream: Stream, chunk: &[u8]) {
        self.sift(stream, Some(chunk));
    }

    pub(super) fn finish(&mut self, stream: Stream) {
        self.sift(stream, None);
    }

    fn sift(&mut self, stream: Stream, chunk: Option<&[u8]>) {
        let Some(sieves) = &mut self.sieves else { return self.show(stream, chunk.unwrap_or_default()) };
        let mut passing = std::mem::take(&mut self.passing);
        passing.clear();
        let sieve = &mut sieves[stream.index()];
        match chunk {
            Some(chunk) => sieve.push(chunk, |run| passing.extend_from_slice(run)),
            None => sieve.finish(|run| passing.extend_from_slice(run)),
        }
        self.show(stream, &passing);
        self.passing = passing;
    }

    fn show(&mut self, stream: Stream, bytes: &[u8]) {
        if bytes.is_empty() {
            return;
        }
        if let Some(mut spool) = self.spool.take() {
            match spool.add(stream, bytes) {
                Ok(()) => {
                    self.spool = Some(spool);
                    return;
                }
                // Better loud than lost: from here on it is printed as if the run weren't quiet.
                Err(error) => self.spool_tally = Some(played(spool, &mut self.printers, Some(error))),
            }
        }
        self.printers[stream.index()].print(bytes);
    }

    fn long_lines(&self) -> u64 {
        self.sieves.iter().flatten().map(Sieve::long_lines).sum()
    }
}

fn played(spool: Spool, to: &mut [Printer; 2], why: Option<io::Error>) -> SpoolTally {
    let tally = spool.play(to);
    SpoolTally { error: why.or(tally.error), ..tally }
}

/// The output of a child whose streams have ended; a quiet run's is still in the spool.
#[derive(Debug)]
#[must_use = "without close(), a quiet run's output is dropped unseen"]
pub struct Output {
    pub(super) show: Show,
    pub(super) log: Option<Log>,
    pub(super) tally: Tally,
}

impl Output {
    /// Prints the spool if the run failed, drops it if it `succeeded`, and gives
    /// the account. Output that the log lost is no success: it would be lost twice.
    ///
    /// Blocks as long as our own streams do: a terminal stopped by Ctrl-S, a slow pipe.
    pub fn close(self, succeeded: bool) -> Tally {
        let Output { mut show, log, mut tally } = self;
        tally.long_lines = show.long_lines().max(log.as_ref().map_or(0, Log::long_lines));
        tally.log = log.map(Log::close);
        let succeeded = succeeded && tally.log.as_ref().is_none_or(|log| log.lost.is_empty());
        tally.spool = match show.spool.take() {
            Some(spool) if succeeded => Some(spool.discard()),
            Some(spool) => Some(played(spool, &mut show.printers, None)),
            None => show.spool_tally,
        };
        tally.printed = Printer::tally(show.printers);
        tally
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;
    use crate::job::output::testing::SmallDisk;

    #[test]
    fn a_full_disk_makes_a_quiet_run_loud_and_loses_nothing() {
        let Some(disk) = SmallDisk::new(64 * 1024) else { return };
        let (mut reader, writer) = io::pipe().unwrap();
        let (_err, err_end) = io::pipe().unwrap();
        let spool = Spool::with_limits(vec![disk.path().to_owned()], 1_000_000, 1_000_000);
        let mut show = Show::new(None, Some(spool), [writer.into(), err_end.into()]);
        let sent: Vec<Vec<u8>> = (0..10u8).map(|n| vec![n; 10_000]).collect();
        let reading = std::thread::spawn(move || {
            let mut got = Vec::new();
            reader.read_to_end(&mut got).unwrap();
            got
        });
        for chunk in &sent {
            show.push(Stream::Stdout, chunk);
        }
        let tally = Output { show, log: None, tally: Tally::default() }.close(true);
        assert!(reading.join().unwrap() == sent.concat());
        let spool = tally.spool.unwrap();
        assert_eq!(spool.error.unwrap().kind(), io::ErrorKind::StorageFull);
        assert!(spool.left_out.is_empty());
    }
}
