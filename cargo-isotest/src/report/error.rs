//! Single lines on stderr: the last words of a command that cannot go on, and what is told before
//! a run.

use std::fmt::Display;
use std::io::{self, Write};
use std::path::Path;
use std::time::Duration;

use anstyle::{AnsiColor, Style};
use isotest_core::escape::escape;
use isotest_core::finding::Finding;
use isotest_core::outcome::ServiceOutput;
use isotest_core::plan::Uncopied;
use isotest_core::policy::Weakened;
use isotest_core::refusal::SandboxError;

use super::paint::{GOOD, HINT, STRONG, WARNING};
use super::rerun::quoted;
use super::words::{self, counted};

/// Prints `error: …` on stderr, as cargo does. `anstream` decides about colour.
pub fn error(error: &impl Display) {
    let bold = Style::new().bold().fg_color(Some(AnsiColor::Red.into()));
    // stderr may be closed, as a terminal can be.
    let _ = writeln!(anstream::stderr(), "{bold}error{bold:#}: {error}");
}

/// Prints `warning: …` on stderr.
pub fn warning(text: &impl Display) {
    anstream::eprintln!("{WARNING}warning{WARNING:#}: {text}");
}

/// Prints findings of a single test, a note each.
pub fn findings(findings: &[Finding]) {
    for finding in findings {
        anstream::eprintln!("{HINT}note[{}]{HINT:#}: the test {finding}", finding.code());
    }
}

/// Prints what services wrote of which one could not be had.
pub fn services(outputs: &[ServiceOutput]) {
    let _ = io::stderr().write_all(&words::services(outputs));
}

/// Tells that a setup command is run.
pub fn setting_up(name: &str) {
    anstream::eprintln!("{GOOD}{:>12}{GOOD:#} {name}", "Setting up");
}

/// Tells that a layer is made.
pub fn making_layer(name: &str) {
    anstream::eprintln!("{GOOD}{:>12}{GOOD:#} layer {name}", "Making");
}

/// Tells that another run makes a layer, and that this one waits for it.
pub fn waiting_for_layer(name: &str) {
    anstream::eprintln!(
        "{GOOD}{:>12}{GOOD:#} for layer {name}, which another run makes",
        "Waiting"
    );
}

/// Warns that setup commands which a test asks for are not run.
pub fn not_set_up<'a>(names: impl Iterator<Item = &'a str>) {
    for name in names {
        warning(&format_args!(
            "the setup command `{name}` does not run: nextest would start it for each test\n\
             hint: a setup script of nextest, `[scripts.setup.{name}]`, runs once"
        ));
    }
}

/// Tells, before it is done, that an archive or an image is unpacked: it may take a while.
pub fn unpacking(named: &Path) {
    anstream::eprintln!("{GOOD}{:>12}{GOOD:#} {}", "Unpacking", named.display());
}

/// Warns of keys that do not hold, where some are, since binaries run as a whole; each with what
/// holds instead.
pub fn unsupported_keys(keys: &[(&str, &str)]) {
    if keys.is_empty() {
        return;
    }
    let keys: String =
        keys.iter().map(|(key, instead)| format!("\n    {key}: {instead}")).collect();
    warning(&format_args!("`--unit binary` treats these settings differently:{keys}"));
}

/// Warns that words behind `--` are not for libtest.
pub fn passed_on(words: &[String]) {
    let words: Vec<String> = words.iter().map(|word| super::quoted(word)).collect();
    warning(&format_args!(
        "`{}` is passed only to harnesses other than libtest, which does not know it",
        words.join(" ")
    ));
}

/// Warns that something is not in an archive which the configuration wants in it.
pub fn not_archived(path: &Path, why: &str) {
    warning(&format_args!(
        "`{}`, which `archive.include` names, is not in the archive: {why}",
        path.display()
    ));
}

/// Content of a written archive.
pub struct Archived<'a> {
    /// The archive.
    pub path: &'a Path,
    /// Number of test binaries.
    pub binaries: usize,
    /// Number of files.
    pub files: usize,
    /// Its size.
    pub bytes: u64,
    /// Time that building and writing took.
    pub took: Duration,
}

/// Tells what was written to an archive.
pub fn archived(archived: &Archived<'_>) {
    let Archived { path, binaries, files, bytes, took } = archived;
    let binaries = match binaries {
        1 => "1 test binary".to_owned(),
        count => format!("{count} test binaries"),
    };
    anstream::eprintln!(
        "{GOOD}{:>12}{GOOD:#} {binaries}, {} to {}, {} in {:.2}s",
        "Archived",
        counted(*files, "file"),
        path.display(),
        words::mebibytes(*bytes),
        took.as_secs_f64()
    );
}

/// Tells how many root filesystems of how many bytes were removed from the cache, as `cargo clean`
/// tells it, and how many were not.
pub fn pruned(removed: usize, bytes: u64, in_use: usize) {
    let roots = counted(removed, "root filesystem");
    let size = words::mebibytes(bytes);
    let left = match in_use {
        0 => String::new(),
        count => format!("; {count} in use"),
    };
    anstream::eprintln!("{GOOD}{:>12}{GOOD:#} {roots}, {size}{left}", "Removed");
}

/// Tells how many recorded runs of how many bytes were removed, where some were.
pub fn pruned_runs(removed: usize, bytes: u64) {
    if removed > 0 {
        let (runs, size) = (counted(removed, "run"), words::mebibytes(bytes));
        anstream::eprintln!("{GOOD}{:>12}{GOOD:#} {runs}, {size}", "Removed");
    }
}

/// Tells how many layers were removed, where some were.
pub fn pruned_layers(removed: usize) {
    if removed > 0 {
        anstream::eprintln!("{GOOD}{:>12}{GOOD:#} {}", "Removed", counted(removed, "layer"));
    }
}

/// Tells of the files of failed tests that are kept.
pub fn kept_files(attempts: usize, path: &Path) {
    let attempts = counted(attempts, "failed attempt");
    let (path, title) = (path.display(), super::paint::styled(true, HINT, "note"));
    anstream::eprintln!("\n{title}: the files of {attempts} are kept\n    {path}");
}

/// Warns of a layer that is the host's, since the machine refuses another and that was allowed.
pub fn weakened(layer: Weakened, refusal: &SandboxError) {
    let name = layer.name();
    warning(&format_args!(
        "the layer `{name}` is shared with the host (`--allow-weaker {name}`): {refusal}"
    ));
}

/// Warns of files of others that tests cannot change, though the user could.
pub fn uncopied(files: &[Uncopied]) {
    if let Some(text) = words::uncopied(files) {
        warning(&format_args!("{text}\nhint: {}", words::TO_OWN));
    }
}

/// Warns that what has failed could not be kept for `--rerun-failed`.
pub fn not_kept(directory: &Path, error: &io::Error) {
    let directory = directory.display();
    warning(&format_args!(
        "cannot store the failed tests for `--rerun-failed` in `{directory}`: {error}"
    ));
}

/// Warns that a run cannot be recorded, or not to its end.
pub fn not_recorded(directory: &Path, error: &io::Error) {
    warning(&format_args!(
        "cannot record the run in `{}`: {error}\n\
         hint: `cargo isotest prune` removes old runs; `--no-record` does without",
        directory.display()
    ));
}

/// Warns that a diagnosis cannot be kept.
pub fn diagnosis_not_kept(directory: &Path, error: &io::Error) {
    let directory = directory.display();
    warning(&format_args!("cannot keep the diagnosis in `{directory}`: {error}"));
}

/// Tells which options of a recorded run are repeated, and which are not.
pub fn repeated(repeated: &[String], others: &[String]) {
    let words = |words: &[String]| {
        let words: Vec<String> = words.iter().map(|word| quoted(word)).collect();
        words.join(" ")
    };
    if !repeated.is_empty() {
        anstream::eprintln!("{STRONG}note{STRONG:#}: as in that run: {}", words(repeated));
    }
    if !others.is_empty() {
        anstream::eprintln!(
            "{STRONG}note{STRONG:#}: that run also had {}; give them again if the tests need them",
            words(others)
        );
    }
}

/// Warns that options of a recorded run cannot be repeated.
pub fn not_repeated(path: &Path, why: &str) {
    warning(&format_args!(
        "cannot repeat the options that `{}` has: {why}; those of this command line count",
        escape(&path.to_string_lossy())
    ));
}

/// Tells that tests were traced.
pub fn traced(tests: usize) {
    let (tests, were) = (counted(tests, "test"), if tests == 1 { "was" } else { "were" });
    anstream::eprintln!(
        "\n{HINT}note{HINT:#}: {tests} {were} traced\n    `cargo isotest conflicts` prints what they would share \
         without isolation\n    `cargo isotest trace CASE` prints what one does"
    );
}

/// Warns that a record ends before its run.
pub fn cut_off(id: &str, is_written: bool) {
    let why = match is_written {
        true => "is still running",
        false => "has no end: it was killed, or its file was cut off",
    };
    warning(&format_args!("run `{id}` {why}"));
}

/// Warns that the summary of a workflow could not be written.
pub fn not_summarized(error: &io::Error) {
    warning(&format_args!("cannot write the summary to the file of GITHUB_STEP_SUMMARY: {error}"));
}
