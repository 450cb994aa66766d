//! What a part of a form is made of.

use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

/// A part's content, its file name and its Content-Type.
///
/// A part without a file name is a field to those who receive it. Of headers
/// there are these two alone: RFC 7578 knows no others.
pub struct Content {
    pub(super) data: Data,
    pub(super) file_name: Option<String>,
    pub(super) content_type: Option<String>,
}

pub(super) enum Data {
    Text(String),
    Source(Source),
}

impl Content {
    /// A text, in memory. Its Content-Type isn't sent unless one is
    /// [given](Content::content_type).
    pub fn text(text: impl Into<String>) -> Content {
        Content { data: Data::Text(text.into()), file_name: None, content_type: None }
    }

    /// The file at `path`, under the last component of its path. It is opened
    /// now; its length is what it is now, and it must stay so until it is sent.
    /// What isn't a regular file has no length; opening a FIFO blocks until
    /// somebody writes to it (`fifo(7)`).
    ///
    /// # Errors
    /// Those of [`File::open`]; `IsADirectory`; `InvalidInput` if the path's
    /// last component isn't UTF-8: then use [`Content::file`].
    pub fn open(path: impl AsRef<Path>) -> io::Result<Content> {
        let path = path.as_ref();
        let Some(name) = path.file_name().and_then(|name| name.to_str()) else {
            return Err(invalid("the path doesn't end in a file name in UTF-8: name the file in the form"));
        };
        Content::file(File::open(path)?, name)
    }

    /// An open file, from where it is read next, under a name.
    ///
    /// # Errors
    /// `IsADirectory`, and those of `fstat(2)` and `lseek(2)`.
    pub fn file(mut file: File, file_name: impl Into<String>) -> io::Result<Content> {
        let metadata = file.metadata()?;
        if metadata.is_dir() {
            return Err(io::ErrorKind::IsADirectory.into());
        }
        let length = if metadata.is_file() {
            Some(metadata.len().saturating_sub(io::Seek::stream_position(&mut file)?))
        } else {
            None
        };
        let content = Content::stream(file).file_name(file_name);
        Ok(match length {
            Some(length) => content.length(length),
            None => content,
        })
    }

    /// Whatever `source` gives until its end: a pipe, a command's output,
    /// standard input. It isn't read before the body is, and never ahead.
    pub fn stream(source: impl Read + Send + 'static) -> Content {
        let source = Source { read: Box::new(source), length: None, passed: 0 };
        Content { data: Data::Source(source), file_name: None, content_type: None }
    }

    /// The file name that is sent: any but an empty one. Defaults to a file's
    /// own, and to none for texts and streams.
    #[must_use]
    pub fn file_name(mut self, name: impl Into<String>) -> Content {
        self.file_name = Some(name.into());
        self
    }

    /// The Content-Type that is sent: `type/subtype`, with parameters or
    /// without. Defaults to none for texts without a file name, and to
    /// `application/octet-stream` otherwise.
    #[must_use]
    pub fn content_type(mut self, content_type: impl Into<String>) -> Content {
        self.content_type = Some(content_type.into());
        self
    }

    /// How many bytes a stream has: if it turns out to have more or fewer, the
    /// body fails. It is read to its end, one byte further than these, to see
    /// that. A text's length is its own.
    #[must_use]
    pub fn length(mut self, bytes: u64) -> Content {
        if let Data::Source(source) = &mut self.data {
            source.length = Some(bytes);
        }
        self
    }
}

impl fmt::Debug for Content {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Content")
            .field("file_name", &self.file_name)
            .field("content_type", &self.content_type)
            .finish_non_exhaustive()
    }
}

/// Where content comes from.
pub(super) struct Source {
    read: Box<dyn Read + Send>,
    pub(super) length: Option<u64>,
    passed: u64,
}

impl Source {
    /// As `Read` has it; the end only if the length is right.
    pub(super) fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let Some(length) = self.length else { return self.read.read(buf) };
        let left = length - self.passed;
        if left == 0 {
            return match self.read.read(&mut [0])? {
                0 => Ok(0),
                _ => Err(io::Error::new(
                    io::ErrorKind::InvalidData,
                    format!("it has become longer than its {length} bytes while it was sent"),
                )),
            };
        }
        let most = buf.len().min(usize::try_from(left).unwrap_or(usize::MAX));
        match self.read.read(&mut buf[..most])? {
            0 => Err(io::Error::new(
                io::ErrorKind::UnexpectedEof,
                format!("it has become shorter while it was sent: {} of {length} bytes", self.passed),
            )),
            len => {
                self.passed += len as u64;
                Ok(len)
            }
        }
    }
}

pub(super) fn invalid(text: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, text.to_owned())
}
