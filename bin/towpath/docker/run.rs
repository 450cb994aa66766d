//! `towpath docker run`.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{ArgAction, Args};
use signal_hook::consts as sig;
use towpath::clock::parse_duration;
use towpath::docker::{
    AskedBy, Container, ContainerSpec, Docker, Error, Limits, Owner, PortMapping, PullOptions, PullPolicy, Restart,
    attend, env_in_file, env_of, exit_code_of_start, parse_cpus, parse_size,
};
use towpath::job::{exit_code, with_causes};
use towpath::thread::signals::Signals;

use super::bars::Bars;
use super::connection::ConnectionArguments;
use super::logs::is_reader_gone;
use super::{Failure, print, streams};
use crate::ending::outlive_file_limit;
use crate::voice;

pub(super) const EXAMPLES: &str = "\
Examples:
  towpath docker run --rm alpine:3 echo hello
  towpath docker run -d --name web -p 8080:80 --restart unless-stopped nginx
  towpath docker run --rm --timeout 10m --memory 512m -v /srv:/srv:ro backup:1

Standard output and standard error stay apart; the exit code is the container's own.
With --timeout the container is asked to end, killed after --kill-after, and removed;
the exit code is then 124. Ctrl-C, TERM and other signals are passed on.";

/// What is passed on to a container.
const SIGNALS: [i32; 6] = [sig::SIGHUP, sig::SIGINT, sig::SIGQUIT, sig::SIGTERM, sig::SIGUSR1, sig::SIGUSR2];

#[derive(Args)]
pub(crate) struct RunArguments {
    /// The image, then the command and its arguments
    #[arg(required = true, trailing_var_arg = true, value_name = "IMAGE [CMD]")]
    words: Vec<String>,

    /// Print the container's id, and leave it running
    #[arg(short, long, action = ArgAction::SetTrue)]
    detach: bool,
    /// Remove the container when it has ended
    #[arg(long, action = ArgAction::SetTrue)]
    rm: bool,
    /// End it after so long, and remove it
    #[arg(long, value_name = "DURATION", value_parser = parse_duration, conflicts_with = "detach")]
    timeout: Option<Duration>,
    /// From TERM to KILL
    #[arg(long, value_name = "DURATION", default_value = "10s", value_parser = parse_duration)]
    kill_after: Duration,
    /// When to pull the image: always, missing, never
    #[arg(long, value_name = "WHEN", default_value = "missing")]
    pull: PullPolicy,

    /// The container's name
    #[arg(long, value_name = "NAME", help_heading = "Container")]
    name: Option<String>,
    /// A variable; NAME alone takes the value that it has here, which arguments would show to others; may be repeated
    #[arg(short, long, value_name = "NAME[=VALUE]", action = ArgAction::Append, help_heading = "Container")]
    env: Vec<String>,
    /// Variables, one a line, as for --env; may be repeated
    #[arg(long, value_name = "FILE", action = ArgAction::Append, help_heading = "Container")]
    env_file: Vec<PathBuf>,
    /// A directory or a volume at a path: /srv:/srv:ro, ./here:/there, data:/var/data; may be repeated
    #[arg(short, long, value_name = "[SOURCE:]PATH[:OPTIONS]", action = ArgAction::Append, help_heading = "Container")]
    volume: Vec<String>,
    /// A port that the host has too: 8080:80, 127.0.0.1:8080:80, 8000-8010:80/udp; may be repeated
    #[arg(short, long, value_name = "[[IP:]PORT:]PORT[/PROTOCOL]", action = ArgAction::Append, help_heading = "Container")]
    publish: Vec<String>,
    /// The working directory
    #[arg(short, long, value_name = "PATH", help_heading = "Container")]
    workdir: Option<String>,
    /// Who it runs as
    #[arg(short, long, value_name = "USER[:GROUP]", help_heading = "Container")]
    user: Option<String>,
    /// The program that gets CMD as its arguments, instead of the image's
    #[arg(long, value_name = "PROGRAM", help_heading = "Container")]
    entrypoint: Option<String>,
    /// A label; may be repeated
    #[arg(short, long, value_name = "KEY[=VALUE]", action = ArgAction::Append, help_heading = "Container")]
    label: Vec<String>,
    /// The network: bridge, host, none, container:NAME, or one's own
    #[arg(long, visible_alias = "net", value_name = "NETWORK", help_heading = "Container")]
    network: Option<String>,
    /// When the daemon starts it again: no, always, unless-stopped, on-failure[:TIMES]
    #[arg(long, value_name = "WHEN", default_value = "no", help_heading = "Container")]
    restart: Restart,
    /// Give it a first process that passes signals on and buries orphans
    #[arg(long, action = ArgAction::SetTrue, help_heading = "Container")]
    init: bool,

    /// How much memory it may have: 512m, 2g
    #[arg(short, long, value_name = "BYTES", value_parser = parse_size, help_heading = "Limits")]
    memory: Option<u64>,
    /// How many CPUs it may use: 1.5
    #[arg(long, value_name = "N", value_parser = parse_cpus, help_heading = "Limits")]
    cpus: Option<u64>,
    /// How many processes it may have; -1 is without a limit
    #[arg(long, value_name = "N", allow_negative_numbers = true, help_heading = "Limits")]
    pids_limit: Option<i64>,
}

pub(super) fn run(connection: &ConnectionArguments, arguments: &RunArguments) -> ExitCode {
    let spec = match spec(arguments) {
        Ok(spec) => spec,
        Err(line) => return Failure::Usage(line).told(),
    };
    let done = match arguments.detach {
        true => connection.docker().and_then(|docker| detached(&docker, arguments, &spec)),
        false => connection.docker().and_then(|docker| attached(&docker, arguments, &spec)),
    };
    done.unwrap_or_else(|error| {
        voice::error(&with_causes(&error));
        ExitCode::from(exit_code_of_start(&error))
    })
}

fn detached(docker: &Docker, arguments: &RunArguments, spec: &ContainerSpec) -> Result<ExitCode, Error> {
    let container = create(docker, arguments, spec)?;
    container.start()?;
    Ok(match print(&format!("{}\n", container.id())) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.told(),
    })
}

fn attached(docker: &Docker, arguments: &RunArguments, spec: &ContainerSpec) -> Result<ExitCode, Error> {
    let container = create(docker, arguments, spec)?;
    let prepared = outlive_file_limit().and_then(|()| Ok((Signals::listen(&SIGNALS)?, streams()?)));
    let (signals, [out, err]) = match prepared {
        Ok(prepared) => prepared,
        Err(error) => {
            container.remove(true)?;
            voice::error(&format!("can't prepare to run a container: {error}"));
            return Ok(ExitCode::from(exit_code::INTERNAL));
        }
    };
    let limits = Limits { timeout: arguments.timeout, grace: arguments.kill_after };
    match attend(&container, limits, signals.receiver(), out, err) {
        Ok(attended) if attended.asked_by == AskedBy::Timeout => {
            container.remove(true)?;
            container.await_removal()?;
            voice::error("timed out; the container was ended and removed");
            Ok(ExitCode::from(exit_code::TIMED_OUT))
        }
        Ok(attended) => {
            if attended.exit.oom_killed {
                voice::note("the kernel ended it for want of memory; see --memory");
            }
            // So that who runs the next one can give it the same name.
            if arguments.rm
                && let Err(error) = container.await_removal()
            {
                voice::note(&with_causes(&error));
            }
            Ok(ExitCode::from(u8::try_from(attended.exit.code).unwrap_or(exit_code::INTERNAL)))
        }
        Err(error) if is_reader_gone(&error) => Ok(ExitCode::from(exit_code::INTERNAL)),
        Err(error) => Err(error),
    }
}

fn create(docker: &Docker, arguments: &RunArguments, spec: &ContainerSpec) -> Result<Container, Error> {
    let name = arguments.words.first().map_or("", String::as_str);
    let mut bars = Bars::begin(true);
    let image = docker.obtain(name, arguments.pull, &PullOptions::default(), &mut |progress| bars.show(progress));
    bars.end();
    let created = docker.create(&image?, spec)?;
    for warning in &created.warnings {
        voice::error(&format!("warning of the daemon's: {warning}"));
    }
    Ok(created.container)
}

/// The container that the flags describe; one line if they don't make sense.
fn spec(arguments: &RunArguments) -> Result<ContainerSpec, String> {
    let here = |name: &str| std::env::var_os(name);
    let mut spec = ContainerSpec::new().command(arguments.words.iter().skip(1)).restart(arguments.restart);
    for file in &arguments.env_file {
        let variables = env_in_file(file, here);
        let variables = variables.map_err(|error| format!("--env-file {}: {}", file.display(), with_causes(&error)))?;
        spec = variables.iter().fold(spec, |spec, variable| spec.env(variable));
    }
    for variable in &arguments.env {
        spec = spec.env(&env_of(variable, here).map_err(|error| format!("--env: {error}"))?);
    }
    for volume in &arguments.volume {
        spec = spec.volume(&absolute(volume)?);
    }
    for ports in &arguments.publish {
        let ports = PortMapping::parse(ports).map_err(|error| format!("--publish: {error}"))?;
        spec = ports.into_iter().fold(spec, ContainerSpec::port);
    }
    for label in &arguments.label {
        let (key, value) = label.split_once('=').unwrap_or((label, ""));
        if key.is_empty() {
            return Err(format!("--label: {label:?} has no name; write KEY=VALUE"));
        }
        spec = spec.label(key, value);
    }
    // Who stays with it says so: what is left when it is killed can be found.
    let spec = match arguments.detach {
        true => spec,
        false => spec.owned_by(&Owner::this_process(&format!("docker-run-{}", std::process::id()))),
    };
    Ok(with_settings(spec, arguments))
}

fn with_settings(mut spec: ContainerSpec, arguments: &RunArguments) -> ContainerSpec {
    type Setter = fn(ContainerSpec, &str) -> ContainerSpec;
    let texts: [(&Option<String>, Setter); 5] = [
        (&arguments.name, ContainerSpec::name),
        (&arguments.workdir, ContainerSpec::workdir),
        (&arguments.user, ContainerSpec::user),
        (&arguments.entrypoint, ContainerSpec::entrypoint),
        (&arguments.network, ContainerSpec::network),
    ];
    for (text, set) in texts {
        if let Some(text) = text {
            spec = set(spec, text);
        }
    }
    if let Some(bytes) = arguments.memory {
        spec = spec.memory(bytes);
    }
    if let Some(nanos) = arguments.cpus {
        spec = spec.cpus(nanos);
    }
    if let Some(limit) = arguments.pids_limit {
        spec = spec.pids_limit(limit);
    }
    if arguments.init {
        spec = spec.init();
    }
    if arguments.rm { spec.auto_remove() } else { spec }
}

/// A directory that begins with a dot is one of ours: the daemon knows no others than whole paths.
fn absolute(volume: &str) -> Result<String, String> {
    match volume.split_once(':') {
        Some((source, rest))
            if source == "." || source == ".." || source.starts_with("./") || source.starts_with("../") =>
        {
            let path = std::path::absolute(source).map_err(|error| format!("--volume {source}: {error}"))?;
            let path = path.to_str().ok_or_else(|| format!("--volume {source}: the path isn't UTF-8"))?;
            Ok(format!("{path}:{rest}"))
        }
        _ => Ok(volume.to_owned()),
    }
}
