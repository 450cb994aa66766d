//! Lines on their way from the sources to stdout and to live readers.

use std::io;

use crossbeam_channel::{Receiver, never, select};
use memchr::memrchr;

use super::super::feeding::Feeding;
use super::super::interleave::Interleave;
use super::super::output::{PrintTally, Printer};
use super::{Notice, Tell};
use crate::flow::merge::{Event, Item, Lines};
use crate::flow::{Filter, Missed, Sieve};

/// Carries lines, until all sources have ended or nobody wants any.
///
/// Each line that another may follow gets an end if it has none; only the very
/// last is given as it was.
pub(super) struct Carrier {
    names: Vec<String>,
    /// What is printed of each source; `None` is all.
    sieves: Vec<Option<Sieve>>,
    /// Sources that haven't ended.
    alive: usize,
    /// A line without an end, until it is known whether it is the last.
    held: Option<(usize, Lines)>,
    /// The source whose line goes on in what it has next.
    open: Option<usize>,
    feeding: Option<Feeding>,
    page: Page,
    tell: Tell,
    failed: Vec<(String, io::Error)>,
    long_lines: u64,
}

/// What the carrier has to say at its end.
pub(super) struct Carried {
    pub(super) failed: Vec<(String, io::Error)>,
    pub(super) printed: PrintTally,
    pub(super) long_lines: u64,
    /// It ended because nobody reads.
    pub(super) unwanted: bool,
}

impl Carrier {
    pub(super) fn new(
        names: Vec<String>,
        filter: &Filter,
        prefix: bool,
        to: Printer,
        feeding: Option<Feeding>,
        tell: Tell,
    ) -> Carrier {
        let sieve = || (!filter.passes_all()).then(|| Sieve::new(filter.clone()));
        let prefixes = prefix.then(|| names.iter().map(|name| format!("{name}: ").into_bytes()).collect());
        Carrier {
            sieves: names.iter().map(|_| sieve()).collect(),
            alive: names.len(),
            names,
            held: None,
            open: None,
            feeding,
            page: Page { printer: to, printed: Interleave::default(), prefixes },
            tell,
            failed: Vec::new(),
            long_lines: 0,
        }
    }

    /// Carries what comes out of `groups`, each with the number of its first
    /// source. Blocks in between, unblocked by the sources; in a write, by
    /// stdout's reader alone, as that is meant to slow them.
    pub(super) fn run(mut self, mut groups: [(usize, Receiver<Item>); 3]) -> Carried {
        let mut unwanted = false;
        let mut open = groups.len();
        while open > 0 && !unwanted {
            let (group, item) = select! {
                recv(groups[0].1) -> item => (0, item),
                recv(groups[1].1) -> item => (1, item),
                recv(groups[2].1) -> item => (2, item),
            };
            match item {
                Ok(Item { source, event }) => self.take(groups[group].0 + source, event),
                Err(_) => {
                    groups[group].1 = never();
                    open -= 1;
                }
            }
            unwanted = self.page.printer.is_closed() && self.feeding.is_none();
        }
        Carried { failed: self.failed, printed: self.page.printer.into_tally(), long_lines: self.long_lines, unwanted }
    }

    fn take(&mut self, source: usize, event: Event) {
        match event {
            Event::Lines(lines) => self.lines(source, lines),
            Event::Missed(missed) => self.missed(source, missed),
            Event::Trouble(error) => (self.tell)(&Notice::Trouble { source: &self.names[source], error: &error }),
            Event::End(result) => {
                self.end(source);
                if let Err(error) = result {
                    (self.tell)(&Notice::Failed { source: &self.names[source], error: &error });
                    self.failed.push((self.names[source].clone(), error));
                }
            }
        }
    }

    fn lines(&mut self, source: usize, mut lines: Lines) {
        self.release(true);
        if lines.bytes.is_empty() && self.open != Some(source) {
            // The end of a long line that was ended already, for another's sake.
            return;
        }
        if lines.end && lines.bytes.last() != Some(&b'\n') {
            let whole = if lines.start { memrchr(b'\n', &lines.bytes).map_or(0, |at| at + 1) } else { 0 };
            let rest = lines.bytes.split_off(whole);
            self.held = Some((source, Lines { bytes: rest, ..lines }));
        }
        if !lines.bytes.is_empty() {
            self.deliver(source, &lines);
        }
    }

    /// Lets the held line go; with an end if more may follow.
    fn release(&mut self, more: bool) {
        if let Some((source, mut lines)) = self.held.take() {
            if more {
                lines.bytes.push(b'\n');
            }
            self.deliver(source, &lines);
        }
    }

    fn deliver(&mut self, source: usize, lines: &Lines) {
        self.open = (!lines.end).then_some(source);
        // Live readers first: they don't wait for the terminal.
        if let Some(feeding) = &self.feeding {
            feeding.line(source, lines.piece());
        }
        match &mut self.sieves[source] {
            None => self.page.print(source, &lines.bytes),
            Some(sieve) => {
                let mut passed = Vec::new();
                sieve.push(&lines.bytes, |run| passed.extend_from_slice(run));
                self.page.print(source, &passed);
            }
        }
    }

    fn missed(&mut self, source: usize, missed: Missed) {
        self.release(true);
        self.open = None;
        if let Some(feeding) = &self.feeding {
            feeding.missed(missed);
        }
        self.page.note(source, &missed.to_line());
    }

    fn end(&mut self, source: usize) {
        self.alive -= 1;
        // Another's line without an end may be the last yet.
        if self.alive == 0 || self.held.as_ref().is_some_and(|(held, _)| *held == source) {
            self.release(self.alive > 0);
        }
        if let Some(mut sieve) = self.sieves[source].take() {
            let mut passed = Vec::new();
            sieve.finish(|run| passed.extend_from_slice(run));
            self.page.print(source, &passed);
            self.long_lines += sieve.long_lines();
        }
    }
}

/// Our stdout, with lines of many sources on it.
struct Page {
    printer: Printer,
    printed: Interleave,
    prefixes: Option<Vec<Vec<u8>>>,
}

impl Page {
    /// Prints whole lines, or a piece of one.
    fn print(&mut self, source: usize, bytes: &[u8]) {
        if bytes.is_empty() || self.printer.is_closed() {
            return;
        }
        let turn = self.printed.turn(source, bytes.ends_with(b"\n"));
        if turn.cut.is_none() && self.prefixes.is_none() {
            return self.printer.print(bytes);
        }
        let mut text = if turn.cut.is_some() { vec![b'\n'] } else { Vec::new() };
        let prefix = self.prefix(source);
        for (index, line) in bytes.split_inclusive(|byte| *byte == b'\n').enumerate() {
            if index > 0 || turn.starts {
                text.extend_from_slice(prefix);
            }
            text.extend_from_slice(line);
        }
        self.printer.print(&text);
    }

    /// Prints a line of ours about a source.
    fn note(&mut self, source: usize, line: &str) {
        let mut text = if self.printed.between().is_some() { vec![b'\n'] } else { Vec::new() };
        text.extend_from_slice(self.prefix(source));
        text.extend_from_slice(line.as_bytes());
        self.printer.print(&text);
    }

    fn prefix(&self, source: usize) -> &[u8] {
        self.prefixes.as_ref().map_or(b"", |prefixes| &prefixes[source])
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;

    fn lines(bytes: &[u8], start: bool, end: bool) -> Event {
        Event::Lines(Lines { bytes: bytes.to_vec(), start, end })
    }

    fn printed(prefix: bool, filter: &Filter, events: Vec<(usize, Event)>) -> String {
        let (mut reader, writer) = io::pipe().unwrap();
        let names = ["a".to_owned(), "b".to_owned()].to_vec();
        let mut carrier = Carrier::new(
            names,
            filter,
            prefix,
            Printer::new(writer.into()),
            None,
            Box::new(|notice| panic!("{notice:?}")),
        );
        events.into_iter().for_each(|(source, event)| carrier.take(source, event));
        drop(carrier);
        let mut text = String::new();
        reader.read_to_string(&mut text).unwrap();
        text
    }

    #[test]
    fn a_line_without_an_end_gets_one_if_another_follows() {
        let events = || {
            vec![
                (0, lines(b"one\ntwo", true, true)),
                (0, Event::End(Ok(()))),
                (1, lines(b"three", true, true)),
                (1, Event::End(Ok(()))),
            ]
        };
        assert_eq!(printed(false, &Filter::default(), events()), "one\ntwo\nthree");
        assert_eq!(printed(true, &Filter::default(), events()), "a: one\na: two\nb: three");
        let filter = Filter::new(["t"], [""; 0]).unwrap();
        assert_eq!(printed(true, &filter, events()), "a: two\nb: three");
    }

    #[test]
    fn a_long_line_that_was_ended_for_another_has_no_second_end() {
        let long = |other: Event| {
            let end = (0, lines(b"", false, true));
            vec![(0, lines(b"long", true, false)), (1, other), end, (1, lines(b"last\n", true, true))]
        };
        let events = || long(lines(b"x\n", true, true));
        assert_eq!(printed(false, &Filter::default(), events()), "long\nx\nlast\n");
        assert_eq!(printed(true, &Filter::default(), events()), "a: long\nb: x\nb: last\n");
        let missed = long(Event::Missed(Missed::unknown(crate::flow::Why::Truncated)));
        assert_eq!(printed(false, &Filter::default(), missed).lines().count(), 3);
        // Where nothing came between, it is what ends the line.
        let events =
            vec![(0, lines(b"long", true, false)), (0, lines(b"", false, true)), (1, lines(b"x\n", true, true))];
        assert_eq!(printed(false, &Filter::default(), events), "long\nx\n");
    }

    #[test]
    fn a_long_line_is_ended_where_another_source_comes_between() {
        let events = vec![
            (0, lines(b"long", true, false)),
            (0, lines(b"er", false, false)),
            (1, lines(b"x\n", true, true)),
            (0, lines(b"est\n", false, true)),
        ];
        assert_eq!(printed(true, &Filter::default(), events), "a: longer\nb: x\na: est\n");
    }
}
