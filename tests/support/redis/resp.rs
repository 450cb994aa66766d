//! Just enough of Redis's protocol to run a command and read its answer.

use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

/// How long a server may take to answer; one that is stopped never does.
const ANSWER: Duration = Duration::from_secs(10);

/// Runs one command as a user, on a connection of its own.
///
/// The answer as text: an array has a line for each of its parts, nothing is
/// `(nil)`. An error of the server's is given as it wrote it, one of the
/// connection as `io: ...`.
pub(super) fn run(socket: &Path, user: &str, words: &[&str]) -> Result<String, String> {
    let broken = |error: io::Error| format!("io: {error}");
    let mut stream = connect(socket).map_err(broken)?;
    stream.write_all(&[command(&["AUTH", user, "any"]), command(words)].concat()).map_err(broken)?;
    let mut answers = BufReader::new(stream);
    answer(&mut answers).map_err(broken)??;
    answer(&mut answers).map_err(broken)?
}

fn connect(socket: &Path) -> io::Result<UnixStream> {
    let stream = UnixStream::connect(socket)?;
    stream.set_read_timeout(Some(ANSWER))?;
    stream.set_write_timeout(Some(ANSWER))?;
    Ok(stream)
}

fn command(words: &[&str]) -> Vec<u8> {
    let words_as_bulk = words.iter().map(|word| format!("${}\r\n{word}\r\n", word.len()));
    format!("*{}\r\n{}", words.len(), words_as_bulk.collect::<String>()).into_bytes()
}

fn answer(from: &mut impl BufRead) -> io::Result<Result<String, String>> {
    let mut line = String::new();
    if from.read_line(&mut line)? == 0 {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    let (kind, rest) = line.trim_end().split_at(1);
    let count = || rest.parse::<i64>().map_err(io::Error::other);
    match kind {
        "+" | ":" => Ok(Ok(rest.to_owned())),
        "-" => Ok(Err(rest.to_owned())),
        "$" | "*" if count()? < 0 => Ok(Ok("(nil)".to_owned())),
        "$" => {
            let mut bytes = vec![0; count()? as usize + 2];
            from.read_exact(&mut bytes)?;
            bytes.truncate(bytes.len() - 2);
            Ok(Ok(String::from_utf8_lossy(&bytes).into_owned()))
        }
        "*" => {
            let parts = (0..count()?).map(|_| answer(from)).collect::<io::Result<Vec<_>>>()?;
            Ok(parts.into_iter().collect::<Result<Vec<_>, _>>().map(|parts| parts.join("\n")))
        }
        _ => Err(io::Error::other(format!("{line:?} is no answer"))),
    }
}
