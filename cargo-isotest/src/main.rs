//! `cargo isotest`: runs every test of a project alone, as PID 1 of fresh namespaces on a
//! throwaway root filesystem, and prints what `cargo test` prints.
//!
//! The stages run in one direction: [`cli`] → [`settings`] → [`discover`] → [`listing`] → plans
//! ([`run`]) → `isotest_core::schedule` → [`report`].

mod cli;
mod discover;
mod environment;
mod error;
mod exit_code;
mod list;
mod listing;
mod report;
mod run;
mod sandboxes;
mod settings;

use std::env;
use std::process;

use cli::{Cli, Command};
use error::Error;
use exit_code::ExitCode;
use settings::Machine;

fn main() -> process::ExitCode {
    let cli = match cli::parse(env::args_os()) {
        Ok(cli) => cli,
        Err(error) => error.exit(),
    };
    match run(&cli) {
        Ok(code) => code.into(),
        Err(error) => {
            if !error.is_silent() {
                report::error(&error);
            }
            error.exit_code().into()
        }
    }
}

/// Each command is one function.
fn run(cli: &Cli) -> Result<ExitCode, Error> {
    let machine = Machine::read().map_err(Error::Host)?;
    match &cli.command {
        Command::Run(command) => run::run(command, &machine),
        _ => todo!(),
    }
}
