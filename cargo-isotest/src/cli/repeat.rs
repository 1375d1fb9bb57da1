//! The options of a recorded run that `rerun` repeats: those that choose what is built, and the
//! profile.
//!
//! A record may come from another machine, and a test may have written it. So what weakens a sandbox,
//! names a path or a variable, or has cargo start a program is never repeated; nor can it have a
//! secret.

use std::ffi::OsString;

use clap::Parser;

use super::cargo::CargoOptions;
use super::command::RunCommand;
use super::config::ConfigOptions;

/// Maximum number of options that are repeated.
const MOST: usize = 200;

/// Options of a run, in its record.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RecordedOptions {
    /// Those that `rerun` repeats, as words of a command line.
    pub repeated: Vec<String>,
    /// Names of others that may matter.
    pub others: Vec<String>,
}

/// The options that are repeated, as they are read.
#[derive(Debug, Parser)]
#[command(no_binary_name = true, disable_help_flag = true, args_override_self = true)]
struct Words {
    #[command(flatten)]
    cargo: CargoOptions,
    #[command(flatten)]
    config: ConfigOptions,
}

impl RunCommand {
    /// Its options for its record.
    pub fn recorded_options(&self) -> RecordedOptions {
        let mut cargo = repeated(&self.cargo);
        cargo.tests |= self.cargo.test_name.is_some() && !cargo.names_targets();
        let profile = self.config.profile.iter();
        let profile = profile.map(|name| format!("--isotest-profile={name}").into());
        let words = cargo.to_build_arguments().into_iter().chain(profile);
        let name = |word: OsString| {
            let word = word.to_string_lossy().into_owned();
            word.split_once('=').map_or(word.clone(), |(name, _)| name.to_owned())
        };
        let is_set = [(!self.cargo.config.is_empty(), "--config")];
        let is_set = is_set.into_iter().filter(|(given, _)| *given);
        let mut others: Vec<String> =
            self.layers.to_rerun_arguments().into_iter().map(name).collect();
        others.extend(is_set.map(|(_, name)| name.to_owned()));
        others.dedup();
        let repeated = words.map(|word| word.to_string_lossy().into_owned()).collect();
        RecordedOptions { repeated, others }
    }

    /// The same command with the repeated options of a recorded run, where it has none of their kind.
    pub fn repeat(&self, words: &[String]) -> Result<RunCommand, String> {
        if words.len() > MOST {
            return Err(format!("there are more than {MOST}"));
        }
        let read = Words::try_parse_from(words).map_err(|error| error.kind().to_string())?;
        let mut recorded = read.cargo;
        recorded.settle_workspace();
        let recorded = repeated(&recorded);
        let mut command = self.clone();
        let cargo = &mut command.cargo;
        if !cargo.names_packages() {
            cargo.package = recorded.package;
            cargo.workspace = recorded.workspace;
            cargo.exclude = recorded.exclude;
        }
        if !cargo.names_targets() {
            cargo.lib = recorded.lib;
            cargo.bin = recorded.bin;
            cargo.bins = recorded.bins;
            cargo.test = recorded.test;
            cargo.tests = recorded.tests;
            cargo.example = recorded.example;
            cargo.examples = recorded.examples;
            cargo.bench = recorded.bench;
            cargo.benches = recorded.benches;
            cargo.all_targets = recorded.all_targets;
        }
        if cargo.features.is_empty() && !cargo.all_features && !cargo.no_default_features {
            cargo.features = recorded.features;
            cargo.all_features = recorded.all_features;
            cargo.no_default_features = recorded.no_default_features;
        }
        if !cargo.release && cargo.profile.is_none() {
            cargo.release = recorded.release;
            cargo.profile = recorded.profile;
        }
        if cargo.target.is_empty() {
            cargo.target = recorded.target;
        }
        cargo.locked |= recorded.locked;
        cargo.offline |= recorded.offline;
        cargo.frozen |= recorded.frozen;
        command.config.profile = command.config.profile.or(read.config.profile);
        Ok(command)
    }
}

/// Those of the options that are repeated.
fn repeated(cargo: &CargoOptions) -> CargoOptions {
    let CargoOptions {
        package,
        workspace,
        exclude,
        lib,
        bin,
        bins,
        test,
        tests,
        example,
        examples,
        bench,
        benches,
        all_targets,
        features,
        all_features,
        no_default_features,
        release,
        profile,
        target,
        locked,
        offline,
        frozen,
        ..
    } = cargo.clone();
    CargoOptions {
        package,
        workspace,
        exclude,
        lib,
        bin,
        bins,
        test,
        tests,
        example,
        examples,
        bench,
        benches,
        all_targets,
        features,
        all_features,
        no_default_features,
        release,
        profile,
        // Another value is the path of a file with the linker's name in it.
        target: target.into_iter().filter(|triple| !triple.contains(['/', '.'])).collect(),
        locked,
        offline,
        frozen,
        ..CargoOptions::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::{Command, parse};

    fn run(line: &str) -> RunCommand {
        let words = format!("cargo-isotest {line}");
        match parse(words.split_whitespace().map(OsString::from)).expect(line).command {
            Command::Run(run) | Command::Rerun(run) => *run,
            other => panic!("`{line}` is {other:?}"),
        }
    }

    fn words(line: &str) -> Vec<String> {
        line.split_whitespace().map(str::to_owned).collect()
    }

    #[test]
    fn what_is_built_is_repeated_and_nothing_that_weakens() {
        let line = "-p a --workspace --test it --release -F x,y --locked -P ci --net host \
            --pass-env=TOKEN --config k='secret' --target-dir /x --manifest-path y/Cargo.toml";
        let recorded = run(line).recorded_options();
        let repeated = "--package=a --workspace --test=it --features=x,y --release --locked \
            --isotest-profile=ci";
        assert_eq!(recorded.repeated, words(repeated));
        assert_eq!(recorded.others, ["--net", "--pass-env", "--config"]);
        let again = run("rerun").repeat(&recorded.repeated).expect("they can be read");
        assert_eq!(again.recorded_options().repeated, recorded.repeated);
        assert_eq!(run("name").recorded_options().repeated, ["--tests"]);
    }

    #[test]
    fn typed_options_go_before_recorded_ones_of_their_kind() {
        let recorded = words("--package=a --lib --release --features=x --isotest-profile=ci");
        let again = run("rerun latest --test it --profile dev").repeat(&recorded).expect("options");
        let expected = "--package=a --test=it --features=x --profile=dev --isotest-profile=ci";
        assert_eq!(again.recorded_options().repeated, words(expected));
    }

    #[test]
    fn a_record_cannot_have_cargo_start_a_program_or_weaken_a_sandbox() {
        let hostile = words(
            "--config=build.rustc-wrapper='/evil' --target-dir=/x --manifest-path=/x -Zx \
             --target=/evil.json --timings --color=always",
        );
        assert_eq!(run("rerun").repeat(&hostile), Ok(run("rerun")));
        for refused in ["--net=host", "--root=/x", "name", "--"] {
            let read = run("rerun").repeat(&words(refused));
            assert!(read.is_err() || read == Ok(run("rerun")), "{refused}");
        }
        assert!(run("rerun").repeat(&vec!["--lib".to_owned(); 201]).is_err());
    }
}
