//! A container that runs, its output, and its end.
//!
//! The order is what loses nothing: attach, then wait, then start. The daemon has
//! registered the first two before it answers them, so the first byte and the quickest
//! end are seen. A run is over when its output has ended *and* the daemon has told how
//! it ended; anything else is an error.

use std::io::Write;

use super::super::call::{Stream, read_value};
use super::super::container::Container;
use super::super::error::{Error, ErrorKind};
use super::{Chunk, Frames};
use crate::client::Cut;

/// How a container ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Exit {
    /// Its code; 128 and the signal's number if it was killed.
    pub code: i64,
    /// The kernel ended it for want of memory.
    pub oom_killed: bool,
}

/// A container that was started, with both its streams.
#[derive(Debug)]
#[must_use = "whether it ended well is known when `finish` says so"]
pub struct Running {
    container: Container,
    doing: String,
    output: Frames<Stream>,
    drained: bool,
    wait: Stream,
    cuts: [Cut; 2],
}

/// Ends the reading of a [`Running`] from another thread, not the container.
#[derive(Clone, Debug)]
pub struct GiveUp {
    cuts: [Cut; 2],
}

impl Container {
    /// Starts it, attached: all of its output from the first byte. For containers
    /// without a terminal, as [`ContainerSpec`](super::super::ContainerSpec) makes them.
    ///
    /// # Errors
    /// The daemon can't: [`exit_code_of_start`](super::super::exit_code_of_start) says
    /// which code that is.
    pub fn run(&self) -> Result<Running, Error> {
        let name = self.short_id().to_owned();
        let doing = format!("can't read the output of {name}");
        let attach = self.docker.post(&self.path("/attach"), format!("can't attach to {name}"));
        let output = attach.query("stream", "1").query("stdout", "1").query("stderr", "1").endless()?;
        let wait = self.docker.post(&self.path("/wait"), format!("can't wait for {name}"));
        // No limit on either: a container may be silent, and run, for as long as it likes.
        let wait = wait.query("condition", "next-exit").endless()?;
        // A start that fails ends neither: to drop them does.
        if !self.start()? {
            return Err(Error::new(ErrorKind::Conflict, format!("can't start {name}: it runs already")));
        }
        let cuts = [output.cut(), wait.cut()];
        let output = Frames::framed(output, &doing);
        Ok(Running { container: self.clone(), doing, output, drained: false, wait, cuts })
    }
}

impl Running {
    /// The container.
    pub fn container(&self) -> &Container {
        &self.container
    }

    /// What it prints next; `None` when its output has ended, which may be before it
    /// has. Blocks until there is something: the container's end unblocks it, and
    /// [`GiveUp`].
    ///
    /// # Errors
    /// The stream broke: the container goes on, and what it prints is lost.
    pub fn next_chunk(&mut self) -> Result<Option<Chunk<'_>>, Error> {
        let chunk = self.output.next_chunk()?;
        self.drained = chunk.is_none();
        Ok(chunk)
    }

    /// Writes all that it prints to these, as it comes. A writer may be as slow as it
    /// likes: the container waits for it.
    ///
    /// # Errors
    /// As [`Running::next_chunk`]; [`ErrorKind::Local`]: a writer failed. The container goes on.
    pub fn copy_to(&mut self, out: &mut dyn Write, err: &mut dyn Write) -> Result<(), Error> {
        while let Some(chunk) = self.output.next_chunk()? {
            chunk.write_to(out, err)?;
        }
        self.drained = true;
        Ok(())
    }

    /// What ends the reading from another thread.
    pub fn give_up(&self) -> GiveUp {
        GiveUp { cuts: self.cuts.clone() }
    }

    /// Waits for its end; what it still prints is thrown away. Blocks until it has
    /// ended: stop it, or [`GiveUp`], to unblock.
    ///
    /// # Errors
    /// Its end isn't known: a connection broke, or the daemon can't say.
    pub fn finish(mut self) -> Result<Exit, Error> {
        while !self.drained {
            self.next_chunk()?;
        }
        // One that has ended already is asked how. Podman's wait can miss a quick end,
        // but not one that comes after this.
        let state = match self.container.inspect() {
            Ok(state) => Some(state),
            // Removed by itself: the wait knows.
            Err(error) if error.kind() == ErrorKind::NotFound => None,
            Err(error) => return Err(error),
        };
        if let Some(state) = state.filter(|state| state.status == "exited") {
            return Ok(Exit { code: state.exit_code, oom_killed: state.oom_killed });
        }
        let code = code_of(&read_value(&self.doing, self.wait)?, &self.doing)?;
        // What the kernel kills for want of memory, it kills by signal 9.
        let oom_killed = code == 137 && self.container.inspect().is_ok_and(|state| state.oom_killed);
        Ok(Exit { code, oom_killed })
    }
}

impl GiveUp {
    /// Ends the reading: who waits gets an error at once.
    pub fn now(&self) {
        for cut in &self.cuts {
            cut.now();
        }
    }
}

fn code_of(answer: &serde_json::Value, doing: &str) -> Result<i64, Error> {
    if let Some(message) = answer["Error"]["Message"].as_str().filter(|message| !message.is_empty()) {
        return Err(Error::new(ErrorKind::Failed, format!("{doing}: {}", super::super::error::one_line(message))));
    }
    answer["StatusCode"].as_i64().ok_or_else(|| Error::garbage(doing, "has no StatusCode"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn an_end_that_isnt_told_is_no_exit_code_0() {
        assert_eq!(code_of(&json!({ "StatusCode": 3, "Error": null }), "x").unwrap(), 3);
        for answer in
            [json!({}), json!({ "StatusCode": null }), json!({ "StatusCode": 0, "Error": { "Message": "gone" } })]
        {
            assert!(code_of(&answer, "x").is_err(), "{answer}");
        }
    }
}
