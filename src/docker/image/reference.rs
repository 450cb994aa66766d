//! The name of an image, as the docker CLI reads it.
//!
//! The grammar is that of distribution/reference: `[DOMAIN/]PATH[:TAG][@DIGEST]`.

use std::fmt;
use std::str::FromStr;

/// The domain of a name that has none.
const DEFAULT_DOMAIN: &str = "docker.io";
/// The tag of a name that has none.
const DEFAULT_TAG: &str = "latest";
/// How long domain and path may be together.
const NAME_BYTE: usize = 255;
const TAG_BYTE: usize = 128;

/// An image's name, checked and taken apart: `alpine` is
/// `docker.io/library/alpine:latest`.
///
/// Where a container is made, the first characters of an image's id do as well.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ImageRef {
    given: String,
    domain: String,
    path: String,
    tag: Option<String>,
    digest: Option<String>,
}

/// Why a text is no [`ImageRef`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidReference {
    /// It isn't `[DOMAIN/]PATH[:TAG][@DIGEST]`.
    #[error("{0:?} is no image's name; write [HOST[:PORT]/]NAME[:TAG] or NAME@sha256:DIGEST")]
    Format(String),
    /// The path has capital letters.
    #[error("{0:?} is no image's name: the repository must be lowercase")]
    Uppercase(String),
    /// Domain and path are longer than 255 bytes.
    #[error("an image's name has 255 bytes at most")]
    TooLong,
    /// It is an id of 64 hexadecimal digits, which no registry knows.
    #[error("{0} is an image's id, which names no repository")]
    Id(String),
}

impl FromStr for ImageRef {
    type Err = InvalidReference;

    /// # Errors
    /// See [`InvalidReference`].
    fn from_str(text: &str) -> Result<ImageRef, InvalidReference> {
        if text.len() == 64 && text.bytes().all(is_lower_hex) {
            return Err(InvalidReference::Id(text.to_owned()));
        }
        let wrong = || InvalidReference::Format(text.chars().take(NAME_BYTE).collect());
        let (name, digest) = match text.split_once('@') {
            Some((name, digest)) if is_digest(digest) => (name, Some(digest.to_owned())),
            Some(_) => return Err(wrong()),
            None => (text, None),
        };
        let (domain, rest) = split_domain(name);
        let (path, tag) = match rest.split_once(':') {
            Some((path, tag)) if is_tag(tag) => (path, Some(tag.to_owned())),
            Some(_) => return Err(wrong()),
            None => (rest, None),
        };
        if path.bytes().any(|byte| byte.is_ascii_uppercase()) {
            return Err(InvalidReference::Uppercase(text.chars().take(NAME_BYTE).collect()));
        }
        if !is_domain(&domain) || !path.split('/').all(is_path_component) {
            return Err(wrong());
        }
        let path = match domain == DEFAULT_DOMAIN && !path.contains('/') {
            true => format!("library/{path}"),
            false => path.to_owned(),
        };
        if domain.len() + 1 + path.len() > NAME_BYTE {
            return Err(InvalidReference::TooLong);
        }
        Ok(ImageRef { given: text.to_owned(), domain, path, tag, digest })
    }
}

impl ImageRef {
    /// The text that it was made of.
    pub fn as_given(&self) -> &str {
        &self.given
    }

    /// The registry: `docker.io`, `registry.example.org:5000`.
    pub fn domain(&self) -> &str {
        &self.domain
    }

    /// The repository in the registry: `library/alpine`.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// The tag, if one was given.
    pub fn tag(&self) -> Option<&str> {
        self.tag.as_deref()
    }

    /// The digest, if one was given.
    pub fn digest(&self) -> Option<&str> {
        self.digest.as_deref()
    }

    /// Whether neither tag nor digest was given, so that `latest` is meant.
    pub fn is_name_only(&self) -> bool {
        self.tag.is_none() && self.digest.is_none()
    }

    /// Domain and path as people write them: `alpine`, `user/app`, `host:5000/app`.
    pub fn familiar_name(&self) -> String {
        match (self.domain.as_str(), self.path.strip_prefix("library/")) {
            (DEFAULT_DOMAIN, Some(name)) if !name.contains('/') => name.to_owned(),
            (DEFAULT_DOMAIN, _) => self.path.clone(),
            _ => format!("{}/{}", self.domain, self.path),
        }
    }

    /// What to pull of the repository: the digest, else the tag, else `latest`.
    /// It is never empty, which would ask for every tag.
    pub fn wanted(&self) -> &str {
        self.digest.as_deref().or(self.tag.as_deref()).unwrap_or(DEFAULT_TAG)
    }
}

impl fmt::Display for ImageRef {
    /// The whole name: `docker.io/library/alpine:latest`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.domain, self.path)?;
        match (&self.tag, &self.digest) {
            (Some(tag), None) => write!(f, ":{tag}"),
            (Some(tag), Some(digest)) => write!(f, ":{tag}@{digest}"),
            (None, Some(digest)) => write!(f, "@{digest}"),
            (None, None) => write!(f, ":{DEFAULT_TAG}"),
        }
    }
}

/// What comes before the first slash is a domain if it can't be a path.
fn split_domain(name: &str) -> (String, &str) {
    let (domain, rest) = match name.split_once('/') {
        Some((first, rest))
            if first.contains(['.', ':']) || first == "localhost" || first.bytes().any(|b| b.is_ascii_uppercase()) =>
        {
            (first, rest)
        }
        _ => (DEFAULT_DOMAIN, name),
    };
    (if domain == "index.docker.io" { DEFAULT_DOMAIN } else { domain }.to_owned(), rest)
}

fn is_domain(domain: &str) -> bool {
    let (host, port) = match domain.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((address, rest)) => {
            let is_address = address.bytes().all(|byte| byte.is_ascii_hexdigit() || byte == b':');
            return is_address
                && !address.is_empty()
                && (rest.is_empty() || rest.strip_prefix(':').is_some_and(is_port));
        }
        None => domain.split_once(':').map_or((domain, None), |(host, port)| (host, Some(port))),
    };
    let is_label = |label: &str| {
        label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
            && !label.is_empty()
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    host.split('.').all(is_label) && port.is_none_or(is_port)
}

fn is_port(port: &str) -> bool {
    !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit())
}

/// Lower-case letters and digits, with one `.`, one or two `_`, or any number of
/// `-` between them.
fn is_path_component(component: &str) -> bool {
    let is_word = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let bytes = component.as_bytes();
    let (Some(first), Some(last)) = (bytes.first(), bytes.last()) else { return false };
    let separators = component.split(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit());
    is_word(*first)
        && is_word(*last)
        && separators
            .into_iter()
            .all(|between| matches!(between, "" | "." | "_" | "__") || between.bytes().all(|byte| byte == b'-'))
}

fn is_tag(tag: &str) -> bool {
    let is_word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    let first = tag.bytes().next();
    tag.len() <= TAG_BYTE
        && first.is_some_and(is_word)
        && tag.bytes().all(|byte| is_word(byte) || byte == b'.' || byte == b'-')
}

fn is_digest(digest: &str) -> bool {
    let Some((algorithm, hex)) = digest.split_once(':') else { return false };
    let length = match algorithm {
        "sha256" => 64,
        "sha384" => 96,
        "sha512" => 128,
        _ => return false,
    };
    hex.len() == length && hex.bytes().all(is_lower_hex)
}

fn is_lower_hex(byte: u8) -> bool {
    matches!(byte, b'0'..=b'9' | b'a'..=b'f')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> ImageRef {
        text.parse().unwrap_or_else(|error| panic!("{text}: {error}"))
    }

    #[test]
    fn a_name_is_completed_as_the_cli_completes_it() {
        let digest = format!("sha256:{}", "0123456789abcdef".repeat(4));
        for (given, whole, familiar, wanted) in [
            ("alpine", "docker.io/library/alpine:latest", "alpine", "latest"),
            ("alpine:3", "docker.io/library/alpine:3", "alpine", "3"),
            ("user/app", "docker.io/user/app:latest", "user/app", "latest"),
            ("docker.io/alpine", "docker.io/library/alpine:latest", "alpine", "latest"),
            ("index.docker.io/library/alpine", "docker.io/library/alpine:latest", "alpine", "latest"),
            ("localhost/app:1", "localhost/app:1", "localhost/app", "1"),
            ("LOCALHOST/app", "LOCALHOST/app:latest", "LOCALHOST/app", "latest"),
            (
                "127.0.0.1:5000/a/b__c.d-e:v_1.2-x",
                "127.0.0.1:5000/a/b__c.d-e:v_1.2-x",
                "127.0.0.1:5000/a/b__c.d-e",
                "v_1.2-x",
            ),
            ("[::1]:5000/app", "[::1]:5000/app:latest", "[::1]:5000/app", "latest"),
            ("a/b/c", "docker.io/a/b/c:latest", "a/b/c", "latest"),
            ("a---b", "docker.io/library/a---b:latest", "a---b", "latest"),
        ] {
            let image = parsed(given);
            assert_eq!((image.to_string().as_str(), image.familiar_name().as_str()), (whole, familiar), "{given}");
            assert_eq!((image.wanted(), image.as_given()), (wanted, given));
        }
        let image = parsed(&format!("app:1@{digest}"));
        assert_eq!((image.tag(), image.digest(), image.wanted()), (Some("1"), Some(digest.as_str()), digest.as_str()));
        assert!(!parsed("a:1").is_name_only() && parsed("a").is_name_only());
    }

    #[test]
    fn what_the_grammar_does_not_have_is_refused() {
        for text in [
            "",
            ":1",
            "a:",
            "a:-x",
            "-a",
            "a-",
            "a..b",
            "a___b",
            "a._b",
            "/a",
            "a/",
            "a//b",
            "a b",
            "a:1:2",
            "host:x/a",
            "host:/a",
            "-h.org/a",
            "a@sha256:12",
            "a@md5:0123456789abcdef0123456789abcdef",
            "@",
            "a@",
            "\u{e9}",
            "a\n",
            "[::1/a",
            "[]/a",
        ] {
            assert!(matches!(text.parse::<ImageRef>(), Err(InvalidReference::Format(_))), "{text:?}");
        }
        assert!(matches!("Alpine".parse::<ImageRef>(), Err(InvalidReference::Uppercase(_))));
        assert!(matches!("h.org/App".parse::<ImageRef>(), Err(InvalidReference::Uppercase(_))));
        assert!(matches!("f".repeat(64).parse::<ImageRef>(), Err(InvalidReference::Id(_))));
        assert_eq!("a".repeat(256).parse::<ImageRef>(), Err(InvalidReference::TooLong));
        assert!(format!("a:{}", "t".repeat(128)).parse::<ImageRef>().is_ok());
        assert!(format!("a:{}", "t".repeat(129)).parse::<ImageRef>().is_err());
    }
}
