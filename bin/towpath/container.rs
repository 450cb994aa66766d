//! `run --image`: the container that a command runs in, made from the flags.

use clap::{ArgAction, Args, ValueEnum};
use towpath::docker::{ContainerSpec, parse_cpus, parse_size};
use towpath::job::{InContainer, PullWhen};

#[derive(Args)]
pub(crate) struct ContainerArguments {
    /// Run the command in a container of this image; without a command, the image's own
    #[arg(long, value_name = "IMAGE", help_heading = "In a container")]
    pub(crate) image: Option<String>,
    /// When to pull the image: missing, always, never
    #[arg(long, value_name = "WHEN", default_value = "missing", help_heading = "In a container")]
    image_pull: When,
    /// A variable for the container, NAME=VALUE, or NAME as it is here; may be repeated
    #[arg(long, value_name = "VARIABLE", action = ArgAction::Append, help_heading = "In a container")]
    image_env: Vec<String>,
    /// A directory or volume for it, SOURCE:PATH[:ro]; may be repeated
    #[arg(long, value_name = "VOLUME", action = ArgAction::Append, help_heading = "In a container")]
    image_volume: Vec<String>,
    /// Its network: bridge, host, none, container:NAME, or one of your own
    #[arg(long, value_name = "NETWORK", help_heading = "In a container")]
    image_network: Option<String>,
    /// Who it runs as: NAME or UID, and :GROUP
    #[arg(long, value_name = "USER", help_heading = "In a container")]
    image_user: Option<String>,
    /// Its working directory
    #[arg(long, value_name = "DIR", help_heading = "In a container")]
    image_workdir: Option<String>,
    /// The program that gets the command as its arguments, instead of the image's
    #[arg(long, value_name = "PROGRAM", help_heading = "In a container")]
    image_entrypoint: Option<String>,
    /// The memory it may have: 512m, 2g
    #[arg(long, value_name = "SIZE", value_parser = parse_size, help_heading = "In a container")]
    image_memory: Option<u64>,
    /// The CPUs it may use: 2, 0.5
    #[arg(long, value_name = "NUMBER", value_parser = parse_cpus, help_heading = "In a container")]
    image_cpus: Option<u64>,
}

/// `--image-pull`.
#[derive(Clone, Copy, ValueEnum)]
enum When {
    Missing,
    Always,
    Never,
}

/// The container, if there is to be one; one line if the flags don't make sense.
pub(crate) fn container(arguments: ContainerArguments) -> Result<Option<InContainer>, String> {
    let Some(image) = arguments.image else { return Ok(None) };
    let mut spec = ContainerSpec::new();
    for variable in &arguments.image_env {
        spec = match variable.split_once('=') {
            Some(("", _)) => return Err(format!("--image-env: '{variable}' has no name; write NAME=VALUE")),
            Some(_) => spec.env(variable),
            // As the docker CLI has it: what isn't set here isn't set there.
            None => match std::env::var(variable) {
                Ok(value) => spec.env(&format!("{variable}={value}")),
                Err(std::env::VarError::NotPresent) => spec,
                Err(std::env::VarError::NotUnicode(_)) => {
                    return Err(format!("--image-env: the value of {variable} isn't UTF-8, which Docker can't take"));
                }
            },
        };
    }
    for volume in &arguments.image_volume {
        spec = spec.volume(volume);
    }
    if let Some(network) = &arguments.image_network {
        spec = spec.network(network);
    }
    if let Some(user) = &arguments.image_user {
        spec = spec.user(user);
    }
    if let Some(dir) = &arguments.image_workdir {
        spec = spec.workdir(dir);
    }
    if let Some(program) = &arguments.image_entrypoint {
        spec = spec.entrypoint(program);
    }
    if let Some(bytes) = arguments.image_memory {
        spec = spec.memory(bytes);
    }
    if let Some(nanos) = arguments.image_cpus {
        spec = spec.cpus(nanos);
    }
    let pull = match arguments.image_pull {
        When::Missing => PullWhen::Missing,
        When::Always => PullWhen::Always,
        When::Never => PullWhen::Never,
    };
    Ok(Some(InContainer { image, pull, spec }))
}
