//! A form that is put together to be sent.

use std::fmt;
use std::io;
use std::path::Path;

use super::body::Body;
use super::content::{Content, Data, Source, invalid};
use super::frame::Frame;

/// What is sent where nobody says what a file is.
const ANY_TYPE: &str = "application/octet-stream";

/// A `multipart/form-data` body of one's own, part by part in the order in
/// which they are sent.
///
/// Names are escaped as browsers do: `"`, CR and LF become `%22`, `%0D` and
/// `%0A`, and nothing else is changed; who receives a name with a literal `%22`
/// can't tell it from a quote.
///
/// ```no_run
/// use towpath::form::{Content, Form};
///
/// let form = Form::new()?.text("host", "db1")?.file("dump", "/srv/db.dump")?.stream("log", "run.log", std::io::stdin())?;
/// assert_eq!(form.content_length(), None, "standard input's length isn't known");
/// # Ok::<(), std::io::Error>(())
/// ```
pub struct Form {
    frame: Frame,
    sources: Vec<(usize, Source)>,
}

impl Form {
    /// A form without parts, with a random boundary.
    ///
    /// # Errors
    /// None that is known of; the `multipart` crate could name one.
    pub fn new() -> io::Result<Form> {
        Ok(Form { frame: Frame::new()?, sources: Vec::new() })
    }

    /// Adds a field. The text is sent as it is, without a Content-Type.
    ///
    /// # Errors
    /// `InvalidInput` if the name can't be sent: see [`Form::part`].
    pub fn text(self, name: &str, text: impl Into<String>) -> io::Result<Form> {
        self.part(name, Content::text(text))
    }

    /// Adds the file at a path, as `application/octet-stream` under the last
    /// component of its path: [`Content::open`].
    ///
    /// # Errors
    /// Those of [`Content::open`] and [`Form::part`].
    pub fn file(self, name: &str, path: impl AsRef<Path>) -> io::Result<Form> {
        self.part(name, Content::open(path)?)
    }

    /// Adds what a stream gives until its end, as a file of type
    /// `application/octet-stream`: [`Content::stream`].
    ///
    /// # Errors
    /// Those of [`Form::part`].
    pub fn stream(self, name: &str, file_name: &str, source: impl io::Read + Send + 'static) -> io::Result<Form> {
        self.part(name, Content::stream(source).file_name(file_name))
    }

    /// Adds a part that says more of itself.
    ///
    /// # Errors
    /// `InvalidInput` if a name has control characters other than CR and LF or
    /// a backslash at its end (which would hide the quote behind it), if the
    /// file name is empty (which says that no file was chosen), or if the
    /// Content-Type is none.
    pub fn part(mut self, name: &str, content: Content) -> io::Result<Form> {
        let Content { data, file_name, content_type } = content;
        check_name(name)?;
        if let Some(file_name) = &file_name {
            check_name(file_name)?;
            if file_name.is_empty() {
                return Err(invalid("a file's name is empty"));
            }
        }
        let file_name = file_name.as_deref();
        match (data, content_type) {
            (Data::Text(text), None) if file_name.is_none() => self.frame.text(name, &text)?,
            (Data::Text(text), content_type) => {
                let content_type = content_type.as_deref().unwrap_or(ANY_TYPE);
                self.frame.part(name, file_name, content_type, text.as_bytes())?;
            }
            (Data::Source(source), content_type) => {
                let content_type = content_type.as_deref().unwrap_or(ANY_TYPE);
                let place = self.frame.part(name, file_name, content_type, io::empty())?;
                self.sources.push((place, source));
            }
        }
        Ok(self)
    }

    /// The value of the Content-Type header that goes with this body.
    pub fn content_type(&self) -> String {
        format!("multipart/form-data; boundary={}", self.frame.boundary())
    }

    /// The body's exact length in bytes; `None` if one of its streams has none,
    /// and the body must be sent in chunks.
    pub fn content_length(&self) -> Option<u64> {
        let frame = Some(self.frame.len() as u64);
        self.sources.iter().map(|(_, source)| source.length).fold(frame, |sum, length| sum?.checked_add(length?))
    }

    /// The body. Nothing of the sources has been read yet.
    ///
    /// # Errors
    /// None that is known of; the `multipart` crate could name one.
    pub fn into_reader(self) -> io::Result<Body> {
        Ok(Body::new(self.frame.finish()?, self.sources))
    }
}

impl fmt::Debug for Form {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Form").field("content_type", &self.content_type()).finish_non_exhaustive()
    }
}

fn check_name(name: &str) -> io::Result<()> {
    if name.contains(|c: char| c.is_control() && c != '\r' && c != '\n') {
        return Err(invalid("a name in a form has a control character"));
    }
    if name.ends_with('\\') {
        return Err(invalid("a name in a form ends with a backslash"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How many bytes the body turns out to have.
    fn sent(form: Form) -> u64 {
        io::copy(&mut form.into_reader().unwrap(), &mut io::sink()).unwrap()
    }

    #[test]
    fn a_part_that_can_not_be_sent_is_refused() {
        let refused = |name: &str, content: Content| {
            let error = Form::new().unwrap().part(name, content).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::InvalidInput, "{error}");
        };
        refused("a\0b", Content::text("x"));
        refused("a\\", Content::text("x"));
        refused("a", Content::text("x").file_name(""));
        refused("a", Content::text("x").file_name("a\tb"));
        refused("a", Content::text("x").content_type("text"));
        refused("a", Content::text("x").content_type("text/plain\r\nX-Header: y"));
        refused("a", Content::stream(io::empty()).content_type(""));
        let error = Form::new().unwrap().file("a", "/").unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
        let error = Form::new().unwrap().file("a", std::env::temp_dir()).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::IsADirectory);
    }

    #[test]
    fn the_length_is_exact_or_none() {
        let form = Form::new().unwrap();
        assert_eq!(form.content_length(), Some(sent(form)));
        let known = || Content::stream(&b"12345"[..]).length(5).file_name("s");
        let form = Form::new().unwrap().text("t", "text").unwrap().part("s", known()).unwrap().text("u", "").unwrap();
        assert_eq!(form.content_length(), Some(sent(form)));
        let form = Form::new().unwrap().part("s", known()).unwrap().stream("x", "x", io::empty()).unwrap();
        assert_eq!(form.content_length(), None);
        let form = Form::new().unwrap().part("s", known().length(u64::MAX)).unwrap();
        assert_eq!(form.content_length(), None, "no length is that long");
    }
}
