//! A stream that is finished is gone.

use std::io::Write;

fn main() {
    let server = towpath::http::Server::bind(&"127.0.0.1:0".parse().unwrap(), Default::default()).unwrap();
    let served = server.serve(|_request, reply| {
        let mut stream = reply.stream()?;
        let sent = stream.finish()?;
        stream.write_all(b"more")?;
        Ok(sent)
    });
    served.unwrap();
}
