//! Docker by its Engine API, blocking: containers, their output, images.
//!
//! [`Docker::from_environment`] finds the daemon as the docker CLI does, over a
//! socket, TCP or TLS, and agrees on a version of the API with it. Nothing is sent
//! unencrypted to another host unless an [`Endpoint`] says so, and passwords never are.
//!
//! What ends is proven: a container's output is complete when both its stream and
//! the container have ended. Each call has a time limit; streams that may be silent
//! for as long as they like are ended from another thread.
//!
//! The source: Docker Engine API, versions 1.25 to 1.47.

mod call;
mod container;
mod endpoint;
mod environment;
mod error;
mod image;
mod moment;
mod output;
mod owner;
mod settings;
pub mod show;
mod stop;
mod when;

use std::io::{self, Read};
use std::time::Duration;

use crate::client::{Ask, Service};

use call::Call;

pub use container::{
    CommitSpec, Container, ContainerSpec, Created, Filters, InvalidPort, InvalidRestart, InvalidSize, Listed,
    PortMapping, Restart, State, exit_code_of_start, parse_cpus, parse_size,
};
pub use endpoint::{DEFAULT_SOCKET, Endpoint};
pub use environment::{InvalidEnv, env_in_file, env_of};
pub use error::{Error, ErrorKind};
pub use image::{
    Credentials, ImageRef, ImageSummary, InvalidPullPolicy, InvalidReference, LocalImage, Progress, Pull, PullOptions,
    PullPolicy,
};
pub use output::{
    AskedBy, Attended, Chunk, Ender, Exit, Frames, GiveUp, Limits, Logs, LogsQuery, Running, Std, attend,
};
pub use owner::Owner;
pub use settings::Settings;
pub use stop::{Stopped, Stopping};
pub use when::{InvalidMoment, parse_moment};

/// The newest version of the API that is spoken here, and the oldest.
const NEWEST: Version = Version(1, 47);
const OLDEST: Version = Version(1, 25);
/// How long an answer may take by default.
const PATIENCE: Duration = Duration::from_secs(120);

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Version(u32, u32);

/// A daemon that has answered. Cloning shares its connections; it may be used by
/// several threads at once.
#[derive(Clone, Debug)]
pub struct Docker {
    service: Service,
    /// `/v1.41`
    prefix: String,
    patience: Duration,
    private: bool,
    settings: Settings,
}

impl Docker {
    /// The daemon that the environment names (`DOCKER_HOST`, `DOCKER_TLS_VERIFY`,
    /// `DOCKER_CERT_PATH`, `DOCKER_CONTEXT`, `DOCKER_CONFIG`).
    ///
    /// # Errors
    /// See [`Endpoint::of`] and [`Docker::connect`].
    pub fn from_environment() -> Result<Docker, Error> {
        let settings = Settings::from_environment();
        let docker = Docker::connect(&Endpoint::of(&settings)?)?;
        Ok(docker.with_settings(settings))
    }

    /// The daemon at this place. Asks it which version of the API it speaks: the
    /// smaller of its newest and 1.47 is used.
    ///
    /// # Errors
    /// [`ErrorKind::Insecure`]: unencrypted to another host.
    /// [`ErrorKind::NoDaemon`], [`ErrorKind::TimedOut`] (within 30 s),
    /// [`ErrorKind::Garbage`]: nobody there, or no Docker, or one older than 1.25.
    pub fn connect(endpoint: &Endpoint) -> Result<Docker, Error> {
        let service = Service::at(endpoint.place()?.clone());
        let version = agreed(&service)?;
        Ok(Docker {
            service,
            prefix: format!("/v{}.{}", version.0, version.1),
            patience: PATIENCE,
            private: endpoint.is_private(),
            settings: Settings::default(),
        })
    }

    /// The same with settings, whose configuration file has credentials for registries.
    /// [`Docker::from_environment`] has the environment's; else there are none.
    #[must_use]
    pub fn with_settings(mut self, settings: Settings) -> Docker {
        self.settings = settings;
        self
    }

    /// The same with another limit on how long an answer may take. Default: 120 s.
    /// What takes long by its nature (a stop's grace, a commit) gets more.
    #[must_use]
    pub fn with_patience(mut self, patience: Duration) -> Docker {
        self.patience = patience;
        self
    }

    /// Whether a password may be sent to it; see [`Endpoint::is_private`].
    pub fn is_private(&self) -> bool {
        self.private
    }

    /// The version of the API in use: `1.41`.
    pub fn api_version(&self) -> &str {
        self.prefix.trim_start_matches("/v")
    }

    /// Where it is: `unix:///var/run/docker.sock`.
    pub fn address(&self) -> String {
        self.service.place().to_string()
    }

    /// The daemon's clock: Unix seconds and nanoseconds.
    fn unix_time(&self) -> Result<String, Error> {
        const DOING: &str = "can't ask Docker for its time";
        let info = self.get("/info", DOING).value()?;
        let time = moment::nanos(call::text_at(&info, "SystemTime", DOING)?);
        time.map(moment::in_query).ok_or_else(|| Error::garbage(DOING, "has no SystemTime"))
    }

    fn get(&self, path: &str, doing: impl Into<String>) -> Call<'_> {
        Call::new(self, "GET", path, doing)
    }

    fn post(&self, path: &str, doing: impl Into<String>) -> Call<'_> {
        Call::new(self, "POST", path, doing)
    }

    fn delete(&self, path: &str, doing: impl Into<String>) -> Call<'_> {
        Call::new(self, "DELETE", path, doing)
    }
}

/// Asks without a version: any daemon answers that.
fn agreed(service: &Service) -> Result<Version, Error> {
    const DOING: &str = "can't ask Docker for its version";
    let limit = Duration::from_secs(30);
    let ask = Ask { method: "GET", path: "/_ping", headers: &[], body: None, head_within: limit };
    let answer = service.ask(&ask, limit).map_err(|error| Error::unanswered(DOING, error))?;
    let place = service.place();
    let version = answer.header("Api-Version").and_then(Version::parse);
    let Some(version) = version else {
        let status = answer.status();
        let mut said = Vec::new();
        // What can't be read says nothing.
        let _: io::Result<usize> = answer.into_body().take(1024).read_to_end(&mut said);
        // How a server written in Go answers who speaks to it in the clear.
        let hint = match memchr::memmem::find(&said, b"HTTPS") {
            Some(_) => "it wants TLS: set DOCKER_TLS_VERIFY=1 and DOCKER_CERT_PATH",
            None => "is it a daemon's?",
        };
        let text = format!("{place} doesn't answer as Docker does (status {status}); {hint}");
        return Err(Error::new(ErrorKind::Garbage, text));
    };
    // The body is "OK", and the connection is wanted again.
    io::copy(&mut answer.into_body().take(1024), &mut io::sink()).map_err(|error| Error::unread(DOING, error))?;
    if version < OLDEST {
        let text = format!("the daemon at {place} speaks API {}.{} at most, and 1.25 is needed", version.0, version.1);
        return Err(Error::new(ErrorKind::Garbage, text));
    }
    Ok(version.min(NEWEST))
}

impl Version {
    fn parse(text: &str) -> Option<Version> {
        let (major, minor) = text.trim().split_once('.')?;
        Some(Version(major.parse().ok()?, minor.parse().ok()?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_compared_by_number() {
        assert!(Version::parse("1.9").unwrap() < Version::parse("1.41").unwrap());
        assert_eq!(Version::parse("1.52").unwrap().min(NEWEST), NEWEST);
        for text in ["", "1", "1.x", "-1.2"] {
            assert_eq!(Version::parse(text), None, "{text}");
        }
    }
}
