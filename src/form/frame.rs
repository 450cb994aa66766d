//! The frame of a body: delimiters, headers and texts, as the `multipart`
//! crate writes them, with the places where the contents go.
//!
//! The crate writes into whatever it takes for an HTTP request; here that is
//! memory. It is given the texts, but of files and streams nothing: their
//! content is put in later, while the body is read.

use std::io::{self, Read, Write};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use multipart::client::{HttpRequest, HttpStream, Multipart};

/// A frame that is being written.
pub(super) struct Frame {
    writer: Multipart<Shared>,
    written: Shared,
}

impl Frame {
    pub(super) fn new() -> io::Result<Frame> {
        let written = Shared::default();
        let writer = Multipart::from_request(written.clone())?;
        Ok(Frame { writer, written })
    }

    /// The boundary, which the crate has made: 16 random letters and digits.
    pub(super) fn boundary(&self) -> String {
        self.written.lock().boundary.clone()
    }

    /// A field without a Content-Type, which the crate writes for texts alone.
    pub(super) fn text(&mut self, name: &str, text: &str) -> io::Result<()> {
        self.writer.write_text(escaped(name), text)?;
        Ok(())
    }

    /// A part's headers, and of its content what is in memory. Gives the place
    /// for the rest: how many bytes of the frame come before it.
    pub(super) fn part(
        &mut self,
        name: &str,
        file_name: Option<&str>,
        content_type: &str,
        mut in_memory: impl Read,
    ) -> io::Result<usize> {
        let content_type = content_type.parse().map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, error))?;
        let file_name = file_name.map(escaped);
        self.writer.write_stream(escaped(name), &mut in_memory, file_name.as_deref(), Some(content_type))?;
        Ok(self.written.lock().bytes.len())
    }

    /// How long the frame will be with its final delimiter: CRLF (unless
    /// nothing comes before it), the boundary between hyphens, CRLF.
    pub(super) fn len(&self) -> usize {
        let written = self.written.lock();
        let line_end = if written.bytes.is_empty() { 0 } else { 2 };
        written.bytes.len() + line_end + 2 + written.boundary.len() + 4
    }

    /// Writes the final delimiter, and gives the frame.
    pub(super) fn finish(self) -> io::Result<Vec<u8>> {
        self.writer.send()
    }
}

/// As browsers do it: a quote and the ends of lines, nothing else.
fn escaped(name: &str) -> String {
    name.replace('"', "%22").replace('\r', "%0D").replace('\n', "%0A")
}

/// What was written so far. The crate owns its stream to the end, and we look
/// into it before.
#[derive(Clone, Default)]
struct Shared(Arc<Mutex<Written>>);

#[derive(Default)]
struct Written {
    boundary: String,
    bytes: Vec<u8>,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Written> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl HttpRequest for Shared {
    type Stream = Shared;
    type Error = io::Error;

    fn apply_headers(&mut self, boundary: &str, _content_length: Option<u64>) -> bool {
        boundary.clone_into(&mut self.lock().boundary);
        true
    }

    fn open_stream(self) -> io::Result<Shared> {
        Ok(self)
    }
}

impl HttpStream for Shared {
    type Request = Shared;
    type Response = Vec<u8>;
    type Error = io::Error;

    fn finish(self) -> io::Result<Vec<u8>> {
        Ok(std::mem::take(&mut self.lock().bytes))
    }
}

impl Write for Shared {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        self.lock().bytes.extend_from_slice(buf);
        Ok(buf.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_length_of_a_frame_is_known_before_it_is_finished() {
        let mut frame = Frame::new().unwrap();
        let empty = Frame::new().unwrap();
        let (len, boundary) = (empty.len(), empty.boundary());
        let bytes = empty.finish().unwrap();
        assert_eq!(String::from_utf8(bytes.clone()).unwrap(), format!("--{boundary}--\r\n"));
        assert_eq!(bytes.len(), len);

        frame.text("a\"b", "text").unwrap();
        let at = frame.part("f", Some("x\r\ny"), "text/plain; charset=utf-8", io::empty()).unwrap();
        let (len, boundary) = (frame.len(), frame.boundary());
        let bytes = frame.finish().unwrap();
        assert_eq!(bytes.len(), len);
        let want = format!(
            "--{boundary}\r\nContent-Disposition: form-data; name=\"a%22b\"\r\n\r\ntext\r\n\
             --{boundary}\r\nContent-Disposition: form-data; name=\"f\"; filename=\"x%0D%0Ay\"\r\n\
             Content-Type: text/plain; charset=utf-8\r\n\r\n"
        );
        assert_eq!(String::from_utf8(bytes[..at].to_vec()).unwrap(), want);
        assert_eq!(String::from_utf8(bytes[at..].to_vec()).unwrap(), format!("\r\n--{boundary}--\r\n"));
    }
}
