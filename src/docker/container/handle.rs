//! A container by its id or name, and what can be done with it at once.

use std::time::Duration;

use super::super::call::{segment, text_at};
use super::super::{Docker, Error, ErrorKind, LocalImage};
use super::{ContainerSpec, State};

/// How long the daemon may take to make or start a container: it may copy an
/// image's files into a volume, or wait for a disk.
const SLOW: Duration = Duration::from_secs(600);
/// The daemon's own grace, where none is said.
const DAEMONS_GRACE: Duration = Duration::from_secs(10);

/// A container. It is a name: to have one doesn't mean that it exists, and to drop
/// one ends nothing.
#[derive(Clone, Debug)]
pub struct Container {
    pub(in super::super) docker: Docker,
    id: String,
}

/// A container that was just made, not started.
#[derive(Clone, Debug)]
#[must_use = "it stays until it is removed"]
pub struct Created {
    /// The container.
    pub container: Container,
    /// What the daemon has to say about the settings: a limit that this kernel
    /// can't keep.
    pub warnings: Vec<String>,
}

impl Docker {
    /// The container of this id or name; the slash is left out that the daemon begins names
    /// with. Nothing is asked.
    pub fn container(&self, name: &str) -> Container {
        Container { docker: self.clone(), id: name.strip_prefix('/').unwrap_or(name).to_owned() }
    }

    /// Makes a container. Waits for the daemon, at most 10 minutes.
    ///
    /// # Errors
    /// [`ErrorKind::Conflict`]: the name is in use. [`ErrorKind::NotFound`]: the image
    /// is gone meanwhile. [`ErrorKind::Invalid`]: settings that don't fit.
    pub fn create(&self, image: &LocalImage, spec: &ContainerSpec) -> Result<Created, Error> {
        let doing = format!("can't create a container of {}", image.name());
        let call = self.post("/containers/create", &doing).query_if("name", spec.name.as_deref());
        let value = call.json(&spec.to_json(image.name())).at_least(SLOW).value()?;
        let id = text_at(&value, "Id", &doing)?;
        let warnings = value["Warnings"].as_array().into_iter().flatten();
        let warnings = warnings.filter_map(|warning| warning.as_str().map(str::to_owned)).collect();
        Ok(Created { container: self.container(id), warnings })
    }
}

impl Container {
    /// Its id, or the name that it was looked for by.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The first twelve digits of its id, as lists show it.
    pub fn short_id(&self) -> &str {
        self.id.get(..12).unwrap_or(&self.id)
    }

    pub(in super::super) fn path(&self, what: &str) -> String {
        format!("/containers/{}{what}", segment(&self.id))
    }

    /// Starts it; `false` if it runs already. Waits for the daemon, at most 10 minutes.
    ///
    /// # Errors
    /// The daemon can't: no such program, a port in use. [`exit_code_of_start`] says
    /// which code that is.
    pub fn start(&self) -> Result<bool, Error> {
        let call = self.docker.post(&self.path("/start"), format!("can't start {}", self.short_id()));
        Ok(call.at_least(SLOW).done()? != 304)
    }

    /// Asks it to end, by its own signal or TERM, and kills it when the grace has
    /// passed; `false` if it didn't run. Without a grace it is the container's own,
    /// or 10 s. Blocks until it has ended, at most for the grace and the client's patience.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`]: there is none. [`ErrorKind::TimedOut`]: it can't be killed.
    pub fn stop(&self, grace: Option<Duration>) -> Result<bool, Error> {
        let mut call = self.docker.post(&self.path("/stop"), format!("can't stop {}", self.short_id()));
        if let Some(grace) = grace {
            // Whole seconds is what there is; more than asked for rather than less.
            call = call.query("t", &grace.as_secs_f64().ceil().to_string());
        }
        let grace = grace.unwrap_or(DAEMONS_GRACE);
        Ok(call.at_least(grace + self.docker.patience).done()? != 304)
    }

    /// Sends it a signal: `TERM`, `KILL`, `9`.
    ///
    /// # Errors
    /// [`ErrorKind::Conflict`]: it doesn't run. [`ErrorKind::NotFound`]: there is none.
    pub fn kill(&self, signal: &str) -> Result<(), Error> {
        let call = self.docker.post(&self.path("/kill"), format!("can't send a signal to {}", self.short_id()));
        call.query("signal", signal).done().map(drop)
    }

    /// Removes it and the volumes without a name that came with it; with `force`
    /// also if it runs. One that is gone, or is being removed, is as good as removed.
    ///
    /// # Errors
    /// [`ErrorKind::Conflict`]: it runs, without `force`.
    pub fn remove(&self, force: bool) -> Result<(), Error> {
        let doing = format!("can't remove {}", self.short_id());
        let call = self.docker.delete(&self.path(""), doing);
        let call = call.query("v", "1").query("force", if force { "1" } else { "0" });
        match call.done() {
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
            Err(error) if error.kind() == ErrorKind::Conflict && error.to_string().contains("already in progress") => {
                Ok(())
            }
            other => other.map(drop),
        }
    }

    /// Waits until it is removed, as the daemon does by itself with
    /// [`ContainerSpec::auto_remove`]: its name is then free again. Blocks at most for the
    /// client's patience.
    ///
    /// # Errors
    /// [`ErrorKind::TimedOut`]: it is still there. [`ErrorKind::Failed`]: it can't be removed.
    pub fn await_removal(&self) -> Result<(), Error> {
        let call = self.docker.post(&self.path("/wait"), format!("can't wait until {} is removed", self.short_id()));
        match call.query("condition", "removed").value() {
            Ok(_) => Ok(()),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// How it is: whether it runs, how it ended, what it was made with.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`]: there is none.
    pub fn inspect(&self) -> Result<State, Error> {
        let doing = format!("can't inspect {}", self.short_id());
        let value = self.docker.get(&self.path("/json"), &doing).value()?;
        State::read(value, &doing)
    }
}

/// The exit code that a failed start stands for, as the docker CLI has it: 127
/// there is no such program, 126 it can't be executed, 125 all else.
pub fn exit_code_of_start(error: &Error) -> u8 {
    let text = error.to_string();
    let says = |words: &[&str]| words.iter().any(|word| text.contains(word));
    if !error.is_daemons() {
        125
    } else if says(&["executable file not found", "no such file or directory", "system cannot find the file"]) {
        127
    } else if says(&["permission denied", "is a directory"]) {
        126
    } else {
        125
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_start_has_the_code_that_the_docker_cli_gives_it() {
        for (message, code) in [
            ("exec: \"nosuch\": executable file not found in $PATH: unknown", 127),
            ("exec: \"/x\": stat /x: no such file or directory: unknown", 127),
            ("exec: \"/tmp\": permission denied: unknown", 126),
            ("exec: \"/tmp\": is a directory: unknown", 126),
            ("port is already allocated", 125),
        ] {
            assert_eq!(exit_code_of_start(&Error::refused("can't start x", 400, message)), code, "{message}");
        }
        assert_eq!(exit_code_of_start(&Error::new(ErrorKind::NoDaemon, "permission denied")), 125);
    }
}
