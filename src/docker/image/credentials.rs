//! Who one is to a registry: from the docker CLI's configuration, a helper of it, or
//! said.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE};
use serde_json::{Value, json};

use super::super::error::{Error, ErrorKind, one_line};
use super::super::settings::Settings;
use super::helper;

/// What the configuration calls Docker Hub.
const HUB: &str = "https://index.docker.io/v1/";
/// The user that a helper names when it gives a token.
const TOKEN_USER: &str = "<token>";

/// A user and a password, or a token, for one registry. Never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    secret: Secret,
}

#[derive(Clone, PartialEq, Eq)]
enum Secret {
    Password {
        user: String,
        password: String,
    },
    /// Got by logging in, for another token.
    Identity(String),
    /// For the registry itself.
    Registry(String),
}

impl Credentials {
    /// A user and a password, or an access token in the password's place.
    pub fn password(user: &str, password: &str) -> Credentials {
        Credentials { secret: Secret::Password { user: user.to_owned(), password: password.to_owned() } }
    }

    /// An identity token, which a login gave.
    pub fn identity_token(token: &str) -> Credentials {
        Credentials { secret: Secret::Identity(token.to_owned()) }
    }

    /// `X-Registry-Auth`: JSON in base64url with its padding. Without the padding the
    /// daemon takes it for nothing, and asks the registry as nobody.
    pub(super) fn header(&self, registry: &str) -> String {
        let server = key_of(registry);
        let value = match &self.secret {
            Secret::Password { user, password } => {
                json!({ "username": user, "password": password, "serveraddress": server })
            }
            Secret::Identity(token) => json!({ "identitytoken": token, "serveraddress": server }),
            Secret::Registry(token) => json!({ "registrytoken": token, "serveraddress": server }),
        };
        URL_SAFE.encode(value.to_string())
    }

    /// What a helper's answer or an entry of the configuration has.
    fn of_pair(user: &str, secret: &str) -> Credentials {
        if user == TOKEN_USER { Credentials::identity_token(secret) } else { Credentials::password(user, secret) }
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Credentials(...)")
    }
}

impl Settings {
    /// What the configuration file has for a registry: by the helper for it
    /// (`credHelpers`), by the helper for all (`credsStore`), or in the file itself
    /// (`auths`). `None`: nothing. A helper has 30 s.
    ///
    /// # Errors
    /// [`ErrorKind::Settings`]: the file is broken, or the helper isn't there, fails,
    /// or doesn't end.
    pub fn credentials(&self, registry: &str) -> Result<Option<Credentials>, Error> {
        let configuration = self.configuration()?;
        let key = key_of(registry);
        let helper = configuration["credHelpers"][key].as_str().or_else(|| configuration["credsStore"].as_str());
        match helper.filter(|name| !name.is_empty()) {
            Some(name) => from_helper(name, key),
            None => from_file(&configuration["auths"], key),
        }
    }
}

/// The configuration's name for a registry.
fn key_of(registry: &str) -> &str {
    if registry == "docker.io" { HUB } else { registry }
}

fn from_helper(name: &str, key: &str) -> Result<Option<Credentials>, Error> {
    let wrong = |what: &str| {
        let text = format!("docker-credential-{}, for {key}: {}", one_line(name), one_line(what));
        Error::new(ErrorKind::Settings, text)
    };
    let answer = helper::get(name, key).map_err(|error| wrong("no credentials from this helper").because(error))?;
    let Some(answer) = answer else { return Ok(None) };
    // Not even the parser's error: it quotes what it stumbles over.
    let value: Value = serde_json::from_slice(&answer).map_err(|_| wrong("its answer isn't JSON"))?;
    match (value["Username"].as_str().unwrap_or_default(), value["Secret"].as_str().unwrap_or_default()) {
        ("", _) | (_, "") => Ok(None),
        (user, secret) => Ok(Some(Credentials::of_pair(user, secret))),
    }
}

fn from_file(auths: &Value, key: &str) -> Result<Option<Credentials>, Error> {
    let Some(auths) = auths.as_object() else { return Ok(None) };
    // Older files have URLs for keys.
    let found =
        auths.get(key).or_else(|| auths.iter().find(|(name, _)| host_of(name) == host_of(key)).map(|(_, it)| it));
    let Some(entry) = found else { return Ok(None) };
    let text = |name: &str| entry[name].as_str().unwrap_or_default();
    if !text("identitytoken").is_empty() {
        return Ok(Some(Credentials::identity_token(text("identitytoken"))));
    }
    if !text("registrytoken").is_empty() {
        return Ok(Some(Credentials { secret: Secret::Registry(text("registrytoken").to_owned()) }));
    }
    if !text("auth").is_empty() {
        let wrong = || {
            Error::new(ErrorKind::Settings, format!("Docker's config.json has no usable auth for {key}; log in again"))
        };
        let pair =
            STANDARD.decode(text("auth")).ok().and_then(|bytes| String::from_utf8(bytes).ok()).ok_or_else(wrong)?;
        let (user, password) = pair.split_once(':').ok_or_else(wrong)?;
        return Ok(Some(Credentials::password(user, password.trim_end_matches('\0'))));
    }
    let (user, password) = (text("username"), text("password"));
    Ok((!user.is_empty()).then(|| Credentials::password(user, password)))
}

/// `https://index.docker.io/v1/` is `index.docker.io`.
fn host_of(key: &str) -> &str {
    let rest = key.strip_prefix("https://").or_else(|| key.strip_prefix("http://")).unwrap_or(key);
    rest.split('/').next().unwrap_or(rest)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn settings(config: &Value) -> (tempfile::TempDir, Settings) {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("config.json"), config.to_string()).unwrap();
        let config = Some(dir.path().to_owned());
        (dir, Settings { config, ..Settings::default() })
    }

    fn found(config: &Value, registry: &str) -> Option<Credentials> {
        settings(config).1.credentials(registry).unwrap()
    }

    #[test]
    fn the_file_is_read_as_the_cli_reads_it() {
        let auth = |text: &str| json!({ "auth": STANDARD.encode(text) });
        let config = json!({ "auths": {
            HUB: auth("hub:a:b"),
            "reg.example.org:5000": auth("me:secret\0\0"),
            "https://old.example.org/v1/": auth("old:pass"),
            "token.example.org": { "identitytoken": "T", "auth": STANDARD.encode("x:") },
            "plain.example.org": { "username": "u", "password": "p" },
            "empty.example.org": {},
        }});
        assert_eq!(found(&config, "docker.io"), Some(Credentials::password("hub", "a:b")));
        assert_eq!(found(&config, "reg.example.org:5000"), Some(Credentials::password("me", "secret")));
        assert_eq!(found(&config, "old.example.org"), Some(Credentials::password("old", "pass")));
        assert_eq!(found(&config, "token.example.org"), Some(Credentials::identity_token("T")));
        assert_eq!(found(&config, "plain.example.org"), Some(Credentials::password("u", "p")));
        for registry in ["empty.example.org", "other.example.org", "reg.example.org"] {
            assert_eq!(found(&config, registry), None, "{registry}");
        }
        for auth in ["%", "bm9jb2xvbg=="] {
            let (_dir, settings) = settings(&json!({ "auths": { "x.org": { "auth": auth } } }));
            assert_eq!(settings.credentials("x.org").unwrap_err().kind(), ErrorKind::Settings);
        }
    }

    #[test]
    fn a_registry_s_own_helper_goes_before_the_helper_for_all_and_that_before_the_file() {
        let dir = tempfile::tempdir().unwrap();
        let script = |name: &str, text: &str| {
            let path = dir.path().join(name);
            std::fs::write(&path, format!("#!/bin/sh\n{text}\n")).unwrap();
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
            path.to_str().unwrap().to_owned()
        };
        // By paths, which only a test may name: the programs aren't on PATH.
        let get = |program: &str, key: &str| helper::run(program, key, std::time::Duration::from_secs(30));
        let own =
            script("own", "read -r key; [ \"$1\" = get ] && printf '{\"Username\":\"me\",\"Secret\":\"%s\"}' \"$key\"");
        let answer = get(&own, "reg.example.org").unwrap().unwrap();
        assert_eq!(serde_json::from_slice::<Value>(&answer).unwrap()["Secret"], "reg.example.org");
        let none = script("none", "echo 'credentials not found in native keychain'; exit 1");
        assert!(get(&none, "x").unwrap().is_none());
        let fails = script("fails", "echo 'the keychain is locked'; exit 1");
        assert!(get(&fails, "x").unwrap_err().to_string().contains("the keychain is locked"));

        let config =
            json!({ "credsStore": "towpath-no-such", "auths": { "x.org": { "auth": STANDARD.encode("u:p") } } });
        let (_dir, settings) = settings(&config);
        let error = settings.credentials("x.org").unwrap_err();
        assert!(error.to_string().contains("docker-credential-towpath-no-such"), "{error}");
    }

    #[test]
    fn the_header_has_the_padding_whatever_the_length() {
        for length in 0..6 {
            let password = "?~>".repeat(3) + &"x".repeat(length);
            let header = Credentials::password("me", &password).header("docker.io");
            assert_eq!(header.len() % 4, 0, "{header}");
            assert!(!header.contains(['+', '/']), "{header}");
            let value: Value = serde_json::from_slice(&URL_SAFE.decode(&header).unwrap()).unwrap();
            assert_eq!(
                (value["password"].as_str(), value["serveraddress"].as_str()),
                (Some(password.as_str()), Some(HUB))
            );
        }
        let header = Credentials::identity_token("T").header("x.org:5000");
        let value: Value = serde_json::from_slice(&URL_SAFE.decode(header).unwrap()).unwrap();
        assert_eq!(value, json!({ "identitytoken": "T", "serveraddress": "x.org:5000" }));
    }

    #[test]
    fn credentials_are_never_printed() {
        assert_eq!(format!("{:?}", Credentials::password("me", "secret")), "Credentials(...)");
    }
}
