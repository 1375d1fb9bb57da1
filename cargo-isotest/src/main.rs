//! `cargo isotest`: runs every test of a project alone, as PID 1 of fresh namespaces on a
//! throwaway root filesystem, and prints what `cargo test` prints.
//!
//! The stages run in one direction: [`cli`] → [`config`] → [`discover`] → [`sandbox`] → [`select`] →
//! [`mod@run`] → [`report`]. [`commands`] has one file for each subcommand.

mod cli;
mod config;
mod discover;

mod sandbox;
mod select;
mod store;

mod run;

mod report;

mod adopt;
mod archive;
mod commands;
mod diagnose;

mod error;
mod exit_code;

use std::env;
use std::process;

use isotest_core::signals::Signals;

use cli::{Cli, Color, Command};
use commands::{
    baseline, conflicts, diff, doctor, exec, explain, history, import_nextest, list, prune, replay,
    runner, runs, shell, show_config, trace,
};
use config::machine::Machine;
use error::Error;
use exit_code::ExitCode;
use sandbox::coverage::collected;

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
    match machine.colour(cli.command.colour()) {
        Color::Auto => {}
        Color::Always => report::choose_colour(true),
        Color::Never => report::choose_colour(false),
    }
    match &cli.command {
        Command::Run(command) | Command::Rerun(command) => {
            collected(&machine, |machine| commands::run::run(command, machine))
        }
        Command::Adopt(command) => commands::adopt::adopt(command, &machine),
        Command::Diagnose(command) => commands::diagnose::diagnose(command, &machine),
        Command::Verify(command) => commands::verify::verify(command, &machine),
        Command::BisectOrder(command) => commands::bisect_order::bisect(command, &machine),
        Command::Hunt(command) => commands::hunt::hunt(command, &machine),
        Command::Repro(command) => commands::repro::repro(command, &machine),
        Command::ProveFixed(command) => commands::prove_fixed::prove_fixed(command, &machine),
        Command::Baseline(command) => baseline::baseline(command, &machine),
        Command::Replay(command) => replay::replay(command, &machine),
        Command::Runs(command) => runs::runs(command, &machine),
        Command::Conflicts(command) => conflicts::conflicts(command, &machine),
        Command::History(command) => history::history(command, &machine),
        Command::Archive(command) => commands::archive::archive(command, &machine),
        Command::List(command) => collected(&machine, |machine| list::list(command, machine)),
        Command::Doctor(command) => doctor::doctor(command, &machine),
        Command::Explain(command) => {
            collected(&machine, |machine| explain::explain(command, machine))
        }
        Command::Trace(command) => collected(&machine, |machine| trace::trace(command, machine)),
        Command::Diff(command) => collected(&machine, |machine| diff::diff(command, machine)),
        Command::Shell(command) => collected(&machine, |machine| shell::shell(command, machine)),
        Command::Exec(command) => collected(&machine, |machine| exec::exec(command, machine)),
        Command::Runner(command) => runner::runner(command, &machine),
        Command::ShowConfig(command) => show_config::show(command, &machine),
        Command::ImportNextest(command) => import_nextest::import(command, &machine),
        Command::Prune => prune::prune(&machine),
        Command::Completions(command) => report::completions(command.shell, cli::completed())
            .map(|()| ExitCode::Passed)
            .map_err(Error::Report),
        Command::Man => {
            report::manual_page(cli::command()).map(|()| ExitCode::Passed).map_err(Error::Report)
        }
    }
}
