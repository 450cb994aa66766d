//! Patterns of keys, as Redis has them: `*`, `?`, `[a-z]`, `[^a]`, and `\` before a character.

/// Whether a key matches, as Redis' `KEYS` and `SCAN ... MATCH` would say.
pub(super) fn matches(pattern: &[u8], key: &[u8]) -> bool {
    // Where to go on after the last `*`: one byte more of the key is its each time.
    let (mut at, mut in_key, mut star) = (0, 0, None);
    while in_key < key.len() {
        if pattern.get(at) == Some(&b'*') {
            star = Some((at + 1, in_key));
            at += 1;
        } else if let Some(next) = one(pattern, at, key[in_key]) {
            (at, in_key) = (next, in_key + 1);
        } else if let Some((after, taken)) = star {
            star = Some((after, taken + 1));
            (at, in_key) = (after, taken + 1);
        } else {
            return false;
        }
    }
    pattern[at..].iter().all(|byte| *byte == b'*')
}

/// Where the pattern goes on if its part at `at` matches this byte.
fn one(pattern: &[u8], at: usize, byte: u8) -> Option<usize> {
    match *pattern.get(at)? {
        b'?' => Some(at + 1),
        b'[' => {
            let (is_in, next) = class(pattern, at + 1, byte);
            is_in.then_some(next)
        }
        b'\\' if at + 1 < pattern.len() => (pattern[at + 1] == byte).then_some(at + 2),
        literal => (literal == byte).then_some(at + 1),
    }
}

/// Whether the byte is in the class that begins here, and where it ends.
fn class(pattern: &[u8], start: usize, byte: u8) -> (bool, usize) {
    let is_not = pattern.get(start) == Some(&b'^');
    let (mut at, mut found) = (start + usize::from(is_not), false);
    while let Some(&first) = pattern.get(at) {
        match first {
            b']' => break,
            b'\\' if at + 1 < pattern.len() => {
                found |= pattern[at + 1] == byte;
                at += 2;
            }
            _ if pattern.get(at + 1) == Some(&b'-') && at + 2 < pattern.len() => {
                let (low, high) = (first.min(pattern[at + 2]), first.max(pattern[at + 2]));
                found |= (low..=high).contains(&byte);
                at += 3;
            }
            _ => {
                found |= first == byte;
                at += 1;
            }
        }
    }
    (found != is_not, (at + 1).min(pattern.len()))
}

#[cfg(test)]
mod tests {
    use super::matches;

    #[test]
    fn patterns_mean_what_they_mean_to_redis() {
        for (pattern, key) in [
            ("*", ""),
            ("*", "any"),
            ("session:*", "session:1"),
            ("a*b*c", "a-bb-c"),
            ("h?llo", "hello"),
            ("h[ae]llo", "hallo"),
            ("h[^e]llo", "hallo"),
            ("h[a-c]llo", "hbllo"),
            ("h[c-a]llo", "hbllo"),
            (r"a\*b", "a*b"),
            (r"[\]]", "]"),
        ] {
            assert!(matches(pattern.as_bytes(), key.as_bytes()), "{pattern} {key}");
        }
        for (pattern, key) in [
            ("", "a"),
            ("a", ""),
            ("session:*", "sessions"),
            ("h?llo", "hllo"),
            ("h[^e]llo", "hello"),
            (r"a\*b", "axb"),
        ] {
            assert!(!matches(pattern.as_bytes(), key.as_bytes()), "{pattern} {key}");
        }
        assert!(matches(b"\xff*", b"\xff\0x"));
    }
}
