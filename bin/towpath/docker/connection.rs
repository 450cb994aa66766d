//! Which daemon: the flags that stand before and after each command of `docker`.

use std::path::PathBuf;

use clap::{ArgAction, Args};
use towpath::docker::{Docker, Endpoint, Error, Settings};

#[derive(Args)]
#[command(next_help_heading = "Daemon")]
pub(crate) struct ConnectionArguments {
    /// The daemon: unix:///PATH, tcp://HOST:PORT [default: DOCKER_HOST, the context's, unix:///var/run/docker.sock]
    #[arg(short = 'H', long, value_name = "URL", global = true)]
    host: Option<String>,
    /// The context [default: DOCKER_CONTEXT, the configuration's]
    #[arg(long, value_name = "NAME", global = true, conflicts_with = "host")]
    context: Option<String>,
    /// Over TLS, to a daemon whose certificate is trusted
    #[arg(long, action = ArgAction::SetTrue, global = true)]
    tlsverify: bool,
    /// Where ca.pem, cert.pem and key.pem are [default: DOCKER_CERT_PATH, the configuration's directory]
    #[arg(long, value_name = "DIR", global = true)]
    cert_path: Option<PathBuf>,
    /// Speak unencrypted to another host; passwords aren't sent even so
    #[arg(long, action = ArgAction::SetTrue, global = true)]
    insecure: bool,
}

impl ConnectionArguments {
    /// The daemon that the flags and the environment name.
    pub(super) fn docker(&self) -> Result<Docker, Error> {
        let mut settings = Settings::from_environment();
        if self.host.is_some() {
            settings.host.clone_from(&self.host);
        }
        if self.context.is_some() {
            settings.host = None;
            settings.context.clone_from(&self.context);
        }
        if self.cert_path.is_some() {
            settings.cert_path.clone_from(&self.cert_path);
        }
        settings.tls_verify |= self.tlsverify;
        let endpoint = Endpoint::of(&settings)?.insecure(self.insecure);
        Ok(Docker::connect(&endpoint)?.with_settings(settings))
    }
}
