//! Documentation tests: cargo and rustdoc build and report them, each runs in a sandbox.
//!
//! Rustdoc starts every documentation test through cargo's `target.runner`; that is this program
//! again, as `cargo isotest runner`. Of edition 2024 rustdoc merges them into one program, which
//! then shares one sandbox.

use std::env;
use std::env::consts::ARCH;
use std::ffi::{OsStr, OsString};
use std::io::{self, BufReader};
use std::process::{Command, Stdio};

use isotest_core::policy::{Policy, Root};
use isotest_core::signals::Signals;

use crate::cli::{Format, LayerOptions, LibtestOptions, RunCommand, RunIgnored};
use crate::config::machine::Machine;
use crate::config::settings::Settings;
use crate::discover::{self, DiscoverError};
use crate::report::{self, DoctestSummary};
use crate::sandbox::environment;
use crate::sandbox::roots::RootFilesystem;

/// The documentation tests could not be run to their end.
#[derive(Debug)]
pub enum DoctestError {
    /// The project's own runner could not be read.
    Discover(DiscoverError),
    /// Cargo could not be started.
    Host(io::Error),
    /// The report could not be written.
    Report(io::Error),
    /// A signal ended them.
    Interrupted(i32),
}

impl From<DiscoverError> for DoctestError {
    fn from(error: DiscoverError) -> Self {
        DoctestError::Discover(error)
    }
}

/// Runs the documentation tests of what is selected, in each root filesystem. `take` is given what
/// rustdoc prints.
pub fn run<'a>(
    command: &RunCommand,
    settings: &Settings,
    roots: impl IntoIterator<Item = &'a RootFilesystem>,
    machine: &Machine,
    signals: &Signals,
    take: &mut dyn FnMut(&[u8]),
) -> Result<DoctestSummary, DoctestError> {
    let mut all = DoctestSummary::default();
    for root in roots {
        report::root_of_doctests(root.label.as_deref(), settings.report.format)
            .map_err(DoctestError::Report)?;
        let counts = run_in(command, settings, &root.policy, machine, signals, take)?;
        all.failed |= counts.failed;
        all.selected += counts.selected;
        all.passed += counts.passed;
        if counts.failed && settings.max_fail.is_some() {
            break;
        }
    }
    Ok(all)
}

fn run_in(
    command: &RunCommand,
    settings: &Settings,
    policy: &Policy,
    machine: &Machine,
    signals: &Signals,
    take: &mut dyn FnMut(&[u8]),
) -> Result<DoctestSummary, DoctestError> {
    let cargo = machine.variable("CARGO").unwrap_or(OsStr::new("cargo"));
    let triple = command.cargo.target.first().map(String::as_str);
    let own = discover::runner(&settings.request, triple)?;
    let words = runner(&settings.layers, policy, &own).map_err(DoctestError::Host)?;
    let mut cargo = Command::new(cargo);
    cargo.args(["test", "--doc"]);
    set_runner(&mut cargo, &words, machine);
    let mut child = cargo
        .args(command.cargo.to_doctest_arguments())
        .args(command.run.no_run.then_some("--no-run"))
        .args(settings.max_fail.is_none().then_some("--no-fail-fast"))
        .arg("--")
        .args(harness_arguments(command, settings))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .map_err(DoctestError::Host)?;
    let stdout = child.stdout.take().expect("stdout is piped above");
    let mut counts = DoctestSummary::default();
    let aside = command.has_messages();
    let passed_on = report::pass_on(BufReader::new(stdout), aside, |piece, begins| {
        if begins {
            count(&mut counts, &String::from_utf8_lossy(piece));
        }
        take(piece);
    });
    let status = child.wait().map_err(DoctestError::Host)?;
    counts.failed = !status.success();
    match signals.take_ending() {
        Some(signal) => Err(DoctestError::Interrupted(signal)),
        None => passed_on.map(|()| counts).map_err(DoctestError::Report),
    }
}

/// Counts what a line of the harness says, in any of its formats.
fn count(counts: &mut DoctestSummary, line: &str) {
    let after = |lead: &str| line.split_once(lead).map(|(_, rest)| leading_number(rest));
    let announced = line.strip_prefix("running ").map(leading_number);
    counts.selected += announced.or(after("\"test_count\": ")).unwrap_or(0);
    let result = line.strip_prefix("test result: ");
    let result = result.and_then(|rest| Some(leading_number(rest.split_once(". ")?.1)));
    counts.passed += result.or(after("\"passed\": ")).unwrap_or(0);
}

fn leading_number(text: &str) -> usize {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    text.get(..end).and_then(|digits| digits.parse().ok()).unwrap_or(0)
}

/// The words of cargo's `target.<triple>.runner`.
/// Programs are started through the project's `own` runner, where it has one.
fn runner(layers: &LayerOptions, policy: &Policy, own: &[OsString]) -> io::Result<Vec<String>> {
    let program = env::current_exe()?;
    let mut words: Vec<OsString> = vec![program.into(), "runner".into(), "--nested".into()];
    // One by one: a variable that names a runner is parted by white space.
    for word in own {
        let mut through = OsString::from("--through=");
        through.push(word);
        words.push(through);
    }
    words.extend(layers.to_arguments());
    // Found already, and not relative to where cargo starts it.
    if let Root::Directory(root) = &policy.root {
        let mut word = OsString::from("--root=");
        word.push(root);
        words.push(word);
    }
    let timeout = policy.limits.timeout.map_or("none".to_owned(), |timeout| {
        humantime::format_duration(timeout).to_string().replace(' ', "")
    });
    words.push(format!("--timeout={timeout}").into());
    words.push("--".into());
    let words = words.into_iter().map(|word| {
        word.into_string().map_err(|word| {
            io::Error::other(format!("`{}` is not UTF-8, as cargo wants it", word.display()))
        })
    });
    words.collect()
}

/// Makes these words the runner, whichever the project or the caller has already. That of a triple
/// goes before that of a `cfg`, and two of those are an error; of one and the same triple the
/// variable goes before the file, and parts its words by white space. Of a triple that is none of
/// this machine's, the `cfg` holds.
fn set_runner(cargo: &mut Command, words: &[String], machine: &Machine) {
    for (name, _) in machine.variables.iter().filter(|(name, _)| environment::is_runner(name)) {
        cargo.env_remove(name);
    }
    let value = toml::Value::from(words.to_vec());
    cargo.args(["--config".to_owned(), format!("target.\"cfg(all())\".runner={value}")]);
    let in_parts = words.iter().any(|word| word.is_empty() || word.contains(char::is_whitespace));
    for library in ["gnu", "musl"] {
        if in_parts {
            let key = format!("target.{ARCH}-unknown-linux-{library}.runner={value}");
            cargo.args(["--config".to_owned(), key]);
        } else {
            let triple = format!("{ARCH}_unknown_linux_{library}").to_uppercase();
            cargo.env(format!("CARGO_TARGET_{triple}_RUNNER"), words.join(" "));
        }
    }
}

/// Arguments for rustdoc's own libtest.
fn harness_arguments(command: &RunCommand, settings: &Settings) -> Vec<OsString> {
    let libtest = &command.libtest;
    let mut arguments: Vec<OsString> = libtest.filters.iter().map(OsString::from).collect();
    for skip in &libtest.skip {
        arguments.extend(["--skip".into(), skip.into()]);
    }
    let flags = [
        ("--exact", libtest.exact),
        ("--ignored", libtest.run_ignored == RunIgnored::Only),
        ("--include-ignored", libtest.run_ignored == RunIgnored::Yes),
        ("--show-output", libtest.show_output),
        ("--nocapture", settings.pass_through),
        ("--list", libtest.list),
    ];
    arguments.extend(flags.iter().filter(|(_, given)| *given).map(|(flag, _)| flag.into()));
    if libtest.test_threads.is_some() {
        arguments.push(format!("--test-threads={}", settings.jobs).into());
    }
    // Its stdout is a pipe: what is coloured was decided for ours.
    let colour = if settings.report.style.stdout_colour { "always" } else { "never" };
    arguments.push(format!("--color={colour}").into());
    if !command.has_messages() {
        arguments.extend(format_arguments(libtest).iter().map(OsString::from));
    }
    arguments
}

fn format_arguments(libtest: &LibtestOptions) -> &'static [&'static str] {
    match libtest.format {
        Format::Pretty => &[],
        Format::Terse => &["--format=terse"],
        Format::Json => &["-Zunstable-options", "--format=json"],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_harness_says_is_counted_in_every_format() {
        let counted = |lines: &[&str]| {
            let mut counts = DoctestSummary::default();
            lines.iter().for_each(|line| count(&mut counts, line));
            (counts.selected, counts.passed)
        };
        let pretty = ["running 4 tests\n", "test result: ok. 3 passed; 0 failed; 1 ignored;\n"];
        assert_eq!(counted(&pretty), (4, 3));
        let json = [
            r#"{ "type": "suite", "event": "started", "test_count": 12 }"#,
            r#"{ "type": "suite", "event": "ok", "passed": 11, "failed": 0, "ignored": 1 }"#,
        ];
        assert_eq!(counted(&json), (12, 11));
        assert_eq!(counted(&["running away\n"]), (0, 0));
    }
}
