//! Output of `list`, `explain` and `man`, and the other texts without events.

use std::collections::BTreeMap;
use std::io::{self, BufRead, BufWriter, Read, Write};

use anstyle::Style;
use isotest_core::case::{Case, Ignore, Kind};
use isotest_core::plan::{NEW_TMP, Op, Plan, SCRATCH, Service, StartBy, Step};
use nextest_metadata as nextest;

use super::config::{EffectiveValue, write_layers};
use super::options::FormatName;
use super::plain_json;
use super::suite::Suite;
use super::words;
use crate::discover::{Binary, Project};

const BOLD: Style = Style::new().bold();
const DIM: Style = Style::new().dimmed();

/// A binary, and its cases that are listed.
pub struct Listed<'a> {
    /// The binary.
    pub binary: &'a Binary,
    /// Its cases.
    pub cases: &'a [Case],
}

/// The cases of every binary, as `cargo nextest list` prints them.
pub fn list_for_people(listed: &[Listed<'_>]) -> io::Result<()> {
    let mut out = BufWriter::new(anstream::stdout());
    for Listed { binary, cases } in listed.iter().filter(|listed| !listed.cases.is_empty()) {
        writeln!(out, "{BOLD}{}{BOLD:#}:", binary.id)?;
        for case in *cases {
            let mark = match &case.ignore {
                Ignore::No => String::new(),
                Ignore::Yes => format!(" {DIM}(ignored){DIM:#}"),
                Ignore::Because(reason) => format!(" {DIM}(ignored: {reason}){DIM:#}"),
            };
            writeln!(out, "    {}{mark}", case.name)?;
        }
    }
    out.flush()
}

/// The cases of every binary, as libtest's `--list` prints them: its terse format has no counts.
pub fn lists_as_libtest(suites: &[Suite], format: FormatName) -> io::Result<()> {
    let mut out = BufWriter::new(io::stdout());
    for suite in suites {
        eprintln!("     Running {}", suite.heading);
        words::root_line(suite.root.as_deref(), &mut out)?;
        let count = |kind| suite.cases.iter().filter(|case: &&Case| case.kind == kind).count();
        for case in &suite.cases {
            let kind = match case.kind {
                Kind::Test => "test",
                Kind::Benchmark => "benchmark",
            };
            writeln!(out, "{}: {kind}", case.name)?;
        }
        if format != FormatName::Terse {
            let tests = words::counted(count(Kind::Test), "test");
            let benchmarks = words::counted(count(Kind::Benchmark), "benchmark");
            let gap = if suite.cases.is_empty() { "" } else { "\n" };
            writeln!(out, "{gap}{tests}, {benchmarks}")?;
        }
        out.flush()?;
    }
    Ok(())
}

/// The cases of every binary in the shape of `cargo nextest list --message-format json`.
pub fn list_for_programs(project: &Project, listed: &[Listed<'_>]) -> io::Result<()> {
    let suites = listed.iter().map(|listed| {
        let suite = nextest_suite(listed);
        (suite.binary.binary_id.clone(), suite)
    });
    let suites: BTreeMap<_, _> = suites.collect();
    let mut build = nextest::RustBuildMetaSummary {
        target_directory: project.target_directory.clone(),
        build_directory: Some(project.build_directory.clone()),
        base_output_directories: Default::default(),
        non_test_binaries: Default::default(),
        build_script_out_dirs: Default::default(),
        build_script_info: None,
        linked_paths: Default::default(),
        platforms: None,
        target_platforms: Vec::new(),
        target_platform: None,
    };
    build.linked_paths.extend(project.linked_paths.iter().cloned());
    let mut summary = nextest::TestListSummary::new(build);
    summary.test_count = suites.values().map(|suite| suite.test_cases.len()).sum();
    summary.rust_suites = suites;
    let mut out = BufWriter::new(io::stdout());
    plain_json::write(&mut out, &summary)?;
    writeln!(out)?;
    out.flush()
}

fn nextest_suite(listed: &Listed<'_>) -> nextest::RustTestSuiteSummary {
    let Listed { binary, cases } = listed;
    let cases = cases.iter().map(|case| {
        let summary = nextest::RustTestCaseSummary {
            kind: Some(match case.kind {
                Kind::Test => nextest::RustTestKind::TEST,
                Kind::Benchmark => nextest::RustTestKind::BENCH,
            }),
            ignored: !matches!(case.ignore, Ignore::No),
            filter_match: nextest::FilterMatch::Matches,
        };
        (nextest::TestCaseName::new(&case.name), summary)
    });
    nextest::RustTestSuiteSummary {
        package_name: binary.package_name.clone(),
        binary: nextest::RustTestBinarySummary {
            binary_id: nextest::RustBinaryId::new(&binary.id),
            binary_name: binary.target_name.clone(),
            package_id: binary.package_id.clone(),
            kind: nextest::RustTestBinaryKind::new(binary.kind.as_str()),
            binary_path: binary.executable.clone(),
            build_platform: nextest::BuildPlatform::Target,
        },
        cwd: binary.working_directory.clone(),
        status: nextest::RustTestSuiteStatusSummary::LISTED,
        test_cases: cases.collect(),
    }
}

/// All that `explain` tells of a case.
pub struct Explanation<'a> {
    /// The id of its binary.
    pub id: &'a str,
    /// Its name.
    pub case: &'a str,
    /// Its plan.
    pub plan: &'a Plan,
    /// The steps of the template.
    pub template: &'a [Step],
    /// Every layer and limit.
    pub layers: &'a [EffectiveValue],
    /// Its run options.
    pub run_options: &'a [EffectiveValue],
}

/// Prints the plan of a case.
pub fn explain(explanation: &Explanation<'_>) -> io::Result<()> {
    let mut out = BufWriter::new(anstream::stdout());
    let spec = &explanation.plan.spec;
    let start = match spec.start_by {
        StartBy::ForkServer => "a fork server, if three or more tests of the binary run".to_owned(),
        StartBy::Exec(reason) => format!("clone3 and execve, from the template ({reason})"),
    };
    let rows = [
        ("case", format!("{} {}", explanation.id, explanation.case)),
        ("program", spec.program.to_string_lossy().into_owned()),
        ("arguments", arguments(explanation.plan)),
        ("directory", spec.directory.to_string_lossy().into_owned()),
        ("namespaces", namespaces(spec.namespaces)),
        ("started by", start),
    ];
    for (name, value) in rows {
        writeln!(out, "{BOLD}{name:<12}{BOLD:#}{value}")?;
    }
    writeln!(out, "\n{BOLD}layers and limits{BOLD:#}")?;
    write_layers(&mut out, explanation.layers)?;
    writeln!(out, "\n{BOLD}course of a run{BOLD:#}")?;
    write_layers(&mut out, explanation.run_options)?;
    write_steps(&mut out, "template, built once a run by the warden", explanation.template)?;
    if spec.start_by == StartBy::ForkServer {
        write_steps(&mut out, "fork server, before it is executed", &spec.server)?;
    }
    write_steps(&mut out, "case, between clone and the program", &spec.steps)?;
    write_services(&mut out, &spec.services)?;
    writeln!(out, "\n{BOLD}mounts{BOLD:#}")?;
    for (target, what) in mounts(explanation) {
        writeln!(out, "    {target:<40} {what}")?;
    }
    writeln!(out, "\n{BOLD}environment{BOLD:#}")?;
    let added = &explanation.plan.environment;
    for variable in spec.environment.iter().chain(added) {
        writeln!(out, "    {}", variable.to_string_lossy())?;
    }
    out.flush()
}

fn write_steps(out: &mut impl Write, title: &str, steps: &[Step]) -> io::Result<()> {
    writeln!(out, "\n{BOLD}{title}{BOLD:#}")?;
    for (index, step) in steps.iter().enumerate() {
        let act = step.op.to_string();
        writeln!(out, "    {:>3}  {act:<64} {DIM}{}{DIM:#}", index + 1, step.reason)?;
    }
    Ok(())
}

fn write_services(out: &mut impl Write, services: &[Service]) -> io::Result<()> {
    if !services.is_empty() {
        let title =
            "services, started in the namespaces of the case by a service supervisor outside";
        writeln!(out, "\n{BOLD}{title}{BOLD:#}")?;
    }
    for Service { name, command, ready, timeout } in services {
        let command: Vec<_> = command.iter().map(|word| word.to_string_lossy()).collect();
        writeln!(out, "    {name:<14} {}", command.join(" "))?;
        let timeout = humantime::format_duration(*timeout);
        writeln!(out, "    {:<14} {DIM}ready when {ready}, within {timeout}{DIM:#}", "")?;
    }
    Ok(())
}

/// Mounts while the case runs: the last one of each place, without those that the case's own `/tmp`
/// covers.
fn mounts(explanation: &Explanation<'_>) -> Vec<(String, String)> {
    let template = explanation.template.iter().filter_map(|step| {
        let (target, what) = mount(&step.op)?;
        let target = target.strip_prefix("/new")?;
        Some((if target.is_empty() { "/" } else { target }.to_owned(), what))
    });
    let case = explanation.plan.spec.steps.iter().filter_map(|step| mount(&step.op));
    let mut last: BTreeMap<String, String> = BTreeMap::new();
    for (target, what) in template.chain(case) {
        let seen = match target.strip_prefix(NEW_TMP) {
            Some(rest) => format!("/tmp{rest}"),
            None if target.starts_with("/tmp/") => continue,
            None => target,
        };
        last.insert(seen, what);
    }
    last.into_iter().collect()
}

fn mount(op: &Op) -> Option<(String, String)> {
    match op {
        Op::Mount { fstype, target, .. } => {
            Some((target.to_string_lossy().into_owned(), fstype.to_string_lossy().into_owned()))
        }
        Op::Bind { source, target, .. } | Op::BindExact { source, target, .. } => {
            let source = source.to_string_lossy();
            let what = match source.strip_prefix("/old") {
                Some(host) => format!("bind of the host's {host}"),
                None if source.starts_with(SCRATCH) => "fresh directory".to_owned(),
                None => "bind of the template's".to_owned(),
            };
            Some((target.to_string_lossy().into_owned(), what))
        }
        _ => None,
    }
}

fn namespaces(flags: u64) -> String {
    let names = [
        (libc_flags::NEWUSER, "user"),
        (libc_flags::NEWPID, "pid"),
        (libc_flags::NEWNS, "mnt"),
        (libc_flags::NEWNET, "net"),
        (libc_flags::NEWIPC, "ipc"),
        (libc_flags::NEWUTS, "uts"),
    ];
    let own = names.iter().filter(|(flag, _)| flags & flag != 0).map(|(_, name)| *name);
    own.collect::<Vec<_>>().join(" ")
}

/// CLONE_NEW* of linux/sched.h.
mod libc_flags {
    pub const NEWNS: u64 = 0x0002_0000;
    pub const NEWUTS: u64 = 0x0400_0000;
    pub const NEWIPC: u64 = 0x0800_0000;
    pub const NEWUSER: u64 = 0x1000_0000;
    pub const NEWPID: u64 = 0x2000_0000;
    pub const NEWNET: u64 = 0x4000_0000;
}

fn arguments(plan: &Plan) -> String {
    let words = plan.spec.arguments.iter().skip(1).chain(&plan.arguments);
    words.map(|word| super::rerun::quoted(&word.to_string_lossy())).collect::<Vec<_>>().join(" ")
}

/// Tells, before a shell starts, how its test is run.
pub fn test_command(plan: &Plan) -> io::Result<()> {
    let program = plan.spec.program.to_string_lossy();
    writeln!(
        anstream::stderr(),
        "{DIM}the test's own command:{DIM:#} {} {}",
        super::rerun::quoted(&program),
        arguments(plan)
    )
}

/// Of a line that is longer, a piece is passed on before it ends.
const LONG_LINE: usize = 64 << 10;

/// Passes lines on as they come: to stdout, or to stderr where the format has no word for them.
/// `look` sees each, a long one in pieces, and whether a piece begins one.
pub fn pass_on(
    lines: impl BufRead,
    aside: bool,
    mut look: impl FnMut(&[u8], bool),
) -> io::Result<()> {
    let mut out: Box<dyn Write> =
        if aside { Box::new(io::stderr()) } else { Box::new(io::stdout()) };
    pieces(lines, |piece, begins| {
        look(piece, begins);
        out.write_all(piece)?;
        out.flush()
    })
}

/// Gives `take` each line, a long one in pieces, and whether a piece begins one.
fn pieces(
    mut lines: impl BufRead,
    mut take: impl FnMut(&[u8], bool) -> io::Result<()>,
) -> io::Result<()> {
    let (mut piece, mut begins) = (Vec::new(), true);
    while lines.by_ref().take(LONG_LINE as u64).read_until(b'\n', &mut piece)? > 0 {
        take(&piece, begins)?;
        begins = piece.ends_with(b"\n");
        piece.clear();
    }
    Ok(())
}

/// Tells which of several root filesystems documentation tests run in, before rustdoc reports them.
/// Its JSON has no word for that.
pub fn root_of_doctests(root: Option<&str>, format: FormatName) -> io::Result<()> {
    match root {
        Some(root) if format.is_for_programs() => {
            writeln!(io::stderr(), "     Running documentation tests in {root}")
        }
        root => words::root_line(root, &mut io::stdout()),
    }
}

/// The manual page.
pub fn manual_page(command: clap::Command) -> io::Result<()> {
    clap_mangen::Man::new(command).render(&mut io::stdout())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_without_an_end_is_passed_on_in_pieces() {
        let text = format!("running 1 test\n{}\nrunning 2 tests\n", "x".repeat(LONG_LINE * 3));
        let (mut passed, mut beginnings) = (Vec::new(), 0);
        pieces(text.as_bytes(), |piece, begins| {
            assert!(piece.len() <= LONG_LINE, "{} bytes", piece.len());
            passed.extend_from_slice(piece);
            beginnings += usize::from(begins);
            Ok(())
        })
        .expect("nothing fails");
        assert_eq!((passed, beginnings), (text.into_bytes(), 3));
    }
}
