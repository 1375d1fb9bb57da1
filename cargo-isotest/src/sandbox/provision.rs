//! Setup commands and services of cases. Setup commands run here, once, before any case; services
//! become part of a set-up.
//!
//! `docs/services.md` describes both.

use std::collections::BTreeSet;
use std::env;
use std::ffi::{CString, OsStr, OsString};
use std::fmt;
use std::fs::File;
use std::io;
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::FileExt;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Command, ExitStatus, Stdio};
use std::time::Duration;

use isotest_core::host_command::{self, CommandEnd};
use isotest_core::plan::{Readiness, Service};
use isotest_core::policy::{Namespace, Policy};
use isotest_core::signals::Signals;
use isotest_core::untrusted::Dir;
use isotest_core::wait_status::signal_name;

use crate::config::machine::{Machine, Variable, is_variable_name};
use crate::config::{Config, ConfigError, Needs, ReadyTable, ServiceTable, SetupTable};
use crate::discover::Project;
use crate::report;
use crate::sandbox::factory::c_string;

/// Names to setup commands the file that they write variables to; scripts written for nextest know the
/// second.
const ENV_FILE: [&str; 2] = ["ISOTEST_ENV_FILE", "NEXTEST_ENV"];
/// Names this program to them: it is not always on PATH.
const PROGRAM: &str = "ISOTEST_EXE";

/// All that cases may need, ready to be given.
#[derive(Debug, Default)]
pub struct Provision {
    services: Vec<(Service, Vec<Variable>)>,
    /// Variables that each setup command has written; empty if it has not run.
    setup: Vec<Vec<Variable>>,
}

/// Services and variables of one case.
#[derive(Debug, Default)]
pub struct CaseProvision {
    /// Services that run beside it.
    pub services: Vec<Service>,
    /// Variables that it gets.
    pub variables: Vec<Variable>,
}

impl Provision {
    /// From the configuration; no setup command has run.
    pub fn of(config: &Config) -> Provision {
        Provision {
            services: config.services.iter().map(service).collect(),
            setup: config.setup.iter().map(|_| Vec::new()).collect(),
        }
    }

    /// The same once the setup commands that these cases need have run, in the order of their
    /// definition, at the root of the workspace. Each comes with its policy.
    pub fn prepare<'a>(
        config: &Config,
        needs: impl Iterator<Item = (&'a Policy, &'a Needs)>,
        project: &Project,
        machine: &Machine,
        signals: &Signals,
    ) -> Result<Provision, ProvisionError> {
        let mut provision = Provision::of(config);
        let mut needed: BTreeSet<usize> = BTreeSet::new();
        for (policy, needs) in needs {
            check(policy, needs, config)?;
            needed.extend(&needs.setup);
        }
        let directory = project.workspace_root.as_std_path();
        let tables = config.setup.iter().zip(&mut provision.setup).zip(0..);
        for ((table, variables), _) in tables.filter(|(_, place)| needed.contains(place)) {
            report::setting_up(&table.name);
            *variables = run(table, directory, machine, signals)?;
        }
        Ok(provision)
    }

    /// Services and variables of a case: variables of setup commands first.
    pub fn give(&self, needs: &Needs) -> CaseProvision {
        let services = || needs.services.iter().filter_map(|place| self.services.get(*place));
        let setup = needs.setup.iter().filter_map(|place| self.setup.get(*place)).flatten();
        let variables = setup.chain(services().flat_map(|(_, variables)| variables));
        CaseProvision {
            services: services().map(|(service, _)| service.clone()).collect(),
            variables: variables.cloned().collect(),
        }
    }
}

/// Fails where a case would be given services that do not end with it.
fn check(policy: &Policy, needs: &Needs, config: &Config) -> Result<(), ConfigError> {
    let first = needs.services.first().and_then(|place| config.services.get(*place));
    match (policy.pid, first) {
        (Namespace::New, _) | (Namespace::Lab | Namespace::Host, None) => Ok(()),
        (Namespace::Host, Some(table)) => Err(refuse(&table.name, "`pid = \"host\"`")),
        (Namespace::Lab, Some(table)) => {
            Err(refuse(&table.name, "a pid namespace that is shared with companions"))
        }
    }
}

fn refuse(service: &str, pid: &str) -> ConfigError {
    let what = format!("cannot start the service `{service}` with {pid}");
    ConfigError::new(what).hint(Some("the end of its pid namespace ends a service"))
}

fn service(table: &ServiceTable) -> (Service, Vec<Variable>) {
    let words = |words: &[String]| -> Vec<CString> {
        words.iter().map(|word| c_string(OsStr::new(word))).collect()
    };
    let service = Service {
        name: table.name.clone(),
        command: words(&table.command),
        ready: match &table.ready {
            ReadyTable::Tcp(port) => Readiness::Tcp(*port),
            ReadyTable::Unix(path) => Readiness::Unix(path.clone()),
            ReadyTable::Output(text) => Readiness::Output(text.clone()),
            ReadyTable::Command(command) => Readiness::Command(words(command)),
            ReadyTable::Exit => Readiness::Exit,
        },
        timeout: table.timeout,
    };
    let variables = table.env.iter().map(|(name, value)| (name.into(), value.into()));
    (service, variables.collect())
}

/// Runs a setup command; the variables that it has written.
fn run(
    table: &SetupTable,
    directory: &Path,
    machine: &Machine,
    signals: &Signals,
) -> Result<Vec<Variable>, ProvisionError> {
    let error = |cause, output| SetupError { name: table.name.clone(), cause, output };
    let failed = |cause| ProvisionError::Setup(Box::new(error(cause, Vec::new())));
    let files = || -> io::Result<_> {
        let place = tempfile::Builder::new().prefix("isotest-setup-").tempdir()?;
        let files = Dir::open(place.path())?;
        files.replace(OsStr::new(VARIABLES), b"")?;
        // A file, not a pipe: what the command leaves in the background may hold on to it.
        let mut options = File::options();
        options.create_new(true).read(true).append(true);
        let written = options.open(place.path().join("output"))?;
        let output = written.try_clone()?;
        Ok((place, files, output, written))
    };
    let (place, files, output, written) =
        files().map_err(|cause| failed(SetupCause::Files(cause)))?;
    let both = written.try_clone().map_err(|cause| failed(SetupCause::Files(cause)))?;
    let (program, arguments) = table.command.split_first().expect("an empty one is refused");
    // As in a shell: what has a slash is relative to the directory that it runs in.
    let program = match program.contains('/') {
        true => directory.join(program).into_os_string(),
        false => OsString::from(program),
    };
    let mut command = Command::new(&program);
    command.args(arguments).current_dir(directory);
    command.env_clear().envs(machine.variables.iter().cloned());
    command.envs(ENV_FILE.map(|name| (name, place.path().join(VARIABLES))));
    command.envs(env::current_exe().ok().map(|program| (PROGRAM, program)));
    command.stdin(Stdio::null()).stdout(written).stderr(both);
    let ended = host_command::run(&mut command, table.timeout, signals)
        .map_err(|cause| failed(SetupCause::Execute(program, cause)))?;
    let cause = match ended {
        CommandEnd::Exited(status) if status.success() => match read(&files) {
            Ok(variables) => return Ok(variables),
            Err(cause) => cause,
        },
        CommandEnd::Exited(status) => SetupCause::Ended(status),
        CommandEnd::TimedOut(limit) => SetupCause::TimedOut(limit),
        CommandEnd::Interrupted(signal) => return Err(ProvisionError::Interrupted(signal)),
    };
    let output = last_part(&output).unwrap_or_default();
    Err(ProvisionError::Setup(Box::new(error(cause, output))))
}

/// The name of the file that a setup command writes variables to. It may have put anything there.
const VARIABLES: &str = "env";

/// The last part of what a command has written.
fn last_part(file: &File) -> io::Result<Vec<u8>> {
    const MAX_BYTES: u64 = 1 << 20;
    let start = file.metadata()?.len().saturating_sub(MAX_BYTES);
    let mut bytes = vec![0; MAX_BYTES as usize];
    let mut read = 0;
    // Others may still write.
    while let rest @ [_, ..] = &mut bytes[read..] {
        match file.read_at(rest, start + read as u64)? {
            0 => break,
            more => read += more,
        }
    }
    bytes.truncate(read);
    Ok(bytes)
}

/// Reads lines `NAME=VALUE`; empty ones are skipped.
fn read(files: &Dir) -> Result<Vec<Variable>, SetupCause> {
    /// More than all variables of a process may have together, on any machine (execve(2)).
    const MAX_BYTES: u64 = 64 << 20;
    let bytes = files.read(VARIABLES, MAX_BYTES).map_err(SetupCause::Variables)?;
    let lines = bytes.split(|byte| *byte == b'\n').zip(1..);
    let lines = lines.filter(|(line, _)| !line.is_empty());
    lines
        .map(|(line, number)| {
            let wrong = || SetupCause::Line(number, String::from_utf8_lossy(line).into_owned());
            let at = line.iter().position(|byte| *byte == b'=').ok_or_else(wrong)?;
            let (name, value) = line.split_at(at);
            let name = str::from_utf8(name).ok().filter(|name| is_variable_name(name));
            let value = value.get(1..).filter(|value| !value.contains(&0));
            let (name, value) = name.zip(value).ok_or_else(wrong)?;
            Ok((name.into(), OsString::from_vec(value.to_vec())))
        })
        .collect()
}

/// Setup commands or services of cases failed: no test is run.
#[derive(Debug)]
pub enum ProvisionError {
    /// The configuration asks for services where they cannot be.
    Config(ConfigError),
    /// A setup command failed.
    Setup(Box<SetupError>),
    /// A signal ended a setup command.
    Interrupted(i32),
}

impl From<ConfigError> for ProvisionError {
    fn from(error: ConfigError) -> Self {
        ProvisionError::Config(error)
    }
}

/// A setup command that failed: no test is run.
#[derive(Debug)]
pub struct SetupError {
    name: String,
    cause: SetupCause,
    /// Its output, both streams in the order of writing.
    output: Vec<u8>,
}

#[derive(Debug)]
enum SetupCause {
    /// The files for its variables and its output cannot be had.
    Files(io::Error),
    /// The file with its variables cannot be read.
    Variables(io::Error),
    /// It cannot be executed.
    Execute(OsString, io::Error),
    /// It failed.
    Ended(ExitStatus),
    /// Its time was up.
    TimedOut(Duration),
    /// A line of its variables is none.
    Line(usize, String),
}

impl fmt::Display for SetupError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = &self.name;
        write!(f, "cannot set up: the setup command `{name}` ")?;
        let hint = match &self.cause {
            SetupCause::Files(cause) => {
                write!(f, "cannot be given files: {cause}")?;
                "they are made where TMPDIR says, or in `/tmp`".to_owned()
            }
            SetupCause::Variables(cause) => {
                write!(f, "has left a file of variables that cannot be read: {cause}")?;
                "ISOTEST_ENV_FILE names it; lines are added to it".to_owned()
            }
            SetupCause::Execute(program, cause) => {
                write!(f, "cannot be executed: `{}`: {cause}", program.display())?;
                "it is looked up on PATH, or from the workspace root if it contains a `/`"
                    .to_owned()
            }
            SetupCause::Ended(status) => {
                match (status.code(), status.signal()) {
                    (Some(code), _) => write!(f, "exited with {code}")?,
                    (None, Some(signal)) => write!(f, "was killed by {}", signal_name(signal))?,
                    (None, None) => write!(f, "failed")?,
                }
                format!("no test was run; it is `[setup.{name}]` in the configuration")
            }
            SetupCause::TimedOut(limit) => {
                let limit = humantime::format_duration(*limit);
                write!(f, "did not end within {limit}, and was killed")?;
                format!("`timeout` in `[setup.{name}]` gives it more time")
            }
            SetupCause::Line(number, line) => {
                write!(
                    f,
                    "wrote to the file that ISOTEST_ENV_FILE names, line {number}: `{line}`"
                )?;
                "every line is `NAME=VALUE`".to_owned()
            }
        };
        let output = String::from_utf8_lossy(&self.output);
        if !output.trim_end().is_empty() {
            write!(f, "\n---- output of `{name}` ----\n{}", output.trim_end())?;
        }
        write!(f, "\nhint: {hint}")
    }
}

impl std::error::Error for SetupError {}

#[cfg(test)]
mod tests {
    use super::*;

    fn variables(text: &[u8]) -> Result<Vec<Variable>, SetupCause> {
        let place = tempfile::tempdir().expect("a directory");
        let files = Dir::open(place.path()).expect("it is there");
        files.replace(OsStr::new(VARIABLES), text).expect("it can be written");
        read(&files)
    }

    #[test]
    fn a_line_is_a_variable() {
        let read = variables(b"A=1\n\nURL=x=y z\nEMPTY=\nBYTES=\xFF").expect("it is right");
        let expected: [(&str, &[u8]); 4] =
            [("A", b"1"), ("URL", b"x=y z"), ("EMPTY", b""), ("BYTES", b"\xFF")];
        let expected =
            expected.map(|(name, value)| (name.into(), OsString::from_vec(value.into())));
        assert_eq!(read, expected);
    }

    #[test]
    fn of_what_a_command_has_written_the_end_is_kept() {
        let file = tempfile::tempfile().expect("a file");
        let text = [vec![b'a'; 1 << 20], b" the end\n".to_vec()].concat();
        file.write_all_at(&text, 0).expect("it can be written");
        let kept = last_part(&file).expect("it can be read");
        assert!(kept.len() == 1 << 20 && kept.ends_with(b"aaa the end\n"));
    }

    #[test]
    fn a_line_that_is_no_variable_is_named() {
        for (text, wrong) in [("A=1\nexport B", 2), ("=x", 1), ("1A=x", 1), ("\n\nA B=1", 3)] {
            match variables(text.as_bytes()) {
                Err(SetupCause::Line(number, _)) => assert_eq!(number, wrong, "{text}"),
                other => panic!("{text}: {other:?}"),
            }
        }
    }
}
