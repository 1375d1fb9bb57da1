//! `cargo isotest`: runs every test of a project alone, as PID 1 of fresh namespaces on a
//! throwaway root filesystem, and prints what `cargo test` prints.
//!
//! The stages run in one direction: [`cli`] → [`config`] → [`settings`] → [`discover`] → [`listing`] → plans
//! ([`mod@run`]) → `isotest_core::schedule` → [`report`].

mod archive;
mod arguments;
mod caller;
mod choose;
mod cli;
mod config;
mod debug;
mod discover;
mod doctests;
mod doctor;
mod environment;
mod error;
mod execute;
mod exit_code;
mod exposures;
mod fork_server;
mod inspect;
mod last_run;
mod listing;
mod mentioned;
mod narrowing;
mod owners;
mod partition;
mod policies;
mod prepare;
mod profiles;
mod provision;
mod prune;
mod remembered;
mod report;
mod rerun;
mod root;
mod run;
mod run_directory;
mod runner;
mod sandboxes;
mod second_look;
mod settings;
mod setups;
mod show_config;
mod traces;
mod trial;
mod unit;
mod withheld;

use std::env;
use std::process;

use isotest_core::signals::Signals;

use cli::{Cli, Command};
use error::Error;
use exit_code::ExitCode;
use profiles::collected;
use settings::Machine;

fn main() -> process::ExitCode {
    let cli = match cli::parse(env::args_os()) {
        Ok(cli) => cli,
        Err(error) => error.exit(),
    };
    match run(&cli) {
        Ok(code) => {
            if let ExitCode::By(signal) = code {
                Signals::end_self(signal);
            }
            code.into()
        }
        Err(error) => {
            let error = error.or_interrupted(Signals::asked());
            if !error.is_silent() {
                report::error(&error);
            }
            error.exit_code().into()
        }
    }
}

/// Each command is one function.
fn run(cli: &Cli) -> Result<ExitCode, Error> {
    Signals::expect_snapshots().map_err(Error::Host)?;
    let machine = Machine::read().map_err(Error::Host)?;
    match &cli.command {
        Command::Run(command) => collected(&machine, |machine| run::run(command, machine)),
        Command::Archive(command) => archive::archive(command, &machine),
        Command::List(command) => collected(&machine, |machine| inspect::list(command, machine)),
        Command::Doctor(command) => doctor::doctor(command, &machine),
        Command::Explain(command) => {
            collected(&machine, |machine| inspect::explain(command, machine))
        }
        Command::Shell(command) => collected(&machine, |machine| inspect::shell(command, machine)),
        Command::Exec(command) => collected(&machine, |machine| inspect::exec(command, machine)),
        Command::Runner(command) => runner::runner(command, &machine),
        Command::ShowConfig(command) => show_config::show(command, &machine),
        Command::ImportNextest(command) => show_config::import(command, &machine),
        Command::Prune => prune::prune(&machine),
        Command::Completions(command) => {
            report::completions(command.shell, cli::completed()).map_err(Error::Report)
        }
        Command::Man => report::manual_page(cli::command()).map_err(Error::Report),
    }
}
