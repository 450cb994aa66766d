//! An image for a container: the one that is there, or a pull.

use std::str::FromStr;

use super::super::{Docker, Error, ErrorKind};
use super::{ImageRef, LocalImage, Progress, PullOptions};

/// When an image is pulled for a container. Default: if it is missing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PullPolicy {
    /// Also if there is one of that name.
    Always,
    /// If there is none.
    #[default]
    Missing,
    /// Not at all.
    Never,
}

/// A text that is no [`PullPolicy`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} says not when to pull; write always, missing or never")]
pub struct InvalidPullPolicy {
    text: String,
}

impl FromStr for PullPolicy {
    type Err = InvalidPullPolicy;

    fn from_str(text: &str) -> Result<PullPolicy, InvalidPullPolicy> {
        match text {
            "always" => Ok(PullPolicy::Always),
            "missing" => Ok(PullPolicy::Missing),
            "never" => Ok(PullPolicy::Never),
            _ => Err(InvalidPullPolicy { text: text.to_owned() }),
        }
    }
}

impl Docker {
    /// The image of this name or id, pulled if the policy says so. `report` is told
    /// of a pull's progress. Blocks as long as [`Docker::pull_with`] and
    /// [`Pull::finish`](super::Pull::finish) do.
    ///
    /// # Errors
    /// Theirs, and [`ErrorKind::NotFound`]: it isn't there, and isn't to be pulled;
    /// [`ErrorKind::Invalid`]: what is to be pulled has no image's name.
    pub fn obtain(
        &self,
        name: &str,
        policy: PullPolicy,
        options: &PullOptions,
        report: &mut dyn FnMut(&Progress),
    ) -> Result<LocalImage, Error> {
        if policy != PullPolicy::Always {
            match self.local_image(name) {
                Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
                Err(error) if policy == PullPolicy::Never => return Err(error.hinting("pull it first")),
                Err(_) => {}
                Ok(image) => return Ok(image),
            }
        }
        let image: ImageRef =
            name.parse().map_err(|error: super::InvalidReference| Error::new(ErrorKind::Invalid, error.to_string()))?;
        let mut pull = self.pull_with(&image, options)?;
        for progress in pull.by_ref() {
            report(&progress?);
        }
        pull.finish()
    }
}
