//! The runner that cargo's configuration has for a target: `target.<triple>.runner`.
//!
//! A test is started with the same runner, in its sandbox; but not with isotest itself.

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::path::Path;

use target_spec::{Platform, TargetFeatures, TargetSpec, Triple};

use super::search_path::on_path;

/// A program that is started with a binary behind its arguments.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Runner {
    /// The program, a name on `PATH` or an absolute path, and its arguments.
    pub words: Vec<OsString>,
}

/// The program of a runner is not on `PATH`.
#[derive(Debug)]
pub struct NoRunner {
    /// Its name.
    pub program: OsString,
    /// The target.
    pub triple: String,
}

impl fmt::Display for NoRunner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let NoRunner { program, triple } = self;
        let variable = triple.to_uppercase().replace(['-', '.'], "_");
        write!(
            f,
            "cannot find the program `{}`, cargo's runner for `{triple}`, on PATH\n\
             hint: install it; with `CARGO_TARGET_{variable}_RUNNER=env` tests run without",
            program.display()
        )
    }
}

impl std::error::Error for NoRunner {}

impl Runner {
    /// A path is relative to `base`, a name is not. `None` where there are no words.
    pub(super) fn new(mut words: Vec<OsString>, base: &Path) -> Option<Runner> {
        let program = words.first_mut()?;
        if Path::new(program).components().count() > 1 {
            *program = base.join(&*program).into_os_string();
        }
        Some(Runner { words })
    }

    /// True if it is isotest, which runs the tests already.
    fn is_isotest(&self) -> bool {
        let name = self.words.first().and_then(|program| Path::new(program).file_name());
        name == Some(OsStr::new("cargo-isotest"))
    }
}

/// The runners of variables `CARGO_TARGET_<TRIPLE>_RUNNER`, by variable.
pub(super) fn of_environment(
    variables: &[(OsString, OsString)],
    directory: &Path,
) -> Vec<(String, Runner)> {
    let runner = |(name, line): &(OsString, OsString)| {
        let (name, line) = (name.to_str()?, line.to_str()?);
        let is_runner = name.starts_with("CARGO_TARGET_") && name.ends_with("_RUNNER");
        let words = line.split_whitespace().filter(|_| is_runner).map(Into::into);
        Some((name.to_owned(), Runner::new(words.collect(), directory)?))
    };
    variables.iter().filter_map(runner).collect()
}

/// The words of the one for a target, its program found; none where there is no runner.
pub(super) fn words(runners: &[(String, Runner)], triple: &str) -> Result<Vec<OsString>, NoRunner> {
    let Some(Runner { words }) = find(runners, triple) else { return Ok(Vec::new()) };
    let mut words = words.clone();
    if let Some(program) = words.first_mut()
        && !Path::new(program).is_absolute()
    {
        *program = on_path(&*program)
            .ok_or_else(|| NoRunner { program: program.clone(), triple: triple.to_owned() })?
            .into_os_string();
    }
    Ok(words)
}

/// The one for a target: that of its triple goes before that of a `cfg` which it is. Two of the
/// latter are an error of cargo's, which has built the tests.
fn find<'r>(runners: &'r [(String, Runner)], triple: &str) -> Option<&'r Runner> {
    let variable = triple.to_uppercase().replace(['-', '.'], "_");
    let variable = format!("CARGO_TARGET_{variable}_RUNNER");
    let named = runners.iter().find(|(key, _)| *key == triple || *key == variable);
    let found = named.or_else(|| runners.iter().find(|(key, _)| is_of(key, triple)));
    found.map(|(_, runner)| runner).filter(|runner| !runner.is_isotest())
}

/// True if a key is a `cfg` that holds for a target.
fn is_of(key: &str, triple: &str) -> bool {
    let Ok(triple) = Triple::new(triple.to_owned()) else { return false };
    let platform = Platform::from_triple(triple, TargetFeatures::Unknown);
    let spec = TargetSpec::new(key.to_owned()).ok().filter(|_| key.starts_with("cfg("));
    spec.and_then(|spec| spec.eval(&platform)) == Some(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_triple_goes_before_a_cfg_and_isotest_itself_is_none() {
        let runner = |line: &str| {
            let words = line.split_whitespace().map(Into::into).collect();
            Runner::new(words, Path::new("/base")).expect("words")
        };
        let triple = "x86_64-unknown-linux-gnu";
        let named = |key: &str, line: &str| (key.to_owned(), runner(line));
        let mut runners = vec![
            named("cfg(windows)", "wine"),
            named("cfg(all(unix, target_arch = \"x86_64\"))", "env A=b"),
            named("aarch64-unknown-linux-gnu", "qemu-aarch64 -L /usr"),
        ];
        let program = |runners: &[(String, Runner)], triple: &str| {
            find(runners, triple).map(|found| found.words[0].to_string_lossy().into_owned())
        };
        assert_eq!(program(&runners, triple).as_deref(), Some("env"));
        let other = program(&runners, "aarch64-unknown-linux-gnu");
        assert_eq!(other.as_deref(), Some("qemu-aarch64"));
        assert_eq!(program(&runners, "aarch64-apple-darwin"), None);
        runners.push(named(triple, "own/wrapper"));
        assert_eq!(program(&runners, triple).as_deref(), Some("/base/own/wrapper"));
        let name = "CARGO_TARGET_X86_64_UNKNOWN_LINUX_GNU_RUNNER".into();
        let variables = of_environment(&[(name, " by-variable  -a".into())], Path::new("/d"));
        let before = [variables, runners.clone()].concat();
        assert_eq!(find(&before, triple).map(|found| found.words.len()), Some(2));
        runners.insert(0, named(triple, "/home/u/.cargo/bin/cargo-isotest runner"));
        assert_eq!(program(&runners, triple), None);
    }
}
