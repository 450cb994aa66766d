//! TLS by rustls, with ring, on the connection's own thread.

use std::fmt;
use std::io::{self, BufRead, ErrorKind, IoSlice, Read, Write};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustix::event::PollFlags;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection};

use super::socket::Socket;

/// A certificate and its key, checked: what a server needs to speak TLS 1.2 and 1.3.
#[derive(Clone)]
pub struct Tls {
    config: Arc<ServerConfig>,
}

impl Tls {
    /// Reads a certificate chain (the server's own first) and its private key
    /// (PKCS#8, PKCS#1 or SEC1) from PEM files.
    ///
    /// # Errors
    /// A file can't be read or holds no certificate or key, or the key isn't
    /// the certificate's. The text names the file, and nothing from inside it.
    pub fn from_pem_files(certificates: &Path, key: &Path) -> io::Result<Tls> {
        let chain = CertificateDer::pem_file_iter(certificates)
            .and_then(Iterator::collect::<Result<Vec<_>, _>>)
            .map_err(|e| unreadable(certificates, e))?;
        if chain.is_empty() {
            let text = format!("{}: no certificate in it", certificates.display());
            return Err(io::Error::new(ErrorKind::InvalidData, text));
        }
        let private = PrivateKeyDer::from_pem_file(key).map_err(|e| unreadable(key, e))?;
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(io::Error::other)?
            .with_no_client_auth()
            .with_single_cert(chain, private)
            .map_err(|e| {
                let about = format!("{} and {} can't serve together", certificates.display(), key.display());
                io::Error::new(ErrorKind::InvalidData, Failed { about, source: Box::new(e) })
            })?;
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Tls { config: Arc::new(config) })
    }
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tls").finish_non_exhaustive()
    }
}

#[derive(Debug, thiserror::Error)]
#[error("{about}")]
struct Failed {
    about: String,
    source: Box<dyn std::error::Error + Send + Sync>,
}

fn unreadable(path: &Path, error: rustls::pki_types::pem::Error) -> io::Error {
    let kind = match &error {
        rustls::pki_types::pem::Error::Io(e) => e.kind(),
        _ => ErrorKind::InvalidData,
    };
    io::Error::new(kind, Failed { about: format!("{} can't be used for TLS", path.display()), source: Box::new(error) })
}

/// One connection's state. The lock is never held while waiting for the socket.
pub(super) struct Session(Mutex<ServerConnection>);

impl Session {
    pub(super) fn new(tls: &Tls) -> io::Result<Session> {
        ServerConnection::new(Arc::clone(&tls.config)).map(|c| Session(Mutex::new(c))).map_err(io::Error::other)
    }

    fn lock(&self) -> MutexGuard<'_, ServerConnection> {
        // rustls doesn't leave a connection half-changed by a panic of ours.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Goes on with the handshake: what it waits for now; empty: it is done.
    pub(super) fn handshake(&self, socket: &Socket) -> io::Result<PollFlags> {
        let mut connection = self.lock();
        loop {
            if !flush(&mut connection, socket)? {
                return Ok(PollFlags::OUT);
            }
            if !connection.is_handshaking() {
                return Ok(PollFlags::empty());
            }
            match receive(&mut connection, socket)? {
                None => return Ok(PollFlags::IN),
                Some(0) => return Err(ErrorKind::UnexpectedEof.into()),
                Some(_) => {}
            }
        }
    }

    /// Whether decrypted bytes wait here: polling the socket won't tell.
    pub(super) fn has_plaintext(&self) -> bool {
        self.lock().reader().fill_buf().is_ok_and(|waiting| !waiting.is_empty())
    }

    /// As [`Socket::try_read`]. A client that closes without TLS's goodbye is
    /// an error, as its bytes may have been cut.
    pub(super) fn try_read(&self, socket: &Socket, buf: &mut [u8]) -> io::Result<Option<usize>> {
        let mut connection = self.lock();
        loop {
            match connection.reader().read(buf) {
                Ok(read) => return Ok(Some(read)),
                Err(e) if e.kind() == ErrorKind::WouldBlock => {}
                Err(e) => return Err(e),
            }
            // Answers to what came, such as key updates. What doesn't fit goes
            // out with the next reply.
            flush(&mut connection, socket)?;
            if receive(&mut connection, socket)?.is_none() {
                return Ok(None);
            }
        }
    }

    /// As [`Socket::try_write`]; what was taken may still be held here until
    /// [`try_flush`](Session::try_flush) says otherwise.
    pub(super) fn try_write(&self, socket: &Socket, parts: &[IoSlice<'_>]) -> io::Result<Option<usize>> {
        let mut connection = self.lock();
        // What was taken before goes first: memory stays bounded.
        if !flush(&mut connection, socket)? {
            return Ok(None);
        }
        connection.writer().write_vectored(parts).map(Some)
    }

    /// Whether all that was taken is with the kernel.
    pub(super) fn try_flush(&self, socket: &Socket) -> io::Result<bool> {
        flush(&mut self.lock(), socket)
    }

    /// Tells the client that this is the end, if there is room for it.
    pub(super) fn say_goodbye(&self, socket: &Socket) {
        let mut connection = self.lock();
        connection.send_close_notify();
        let _ = flush(&mut connection, socket);
    }
}

/// Takes records from the socket; `None` if none are there, `Some(0)` at the end.
fn receive(connection: &mut ServerConnection, socket: &Socket) -> io::Result<Option<usize>> {
    let read = match connection.read_tls(&mut Raw(socket)) {
        Ok(read) => read,
        Err(e) if e.kind() == ErrorKind::WouldBlock => return Ok(None),
        Err(e) => return Err(e),
    };
    if let Err(error) = connection.process_new_packets() {
        // Tells the client what was wrong, if it still listens.
        let _ = flush(connection, socket);
        return Err(io::Error::new(ErrorKind::InvalidData, error));
    }
    Ok(Some(read))
}

fn flush(connection: &mut ServerConnection, socket: &Socket) -> io::Result<bool> {
    while connection.wants_write() {
        match connection.write_tls(&mut Raw(socket)) {
            Ok(0) => return Err(ErrorKind::WriteZero.into()),
            Ok(_) => {}
            Err(e) if e.kind() == ErrorKind::WouldBlock => return Ok(false),
            Err(e) => return Err(e),
        }
    }
    Ok(true)
}

/// The socket as rustls wants it.
struct Raw<'a>(&'a Socket);

impl Read for Raw<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        self.0.try_read(buf)?.ok_or_else(|| ErrorKind::WouldBlock.into())
    }
}

impl Write for Raw<'_> {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        self.write_vectored(&[IoSlice::new(buf)])
    }

    fn write_vectored(&mut self, parts: &[IoSlice<'_>]) -> io::Result<usize> {
        self.0.try_write(parts)?.ok_or_else(|| ErrorKind::WouldBlock.into())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
