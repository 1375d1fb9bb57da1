//! The way from an argument vector to a subcommand.
//!
//! A subcommand word counts only as the first word; anything else is `run`, so that
//! `cargo isotest foo` filters by `foo`, as `cargo test foo` does. What follows `--` is libtest's
//! and read by [`libtest`].

use std::ffi::{OsStr, OsString};

use clap::error::ErrorKind;
use clap::{CommandFactory, FromArgMatches};

use super::cargo::CargoOptions;
use super::command::{Cli, Command, RunCommand, command};
use super::diagnose::SuiteOptions;
use super::layers::LayerOptions;
use super::libtest::{self, OutputFlags, Shared};
use super::store::Recorded;

/// Reads an argument vector, with or without the word `isotest` that cargo puts second.
///
/// Help and version are errors too, as clap has it; `clap::Error::exit_code` tells them apart.
pub fn parse(arguments: impl Iterator<Item = OsString>) -> Result<Cli, clap::Error> {
    let (words, after) = split(arguments);
    let mut command = command();
    let matches = command.try_get_matches_from_mut(words)?;
    let cli = Cli::from_arg_matches(&matches).map_err(|error| error.format(&mut command))?;
    complete(cli, &after, &mut command)
}

/// The words for clap, with the subcommand in front, and what follows `--` where that is libtest's.
fn split(arguments: impl Iterator<Item = OsString>) -> (Vec<OsString>, Vec<OsString>) {
    let mut words: Vec<OsString> = arguments.skip(1).collect();
    if words.first().is_some_and(|word| word == "isotest") {
        words.remove(0);
    }
    let first = words.first().cloned().unwrap_or_default();
    if !is_subcommand(&first) && !asks_about_us(&first) {
        words.insert(0, "run".into());
    }
    let mut after = Vec::new();
    if ["run", "rerun", "list"].iter().any(|command| words[0] == *command) {
        if let Some(at) = words.iter().position(|word| word == "--") {
            after = words.split_off(at).split_off(1);
        }
        if libtest::asks_for_help(&after) {
            words.push("--help".into());
        }
    }
    // These have no flag of cargo's, and their words may be another command's.
    if words[0] != "exec" && words[0] != "runner" {
        glue_workspace(&mut words);
    }
    words.insert(0, "cargo-isotest".into());
    (words, after)
}

/// `--workspace readonly` is the layer as much as `--workspace=readonly`; before any other word
/// `--workspace` is cargo's flag.
fn glue_workspace(words: &mut Vec<OsString>) {
    let is_value = |word: &OsString| ["overlay", "readonly", "shared"].iter().any(|v| word == v);
    let ours = words.iter().position(|word| word == "--").unwrap_or(words.len());
    let value =
        words[..ours].windows(2).position(|two| two[0] == "--workspace" && is_value(&two[1]));
    if let Some(at) = value {
        let value = words.remove(at + 1);
        words[at].push("=");
        words[at].push(value);
    }
}

fn is_subcommand(word: &OsStr) -> bool {
    Cli::command().get_subcommands().any(|known| word == known.get_name())
}

fn asks_about_us(word: &OsStr) -> bool {
    ["-h", "--help", "-V", "--version"].iter().any(|flag| word == *flag)
}

/// Fills in what clap cannot: the options after `--`, and the two meanings of `--workspace`.
fn complete(
    mut cli: Cli,
    after: &[OsString],
    command: &mut clap::Command,
) -> Result<Cli, clap::Error> {
    match &mut cli.command {
        Command::Rerun(run) => {
            run.of = Some(Recorded { name: run.selection.take_first() });
            complete_run(run, after, command)?;
        }
        Command::Run(run) => complete_run(run, after, command)?,
        Command::List(list) => {
            settle_workspace(&mut list.cargo, &mut list.layers);
            let output = OutputFlags::default();
            list.cargo.test_name = list.selection.test_name();
            let shared = Shared::of(&list.cargo);
            list.libtest = libtest::merge(&list.selection, &output, shared, after)
                .map_err(|message| command.error(ErrorKind::UnknownArgument, message))?;
        }
        Command::Explain(explain) => settle_workspace(&mut explain.cargo, &mut explain.layers),
        Command::Trace(trace) => settle_workspace(&mut trace.cargo, &mut trace.layers),
        Command::Shell(shell) => settle_workspace(&mut shell.cargo, &mut shell.layers),
        Command::Diff(diff) => settle_workspace(&mut diff.cargo, &mut diff.layers),
        Command::ShowConfig(show) => settle_workspace(&mut show.cargo, &mut show.layers),
        Command::Archive(archive) => {
            let mut layers = LayerOptions::default();
            settle_workspace(&mut archive.cargo, &mut layers);
        }
        Command::Adopt(adopt) => {
            let mut layers = LayerOptions::default();
            settle_workspace(&mut adopt.cargo, &mut layers);
        }
        Command::Diagnose(diagnose) => settle_suite(&mut diagnose.suite),
        Command::Hunt(hunt) => settle_suite(&mut hunt.suite),
        Command::Verify(verify) => settle_suite(&mut verify.suite),
        Command::BisectOrder(bisect) => settle_suite(&mut bisect.suite),
        Command::Repro(repro) => settle_suite(&mut repro.suite),
        Command::ProveFixed(prove) => settle_suite(&mut prove.suite),
        Command::Exec(exec) => exec.layers.set_workspace(exec.workspace.take()),
        Command::Runner(runner) => {
            let exec = &mut runner.exec;
            exec.layers.set_workspace(exec.workspace.take());
        }
        Command::Doctor(_)
        | Command::ImportNextest(_)
        | Command::Replay(_)
        | Command::Baseline(_)
        | Command::Runs(_)
        | Command::History(_)
        | Command::Conflicts(_)
        | Command::Prune
        | Command::Completions(_)
        | Command::Man => {}
    }
    check_layers(&cli.command)
        .and_then(|()| check_reuse(&cli.command))
        .map_err(|message| command.error(ErrorKind::ArgumentConflict, message))?;
    Ok(cli)
}

/// The same for the options of a run.
fn complete_run(
    run: &mut RunCommand,
    after: &[OsString],
    command: &mut clap::Command,
) -> Result<(), clap::Error> {
    settle_workspace(&mut run.cargo, &mut run.layers);
    run.cargo.test_name = run.selection.test_name();
    let shared = Shared::of(&run.cargo);
    run.libtest = libtest::merge(&run.selection, &run.output, shared, after)
        .map_err(|message| command.error(ErrorKind::UnknownArgument, message))?;
    run.check().map_err(|message| command.error(ErrorKind::ArgumentConflict, message))
}

/// Fails for layers that contradict each other, or that need another one.
fn check_layers(command: &Command) -> Result<(), String> {
    let (layers, name) = match command {
        Command::Run(run) | Command::Rerun(run) => (&run.layers, None),
        Command::List(list) => (&list.layers, Some("list")),
        Command::Explain(explain) => (&explain.layers, Some("explain")),
        Command::Trace(trace) => (&trace.layers, Some("trace")),
        Command::Shell(shell) => (&shell.layers, Some("shell")),
        Command::Diff(diff) => (&diff.layers, Some("diff")),
        Command::Exec(exec) => (&exec.layers, Some("exec")),
        Command::Runner(runner) => (&runner.exec.layers, Some("runner")),
        Command::Adopt(_)
        | Command::Diagnose(_)
        | Command::Hunt(_)
        | Command::Verify(_)
        | Command::BisectOrder(_)
        | Command::Repro(_)
        | Command::ProveFixed(_)
        | Command::Archive(_)
        | Command::Doctor(_)
        | Command::ShowConfig(_)
        | Command::ImportNextest(_)
        | Command::Replay(_)
        | Command::Baseline(_)
        | Command::Runs(_)
        | Command::History(_)
        | Command::Conflicts(_)
        | Command::Prune
        | Command::Completions(_)
        | Command::Man => return Ok(()),
    };
    if let (Some(name), count @ 2..) = (name, layers.values("root").len()) {
        return Err(format!(
            "`{name}` takes one `--root`, but {count} are given: only `run` takes more than \
             one"
        ));
    }
    let adds = layers.has("ro") || layers.has("rw");
    if layers.has("propagation") && !adds {
        return Err("`--propagation` needs a path from `--ro` or `--rw`".into());
    }
    Ok(())
}

/// Nothing is built where a build is reused, and a whole binary cannot do all that tests can.
fn check_reuse(command: &Command) -> Result<(), String> {
    match command {
        Command::Run(run) | Command::Rerun(run) => {
            let unit = || run.run.check_unit(run.libtest.bench, &run.layers);
            run.reuse.check(&run.cargo).and_then(|()| unit())
        }
        Command::List(list) => list.reuse.check(&list.cargo),
        Command::Explain(explain) => explain.reuse.check(&explain.cargo),
        Command::Trace(trace) => trace.reuse.check(&trace.cargo),
        Command::Shell(shell) => shell.reuse.check(&shell.cargo),
        Command::Diff(diff) => diff.reuse.check(&diff.cargo),
        Command::Adopt(_)
        | Command::Diagnose(_)
        | Command::Hunt(_)
        | Command::Verify(_)
        | Command::BisectOrder(_)
        | Command::Repro(_)
        | Command::ProveFixed(_)
        | Command::Archive(_)
        | Command::Doctor(_)
        | Command::Exec(_)
        | Command::Runner(_)
        | Command::ShowConfig(_)
        | Command::ImportNextest(_)
        | Command::Replay(_)
        | Command::Baseline(_)
        | Command::Runs(_)
        | Command::History(_)
        | Command::Conflicts(_)
        | Command::Prune
        | Command::Completions(_)
        | Command::Man => Ok(()),
    }
}

impl Shared {
    fn of(cargo: &CargoOptions) -> Self {
        Shared {
            quiet: cargo.quiet,
            color: cargo.color,
            unstable_options: cargo.unstable.iter().any(|flag| flag == "unstable-options"),
        }
    }
}

/// Cargo has the flag `--workspace`, and there is a layer of that name: bare, it is cargo's; with a
/// value, which [`glue_workspace`] has glued to it, it is the layer's.
fn settle_workspace(cargo: &mut CargoOptions, layers: &mut LayerOptions) {
    for value in cargo.settle_workspace() {
        layers.set_workspace(Some(value));
    }
}

/// The same for commands without layers.
fn settle_suite(suite: &mut SuiteOptions) {
    settle_workspace(&mut suite.cargo, &mut LayerOptions::default());
}

#[cfg(test)]
mod tests {
    use clap_complete::Shell;

    use super::*;
    use crate::cli::cargo::PackageScope;
    use crate::cli::formats::ReportFormat;

    fn cli(line: &str) -> Result<Command, clap::Error> {
        parse(line.split_whitespace().map(OsString::from)).map(|cli| cli.command)
    }

    fn run(line: &str) -> RunCommand {
        match cli(line) {
            Ok(Command::Run(run)) => *run,
            other => panic!("`{line}` is {other:?}"),
        }
    }

    #[test]
    fn the_definition_is_consistent() {
        command().debug_assert();
    }

    #[test]
    fn completions_and_the_manual_page_can_be_made() {
        let mut page = Vec::new();
        clap_complete::generate(Shell::Bash, &mut command(), "cargo-isotest", &mut page);
        clap_mangen::Man::new(command()).render(&mut page).expect("memory takes it");
        assert!(page.windows(14).any(|text| text == b"--no-fail-fast"));
    }

    #[test]
    fn a_word_that_is_no_command_is_a_filter() {
        for line in ["cargo-isotest foo", "cargo-isotest isotest foo", "x isotest run foo"] {
            assert_eq!(run(line).libtest.filters, ["foo"], "{line}");
        }
        assert_eq!(run("x isotest -p a list").libtest.filters, ["list"]);
        assert!(run("x isotest").libtest.filters.is_empty());
    }

    #[test]
    fn options_before_and_after_the_dashes_are_merged() {
        let run = run("x isotest a --exact -q -- b --skip c --nocapture");
        assert_eq!(run.libtest.filters, ["a", "b"]);
        assert_eq!(run.libtest.skip, ["c"]);
        assert!(run.libtest.exact && run.libtest.no_capture && run.cargo.quiet);
        assert_eq!(run.libtest.format, super::super::libtest::Format::Terse);
    }

    #[test]
    fn unknown_options_are_usage_errors() {
        let error = cli("x isotest -- --exact=1").expect_err("a flag with a value");
        assert_eq!(error.exit_code(), 2);
        let expected = "error: Option 'exact' does not take an argument";
        assert!(error.to_string().starts_with(expected), "{error}");
        // It may be another harness's.
        assert_eq!(run("x isotest -- --foo").libtest.unknown, ["--foo"]);
        let error = cli("x isotest --relese").expect_err("a misspelt flag");
        assert!(error.to_string().contains("--release"), "{error}");
    }

    #[test]
    fn workspace_is_cargos_flag_or_the_layers_value() {
        let run = run("x isotest --workspace --workspace=readonly foo");
        assert!(run.cargo.workspace);
        assert_eq!(run.cargo.package_scope(), PackageScope::Workspace);
        assert_eq!(run.layers.values("workspace"), ["readonly"]);
        assert_eq!(run.libtest.filters, ["foo"]);
        assert!(super::tests::run("x isotest --all").cargo.workspace);
    }

    #[test]
    fn exec_takes_the_command_as_it_stands() {
        for line in
            ["x isotest exec --net host ls -la --net", "x isotest exec --net host -- ls -la --net"]
        {
            let Ok(Command::Exec(exec)) = cli(line) else { panic!("`{line}` is refused") };
            assert_eq!(exec.command, ["ls", "-la", "--net"], "{line}");
        }
        assert!(cli("x isotest exec --nett host ls").is_err());
        let Ok(Command::Exec(exec)) = cli("x isotest exec --workspace shared true") else {
            panic!("refused")
        };
        assert_eq!(exec.layers.values("workspace"), ["shared"]);
    }

    #[test]
    fn a_shell_takes_a_case_and_a_command() {
        let Ok(Command::Shell(shell)) = cli("x isotest shell -p a t::one -- ls --list") else {
            panic!("refused")
        };
        assert_eq!(shell.case, "t::one");
        assert_eq!(shell.command, ["ls", "--list"]);
    }

    #[test]
    fn cargos_options_come_back() {
        let run = run("x isotest -p a -p b --bin x --test=y -F f,g -r -j 3 -Zfoo --config k=v -vv");
        assert_eq!(
            run.cargo.to_arguments(),
            [
                "--package=a",
                "--package=b",
                "--bin=x",
                "--test=y",
                "--features=f,g",
                "--release",
                "--jobs=3",
                "--config=k=v",
                "-Zfoo",
                "--verbose",
                "--verbose",
            ]
        );
    }

    #[test]
    fn help_is_asked_for_on_either_side() {
        for line in ["x isotest --help", "x isotest foo --help", "x isotest -- -h"] {
            let error = cli(line).expect_err("help");
            assert_eq!(error.kind(), ErrorKind::DisplayHelp, "{line}");
        }
        assert_eq!(cli("x isotest -V").expect_err("version").kind(), ErrorKind::DisplayVersion);
    }

    #[test]
    fn lists_have_a_format_of_their_own() {
        for line in ["x isotest list --format json", "x isotest list --message-format=json"] {
            let Ok(Command::List(list)) = cli(line) else { panic!("`{line}` is refused") };
            assert_eq!(list.format, ReportFormat::Json);
        }
    }
}
