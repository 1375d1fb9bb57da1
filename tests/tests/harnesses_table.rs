//! Harnesses that are not libtest, against the table of verdicts: `fixtures/harnesses/expected.tsv`.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs;
use std::time::Duration;

use isotest_tests::program::workspace;
use isotest_tests::{Call, Project, missing, refused};
use serde_json::Value;

/// A binary, as nextest names it, and a test of it.
type Case = (String, String);
type Verdicts = BTreeMap<Case, String>;

const COLUMNS: [&str; 6] = [
    "isotest",
    "isotest --unit binary",
    "runner, cargo test",
    "runner, nextest",
    "cargo test",
    "nextest",
];

/// Cell of a test that is not run by itself.
const NO_LIST: &str = "no list";
const NOTHING: &str = "–";
/// Of a list that takes an hour.
const ENDLESS: &str = "never ends";

/// Time limit to compile three hundred crates beside other tests.
const BUILD: Duration = Duration::from_secs(1200);

const TARGETS: &str = "--all-targets --no-fail-fast";

#[test]
fn written_harnesses_have_the_verdicts_of_the_table() {
    if refused() || missing("cargo-nextest") {
        return;
    }
    // A list of it takes an hour.
    check(&Project::fixture("harnesses/written"), &["written"], "8s");
}

#[test]
fn real_harnesses_have_the_verdicts_of_the_table() {
    if refused() || missing("cargo-nextest") {
        return;
    }
    let project = Project::fixture("harnesses/real");
    if !project.has_crates() {
        return;
    }
    let build = project.cargo_test(&format!("{TARGETS} --no-run")).start();
    build.end_within(BUILD).check(0, &[]);
    // Some of them compile.
    check(&project, &["real", "compiled"], "2m");
    takes_options(&project);
}

/// Options that libtest does not know reach the harnesses; others reach the wrappers of libtest.
fn takes_options(project: &Project) {
    let scenarios = "--test cucumber -- --tags @smoke";
    project.isotest(scenarios).run().check(0, &["1 scenario (1 passed)", "1 passed"]);
    project.cargo_test(scenarios).runner("").run().check(0, &["1 scenario (1 passed)"]);

    let written = project.directory().join("real/tests/ui/wrong.stderr");
    let bless = project.isotest("--test ui_test --write-back **/*.stderr -- --bless").run();
    bless.check(0, &["test ui_test ... ok", "wrote back real/tests/ui/wrong.stderr"]);
    let text = fs::read_to_string(written).expect("it was written");
    assert!(text.contains("mismatched types"), "{text}");

    // rusty-fork starts its program again with the options that it was started with itself.
    let ignored = "--test rusty_fork -- --include-ignored";
    let texts = ["test ignored_and_panics ... FAILED", "it was run", "1 passed; 2 failed"];
    project.isotest(ignored).run().check(100, &texts);
    project.isotest(&format!("--unit binary {ignored}")).run().check(100, &texts);
    project.cargo_test(ignored).runner("").run().check(101, &texts);
}

#[test]
fn the_table_of_harnesses_is_in_the_book() {
    let page = workspace().join("docs/harnesses.md");
    let page = fs::read_to_string(page).expect("the page is there");
    let mut rows = String::new();
    for (package, case, cells) in table() {
        let cells = cells.join(" | ");
        let (binary, test) = case;
        // A column ends at a bar, also within backticks.
        let test = test.replace('|', "\\|");
        writeln!(rows, "| {package} | `{binary}` | `{test}` | {cells} |").expect("it is a string");
    }
    assert!(page.contains(&rows), "docs/harnesses.md must have these rows:\n{rows}");
}

/// The rows of the table: package, case, a cell for each column.
fn table() -> Vec<(String, Case, Vec<String>)> {
    let table = workspace().join("fixtures/harnesses/expected.tsv");
    let table = fs::read_to_string(table).expect("the table is there");
    let rows = table.lines().filter(|line| !line.starts_with('#'));
    let row = |row: &str| {
        let mut cells = row.split('\t').map(str::to_owned);
        let mut next = || cells.next().unwrap_or_else(|| panic!("`{row}` is no row"));
        let (binary, test) = (next(), next());
        let package = binary.split("::").next().expect("there is one").to_owned();
        let cells: Vec<String> = cells.collect();
        assert_eq!(cells.len(), COLUMNS.len(), "{row}");
        (package, (binary, test), cells)
    };
    rows.map(row).collect()
}

/// Runs the project in every way and compares each verdict with the table.
fn check(project: &Project, packages: &[&str], timeout: &str) {
    let rows: Vec<_> =
        table().into_iter().filter(|(of, ..)| packages.contains(&of.as_str())).collect();
    let isotest = |options: &str| {
        let line = format!("{TARGETS} --timeout {timeout} --message-format json {options}");
        of_isotest(&project.isotest(&line).run().stdout)
    };
    let cargo = || project.cargo_test(TARGETS).env("ISOTEST_TIMEOUT", timeout).merged();
    // What nextest cannot list it does not run beside others either.
    let is_listed = |cell: &str| cell != NO_LIST && cell != ENDLESS;
    let binaries: BTreeSet<(&str, bool)> =
        rows.iter().map(|(_, case, cells)| (case.0.as_str(), is_listed(&cells[5]))).collect();
    let targets = |which: bool| {
        let binaries = binaries.iter().filter(move |(_, listed)| *listed == which);
        binaries.map(|(binary, _)| target(binary))
    };
    let known: Vec<&str> = binaries.iter().map(|(binary, _)| *binary).collect();
    // `--lib` is given once for all packages.
    let listed: Vec<String> = targets(true).collect::<BTreeSet<_>>().into_iter().collect();
    let nextest = || nextest(project, &listed.join(" "));
    let mut found = [
        isotest(""),
        isotest("--unit binary"),
        of_cargo(&cargo().runner("").run().stdout, &known),
        of_nextest(&nextest().runner("").run().stdout),
        whole(&cargo().run().stdout, &known),
        of_nextest(&nextest().run().stdout),
    ];
    for (_, case, cells) in &rows {
        // cargo has but one of them for all.
        let verdict = found[4].remove(&(case.0.clone(), NOTHING.to_owned()));
        if let Some(verdict) = verdict {
            for (_, other, _) in rows.iter().filter(|(_, other, _)| other.0 == case.0) {
                found[4].insert(other.clone(), verdict.clone());
            }
        }
        for column in [3, 5].into_iter().filter(|column| !is_listed(&cells[*column])) {
            found[column].insert(case.clone(), cells[column].clone());
        }
    }
    for (binary, _) in binaries.iter().filter(|(_, listed)| !listed) {
        let is_endless =
            rows.iter().any(|(_, case, cells)| case.0 == *binary && cells[5] == ENDLESS);
        if !is_endless {
            let run = self::nextest(project, &target(binary)).run();
            run.check(104, &["error: creating test list failed"]);
        }
    }
    let cases: BTreeSet<&Case> =
        rows.iter().map(|(_, case, _)| case).chain(found.iter().flat_map(|of| of.keys())).collect();
    let mut differing = String::new();
    for case in cases {
        let cell = |of: &Verdicts| of.get(case).map_or(NOTHING, String::as_str).to_owned();
        let cells: Vec<String> = found.iter().map(cell).collect();
        let row = rows.iter().find(|(_, known, _)| known == case);
        if row.is_none_or(|(_, _, expected)| *expected != cells) {
            writeln!(differing, "{}\t{}\t{}", case.0, case.1, cells.join("\t")).expect("a string");
        }
    }
    assert!(differing.is_empty(), "these rows were found, in place of the table's:\n{differing}");
}

/// The option that selects a binary.
fn target(binary: &str) -> String {
    let name = binary.split_once("::").map(|(_, name)| name);
    match name.map(|name| name.strip_prefix("bench/").ok_or(name)) {
        None => "--lib".to_owned(),
        Some(Ok(bench)) => format!("--bench {bench}"),
        Some(Err(test)) => format!("--test {test}"),
    }
}

fn nextest(project: &Project, targets: &str) -> Call {
    let quiet = "--status-level all --final-status-level none --failure-output never";
    let line = format!("nextest run {targets} --no-fail-fast {quiet} --show-progress none");
    project.cargo(&line).merged()
}

/// A name without control characters, and of an end.
fn shown(name: &str) -> String {
    const MOST: usize = 40;
    let shown: String = name.chars().take(MOST).collect();
    let more = if name.chars().nth(MOST).is_some() { "…" } else { "" };
    let escape = |character: char| match character.is_control() {
        true => character.escape_debug().to_string(),
        false => character.to_string(),
    };
    shown.chars().map(escape).collect::<String>() + more
}

/// Verdicts in the messages of a run.
fn of_isotest(messages: &str) -> Verdicts {
    let messages = messages.lines().map(|line| serde_json::from_str::<Value>(line).expect("JSON"));
    let finished = messages.filter(|message| message["type"] == "test-finished");
    let text = |value: &Value| value.as_str().expect("a string").to_owned();
    finished
        .map(|it| {
            let case = (text(&it["binary"]), shown(&text(&it["test"])));
            (case, text(&it["verdict"]).replace('-', " "))
        })
        .collect()
}

/// The binary that a line of cargo's is the heading of, `Running SOURCE (PROGRAM-HASH)`: one of those
/// that are `known`. No two targets of the packages have one name. It may stand behind the last words
/// of a program that has exited amid a line.
fn heading(line: &str, known: &[&str]) -> Option<String> {
    let (source, program) = line.split_once("     Running ")?.1.split_once(" (")?;
    let name = source.rsplit('/').next()?.strip_suffix(".rs")?;
    let name = match source.split('/').next()? {
        "benches" => format!("bench/{name}"),
        "tests" => name.to_owned(),
        _ => return Some(program.rsplit('/').next()?.rsplit_once('-')?.0.to_owned()),
    };
    let is_it = |binary: &&&str| binary.split_once("::").is_some_and(|(_, of)| of == name);
    Some(known.iter().find(is_it).map_or_else(|| name.clone(), |binary| (*binary).to_owned()))
}

/// Verdicts in libtest's words below cargo's headings. A program without a harness has passed
/// unless cargo says otherwise.
fn of_cargo(output: &str, known: &[&str]) -> Verdicts {
    let mut found = Verdicts::new();
    for ((binary, _), verdict) in whole(output, known) {
        let mut tests = Verdicts::new();
        let mut is_here = false;
        let mut is_harness = false;
        for line in output.split('\n') {
            if let Some(heading) = heading(line, known) {
                is_here = heading == binary;
            }
            is_harness |= is_here && line.starts_with("running ");
            let result = line.strip_prefix("test ").and_then(|line| line.rsplit_once(" ... "));
            if let Some((name, word)) = result.filter(|_| is_here) {
                let name = name.strip_suffix(" - should panic").unwrap_or(name);
                let verdict = match word.split([',', ' ']).next().unwrap_or_default() {
                    "ok" => "passed",
                    "FAILED" => "failed",
                    "ignored" => "ignored",
                    // Some program's own words.
                    _ => continue,
                };
                tests.insert((binary.clone(), shown(name)), verdict.to_owned());
            }
        }
        if !is_harness && tests.is_empty() {
            let name = binary.rsplit(['/', ':']).next().unwrap_or_default().to_owned();
            tests.insert((binary, name), verdict);
        }
        found.extend(tests);
    }
    found
}

/// Verdicts of cargo for each binary.
fn whole(output: &str, known: &[&str]) -> Verdicts {
    let failed: BTreeSet<&str> =
        output.lines().filter_map(|line| line.strip_prefix("    `")?.strip_suffix('`')).collect();
    let binaries = output.split('\n').filter_map(|line| heading(line, known));
    let verdict = |binary: String| {
        let target = target(&binary);
        let package = binary.split("::").next().unwrap_or_default();
        // Among several packages it names that too.
        let is_failed = [target.as_str(), &format!("-p {package} {target}")]
            .iter()
            .any(|it| failed.contains(it));
        let verdict = if is_failed { "failed" } else { "passed" };
        ((binary, NOTHING.to_owned()), verdict.to_owned())
    };
    binaries.map(verdict).collect()
}

/// Verdicts of nextest for each test.
fn of_nextest(output: &str) -> Verdicts {
    let line = |line: &str| {
        let (word, rest) = line.trim_start().split_once(" [")?;
        let (binary, test) = rest.split_once("] ")?.1.split_once(' ')?;
        let verdict = match word {
            "PASS" => "passed",
            "SKIP" => "ignored",
            "FAIL" | "SIGABRT" => "failed",
            _ => return None,
        };
        Some(((binary.to_owned(), shown(test)), verdict.to_owned()))
    };
    output.split('\n').filter_map(line).collect()
}
