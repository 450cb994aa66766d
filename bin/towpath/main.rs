//! The `towpath` command: parse, call the library, exit code.

mod cli;
mod completions;
mod config;
#[cfg(feature = "docker")]
mod container;
#[cfg(feature = "docker")]
mod docker;
mod ending;
#[cfg(feature = "redis")]
mod expiry;
mod flags;
#[cfg(all(feature = "form", feature = "http"))]
mod get;
mod lead;
#[cfg(feature = "http")]
mod listen;
mod lock;
#[cfg(feature = "http")]
mod logs;
#[cfg(all(feature = "form", feature = "http"))]
mod progress;
mod run;
#[cfg(all(feature = "form", feature = "http"))]
mod send;
#[cfg(all(feature = "form", feature = "http"))]
mod serve;
mod store;
#[cfg(all(feature = "form", feature = "http"))]
mod transfer;
mod voice;
#[cfg(feature = "http")]
mod watch;
mod words;

use std::process::ExitCode;

use towpath::job::exit_code;

fn main() -> ExitCode {
    towpath::job::entry();
    let arguments = match cli::parse(std::env::args_os()) {
        Ok(arguments) => arguments,
        Err(cli::Refused::Answered(text)) => {
            // A reader who closed the pipe has seen what they wanted.
            let _: std::io::Result<()> = std::io::Write::write_all(&mut std::io::stdout(), text.as_bytes());
            return ExitCode::SUCCESS;
        }
        Err(cli::Refused::Wrong(line)) => {
            voice::error(&line);
            return ExitCode::from(exit_code::USAGE);
        }
    };
    match arguments {
        cli::Subcommand::Run(arguments) => run::run(*arguments),
        #[cfg(feature = "http")]
        cli::Subcommand::Logs(arguments) => logs::logs(*arguments),
        #[cfg(feature = "http")]
        cli::Subcommand::Watch(arguments) => watch::watch(&arguments),
        #[cfg(all(feature = "form", feature = "http"))]
        cli::Subcommand::Get(arguments) => get::get(&arguments),
        #[cfg(all(feature = "form", feature = "http"))]
        cli::Subcommand::Send(arguments) => send::send(&arguments),
        cli::Subcommand::Lead(arguments) => lead::lead(*arguments),
        #[cfg(feature = "redis")]
        cli::Subcommand::Expiry(arguments) => expiry::expiry(&arguments),
        cli::Subcommand::Lock(arguments) => lock::lock(&arguments),
        #[cfg(all(feature = "form", feature = "http"))]
        cli::Subcommand::Serve(arguments) => serve::serve(&arguments),
        #[cfg(feature = "docker")]
        cli::Subcommand::Docker(arguments) => docker::docker(&arguments),
        cli::Subcommand::Completions { shell } => completions::print(shell),
    }
}
