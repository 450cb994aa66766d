//! Decoding a chunked body (RFC 9112, 7.1), strictly.
//!
//! Takes framing off the front of what came and says how many bytes of data
//! follow; the data itself never passes through here. After an error nothing
//! behind it can be understood.

/// A size line with its extensions; Go's bound.
const LINE_BYTES: usize = 4096;
/// All extensions of a body together, and its trailers; hyper's bound.
const EXTRA_BYTES: usize = 16 * 1024;
/// As many as a `u64` has.
const SIZE_DIGITS: usize = 16;

/// What follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Next {
    /// So many bytes of data; what of them was taken is told by [`Decoder::took`].
    Data(u64),
    /// More framing is needed first.
    More,
    /// The body is complete; the next byte isn't part of it.
    End,
}

/// Why a body can't be decoded.
pub(crate) type Malformed = &'static str;

#[derive(Debug)]
pub(crate) struct Decoder {
    state: State,
    /// Of the line that is being read.
    line_bytes: usize,
    size: u64,
    extra_bytes: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Size,
    Extension,
    SizeLf,
    Data,
    DataCr,
    DataLf,
    /// A trailer, or the empty line at the end; `named` once its colon came.
    Trailer {
        named: bool,
    },
    TrailerLf {
        is_empty: bool,
    },
    End,
}

impl Decoder {
    pub(crate) fn new() -> Decoder {
        Decoder { state: State::Size, line_bytes: 0, size: 0, extra_bytes: 0 }
    }

    /// Reads framing from the front of `input`: how much of it was taken, and
    /// what follows. The result doesn't depend on how the bytes were split.
    pub(crate) fn parse(&mut self, input: &[u8]) -> Result<(usize, Next), Malformed> {
        for (taken, byte) in input.iter().enumerate() {
            match self.state {
                State::Data => return Ok((taken, Next::Data(self.size))),
                State::End => return Ok((taken, Next::End)),
                _ => self.step(*byte)?,
            }
        }
        let next = match self.state {
            State::Data => Next::Data(self.size),
            State::End => Next::End,
            _ => Next::More,
        };
        Ok((input.len(), next))
    }

    /// `count` bytes of the data that was announced have been taken.
    pub(crate) fn took(&mut self, count: u64) {
        self.size = self.size.saturating_sub(count);
        if self.state == State::Data && self.size == 0 {
            self.state = State::DataCr;
        }
    }

    fn step(&mut self, byte: u8) -> Result<(), Malformed> {
        self.state = match (self.state, byte) {
            (State::Size, b'0'..=b'9' | b'a'..=b'f' | b'A'..=b'F') => self.digit(byte)?,
            (State::Size, b';') if self.line_bytes > 0 => self.extension()?,
            (State::Size, b'\r') if self.line_bytes > 0 => State::SizeLf,
            (State::Size, _) => return Err("a malformed chunk size"),
            (State::Extension, b'\r') => State::SizeLf,
            (State::Extension, b'\t' | b' '..=b'~' | 0x80..) => self.extension()?,
            (State::Extension, _) => return Err("a malformed chunk extension"),
            (State::SizeLf, b'\n') => self.start_data(),
            (State::DataCr, b'\r') => State::DataLf,
            (State::DataLf, b'\n') => self.start_line(State::Size),
            (State::DataCr | State::DataLf, _) => return Err("a chunk longer than its size"),
            (State::Trailer { named }, _) => self.trailer(byte, named)?,
            (State::TrailerLf { is_empty: true }, b'\n') => State::End,
            (State::TrailerLf { is_empty: false }, b'\n') => self.start_line(State::Trailer { named: false }),
            (State::SizeLf | State::TrailerLf { .. }, _) => return Err("a CR without LF in the chunks' framing"),
            (state @ (State::Data | State::End), _) => state,
        };
        Ok(())
    }

    fn digit(&mut self, byte: u8) -> Result<State, Malformed> {
        if self.line_bytes == SIZE_DIGITS {
            return Err("a chunk size of more than 16 digits");
        }
        self.line_bytes += 1;
        self.size = self.size << 4 | u64::from(char::from(byte).to_digit(16).unwrap_or(0));
        Ok(State::Size)
    }

    fn extension(&mut self) -> Result<State, Malformed> {
        self.line_bytes += 1;
        if self.line_bytes > LINE_BYTES {
            return Err("a chunk's line is too long");
        }
        self.extra()?;
        Ok(State::Extension)
    }

    fn start_data(&mut self) -> State {
        self.line_bytes = 0;
        if self.size > 0 {
            return State::Data;
        }
        self.extra_bytes = 0;
        State::Trailer { named: false }
    }

    fn start_line(&mut self, state: State) -> State {
        self.line_bytes = 0;
        self.size = 0;
        state
    }

    /// Trailers are checked and dropped.
    fn trailer(&mut self, byte: u8, named: bool) -> Result<State, Malformed> {
        self.extra()?;
        let first = self.line_bytes == 0;
        self.line_bytes += 1;
        match byte {
            b'\r' if first => Ok(State::TrailerLf { is_empty: true }),
            b'\r' if named => Ok(State::TrailerLf { is_empty: false }),
            b':' if !first => Ok(State::Trailer { named: true }),
            b'\t' | b' '..=b'~' | 0x80.. if named => Ok(State::Trailer { named }),
            _ if !named && is_token(byte) => Ok(State::Trailer { named }),
            _ => Err("a malformed trailer"),
        }
    }

    fn extra(&mut self) -> Result<(), Malformed> {
        self.extra_bytes += 1;
        if self.extra_bytes > EXTRA_BYTES { Err("too many chunk extensions or trailers") } else { Ok(()) }
    }
}

/// A character of a name (RFC 9110, 5.6.2).
pub(crate) fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The data, and how many bytes the body took, as a connection would read it.
    fn decode(input: &[u8], splits: &[usize]) -> Result<Option<(Vec<u8>, usize)>, Malformed> {
        let mut ends: Vec<usize> = splits.iter().map(|at| at % (input.len() + 1)).collect();
        ends.sort_unstable();
        ends.push(input.len());
        let (mut decoder, mut data, mut at) = (Decoder::new(), Vec::new(), 0);
        for end in ends {
            loop {
                let (taken, next) = decoder.parse(&input[at..end])?;
                at += taken;
                match next {
                    Next::Data(size) => {
                        let here = (end - at).min(usize::try_from(size).unwrap_or(usize::MAX));
                        if here == 0 {
                            break;
                        }
                        data.extend_from_slice(&input[at..at + here]);
                        decoder.took(u64::try_from(here).unwrap());
                        at += here;
                    }
                    Next::More => break,
                    Next::End => return Ok(Some((data, at))),
                }
            }
        }
        Ok(None)
    }

    #[test]
    fn a_body_ends_where_it_says_and_no_byte_later() {
        let body = b"3\r\nabc\r\n000A;x=\"y\"\r\n0123456789\r\n0\r\nT: u\r\nV:\r\n\r\nGET /";
        let (data, length) = decode(body, &[]).unwrap().unwrap();
        assert_eq!((&data[..], &body[length..]), (&b"abc0123456789"[..], &b"GET /"[..]));
    }

    #[test]
    fn what_two_readers_could_understand_differently_is_refused() {
        for bad in [
            "\r\n",
            ";x\r\n",
            "g\r\n",
            "0x1\r\n",
            "+1\r\n",
            "-1\r\n",
            " 1\r\n",
            "1 \r\n",
            "1\n",
            "1\r\r\n",
            "1\r\nab\r\n",
            "1\r\na\n",
            "1\r\na\rb",
            "1;a\nb\r\n",
            "1;a\0\r\n",
            "11111111111111111\r\n",
            "0\r\n\n",
            "0\r\nno colon\r\n\r\n",
            "0\r\n: x\r\n\r\n",
            "0\r\n a: b\r\n\r\n",
            "0\r\na : b\r\n\r\n",
            "0\r\na: \0\r\n\r\n",
        ] {
            assert!(decode(bad.as_bytes(), &[]).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn lines_extensions_and_trailers_have_bounds() {
        assert!(decode(format!("1;{}", "x".repeat(4_090)).as_bytes(), &[]).unwrap().is_none());
        assert!(decode(format!("1;{}", "x".repeat(4_096)).as_bytes(), &[]).is_err());
        assert!(decode(format!("1;{}\r\na\r\n", "x".repeat(4_000)).repeat(5).as_bytes(), &[]).is_err());
        assert!(decode(format!("0\r\nT: {}", "x".repeat(16_300)).as_bytes(), &[]).unwrap().is_none());
        assert!(decode(format!("0\r\nT: {}", "x".repeat(16_400)).as_bytes(), &[]).is_err());
        assert_eq!(decode(b"FFFFFFFFFFFFFFFF\r\nabc", &[]), Ok(None));
    }

    proptest! {
        #[test]
        fn any_chunks_in_any_pieces_give_the_data_back(
            chunks in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 1..40), 0..6),
            splits in proptest::collection::vec(any::<usize>(), 0..8),
            behind in proptest::collection::vec(any::<u8>(), 0..8),
        ) {
            let mut body = Vec::new();
            for chunk in &chunks {
                body.extend_from_slice(format!("{:x}\r\n", chunk.len()).as_bytes());
                body.extend_from_slice(chunk);
                body.extend_from_slice(b"\r\n");
            }
            body.extend_from_slice(b"0\r\n\r\n");
            let length = body.len();
            body.extend_from_slice(&behind);
            prop_assert_eq!(decode(&body, &splits), Ok(Some((chunks.concat(), length))));
        }

        #[test]
        fn any_bytes_in_any_pieces_are_understood_alike(
            pieces in proptest::collection::vec(prop_oneof![
                Just(b"1\r\na\r\n".to_vec()), Just(b"0\r\n".to_vec()), Just(b"\r\n".to_vec()), Just(b"A: b\r\n".to_vec()),
                Just(b"2;x\r\n".to_vec()), proptest::collection::vec(any::<u8>(), 0..4),
            ], 0..10),
            splits in proptest::collection::vec(any::<usize>(), 0..8),
        ) {
            let input = pieces.concat();
            let whole = decode(&input, &[]);
            prop_assert_eq!(&decode(&input, &splits), &whole);
            if let Ok(Some((_, length))) = whole {
                prop_assert!(input[..length].ends_with(b"\r\n"));
            }
        }
    }
}
