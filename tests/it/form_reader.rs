//! Bodies read as forms: the same parts however the bytes arrive, an end only
//! where it is proven, and every limit and rule by its name.

use std::fmt;
use std::io::{self, BufRead, Read};

use proptest::prelude::*;
use towpath::form::{Boundary, Error, ErrorKind, Limit, Limits, Reader, Rule};

/// What a part was.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Got {
    pub(crate) name: String,
    pub(crate) file_name: Option<String>,
    pub(crate) content_type: Option<String>,
    pub(crate) content: Vec<u8>,
}

impl Got {
    pub(crate) fn field(name: &str, text: &str) -> Got {
        Got { name: name.to_owned(), file_name: None, content_type: None, content: text.into() }
    }

    pub(crate) fn file(name: &str, file_name: &str, content_type: &str, content: impl Into<Vec<u8>>) -> Got {
        Got {
            name: name.to_owned(),
            file_name: Some(file_name.to_owned()),
            content_type: Some(content_type.to_owned()),
            content: content.into(),
        }
    }
}

impl fmt::Debug for Got {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let start = self.content[..self.content.len().min(200)].escape_ascii();
        let Got { name, file_name, content_type, content } = self;
        write!(f, "{name:?} {file_name:?} {content_type:?}: {} bytes: {start}", content.len())
    }
}

/// All parts of a body, each read to its end.
pub(crate) fn parts<R: Read>(reader: &mut Reader<R>) -> Result<Vec<Got>, Error> {
    let mut all = Vec::new();
    while let Some(mut part) = reader.next_part()? {
        let own = |text: Option<&str>| text.map(str::to_owned);
        let (name, file_name) = (part.name().to_owned(), own(part.file_name()));
        let content_type = own(part.content_type());
        let mut content = Vec::new();
        if part.read_to_end(&mut content).is_err() {
            return Err(reader.next_part().unwrap_err());
        }
        all.push(Got { name, file_name, content_type, content });
    }
    Ok(all)
}

/// Gives its bytes up to the next cut, or the next multiple of `step`, at a time.
struct Drip<'a> {
    bytes: &'a [u8],
    passed: usize,
    cuts: &'a [usize],
    step: usize,
}

impl Read for Drip<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let cut = self.cuts.iter().copied().find(|&cut| cut > self.passed).unwrap_or(usize::MAX);
        let most = (cut - self.passed).min(self.step - self.passed % self.step);
        let len = (&self.bytes[self.passed..][..most.min(self.bytes.len() - self.passed)]).read(buf)?;
        self.passed += len;
        Ok(len)
    }
}

fn boundary() -> Boundary {
    Boundary::from_content_type("multipart/form-data; boundary=bound").unwrap()
}

fn read(body: impl AsRef<[u8]>) -> Result<Vec<Got>, Error> {
    read_with(body, Limits::default())
}

fn read_with(body: impl AsRef<[u8]>, limits: Limits) -> Result<Vec<Got>, Error> {
    parts(&mut Reader::new(body.as_ref(), boundary(), limits))
}

fn drip(body: &[u8], cuts: &[usize], step: usize) -> Result<Vec<Got>, Error> {
    let drip = Drip { bytes: body, passed: 0, cuts, step };
    parts(&mut Reader::with_buffer(drip, boundary(), Limits::default(), 0))
}

#[track_caller]
fn breaks(body: impl AsRef<[u8]>, rule: Rule) {
    match read(body.as_ref()).unwrap_err().kind() {
        ErrorKind::Rule(broken) => assert_eq!(*broken, rule),
        other => panic!("{other} instead of {rule}"),
    }
}

#[track_caller]
fn passes(limit: Limit, body: impl AsRef<[u8]>, limits: Limits) {
    match read_with(body.as_ref(), limits).unwrap_err().kind() {
        ErrorKind::Limit(passed) => assert_eq!(*passed, limit),
        other => panic!("{other} instead of {limit}"),
    }
}

/// A body of one part with these header lines.
fn with_headers(lines: &str) -> String {
    format!("--bound\r\n{lines}\r\n\r\nx\r\n--bound--\r\n")
}

const FIELD: &str = "Content-Disposition: form-data; name=\"f\"";

/// Content that nearly has a delimiter in it, in every way.
const NEARLY: &str =
    "\r\n--boun\r\n--boundX\r\n--bound-\r\r\n--bound -\r\n--bound x\r\n--bound\rx\n--bound\r\n--bound-x\r\n--bound \rx";

/// A preamble, blanks behind a delimiter, an empty part, and an epilogue.
fn tricky() -> (String, Vec<Got>) {
    let body = format!(
        "pre\r\n--boun\r\n--bound\t \r\n{FIELD}\r\n\r\n{NEARLY}\r\n\r\n--bound\r\n\
         Content-Disposition: form-data; name=\"e\"; filename=\"e\"\r\nContent-Type: a/b\r\n\r\n\r\n--bound \r\n\
         {FIELD}\r\n\r\n\r\n\r\r\n--bound--epilogue\r\n--bound\r\n",
    );
    let content = format!("{NEARLY}\r\n");
    let want = vec![Got::field("f", &content), Got::file("e", "e", "a/b", ""), Got::field("f", "\r\n\r")];
    (body, want)
}

#[test]
fn no_split_of_the_bytes_changes_what_is_read() {
    let (body, want) = tricky();
    assert_eq!(read(&body).unwrap(), want);
    for step in 1..=body.len() {
        assert_eq!(drip(body.as_bytes(), &[], step).unwrap(), want, "{step} bytes at a time");
    }
    for at in 0..body.len() {
        for then in at..body.len() {
            assert_eq!(drip(body.as_bytes(), &[at, then], usize::MAX).unwrap(), want, "split at {at} and {then}");
        }
    }
}

#[test]
fn no_place_of_a_delimiter_in_the_buffer_changes_what_is_read() {
    for len in 0..1_100 {
        let content = "x".repeat(len) + NEARLY;
        let body = format!(
            "--bound\r\n{FIELD}; filename=a\r\n\r\n{content}\r\n--bound{:256}\r\n{FIELD}\r\n\r\ny\r\n--bound--",
            ""
        );
        let got = drip(body.as_bytes(), &[], usize::MAX).unwrap();
        assert_eq!(got.len(), 2, "{len}");
        assert!(got[0].content == content.as_bytes() && got[1].content == b"y", "{len}");
    }
}

#[test]
fn a_body_cut_anywhere_is_an_error_and_the_part_that_it_cuts_has_no_end() {
    let (body, want) = tricky();
    let whole = body.find("epilogue").unwrap();
    for len in 0..whole {
        for step in [1, usize::MAX] {
            let error = drip(&body.as_bytes()[..len], &[], step).unwrap_err();
            assert!(matches!(error.kind(), ErrorKind::Cut), "cut at {len}: {error}");
        }
    }
    assert_eq!(read(&body[..whole]).unwrap(), want, "nothing has to come behind the final delimiter");

    let body = format!("--bound\r\n{FIELD}; filename=a\r\n\r\ncontent\r\n--bound");
    let mut reader = Reader::new(body.as_bytes(), boundary(), Limits::default());
    let error = reader.next_part().unwrap().unwrap().read_to_end(&mut Vec::new()).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
    let inside = Error::inside(&error).unwrap();
    assert_eq!(inside.to_string(), "the form's part 1: the body ended before its final delimiter");
}

#[test]
fn after_an_error_there_are_errors_only() {
    let body = format!("--bound\r\n{FIELD}\r\n\r\n12345\r\n--bound\r\n{FIELD}\r\n\r\nx\r\n--bound--\r\n");
    let mut limits = Limits::default();
    limits.text_bytes = 4;
    let mut reader = Reader::new(body.as_bytes(), boundary(), limits);
    let mut part = reader.next_part().unwrap().unwrap();
    for _ in 0..2 {
        let error = part.fill_buf().unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidData);
        assert_eq!(error.to_string(), "the form's part 1: a field that isn't a file is longer than 4 bytes");
    }
    assert_eq!(part.name(), "f");
    for _ in 0..2 {
        assert!(matches!(reader.next_part().unwrap_err().kind(), ErrorKind::Limit(Limit::TextBytes(4))));
    }
}

#[test]
fn a_head_that_is_wrong_is_not_read_on_from_its_middle() {
    let body = with_headers(&format!("no colon\r\n{FIELD}"));
    let mut reader = Reader::new(body.as_bytes(), boundary(), Limits::default());
    for _ in 0..2 {
        assert!(matches!(reader.next_part().unwrap_err().kind(), ErrorKind::Rule(Rule::Header)));
    }
}

#[test]
fn the_bodys_own_error_is_passed_on() {
    struct Failing;
    impl Read for Failing {
        fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
            Err(io::Error::new(io::ErrorKind::TimedOut, "too slow"))
        }
    }
    let head = format!("--bound\r\n{FIELD}\r\n\r\n");
    let mut reader = Reader::new(head.as_bytes().chain(Failing), boundary(), Limits::default());
    let error = reader.next_part().unwrap().unwrap().read(&mut [0; 9]).unwrap_err();
    assert_eq!((error.kind(), error.to_string().as_str()), (io::ErrorKind::TimedOut, "too slow"));
    assert!(Error::inside(&error).is_none());
    let error = reader.next_part().unwrap_err();
    assert_eq!((error.to_string().as_str(), error.part()), ("the form's part 1: the body can't be read", 1));
    assert_eq!(std::error::Error::source(&error).unwrap().to_string(), "too slow");
}

#[test]
fn a_part_dropped_early_is_read_over() {
    let (body, want) = tricky();
    let mut reader = Reader::new(body.as_bytes(), boundary(), Limits::default());
    let mut names = Vec::new();
    while let Some(mut part) = reader.next_part().unwrap() {
        names.push(part.name().to_owned());
        assert!(part.read(&mut [0]).unwrap() <= 1);
    }
    assert_eq!(names, want.into_iter().map(|part| part.name).collect::<Vec<_>>());
    assert!(reader.next_part().unwrap().is_none(), "the end stays the end");
}

#[test]
fn lines_that_end_in_lf_alone_are_refused() {
    breaks(with_headers(FIELD).replace("\r\n", "\n"), Rule::LineFeed);
    breaks(with_headers(&format!("{FIELD}\nContent-Type: a/b")), Rule::LineFeed);
    breaks(with_headers(FIELD).replacen("\r\n\r\n", "\r\n\n", 1), Rule::LineFeed);
    breaks(with_headers(FIELD).replace("x\r\n--bound--", "x\r\n--bound\n--bound--"), Rule::LineFeed);
}

#[test]
fn what_two_readers_would_read_differently_is_refused() {
    breaks(with_headers(&format!("{FIELD}; name=\"g\"")), Rule::ParameterTwice);
    breaks(with_headers(&format!("{FIELD}; filename=a; filename=b")), Rule::ParameterTwice);
    breaks(with_headers(&format!("{FIELD}\r\n{FIELD}")), Rule::HeaderTwice);
    breaks(with_headers(&format!("{FIELD};\r\n filename=a")), Rule::Header);
    breaks(with_headers("Content-Disposition: form-data; filename=\"name=f\""), Rule::NoName);
    breaks(with_headers(&format!("{FIELD}\r\nContent-Transfer-Encoding: base64")), Rule::TransferEncoding);
    breaks(with_headers("Content-Type: text/plain"), Rule::Disposition);
    breaks("--bound\r\n\r\nx\r\n--bound--", Rule::Disposition);
    breaks(with_headers(&format!("{FIELD}; filename=\"a\0b\"")), Rule::Header);
    breaks(with_headers(&format!("{FIELD}; filename=\"..\"")), Rule::FileName);
    breaks(format!("--bound{:257}\r\n{FIELD}\r\n\r\nx\r\n--bound--", ""), Rule::Padding);
    let body = b"--bound\r\nContent-Disposition: form-data; name=\"\xff\"\r\n\r\nx\r\n--bound--";
    breaks(body, Rule::Utf8);
}

#[test]
fn a_file_is_never_named_by_a_path_or_another_parameter() {
    for (sent, want) in
        [("../../x", "x"), ("a;b.txt", "a;b.txt"), ("x%22y", "x\"y"), ("x\\\"y", "x\"y"), ("a/b\\c", "c")]
    {
        let got = read(with_headers(&format!("{FIELD}; filename=\"{sent}\"; filename*=UTF-8''evil"))).unwrap();
        assert_eq!(got[0].file_name.as_deref(), Some(want), "{sent}");
    }
}

#[test]
fn a_file_that_was_not_chosen_is_no_part() {
    let unchosen = format!("--bound\r\n{FIELD}; filename=\"\"\r\nContent-Type: application/octet-stream\r\n\r\n");
    let field = format!("\r\n--bound\r\n{FIELD}\r\n\r\nx\r\n--bound--\r\n");
    assert_eq!(read(unchosen.clone() + &field).unwrap(), [Got::field("f", "x")]);
    breaks(unchosen + "x" + &field, Rule::Unnamed);
}

#[test]
fn a_form_may_have_no_parts_but_not_be_nothing() {
    assert_eq!(read("--bound--\r\n").unwrap(), []);
    assert_eq!(read("\r\n--bound--").unwrap(), []);
    assert!(matches!(read("").unwrap_err().kind(), ErrorKind::Cut));
    let error = read("no form at all").unwrap_err();
    assert_eq!(error.to_string(), "the form before its first part: the body ended before its final delimiter");
}

#[test]
fn every_limit_holds_to_the_byte() {
    let limits = Limits::default();
    let field = |len: usize| format!("--bound\r\n{FIELD}\r\n\r\n{}\r\n--bound--", "x".repeat(len));
    assert_eq!(read(field(1_048_576)).unwrap()[0].content.len(), 1_048_576);
    passes(Limit::TextBytes(1_048_576), field(1_048_577), limits);

    let preamble = |len: usize| "x".repeat(len) + "\r\n" + &with_headers(FIELD);
    assert_eq!(read(preamble(8_192)).unwrap().len(), 1);
    passes(Limit::PreambleBytes(8_192), preamble(8_193), limits);

    let many = |count: usize| format!("--bound\r\n{FIELD}\r\n\r\nx\r\n").repeat(count) + "--bound--";
    assert_eq!(read(many(1_000)).unwrap().len(), 1_000);
    passes(Limit::Parts(1_000), many(1_001), limits);
    passes(Limit::Parts(1_000), many(10_000), limits);
    passes(Limit::Parts(1_000), many(1_001).replace("\"f\"", "\"f\"; filename=\"\"").replace("\nx\r", "\n\r"), limits);

    let headers = |count: usize| with_headers(&(FIELD.to_owned() + &"\r\nX: y".repeat(count - 1)));
    assert_eq!(read(headers(16)).unwrap().len(), 1);
    passes(Limit::Headers(16), headers(17), limits);

    let header = |len: usize| with_headers(&format!("{FIELD}\r\nX: {}", "y".repeat(len - FIELD.len() - 2 - 5)));
    assert_eq!(read(header(8_192)).unwrap().len(), 1);
    passes(Limit::HeaderBytes(8_192), header(8_193), limits);
    passes(Limit::HeaderBytes(8_192), format!("--bound\r\nX: {}", "y".repeat(100_000)), limits);
}

#[test]
fn text_is_bounded_and_utf_8_also_where_it_is_a_file() {
    let body = |content: &str| format!("--bound\r\n{FIELD}; filename=a\r\n\r\n{content}\r\n--bound--").into_bytes();
    let text = |body: Vec<u8>| {
        let mut limits = Limits::default();
        limits.text_bytes = 6;
        let mut reader = Reader::new(body.as_slice(), boundary(), limits);
        reader.next_part().unwrap().unwrap().text()
    };
    assert_eq!(text(body("grüne")).unwrap(), "grüne");
    assert!(matches!(text(body("grünes")).unwrap_err().kind(), ErrorKind::Limit(Limit::TextBytes(6))));
    let broken: Vec<_> = body("gr_n").into_iter().map(|byte| if byte == b'_' { 0xfc } else { byte }).collect();
    assert!(matches!(text(broken).unwrap_err().kind(), ErrorKind::Rule(Rule::Utf8)));
}

#[test]
fn no_read_asks_for_more_than_the_buffer_holds() {
    struct Asked(usize);
    impl Read for Asked {
        fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
            assert!(buf.len() <= 4_096);
            self.0 += buf.len();
            buf.fill(b'x');
            Ok(if self.0 > 50_000_000 { 0 } else { buf.len() })
        }
    }
    let head = format!("--bound\r\n{FIELD}; filename=a\r\n\r\n");
    let body = io::Cursor::new(head).chain(Asked(0));
    let mut reader = Reader::with_buffer(body, boundary(), Limits::default(), 4_096);
    let mut part = reader.next_part().unwrap().unwrap();
    let mut passed = 0;
    let error = loop {
        match part.fill_buf() {
            Ok(lent) => passed += lent.len(),
            Err(error) => break error,
        }
        let len = part.fill_buf().unwrap().len();
        part.consume(len);
    };
    assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
    assert!(passed > 49_000_000, "{passed}");
}

/// What a form is made of, in any order: mostly it is none.
fn scraps() -> impl Strategy<Value = String> {
    let scrap = prop_oneof![
        4 => Just("\r\n--bound\r\n".to_owned()),
        4 => Just(format!("{FIELD}\r\n\r\n")),
        2 => Just(format!("{FIELD}; filename=\"a\"\r\n\r\n")),
        1 => Just(format!("{FIELD}; filename=\"\"\r\nX: y\r\n\r\n")),
        2 => Just("\r\n--bound--".to_owned()),
        8 => prop_oneof!["\r\n", "\n", "\r", "-", "--", "--bound", " ", "x", ":"],
    ];
    proptest::collection::vec(scrap, 0..12).prop_map(|scraps| scraps.concat())
}

proptest! {
    #[test]
    fn no_split_of_the_bytes_changes_what_is_read_or_what_is_wrong(rest in scraps(), begun in any::<bool>()) {
        let body = if begun { format!("--bound\r\n{FIELD}\r\n\r\n{rest}") } else { rest };
        let said = |result: Result<Vec<Got>, Error>| result.map_err(|error| error.to_string());
        let want = said(read(&body));
        for step in 1..=body.len() {
            prop_assert_eq!(&said(drip(body.as_bytes(), &[], step)), &want, "{} bytes at a time", step);
        }
        for at in 0..body.len() {
            prop_assert_eq!(&said(drip(body.as_bytes(), &[at], usize::MAX)), &want, "split at {}", at);
        }
    }
}
