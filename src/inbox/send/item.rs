//! What is sent: a file by its path, or standard input.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

/// A file to be sent, and the name it is sent under.
#[derive(Clone, Debug)]
pub struct Item {
    pub(super) name: String,
    pub(super) source: Source,
}

#[derive(Clone, Debug)]
pub(super) enum Source {
    File(PathBuf),
    Stdin,
}

impl Item {
    /// The file at a path, under its last component. It is opened when it is its
    /// turn; one that isn't a regular file is sent as a stream, and once.
    ///
    /// # Errors
    /// It isn't there, or is a directory; `InvalidInput` if the last component
    /// isn't UTF-8: name it by [`Item::named`].
    pub fn file(path: impl Into<PathBuf>) -> io::Result<Item> {
        let path = path.into();
        if fs::metadata(&path)?.is_dir() {
            return Err(io::ErrorKind::IsADirectory.into());
        }
        let name = path.file_name().and_then(|name| name.to_str()).map(str::to_owned).ok_or_else(|| {
            io::Error::new(io::ErrorKind::InvalidInput, "its name isn't UTF-8; give it one with --name")
        });
        Ok(Item { name: name?, source: Source::File(path) })
    }

    /// The file at a path, under a name of one's own. Nothing is looked at yet.
    pub fn named(path: impl Into<PathBuf>, name: impl Into<String>) -> Item {
        Item { name: name.into(), source: Source::File(path.into()) }
    }

    /// Standard input, to its end. It can be read once.
    pub fn stdin(name: impl Into<String>) -> Item {
        Item { name: name.into(), source: Source::Stdin }
    }

    /// What it is, for people: the path, or `standard input`.
    pub fn described(&self) -> String {
        match &self.source {
            Source::File(path) => path.display().to_string(),
            Source::Stdin => "standard input".to_owned(),
        }
    }

    /// Its length, where it has one; what has none can't be read twice.
    pub(super) fn length(&self) -> io::Result<Option<u64>> {
        match &self.source {
            Source::File(path) => length_of(path),
            Source::Stdin => Ok(None),
        }
    }

    pub(super) fn open(&self) -> io::Result<Box<dyn Read + Send>> {
        match &self.source {
            Source::File(path) => Ok(Box::new(File::open(path)?)),
            Source::Stdin => Ok(Box::new(Stdin)),
        }
    }
}

/// Standard input without the buffer that std puts before it.
struct Stdin;

impl Read for Stdin {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        Ok(rustix::io::read(rustix::stdio::stdin(), buf)?)
    }
}

fn length_of(path: &Path) -> io::Result<Option<u64>> {
    let metadata = fs::metadata(path)?;
    if metadata.is_dir() {
        return Err(io::ErrorKind::IsADirectory.into());
    }
    Ok(metadata.is_file().then_some(metadata.len()))
}
