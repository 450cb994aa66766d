//! The reply is written to and then forgotten.

use std::io::Write;

fn main() {
    let server = towpath::http::Server::bind(&"127.0.0.1:0".parse().unwrap(), Default::default()).unwrap();
    server.serve(|_request, reply| {
        let mut stream = reply.stream()?;
        stream.write_all(b"half")?;
        Ok(())
    });
}
