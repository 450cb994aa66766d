//! TLS: certificates, the handshake's limit, streams and their ends through it.

use std::io::{self, ErrorKind, Read, Write};
use std::net::TcpStream;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crossbeam_channel::bounded;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use towpath::http::{Config, Limits, Reply, Request, Tls, Woken};

use super::http_raw::{Client, PATIENCE, Running, echo};

/// A certificate for localhost, and its files.
struct Certificate {
    der: CertificateDer<'static>,
    certificate: PathBuf,
    key: PathBuf,
    _dir: tempfile::TempDir,
}

impl Certificate {
    fn new() -> Certificate {
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        let dir = tempfile::tempdir().unwrap();
        let (certificate, key) = (dir.path().join("cert.pem"), dir.path().join("key.pem"));
        std::fs::write(&certificate, made.cert.pem()).unwrap();
        std::fs::write(&key, made.signing_key.serialize_pem()).unwrap();
        Certificate { der: made.cert.der().clone(), certificate, key, _dir: dir }
    }

    fn config(&self) -> Config {
        Config::new().tls(Tls::from_pem_files(&self.certificate, &self.key).unwrap())
    }

    fn connect(&self, server: &Running) -> Client<StreamOwned<ClientConnection, TcpStream>> {
        let mut roots = RootCertStore::empty();
        roots.add(self.der.clone()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        let connection = ClientConnection::new(Arc::new(config), ServerName::try_from("localhost").unwrap()).unwrap();
        Client { stream: StreamOwned::new(connection, server.connect().stream) }
    }
}

#[test]
fn requests_bodies_and_files_pass_through_tls() {
    let certificate = Certificate::new();
    let mut file = tempfile::tempfile().unwrap();
    let content = vec![b'f'; 200_000];
    file.write_all(&content).unwrap();
    let server = Running::start(certificate.config(), move |request: &mut Request<'_>, reply: Reply<'_>| {
        if request.path() == "/file" { reply.file(&file, 0, 200_000) } else { echo(request, reply) }
    });
    let mut client = certificate.connect(&server);
    let body = vec![b'b'; 300_000];
    client.send(format!("POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: {}\r\n\r\n", body.len()));
    client.send(&body);
    assert!(client.reply().body == body);
    // Two at once: the second waits where polling the socket won't show it.
    let ask = "GET /file HTTP/1.1\r\nHost: localhost\r\n\r\n";
    client.send(ask.repeat(2));
    assert!(client.reply().body == content);
    assert!(client.reply().body == content);
    client.send("GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    assert_eq!(client.reply().status, 200);
    // Closed with TLS's goodbye: nothing was cut.
    assert!(client.rest().1.is_none());
}

#[test]
fn a_flush_is_on_the_wire_and_a_cut_stream_is_cut() {
    let certificate = Certificate::new();
    let (tell, told) = bounded(1);
    let server = Running::start(certificate.config(), move |_: &mut Request<'_>, reply: Reply<'_>| {
        let mut stream = reply.stream()?;
        for _ in 0..2 {
            let text: &str = told.recv_timeout(PATIENCE).unwrap();
            stream.write_all(text.as_bytes())?;
            stream.flush()?;
        }
        stream.fail("broken")
    });
    let mut client = certificate.connect(&server);
    client.send("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n");
    assert_eq!(client.head().status, 200);
    for text in ["one", "two"] {
        tell.send(text).unwrap();
        assert_eq!(client.chunk().unwrap(), text.as_bytes());
    }
    assert_eq!(client.chunk().unwrap(), b"broken\n");
    // Neither a last chunk nor a goodbye.
    let (rest, error) = client.rest();
    assert_eq!((rest, error.map(|e| e.kind())), (Vec::new(), Some(ErrorKind::UnexpectedEof)));
}

#[test]
fn a_client_that_leaves_a_quiet_stream_is_noticed_through_tls() {
    let certificate = Certificate::new();
    let mut limits = Limits::default();
    limits.gone_time = Duration::from_millis(50);
    let (said, woken) = bounded(1);
    let server = Running::start(certificate.config().limits(limits), move |_: &mut Request<'_>, reply: Reply<'_>| {
        let mut stream = reply.stream()?;
        said.send(stream.pause(PATIENCE)).unwrap();
        stream.fail("gone")
    });
    let mut client = certificate.connect(&server);
    client.send("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n");
    assert_eq!(client.head().status, 200);
    drop(client);
    assert_eq!(woken.recv_timeout(PATIENCE).unwrap(), Woken::Gone);
}

#[test]
fn a_body_that_is_cut_within_tls_is_no_body() {
    let certificate = Certificate::new();
    let (said, read) = bounded(1);
    let server = Running::start(certificate.config(), move |request: &mut Request<'_>, reply: Reply<'_>| {
        let mut body = Vec::new();
        said.send(request.body().read_to_end(&mut body).map_err(|e| e.kind())).unwrap();
        reply.send("")
    });
    let mut client = certificate.connect(&server);
    client.send("POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\nhalf");
    client.stream.sock.shutdown(std::net::Shutdown::Both).unwrap();
    assert_eq!(read.recv_timeout(PATIENCE).unwrap(), Err(ErrorKind::UnexpectedEof));
}

#[test]
fn what_is_no_tls_or_takes_too_long_is_closed_and_the_server_goes_on() {
    let certificate = Certificate::new();
    let mut limits = Limits::default();
    limits.handshake_time = Duration::from_millis(200);
    let server = Running::start(certificate.config().limits(limits), echo);
    let mut silent = server.connect();
    let mut plain = server.connect();
    plain.send("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n");
    let (alert, _) = plain.rest();
    assert!(!alert.starts_with(b"HTTP"), "{alert:?}");
    let mut half = server.connect();
    half.send([0x16, 3, 1, 2, 0, 1]);
    half.assert_closed();
    silent.assert_closed();
    let mut client = certificate.connect(&server);
    client.send("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n");
    assert_eq!(client.reply().status, 200);
}

#[test]
fn files_that_cannot_serve_are_named_before_anything_is_bound() {
    let (one, other) = (Certificate::new(), Certificate::new());
    let missing = PathBuf::from("no/such/file.pem");
    let check = |certificate: &PathBuf, key: &PathBuf, kind: ErrorKind, named: &PathBuf| {
        let error: io::Error = Tls::from_pem_files(certificate, key).unwrap_err();
        assert_eq!(error.kind(), kind, "{error}");
        assert!(error.to_string().contains(&named.display().to_string()), "{error}");
    };
    check(&one.certificate, &other.key, ErrorKind::InvalidData, &other.key);
    check(&missing, &one.key, ErrorKind::NotFound, &missing);
    check(&one.certificate, &missing, ErrorKind::NotFound, &missing);
    check(&one.key, &one.key, ErrorKind::InvalidData, &one.key);
    check(&one.certificate, &one.certificate, ErrorKind::InvalidData, &one.certificate);
}

#[test]
fn a_connection_too_many_is_closed_and_those_before_it_go_on() {
    let certificate = Certificate::new();
    let mut limits = Limits::default();
    limits.connections = 1;
    let server = Running::start(certificate.config().limits(limits), echo);
    let mut first = certificate.connect(&server);
    let ask = "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n";
    first.send(ask);
    assert_eq!(first.reply().status, 200);
    let mut second = certificate.connect(&server);
    let mut read = Vec::new();
    // Before its handshake, whichever of the two notices first.
    assert!(second.stream.write_all(ask.as_bytes()).and_then(|()| second.stream.read_to_end(&mut read)).is_err());
    assert!(read.is_empty());
    first.send(ask);
    assert_eq!(first.reply().status, 200);
}
