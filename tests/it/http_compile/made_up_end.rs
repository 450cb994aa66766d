//! Only a reply makes the proof of its end.

fn main() {
    let server = towpath::http::Server::bind(&"127.0.0.1:0".parse().unwrap(), Default::default()).unwrap();
    server.serve(|_request, _reply| Ok(towpath::http::Sent { status: 200, body_bytes: 0, is_complete: true })).unwrap();
}
