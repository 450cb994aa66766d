//! Pulling an image: a stream of progress whose end has to be proven.

use std::time::Duration;

use super::super::call::Stream;
use super::super::{Docker, Error, ErrorKind};
use super::objects::Objects;
use super::{Credentials, ImageRef, LocalImage, Progress};

/// How long the daemon may take to answer at all: it asks the registry first.
const ANSWER: Duration = Duration::from_secs(300);
/// How long a pull may be silent: while a large layer is unpacked on a slow disk.
const QUIET: Duration = Duration::from_secs(600);

/// How to pull. By default: with what the configuration file has for the registry,
/// for the daemon's own platform.
#[derive(Clone, Debug, Default)]
pub struct PullOptions {
    /// Who we are to the registry, instead of what the configuration says.
    pub credentials: Option<Credentials>,
    /// Another platform: `linux/arm64`.
    pub platform: Option<String>,
}

/// A pull under way: an iterator of its progress.
///
/// To drop it before [`finish`](Pull::finish) cancels it: the daemon keeps the
/// layers that it has, and makes no image of them. The iterator ends after the
/// first error, which `finish` repeats.
#[must_use = "an image that isn't pulled to its end isn't there; call finish"]
pub struct Pull {
    docker: Docker,
    image: ImageRef,
    objects: Objects<Stream>,
    doing: String,
    /// What the daemon was not told, and why; for the text of an error.
    hint: Option<String>,
    /// The digest that the daemon says it has pulled.
    digest: Option<String>,
    state: State,
}

enum State {
    /// Whether anything was reported.
    Going {
        reported: bool,
    },
    Ended,
    Failed(Error),
}

impl Docker {
    /// Begins to pull an image, with the credentials that the configuration has for
    /// its registry. Blocks until the daemon has asked the registry, at most 5 minutes.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`], [`ErrorKind::Failed`]: no such image, or not for us;
    /// daemons tell them apart by their words alone. [`ErrorKind::Settings`]: see
    /// [`Settings::credentials`](super::super::Settings::credentials).
    pub fn pull(&self, image: &ImageRef) -> Result<Pull, Error> {
        self.pull_with(image, &PullOptions::default())
    }

    /// The same with options.
    ///
    /// # Errors
    /// As [`pull`](Docker::pull), and [`ErrorKind::Insecure`]: credentials were given,
    /// and others could read them on the way to the daemon.
    pub fn pull_with(&self, image: &ImageRef, options: &PullOptions) -> Result<Pull, Error> {
        let doing = format!("can't pull {}", image.as_given());
        let mut call = self.post("/images/create", &doing).at_least(ANSWER);
        call = call.query("fromImage", &image.familiar_name()).query("tag", image.wanted());
        call = call.query_if("platform", options.platform.as_deref());
        let (credentials, hint) = self.credentials_for(image, options)?;
        if let Some(credentials) = credentials {
            call = call.header("X-Registry-Auth", credentials.header(image.domain()));
        }
        let stream = call.stream(QUIET).map_err(|error| with_hint(error, hint.as_deref()))?;
        let (objects, state) = (Objects::new(stream), State::Going { reported: false });
        Ok(Pull { docker: self.clone(), image: image.clone(), objects, doing, hint, digest: None, state })
    }

    /// What to send, and what is to be said if that isn't enough.
    fn credentials_for(
        &self,
        image: &ImageRef,
        options: &PullOptions,
    ) -> Result<(Option<Credentials>, Option<String>), Error> {
        let (address, registry) = (self.address(), image.domain());
        match &options.credentials {
            Some(given) if self.is_private() => Ok((Some(given.clone()), None)),
            Some(_) => {
                let text = format!("the password for {registry} isn't sent unencrypted to {address}; use TLS");
                Err(Error::new(ErrorKind::Insecure, text))
            }
            None => match self.settings.credentials(registry)? {
                Some(found) if self.is_private() => Ok((Some(found), None)),
                // An image that everybody may have can be pulled even so.
                Some(_) => {
                    let text = format!("the credentials for {registry} weren't sent unencrypted to {address}; use TLS");
                    Ok((None, Some(text)))
                }
                None => Ok((None, None)),
            },
        }
    }
}

impl Pull {
    /// Reads what is left, and looks at the image. Blocks until the pull has ended;
    /// it fails after 10 minutes without progress.
    ///
    /// # Errors
    /// The first error there was, also if the iterator gave it already. Else
    /// [`ErrorKind::Cut`] or [`ErrorKind::Garbage`]: the stream had no proper end;
    /// [`ErrorKind::NotFound`]: it had, and the image isn't there.
    pub fn finish(mut self) -> Result<LocalImage, Error> {
        for progress in self.by_ref() {
            progress?;
        }
        if let State::Failed(error) = self.state {
            return Err(error);
        }
        let image = self.docker.local_image(self.image.as_given())?;
        match &self.digest {
            // Some daemons keep none.
            Some(digest) if !image.digests().is_empty() && !image.digests().iter().any(|it| it.ends_with(digest)) => {
                let text = format!("{}: {} is there, but isn't {digest}, which was pulled", self.doing, image.name());
                Err(Error::new(ErrorKind::Garbage, text))
            }
            _ => Ok(image),
        }
    }

    fn fail(&mut self, error: Error) -> Option<Result<Progress, Error>> {
        let error = with_hint(error, self.hint.as_deref());
        self.state = State::Failed(error.again());
        Some(Err(error))
    }

    fn report(&mut self, progress: &Progress) {
        self.state = State::Going { reported: true };
        if let Some(digest) = progress.status.strip_prefix("Digest: ") {
            self.digest = Some(digest.to_owned());
        }
    }
}

impl Iterator for Pull {
    type Item = Result<Progress, Error>;

    /// Blocks until the daemon reports something, at most 10 minutes.
    fn next(&mut self) -> Option<Result<Progress, Error>> {
        let State::Going { reported } = self.state else { return None };
        match self.objects.next() {
            Ok(Some(object)) => match Progress::of(&object) {
                Ok(progress) => {
                    self.report(&progress);
                    Some(Ok(progress))
                }
                Err(message) => {
                    let text = format!("{}: {message}", self.doing);
                    self.fail(Error::new(ErrorKind::Failed, text))
                }
            },
            Ok(None) if reported => {
                self.state = State::Ended;
                None
            }
            Ok(None) => {
                let text = format!("{}: the daemon said nothing of it", self.doing);
                self.fail(Error::new(ErrorKind::Cut, text))
            }
            Err(error) => {
                let error = Error::unread(&self.doing, error);
                self.fail(error)
            }
        }
    }
}

impl std::fmt::Debug for Pull {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Pull({})", self.image)
    }
}

fn with_hint(error: Error, hint: Option<&str>) -> Error {
    match hint {
        Some(hint) => error.hinting(hint),
        None => error,
    }
}
