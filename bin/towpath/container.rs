//! `run --image`: the container that a command runs in, made from the flags.

use clap::{ArgAction, Args};
use towpath::docker::{ContainerSpec, PullPolicy, env_of, parse_cpus, parse_size};
use towpath::job::{InContainer, with_causes};

#[derive(Args)]
pub(crate) struct ContainerArguments {
    /// Run the command in a container of this image; without a command, the image's own
    #[arg(long, value_name = "IMAGE", help_heading = "In a container")]
    pub(crate) image: Option<String>,
    /// When to pull the image: missing, always, never
    #[arg(long, value_name = "WHEN", default_value = "missing", help_heading = "In a container")]
    image_pull: PullPolicy,
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

/// The container, if there is to be one; one line if the flags don't make sense.
pub(crate) fn container(arguments: ContainerArguments) -> Result<Option<InContainer>, String> {
    let Some(image) = arguments.image else { return Ok(None) };
    let mut spec = ContainerSpec::new();
    for variable in &arguments.image_env {
        let variable = env_of(variable, |name| std::env::var_os(name));
        spec = spec.env(&variable.map_err(|error| format!("--image-env: {}", with_causes(&error)))?);
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
    Ok(Some(InContainer { image, pull: arguments.image_pull, spec }))
}
