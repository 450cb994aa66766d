//! Who gets in: addresses, tokens, names, origins, and Unix sockets.

use std::io::ErrorKind;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};

use towpath::http::{Address, Config, Server, Token};

use super::http_raw::{Client, PATIENCE, Running, echo, hello};

#[test]
fn an_address_that_others_reach_needs_a_token_or_an_open_door() {
    for address in ["0.0.0.0:0", "[::]:0"] {
        let address: Address = address.parse().unwrap();
        let error = Server::bind(&address, Config::new()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
        assert!(error.to_string().contains("--token-file") && error.to_string().contains("--open"), "{error}");
    }
    let address: Address = "0.0.0.0:0".parse().unwrap();
    let server = Running::start_at(&address, Config::new().open(), hello);
    let mut client = Client::to(([127, 0, 0, 1], server.address().port()).into());
    client.send("GET / HTTP/1.1\r\nHost: any.example\r\n\r\n");
    assert_eq!(client.reply().status, 200);
}

#[test]
fn a_port_in_use_says_so() {
    let server = Running::start(Config::new(), hello);
    let taken = Address::Tcp(server.address());
    assert_eq!(Server::bind(&taken, Config::new()).unwrap_err().kind(), ErrorKind::AddrInUse);
}

#[test]
fn without_the_token_every_request_is_401() {
    let token = Token::new("open-sesame").unwrap();
    let server = Running::start(Config::new().token(token), echo);
    let mut client = server.connect();
    for (line, status) in [
        ("", 401),
        ("Authorization: Bearer open-sesam\r\n", 401),
        ("Authorization: Bearer open-sesame \r\n", 200),
        // anybody:open-sesame
        ("Authorization: Basic YW55Ym9keTpvcGVuLXNlc2FtZQ==\r\n", 200),
        ("Authorization: Basic open-sesame\r\n", 401),
        ("Authorization: Bearer open-sesame\r\nAuthorization: Bearer x\r\n", 401),
    ] {
        client.send(format!("POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\n{line}\r\nhi"));
        let reply = client.reply();
        assert_eq!(reply.status, status, "{line}");
        let challenges = reply.head.matches("WWW-Authenticate: ").count();
        assert_eq!(challenges, if status == 401 { 2 } else { 0 });
        assert!(!reply.text().contains("sesame"));
    }
}

#[test]
fn a_loopback_server_refuses_names_that_are_not_its_own() {
    let server = Running::start(Config::new().allow_host("build.example"), hello);
    let mut client = server.connect();
    for (host, status) in [
        ("localhost", 200),
        ("127.0.0.1:1234", 200),
        ("[::1]:8080", 200),
        ("build.example", 200),
        ("rebound.example", 403),
        ("localhost.example", 403),
        ("", 403),
    ] {
        client.send(format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n"));
        assert_eq!(client.reply().status, status, "{host}");
    }
    // The target counts where it names a host.
    client.send("GET http://rebound.example/ HTTP/1.1\r\nHost: localhost\r\n\r\n");
    assert_eq!(client.reply().status, 403);
}

#[test]
fn a_page_from_elsewhere_changes_nothing() {
    let server = Running::start(Config::new(), hello);
    let own = format!("http://{}", server.address());
    let mut client = server.connect();
    for (method, origin, status) in [
        ("POST", own.as_str(), 200),
        ("POST", "http://elsewhere.example", 403),
        ("DELETE", "null", 403),
        ("GET", "http://elsewhere.example", 200),
    ] {
        client.send(format!("{method} / HTTP/1.1\r\nHost: {}\r\nOrigin: {origin}\r\n\r\n", server.address()));
        assert_eq!(client.reply().status, status, "{method} {origin}");
    }
}

#[test]
fn a_unix_socket_is_its_owners_and_goes_with_its_server() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("towpath.sock");
    let address: Address = format!("unix:{}", path.display()).parse().unwrap();
    // Left behind by a server that died.
    drop(UnixListener::bind(&path).unwrap());
    let server = Running::start_at(&address, Config::new(), hello);
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(Server::bind(&address, Config::new()).unwrap_err().kind(), ErrorKind::AddrInUse);
    let stream = UnixStream::connect(&path).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut client = Client { stream };
    client.send("GET / HTTP/1.1\r\nHost: whatever\r\n\r\n");
    assert_eq!(client.reply().text(), "hello\n");
    server.stop().unwrap();
    assert!(!path.exists());
}

#[test]
fn a_file_that_is_no_socket_is_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("precious");
    std::fs::write(&path, "data").unwrap();
    let error = Server::bind(&Address::Unix(path.clone()), Config::new()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::AddrInUse);
    assert_eq!(std::fs::read(&path).unwrap(), b"data");
}

#[test]
fn of_those_who_replace_a_dead_socket_at_once_one_gets_it() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("s");
    let address: Address = format!("unix:{}", path.display()).parse().unwrap();
    for _ in 0..30 {
        // What a server that was killed leaves behind.
        drop(UnixListener::bind(&path).unwrap());
        let bind = || Server::bind(&address, Config::new());
        let bound: Vec<_> = std::thread::scope(|scope| {
            let binding: Vec<_> = (0..6).map(|_| scope.spawn(bind)).collect();
            binding.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        let refused = bound.iter().filter_map(|bound| bound.as_ref().err()).map(std::io::Error::kind);
        assert_eq!(refused.collect::<Vec<_>>(), [std::io::ErrorKind::AddrInUse; 5]);
        UnixStream::connect(&path).unwrap();
        drop(bound);
        assert!(!path.exists());
    }
}
