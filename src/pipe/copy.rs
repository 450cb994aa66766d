//! Copying with a buffer of the caller's choice.

use std::io::{self, Read, Write};

/// Copies from `from` until its end to `to`, through one buffer of
/// `buffer_len` bytes, and gives the number of bytes copied. No other buffer
/// is in between, and what was read is written before more is read: 1 passes
/// every byte on by itself, 65,536 (a pipe's default capacity) is fast.
///
/// Interrupted calls are repeated. `to` is not flushed. Blocks as `from` and
/// `to` do.
///
/// # Errors
/// `InvalidInput` if `buffer_len` is 0; otherwise the error of `from` or `to`,
/// `WouldBlock` included. What was read until then has been written.
pub fn copy<R, W>(from: &mut R, to: &mut W, buffer_len: usize) -> io::Result<u64>
where
    R: Read + ?Sized,
    W: Write + ?Sized,
{
    if buffer_len == 0 {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "a copy needs a buffer of at least one byte"));
    }
    let mut buffer = vec![0; buffer_len];
    let mut copied_bytes = 0;
    loop {
        match from.read(&mut buffer) {
            Ok(0) => return Ok(copied_bytes),
            Ok(len) => {
                to.write_all(&buffer[..len])?;
                copied_bytes += len as u64;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}
