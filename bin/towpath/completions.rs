//! `towpath completions SHELL`: a completion script on standard output.

use std::io::{self, Write};
use std::process::ExitCode;

use towpath::job::exit_code;

use crate::{cli, voice};

pub(crate) fn print(shell: clap_complete::Shell) -> ExitCode {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut cli::command(), "towpath", &mut script);
    match io::stdout().write_all(&script) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            voice::error(&format!("can't write the completions: {error}"));
            ExitCode::from(exit_code::FILE)
        }
        _ => ExitCode::SUCCESS,
    }
}
