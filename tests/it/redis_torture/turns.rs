//! What the contenders wrote down of their leases.

use std::path::Path;

use towpath::clock::Moment;

/// One lease, as its holder believed in it.
#[derive(Clone, Debug)]
pub(super) struct Turn {
    /// The log that it is from.
    pub(super) log: String,
    pub(super) fence: u64,
    /// Before the store was asked for it, at the earliest.
    pub(super) asked: Moment,
    /// When its holder knew of it.
    pub(super) from: Moment,
    /// Until when its holder relied on it: what the last look at it told, or its own end before that.
    pub(super) until: Moment,
    /// The resource refused its fence, and it was valid all the same.
    pub(super) refused_while_valid: bool,
}

/// All turns that are written down in `*.turns` of a directory, by their beginning.
pub(super) fn turns(directory: &Path) -> Vec<Turn> {
    let mut turns = Vec::new();
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "turns") {
            let log = path.file_name().unwrap().to_string_lossy().into_owned();
            read(&log, &std::fs::read_to_string(&path).unwrap(), &mut turns);
        }
    }
    turns.sort_by_key(|turn| turn.from);
    turns
}

fn read(log: &str, text: &str, turns: &mut Vec<Turn>) {
    let moment = |word: &str| Moment::from_since_boot_ns(word.parse().unwrap());
    let mut current: Option<Turn> = None;
    for line in text.lines() {
        let words: Vec<_> = line.split(' ').collect();
        match (words.as_slice(), &mut current) {
            (["held", fence, asked, from, until], current) => {
                let (fence, log) = (fence.parse().unwrap(), log.to_owned());
                let (asked, from, until) = (moment(asked), moment(from), moment(until));
                turns.extend(current.replace(Turn { log, fence, asked, from, until, refused_while_valid: false }));
            }
            (["valid", _, until], Some(turn)) => turn.until = moment(until),
            (["ended", _, at], Some(turn)) => turn.until = turn.until.min(moment(at)),
            (["refused", _, valid], Some(turn)) => turn.refused_while_valid |= *valid == "true",
            (["failed", ..], _) => {}
            _ => panic!("{log}: {line:?}"),
        }
    }
    turns.extend(current);
}

/// Pairs of turns that were valid at the same time, of turns by their beginning.
pub(super) fn overlaps(turns: &[Turn]) -> Vec<(&Turn, &Turn)> {
    let valid: Vec<_> = turns.iter().filter(|turn| turn.from < turn.until).collect();
    let mut overlaps = Vec::new();
    for (at, early) in valid.iter().enumerate() {
        let later = valid[at + 1..].iter().filter(|late| late.from < early.until);
        overlaps.extend(later.map(|late| (*early, *late)));
    }
    overlaps
}

#[test]
fn turns_end_with_what_was_last_looked_at_and_overlap_where_both_were_valid() {
    let mut turns = Vec::new();
    read("a", "held 1 0 10 100\nvalid 1 150\nfailed by the way\nrefused 1 true\nended 1 120\n", &mut turns);
    read("b", "held 2 100 110 200\nheld 3 190 230 220\nended 3 999\n", &mut turns);
    let spans: Vec<_> = turns.iter().map(|turn| (turn.from.since_boot_ns(), turn.until.since_boot_ns())).collect();
    assert_eq!(spans, [(10, 120), (110, 200), (230, 220)]);
    assert_eq!((turns[0].log.as_str(), turns[2].log.as_str()), ("a", "b"));
    assert!(turns[0].refused_while_valid && !turns[1].refused_while_valid);
    let found: Vec<_> = overlaps(&turns).iter().map(|(early, late)| (early.fence, late.fence)).collect();
    assert_eq!(found, [(1, 2)]);
}
