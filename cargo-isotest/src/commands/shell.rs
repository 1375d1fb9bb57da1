//! `cargo isotest shell`: a shell, or a command, in the sandbox of one case.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::Path;
use std::sync::Arc;

use isotest_core::plan::Plan;
use isotest_core::policy::Policy;

use crate::cli::ShellCommand;
use crate::commands::build::Build;
use crate::commands::find_program::{is_program, with_program};
use crate::commands::foreground::{run_foreground, timeout_of};
use crate::commands::one_case::{CaseRequest, OneCase};
use crate::config::machine::Machine;
use crate::error::Error;
use crate::exit_code::ExitCode;
use crate::report;
use crate::run::case_plan;
use crate::sandbox::provision::Provision;

/// Runs a shell, or a command, in the sandbox of one case.
pub fn shell(command: &ShellCommand, machine: &Machine) -> Result<ExitCode, Error> {
    let build = Build::open(&command.reuse, &command.cargo, machine)?;
    let named =
        CaseRequest { case: &command.case, layers: &command.layers, config: &command.config };
    let OneCase { mut factory, selected, case, limits, config, needs, project, signals, .. } =
        OneCase::find(&build, &named, machine)?;
    let needed = [(&factory.policy, &needs)].into_iter();
    let provision = Provision::prepare(&config, needed, &project, machine, &signals)?;
    let test = case_plan::spec(&factory, &selected, provision.give(&needs));
    let plan = case_plan::plan_of(&factory, &test, &selected, &case, &limits);
    report::test_command(&plan).map_err(Error::Report)?;
    let policy = &factory.policy;
    let words = match command.command.as_slice() {
        [] => vec![find_shell(policy, machine)?],
        words => words.to_vec(),
    };
    let words = match command.after {
        true => after(&plan, &words),
        false => words,
    };
    let spec = with_program(&test, &words, policy, machine)?;
    run_foreground(&mut factory, Arc::new(spec), timeout_of(&command.layers), &signals)
}

/// The command of a test, and after its end another one in the same sandbox. The shell that runs both
/// is PID 1, so what the test leaves behind lives on.
fn after(test: &Plan, words: &[OsString]) -> Vec<OsString> {
    let words: Vec<Vec<u8>> = words.iter().map(|word| quoted(word)).collect();
    let script = [
        b"\"$@\" </dev/null; status=$?; echo \"the test has ended with exit status $status\" >&2; exec "
            .as_slice(),
        &words.join(&b' '),
    ]
    .concat();
    let shell = ["/bin/sh".into(), "-c".into(), OsString::from_vec(script), "sh".into()];
    let program = [test.spec.program.clone()];
    let own = test.spec.arguments.iter().skip(1).chain(&test.arguments);
    let command =
        program.iter().chain(own).map(|word| OsStr::from_bytes(word.to_bytes()).to_owned());
    shell.into_iter().chain(command).collect()
}

/// One word for sh(1).
fn quoted(word: &OsStr) -> Vec<u8> {
    let inner: Vec<&[u8]> = word.as_bytes().split(|byte| *byte == b'\'').collect();
    [b"'".as_slice(), &inner.join(br"'\''".as_slice()), b"'"].concat()
}

/// `$SHELL`, which another root filesystem may not have, or `/bin/sh`.
fn find_shell(policy: &Policy, machine: &Machine) -> Result<OsString, Error> {
    let usual = machine.variable("SHELL").filter(|shell| Path::new(shell).is_absolute());
    let mut shells = usual.into_iter().chain([OsStr::new("/bin/sh")]);
    let found = shells.find(|shell| is_program(Path::new(shell), policy, machine));
    found.map(OsStr::to_owned).ok_or_else(|| Error::Shell(usual.map(OsStr::to_owned)))
}
