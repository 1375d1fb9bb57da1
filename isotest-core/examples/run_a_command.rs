//! Runs one command in a sandbox and prints what it wrote, how it ended and what it used:
//! `cargo run --example run_a_command -- ls -l /`.

use std::env;
use std::io::{self, Write};
use std::process::ExitCode;

use isotest_core::Sandbox;
use isotest_core::command::Error;

fn main() -> ExitCode {
    match run() {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<ExitCode, Error> {
    let mut words = env::args_os().skip(1);
    let program = words.next().unwrap_or_else(|| "id".into());
    let sandbox = Sandbox::new()?;
    let output = sandbox.command(program).args(words).output()?;
    io::stdout().write_all(&output.stdout).map_err(Error::Stream)?;
    io::stderr().write_all(&output.stderr).map_err(Error::Stream)?;
    let used = output.usage.user + output.usage.system;
    eprintln!("{} in {:?}, {used:?} of processor time", output.status, output.duration);
    for finding in &output.findings {
        eprintln!("it {finding}");
    }
    Ok(if output.status.success() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
