//! The options of libtest: which tests run and how their results are printed.
//!
//! They may stand before `--`, read by clap, and after it, taken apart by
//! [`getopts`](super::getopts) as libtest itself does. Both parts end in one [`LibtestOptions`].
//! The wording of the errors is libtest's (its cli.rs).

use std::ffi::OsString;
use std::num::NonZeroUsize;

use clap::{Args, ValueEnum};

pub use super::getopts::unrecognized;
use super::getopts::{Typed, read};
use super::partition::{Partition, partition};
use super::quantity::{Threads, threads};

/// Selection of ignored cases.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum RunIgnored {
    /// Cases without `#[ignore]`.
    #[default]
    #[value(name = "default")]
    No,
    /// Only those with it: `--ignored`.
    Only,
    /// Both: `--include-ignored`.
    #[value(name = "all")]
    Yes,
}

/// Format of results.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum Format {
    /// One line a test.
    #[default]
    Pretty,
    /// One character a test.
    Terse,
    /// One JSON event a line; needs `-Z unstable-options`.
    Json,
}

/// Use of colours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum Color {
    /// On a terminal.
    #[default]
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

impl Color {
    /// The value as typed.
    pub fn as_str(self) -> &'static str {
        match self {
            Color::Auto => "auto",
            Color::Always => "always",
            Color::Never => "never",
        }
    }
}

/// libtest's options, before and after `--` together.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LibtestOptions {
    /// A case is selected when its name contains one of these, or when there are none.
    pub filters: Vec<String>,
    /// A case is left out when its name contains one of these.
    pub skip: Vec<String>,
    /// Names must be equal, not contain.
    pub exact: bool,
    /// Selection of ignored cases.
    pub run_ignored: RunIgnored,
    /// `--bench`: benchmarks are measured and tests are ignored.
    pub bench: bool,
    /// `--test`: tests run also under `--bench`.
    pub test: bool,
    /// `--list`: print the cases, run nothing.
    pub list: bool,
    /// Number of cases that run at a time.
    pub test_threads: Option<Threads>,
    /// Output is passed through.
    pub no_capture: bool,
    /// The output of passed cases is printed too.
    pub show_output: bool,
    /// Format of results.
    pub format: Format,
    /// The duration of each case is printed.
    pub report_time: bool,
    /// Cases start in a random order, that of a seed where one is given.
    pub shuffle: Option<Option<u64>>,
    /// No further case is started after the first failure.
    pub fail_fast: bool,
    /// Part of the selected cases that runs.
    pub partition: Option<Partition>,
    /// Use of colours.
    pub color: Option<Color>,
    /// Options that libtest does not know and another harness may, each with its value.
    pub unknown: Vec<String>,
}

impl LibtestOptions {
    /// libtest's message for the first option that it does not know.
    pub fn refusal(&self) -> Option<String> {
        self.unknown.first().map(|option| unrecognized(option))
    }
}

/// The selection as it may be typed before `--`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Args)]
#[command(next_help_heading = "Test selection")]
pub(super) struct SelectionFlags {
    /// Run only tests whose name contains one of these, and no documentation tests (behind `--`: also
    /// those)
    #[arg(value_name = "FILTER")]
    filters: Vec<String>,
    /// Leave out tests whose name contains this
    #[arg(long, value_name = "FILTER", allow_hyphen_values = true)]
    skip: Vec<String>,
    /// Match names whole, not in part
    #[arg(long)]
    exact: bool,
    /// Run only tests marked `#[ignore]`
    #[arg(long)]
    ignored: bool,
    /// Run also tests marked `#[ignore]`
    #[arg(long)]
    include_ignored: bool,
    /// Ignored tests to run: none, only these, or all tests (as in nextest)
    #[arg(long, value_name = "WHICH", conflicts_with_all = ["ignored", "include_ignored"])]
    run_ignored: Option<RunIgnored>,
    /// Run only this part of them: `slice:M/N`, `hash:M/N` or `auto`, the CI system's
    #[arg(long, value_name = "PART", value_parser = partition)]
    partition: Option<Partition>,
}

impl SelectionFlags {
    /// Takes the first filter away.
    pub(super) fn take_first(&mut self) -> Option<String> {
        (!self.filters.is_empty()).then(|| self.filters.remove(0))
    }

    /// The name that cargo would be given.
    pub(super) fn test_name(&self) -> Option<String> {
        self.filters.first().cloned()
    }
}

/// The output options as they may be typed before `--`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Args)]
#[command(next_help_heading = "Output")]
pub(super) struct OutputFlags {
    /// Run this many tests at a time; `-N` is all processors but N, `num-cpus` all
    #[arg(long, value_name = "N", help_heading = "Running")]
    #[arg(value_parser = threads, allow_negative_numbers = true)]
    test_threads: Option<Threads>,
    /// Pass the output of tests through
    #[arg(long, visible_alias = "nocapture")]
    no_capture: bool,
    /// Print the output of passed tests too
    #[arg(long)]
    show_output: bool,
    /// Print results in this format (json: with -Z unstable-options)
    #[arg(long, value_name = "FORMAT")]
    format: Option<Format>,
}

/// Options before `--` that matter here too, beside [`SelectionFlags`] and [`OutputFlags`].
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Shared {
    pub quiet: bool,
    pub color: Option<Color>,
    pub unstable_options: bool,
}

/// True if the arguments after `--` ask for help.
pub fn asks_for_help(arguments: &[OsString]) -> bool {
    let options = arguments.iter().take_while(|argument| *argument != "--");
    options.into_iter().any(|argument| argument == "-h" || argument == "--help")
}

/// The options of a test harness that is called by itself.
pub fn libtest_options(arguments: &[OsString]) -> Result<LibtestOptions, String> {
    let (selection, output) = (SelectionFlags::default(), OutputFlags::default());
    merge(&selection, &output, Shared::default(), arguments)
}

/// Merges what stands before `--` with the arguments after it.
pub(super) fn merge(
    selection: &SelectionFlags,
    output: &OutputFlags,
    shared: Shared,
    after: &[OsString],
) -> Result<LibtestOptions, String> {
    let typed = read(after)?;
    let unstable = allow_unstable(&typed)? || shared.unstable_options;
    Ok(LibtestOptions {
        filters: concat(&selection.filters, &typed.filters),
        skip: concat(&selection.skip, &typed.skip),
        exact: selection.exact || typed.has("exact"),
        run_ignored: run_ignored(
            typed.has("include-ignored")
                || selection.include_ignored
                || selection.run_ignored == Some(RunIgnored::Yes),
            typed.has("ignored")
                || selection.ignored
                || selection.run_ignored == Some(RunIgnored::Only),
        )?,
        bench: typed.has("bench"),
        test: typed.has("test"),
        list: typed.has("list"),
        test_threads: test_threads(&typed)?.map(Threads::Count).or(output.test_threads),
        no_capture: output.no_capture || typed.has("no-capture") || typed.has("nocapture"),
        show_output: output.show_output || typed.has("show-output"),
        format: format(&typed, output.format, shared.quiet, unstable)?,
        report_time: unstable_flag(&typed, "report-time", unstable, SLOWEST)?,
        shuffle: shuffle(&typed, unstable)?,
        fail_fast: unstable_flag(&typed, "fail-fast", unstable, FAIL_FAST)?,
        partition: selection.partition,
        color: color(&typed)?.or(shared.color),
        unknown: typed.unknown,
    })
}

fn concat(before: &[String], after: &[String]) -> Vec<String> {
    before.iter().chain(after).cloned().collect()
}

fn allow_unstable(typed: &Typed) -> Result<bool, String> {
    match typed.value("Z") {
        None => Ok(false),
        Some("unstable-options") => Ok(true),
        Some(_) => Err("Unrecognized option to `Z`".to_owned()),
    }
}

fn run_ignored(include: bool, only: bool) -> Result<RunIgnored, String> {
    match (include, only) {
        (true, true) => {
            Err("the options --include-ignored and --ignored are mutually exclusive".to_owned())
        }
        (true, false) => Ok(RunIgnored::Yes),
        (false, true) => Ok(RunIgnored::Only),
        (false, false) => Ok(RunIgnored::No),
    }
}

fn test_threads(typed: &Typed) -> Result<Option<NonZeroUsize>, String> {
    let Some(text) = typed.value("test-threads") else {
        return Ok(None);
    };
    let number: usize = text.parse().map_err(|cause| {
        format!("argument for --test-threads must be a number > 0 (error: {cause})")
    })?;
    match NonZeroUsize::new(number) {
        Some(number) => Ok(Some(number)),
        None => Err("argument for --test-threads must not be 0".to_owned()),
    }
}

fn format(
    typed: &Typed,
    before: Option<Format>,
    quiet: bool,
    unstable: bool,
) -> Result<Format, String> {
    let format = match typed.value("format") {
        Some("pretty") => Format::Pretty,
        Some("terse") => Format::Terse,
        Some("json") => Format::Json,
        Some("junit") => {
            return Err("the format 'junit' of libtest is not supported by cargo isotest\n\
                        hint: `--junit FILE`, before `--`, writes such a report"
                .into());
        }
        Some(other) => {
            return Err(format!(
                "argument for --format must be pretty, terse, json or junit (was {other})"
            ));
        }
        None if before.is_some() => before.unwrap_or_default(),
        None if quiet || typed.has("quiet") => Format::Terse,
        None => Format::Pretty,
    };
    if format == Format::Json && !unstable {
        return Err("The \"json\" format is only accepted on the nightly compiler with \
                    -Z unstable-options"
            .to_owned());
    }
    Ok(format)
}

const SLOWEST: &str = "`--slowest N` of cargo isotest, before `--`, needs no nightly: it names the \
                       tests that took longest";
const FAIL_FAST: &str = "`--fail-fast` of cargo isotest, before `--`, needs no nightly";
const SHUFFLE: &str =
    "`--shuffle` and `--shuffle=SEED` of cargo isotest, before `--`, need no nightly";

/// A flag that libtest takes with `-Z unstable-options` only; `instead` is what needs none.
fn unstable_flag(typed: &Typed, name: &str, unstable: bool, instead: &str) -> Result<bool, String> {
    if typed.has(name) && !unstable {
        return Err(not_stable(name, "flag", instead));
    }
    Ok(typed.has(name))
}

fn not_stable(name: &str, what: &str, instead: &str) -> String {
    format!(
        "The \"{name}\" {what} is only accepted on the nightly compiler with -Z unstable-options\n\
         hint: {instead}"
    )
}

/// A seed alone asks for its order too.
fn shuffle(typed: &Typed, unstable: bool) -> Result<Option<Option<u64>>, String> {
    let asked = unstable_flag(typed, "shuffle", unstable, SHUFFLE)?;
    let Some(text) = typed.value("shuffle-seed") else {
        return Ok(asked.then_some(None));
    };
    if !unstable {
        return Err(not_stable("shuffle-seed", "option", SHUFFLE));
    }
    let seed = text.parse().map_err(|cause| {
        format!("argument for --shuffle-seed must be a number (error: {cause})")
    })?;
    Ok(Some(Some(seed)))
}

fn color(typed: &Typed) -> Result<Option<Color>, String> {
    match typed.value("color") {
        None => Ok(None),
        Some("auto") => Ok(Some(Color::Auto)),
        Some("always") => Ok(Some(Color::Always)),
        Some("never") => Ok(Some(Color::Never)),
        Some(other) => {
            Err(format!("argument for --color must be auto, always, or never (was {other})"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(arguments: &[&str]) -> Result<LibtestOptions, String> {
        libtest_options(&arguments.iter().map(OsString::from).collect::<Vec<_>>())
    }

    #[test]
    fn options_are_read_as_libtest_reads_them() {
        let options =
            after(&["a", "--skip", "-x", "--skip=y", "--test-threads=3", "-q", "b", "--", "--c"])
                .expect("a valid command line");
        assert_eq!(options.filters, ["a", "b", "--c"]);
        assert_eq!(options.skip, ["-x", "y"]);
        assert_eq!(options.test_threads, NonZeroUsize::new(3).map(Threads::Count));
        assert_eq!(options.format, Format::Terse);
    }

    #[test]
    fn errors_are_worded_as_libtest_words_them() {
        let table: &[(&[&str], &str)] = &[
            (&["--exact", "--exact"], "Option 'exact' given more than once"),
            (&["--ignored=3"], "Option 'ignored' does not take an argument"),
            (&["--skip"], "Argument to option 'skip' missing"),
            (&["--test-threads", "0"], "argument for --test-threads must not be 0"),
            (&["-Zfoo"], "Unrecognized option to `Z`"),
            (
                &["--ignored", "--include-ignored"],
                "the options --include-ignored and --ignored are mutually exclusive",
            ),
            (
                &["--format", "json"],
                "The \"json\" format is only accepted on the nightly compiler with -Z unstable-options",
            ),
            (
                &["--logfile", "x"],
                "the option 'logfile' of libtest is not supported by cargo isotest\n\
                 hint: `--junit FILE` and `--message-format json`, before `--`, write results",
            ),
            (
                &["--shuffle"],
                "The \"shuffle\" flag is only accepted on the nightly compiler with \
                 -Z unstable-options\nhint: `--shuffle` and `--shuffle=SEED` of cargo isotest, \
                 before `--`, need no nightly",
            ),
        ];
        for (arguments, message) in table {
            assert_eq!(after(arguments), Err((*message).to_owned()), "{arguments:?}");
        }
    }

    #[test]
    fn what_is_not_known_is_refused_where_nobody_else_may_know_it() {
        for (arguments, name) in [
            (&["--foo"][..], "foo"),
            (&["-x"], "x"),
            (&["--ign"], "ign"),
            (&["--Z"], "Z"),
            (&["a", "--tags", "@smoke"], "tags"),
        ] {
            let refusal = after(arguments).expect("it may be another harness's").refusal();
            assert_eq!(refusal, Some(format!("Unrecognized option: '{name}'")));
        }
        assert_eq!(after(&["--exact", "a"]).map(|options| options.refusal()), Ok(None));
    }

    #[test]
    fn an_order_is_asked_for_as_of_libtest_and_a_seed_asks_for_it() {
        let shuffle = |arguments: &[&str]| {
            let arguments: Vec<&str> = [&["-Zunstable-options"], arguments].concat();
            after(&arguments).map(|options| options.shuffle)
        };
        assert_eq!(shuffle(&[]), Ok(None));
        assert_eq!(shuffle(&["--shuffle"]), Ok(Some(None)));
        assert_eq!(shuffle(&["--shuffle", "--shuffle-seed", "7"]), Ok(Some(Some(7))));
        assert_eq!(shuffle(&["--shuffle-seed=0"]), Ok(Some(Some(0))));
        assert!(shuffle(&["--shuffle-seed=x"]).is_err());
        assert!(after(&["-Zunstable-options", "--fail-fast"]).is_ok_and(|it| it.fail_fast));
    }

    #[test]
    fn json_is_accepted_with_the_unstable_flag() {
        for z in
            [&["-Z", "unstable-options"][..], &["-Zunstable-options"], &["-qZunstable-options"]]
        {
            let arguments: Vec<&str> = [z, &["--format=json"]].concat();
            assert_eq!(after(&arguments).expect("accepted").format, Format::Json);
        }
    }

    #[test]
    fn both_parts_are_merged() {
        let selection =
            SelectionFlags { filters: vec!["a".into()], ignored: true, ..Default::default() };
        let shared = Shared { quiet: true, color: Some(Color::Never), unstable_options: false };
        let after = ["b".into(), "--color".into(), "always".into()];
        let options =
            merge(&selection, &OutputFlags::default(), shared, &after).expect("a valid line");
        assert_eq!(options.filters, ["a", "b"]);
        assert_eq!(options.run_ignored, RunIgnored::Only);
        let flags = SelectionFlags { run_ignored: Some(RunIgnored::Yes), ..Default::default() };
        let merged = |after| merge(&flags, &OutputFlags::default(), Shared::default(), after);
        assert_eq!(merged(&[]).map(|options| options.run_ignored), Ok(RunIgnored::Yes));
        assert!(merged(&["--ignored".into()]).is_err());
        assert_eq!(options.format, Format::Terse);
        assert_eq!(options.color, Some(Color::Always));
    }
}
