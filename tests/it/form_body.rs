//! Forms as they are sent: what the reader reads is what was put in, in that
//! order, and a source that fails or changes leaves no whole body.

use std::fs::{self, File};
use std::io::{self, Read, Write};

use proptest::prelude::*;
use towpath::form::{Boundary, Content, ErrorKind, Form, Limits, Reader};

use super::form_reader::{Got, parts};
use super::support::scene::Scene;

/// The body, and what the reader makes of it.
fn round_trip(form: Form) -> Vec<Got> {
    let (boundary, length) = (boundary_of(&form), form.content_length());
    let mut body = Vec::new();
    form.into_reader().unwrap().read_to_end(&mut body).unwrap();
    assert!(length.is_none_or(|length| length == body.len() as u64), "{length:?}, {} bytes", body.len());
    parts(&mut Reader::new(body.as_slice(), boundary, Limits::default())).unwrap()
}

fn boundary_of(form: &Form) -> Boundary {
    Boundary::from_content_type(&form.content_type()).unwrap()
}

#[test]
fn parts_keep_their_order_whatever_they_are() {
    let scene = Scene::new();
    fs::write(scene.path("a;b.txt"), "file").unwrap();
    let form = Form::new()
        .and_then(|form| form.text("first", "1"))
        .and_then(|form| form.file("f", scene.path("a;b.txt")))
        .and_then(|form| form.text("third", ""))
        .and_then(|form| form.stream("s", "s.log", io::repeat(b'x').take(100_000)))
        .and_then(|form| form.part("j", Content::text("{}").content_type("application/json; charset=utf-8")))
        .and_then(|form| form.part("t", Content::text("a,b").file_name("x\"y.csv").content_type("text/csv")))
        .and_then(|form| form.stream("s", "s2", io::empty()))
        .unwrap();
    assert_eq!(form.content_length(), None);
    let mut json = Got::field("j", "{}");
    json.content_type = Some("application/json; charset=utf-8".to_owned());
    let want = [
        Got::field("first", "1"),
        Got::file("f", "a;b.txt", "application/octet-stream", "file"),
        Got::field("third", ""),
        Got::file("s", "s.log", "application/octet-stream", vec![b'x'; 100_000]),
        json,
        Got::file("t", "x\"y.csv", "text/csv", "a,b"),
        Got::file("s", "s2", "application/octet-stream", ""),
    ];
    assert_eq!(round_trip(form), want);
}

#[test]
fn an_open_file_is_sent_from_where_it_stands() {
    let scene = Scene::new();
    fs::write(scene.path("f"), "0123456789").unwrap();
    let mut file = File::open(scene.path("f")).unwrap();
    file.read_exact(&mut [0; 4]).unwrap();
    let form = Form::new().unwrap().part("f", Content::file(file, "rest").unwrap()).unwrap();
    assert!(form.content_length().is_some());
    assert_eq!(round_trip(form), [Got::file("f", "rest", "application/octet-stream", "456789")]);
}

#[test]
fn a_file_that_grows_or_shrinks_while_it_is_sent_is_an_error() {
    let scene = Scene::new();
    let path = scene.path("f");
    for (becomes_len, becomes) in [(50_001, "longer than its 50000 bytes"), (20_000, "shorter"), (0, "shorter")] {
        fs::write(&path, [b'x'; 50_000]).unwrap();
        let form = Form::new().unwrap().file("f", &path).unwrap();
        let boundary = boundary_of(&form);
        let mut body = form.into_reader().unwrap();
        let mut sent = vec![0; 1_000];
        body.read_exact(&mut sent).unwrap();
        File::options().write(true).open(&path).unwrap().set_len(becomes_len).unwrap();

        let error = body.read_to_end(&mut sent).unwrap_err();
        assert!(error.to_string().contains(becomes), "{error}");
        assert_eq!(body.read(&mut [0; 9]).unwrap_err().kind(), error.kind(), "no end comes behind an error");
        let error = parts(&mut Reader::new(sent.as_slice(), boundary, Limits::default())).unwrap_err();
        assert!(matches!(error.kind(), ErrorKind::Cut), "what was sent is no whole form: {error}");
    }
}

#[test]
fn a_stream_that_fails_leaves_no_whole_body() {
    struct Once(bool);
    impl Read for Once {
        fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
            // An end behind the error, as many sources have it.
            if std::mem::replace(&mut self.0, true) { Ok(0) } else { Err(io::Error::other("unplugged")) }
        }
    }
    let form = Form::new().unwrap().stream("s", "s", Once(false)).unwrap();
    let mut body = form.into_reader().unwrap();
    assert_eq!(body.read_to_end(&mut Vec::new()).unwrap_err().to_string(), "unplugged");
    assert_eq!(body.read_to_end(&mut Vec::new()).unwrap_err().kind(), io::ErrorKind::Other);
}

#[test]
fn a_stream_of_a_given_length_must_have_it() {
    let send = |length| {
        let content = Content::stream(&b"12345"[..]).length(length);
        Form::new().unwrap().part("s", content).unwrap().into_reader().unwrap().read_to_end(&mut Vec::new())
    };
    assert_eq!(send(4).unwrap_err().kind(), io::ErrorKind::InvalidData);
    assert!(send(5).is_ok());
    assert_eq!(send(6).unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
}

#[test]
fn a_stream_passes_at_once_and_in_the_callers_pieces() {
    let (source, mut writer) = io::pipe().unwrap();
    let form = Form::new().unwrap().stream("s", "s", source).unwrap();
    let mut body = form.into_reader().unwrap();
    let mut buf = vec![0; 4_096];
    assert!(body.read(&mut buf).unwrap() < 300, "the headers, before the source has anything");
    writer.write_all(b"line\n").unwrap();
    assert_eq!(body.read(&mut buf).unwrap(), 5, "what is there, without waiting for more");
    writer.write_all(&[b'x'; 1_024]).unwrap();
    assert_eq!(body.read(&mut buf[..1_000]).unwrap(), 1_000);
    assert_eq!(body.read(&mut buf[..1_000]).unwrap(), 24);
    drop(writer);
    assert!(body.read_to_end(&mut buf).unwrap() < 100);
}

#[test]
fn what_is_no_regular_file_has_no_length() {
    let form = Form::new().unwrap().file("f", "/dev/null").unwrap();
    assert_eq!(form.content_length(), None);
    assert_eq!(round_trip(form), [Got::file("f", "null", "application/octet-stream", "")]);
}

/// A part to be sent: name, file name if it is a file, whether its length is given, and its content.
type Sent = (String, Option<String>, bool, Vec<Piece>);

/// Content made of what could be taken for a delimiter.
#[derive(Clone, Debug)]
enum Piece {
    Bytes(Vec<u8>),
    Line,
    /// A line of two hyphens and so much of the boundary, and of what may and may not follow it.
    Nearly(usize, u8),
}

impl Piece {
    fn bytes(&self, boundary: &str) -> Vec<u8> {
        match self {
            Piece::Bytes(bytes) => bytes.clone(),
            Piece::Line => b"\r\n".to_vec(),
            Piece::Nearly(len, behind) => {
                [b"\r\n--", &boundary.as_bytes()[..(*len).min(boundary.len())], &[*behind, b'x']].concat()
            }
        }
    }
}

fn sent() -> impl Strategy<Value = Vec<Sent>> {
    // Without `%`, which a reader can't tell from an escape, and without a last backslash.
    let name = r#"[a-zü€;="'/*. \r\n\\]{0,12}[a-z"]"#;
    let file_name = r#"[a-zü€;="'*. ]{0,12}[a-z";]"#;
    let piece = prop_oneof![
        proptest::collection::vec(any::<u8>(), 0..20).prop_map(Piece::Bytes),
        Just(Piece::Line),
        (0usize..20, prop_oneof![Just(b'x'), Just(b'-'), Just(b'\r')]).prop_map(|(len, x)| Piece::Nearly(len, x)),
    ];
    let content = proptest::collection::vec(piece, 0..8);
    proptest::collection::vec((name, proptest::option::of(file_name), any::<bool>(), content), 0..5)
}

proptest! {
    #[test]
    fn what_is_sent_is_what_is_read(sent in sent(), step in 1usize..200) {
        let mut form = Form::new().unwrap();
        let content_type = form.content_type();
        let boundary = content_type.split_once("boundary=").unwrap().1;
        let mut want = Vec::new();
        for (name, file_name, known, pieces) in &sent {
            let bytes: Vec<u8> = pieces.iter().flat_map(|piece| piece.bytes(boundary)).collect();
            let mut content = Content::stream(io::Cursor::new(bytes.clone()));
            if *known {
                content = content.length(bytes.len() as u64);
            }
            if let Some(file_name) = file_name {
                content = content.file_name(file_name);
            }
            form = form.part(name, content).unwrap();
            let content_type = Some("application/octet-stream".to_owned());
            want.push(Got { name: name.clone(), file_name: file_name.clone(), content_type, content: bytes });
        }
        let (boundary, length) = (boundary_of(&form), form.content_length());
        prop_assert_eq!(length.is_some(), sent.iter().all(|part| part.2));
        let mut body = form.into_reader().unwrap();
        let mut all = Vec::new();
        let mut piece = vec![0; step];
        loop {
            match body.read(&mut piece).unwrap() {
                0 => break,
                len => all.extend_from_slice(&piece[..len]),
            }
        }
        prop_assert!(length.is_none_or(|length| length == all.len() as u64));
        let got = parts(&mut Reader::with_buffer(all.as_slice(), boundary, Limits::default(), step)).unwrap();
        prop_assert_eq!(got, want);
    }
}
