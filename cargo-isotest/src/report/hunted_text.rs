//! What a hunt has found, printed for people and for programs.

use std::io::{self, Write};

use anstyle::Style;
use isotest_core::escape::escape;

use super::cause_words::why;
use super::diagnosed::{Diagnosed, DiagnosisVerdict, ToldCause};
use super::diagnosed_text::details;
use super::hunted::{Candidate, Condition, Hunted, HuntedGroup, Showing, Tried};
use super::paint::{ERROR, GOOD, STRONG, WARNING};
use super::plain_json;
use super::words::{counted, more};

const DIM: Style = Style::new().dimmed();
/// Maximum number of tests of a group that are listed.
const LISTED: usize = 20;
/// Maximum number of tests that always fail, or were not run, that are named.
const NAMED: usize = 5;

/// Prints what was found as one line of JSON.
pub fn hunted_for_programs(hunted: &Hunted) -> io::Result<()> {
    let mut out = anstream::stdout().lock();
    plain_json::write(&mut out, hunted)?;
    writeln!(out)
}

/// Prints what was found.
pub fn hunted_for_people(hunted: &Hunted) -> io::Result<()> {
    let mut out = anstream::stdout().lock();
    write_hunt(&mut out, hunted)
}

fn write_hunt(out: &mut impl Write, it: &Hunted) -> io::Result<()> {
    write_heading(out, it)?;
    for (group, number) in it.groups.iter().zip(1..) {
        write_group(out, group, number)?;
    }
    write_names(out, "that failed in every run, and are not flaky", &it.always_fail)?;
    write_names(out, "that could not be run", &it.not_run)?;
    write_tried(out, it)
}

fn write_heading(out: &mut impl Write, it: &Hunted) -> io::Result<()> {
    let tests = counted(it.tests, "test");
    let what = match it.time_bombs {
        true => "on other dates",
        false => "now and then, or under other conditions",
    };
    match it.candidates() {
        0 => writeln!(out, "{GOOD}NOTHING FOUND{GOOD:#}  none of {tests} fails {what}"),
        found => {
            let fails = if found == 1 { "fails" } else { "fail" };
            let groups = counted(it.groups.len(), "reason");
            writeln!(
                out,
                "{ERROR}{found} of {tests}{ERROR:#} {fails} {what}; {groups} at the most, the worst first"
            )
        }
    }
}

fn write_group(out: &mut impl Write, group: &HuntedGroup, number: usize) -> io::Result<()> {
    let title = title(group);
    writeln!(out, "\n{STRONG}{number}. {title}{STRONG:#}")?;
    let hidden = group.tests.len().saturating_sub(LISTED);
    let shown = group.tests.iter().take(LISTED);
    let width = shown.clone().map(|it| name(it).chars().count()).max().unwrap_or(0).min(64);
    for test in shown {
        let name = name(test);
        writeln!(out, "     {:<width$}  {DIM}{}{DIM:#}", escape(&name), escape(&shows(test)))?;
    }
    if let Some(more) = more(hidden) {
        writeln!(out, "     {more}")?;
    }
    write_failure(out, group)?;
    match &group.diagnosis {
        Some(diagnosed) => write_diagnosis(out, group, diagnosed),
        None => write_next(out, group, "MORE "),
    }
}

/// The cause of a group, or its number of tests.
fn title(group: &HuntedGroup) -> String {
    let tests = match group.tests.len() {
        1 => String::new(),
        many => format!(" ({})", counted(many, "test")),
    };
    let cause = group.diagnosis.as_ref().map(|it| match it.causes.as_slice() {
        [] => match it.answer {
            DiagnosisVerdict::NeverFailed { .. } => "not seen again".to_owned(),
            DiagnosisVerdict::AlwaysFails => "always fails when it is alone".to_owned(),
            DiagnosisVerdict::Caused | DiagnosisVerdict::Unattributed => {
                "no cause found".to_owned()
            }
            DiagnosisVerdict::Undecided { .. } => "not decided".to_owned(),
        },
        causes => {
            let codes: Vec<&str> = causes.iter().map(|cause| cause.cause.code()).collect();
            codes.join(", ")
        }
    });
    let dated = group
        .tests
        .iter()
        .any(|it| matches!(it.shows, Showing::FailsFrom(_) | Showing::FailsOn(_)));
    let other = if dated { "time bomb" } else { "not diagnosed" };
    format!("{}{tests}", cause.unwrap_or_else(|| other.to_owned()))
}

fn name(test: &Candidate) -> String {
    format!("{} {}", test.binary, test.test)
}

/// The words for how a candidate shows itself.
pub(super) fn shows(test: &Candidate) -> String {
    let Candidate { ordinary, amplified, .. } = test;
    match &test.shows {
        Showing::Flaky => {
            let runs = counted(ordinary.runs as usize, "ordinary run");
            format!("fails {} of {runs}", ordinary.failed)
        }
        Showing::FailsUnder(words) => format!("fails {}: {words}", share(*amplified)),
        Showing::PassesUnder(words) => {
            let Tried { failed, runs } = amplified;
            let passed = Tried { failed: runs - failed, runs: *runs };
            format!("fails alone, passes {}: {words}", share(passed))
        }
        Showing::FailsFrom(date) => format!("fails from {date} on"),
        Showing::FailsOn(date) => format!("fails on {date}"),
    }
}

/// `3 of 12 runs`
fn share(Tried { failed, runs }: Tried) -> String {
    format!("{failed} of {}", counted(runs as usize, "run"))
}

/// The failure of the first test.
fn write_failure(out: &mut impl Write, group: &HuntedGroup) -> io::Result<()> {
    let Some(first) = group.tests.first() else { return Ok(()) };
    let Some(message) = first.failure.as_ref().and_then(|it| it.lines().next()) else {
        return Ok(());
    };
    let place = first.failure_at.as_ref().map(|at| format!("{}: ", escape(at)));
    writeln!(out, "   {}{}", place.unwrap_or_default(), escape(message))
}

fn write_diagnosis(
    out: &mut impl Write,
    group: &HuntedGroup,
    diagnosed: &Diagnosed,
) -> io::Result<()> {
    for cause in &diagnosed.causes {
        write_cause(out, cause)?;
    }
    match &diagnosed.token {
        Some(token) if !diagnosed.causes.is_empty() => {
            writeln!(out, "   {STRONG}AGAIN{STRONG:#}  cargo isotest repro {}", escape(token))
        }
        _ => write_next(out, group, "MORE "),
    }
}

fn write_cause(out: &mut impl Write, cause: &ToldCause) -> io::Result<()> {
    let why = why(cause.cause, cause.other_party.as_ref());
    writeln!(out, "   {STRONG}WHY{STRONG:#}    {why}")?;
    for line in details(cause) {
        writeln!(out, "          {}", escape(&line))?;
    }
    writeln!(out, "   {STRONG}FIX{STRONG:#}    {}", cause.fix.text)?;
    for line in &cause.fix.code {
        writeln!(out, "              {line}")?;
    }
    Ok(())
}

/// The command that finds out more.
fn write_next(out: &mut impl Write, group: &HuntedGroup, label: &str) -> io::Result<()> {
    let Some(first) = group.tests.first() else { return Ok(()) };
    writeln!(out, "   {STRONG}{label}{STRONG:#}  cargo isotest diagnose {}", first.named())
}

fn write_names(out: &mut impl Write, what: &str, names: &[(String, String)]) -> io::Result<()> {
    if names.is_empty() {
        return Ok(());
    }
    writeln!(out, "\n{WARNING}{}{WARNING:#} {what}", counted(names.len(), "test"))?;
    for (binary, test) in names.iter().take(NAMED) {
        writeln!(out, "     {} {}", escape(binary), escape(test))?;
    }
    match more(names.len().saturating_sub(NAMED)) {
        Some(more) => writeln!(out, "     {more}"),
        None => Ok(()),
    }
}

fn write_tried(out: &mut impl Write, it: &Hunted) -> io::Result<()> {
    let title = if it.time_bombs { "DATES THAT WERE TRIED" } else { "WHAT WAS TRIED" };
    writeln!(out, "\n{STRONG}{title:<66}{STRONG:#} failed / runs")?;
    for Condition { words, tried, refused, .. } in &it.conditions {
        let words = escape(words);
        match refused {
            None => writeln!(out, "  {words:<64} {:>6} / {}", tried.failed, tried.runs)?,
            Some(reason) => {
                writeln!(out, "  {words:<64} {WARNING}not tried{WARNING:#}: {}", escape(reason))?
            }
        }
    }
    let runs = counted(it.runs as usize, "run");
    let interrupted = if it.is_interrupted { ", interrupted" } else { "" };
    writeln!(out, "  {DIM}{runs} in {:.1} s{interrupted}{DIM:#}", it.seconds)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn candidate(test: &str, shows: Showing) -> Candidate {
        Candidate {
            binary: "demo::it".to_owned(),
            test: test.to_owned(),
            shows,
            ordinary: Tried { failed: 3, runs: 12 },
            amplified: Tried { failed: 1, runs: 4 },
            failure_at: Some("tests/it.rs:7".to_owned()),
            failure: Some("left\nright".to_owned()),
        }
    }

    fn hunted(groups: Vec<HuntedGroup>) -> Hunted {
        Hunted {
            format: super::super::hunted::FORMAT,
            groups,
            always_fail: Vec::new(),
            not_run: Vec::new(),
            conditions: vec![Condition {
                name: "ordinary".to_owned(),
                words: "alone, everything private".to_owned(),
                rounds: 12,
                tried: Tried { failed: 3, runs: 36 },
                found: 1,
                refused: None,
            }],
            tests: 3,
            runs: 36,
            seconds: 1.25,
            time_bombs: false,
            is_interrupted: false,
        }
    }

    fn printed(hunted: &Hunted) -> String {
        let mut out = Vec::new();
        write_hunt(&mut out, hunted).expect("memory takes it");
        let text = anstream::adapter::strip_str(&String::from_utf8_lossy(&out)).to_string();
        text.lines().map(str::trim_end).collect::<Vec<_>>().join("\n")
    }

    #[test]
    fn a_group_without_a_diagnosis_has_the_command_for_one() {
        let tests = vec![
            candidate("a::one", Showing::Flaky),
            candidate("a::other", Showing::FailsUnder("one processor".to_owned())),
        ];
        let text = printed(&hunted(vec![HuntedGroup { tests, diagnosis: None }]));
        let expected = "\
2 of 3 tests fail now and then, or under other conditions; 1 reason at the most, the worst first

1. not diagnosed (2 tests)
     demo::it a::one    fails 3 of 12 ordinary runs
     demo::it a::other  fails 1 of 4 runs: one processor
   tests/it.rs:7: left
   MORE   cargo isotest diagnose 'demo::it a::one'

WHAT WAS TRIED                                                     failed / runs
  alone, everything private                                             3 / 36
  36 runs in 1.2 s";
        assert_eq!(text, expected);
    }

    #[test]
    fn nothing_found_is_said_with_what_always_fails() {
        let mut hunted = hunted(Vec::new());
        hunted.always_fail = (0..7).map(|it| ("demo".to_owned(), format!("t{it}"))).collect();
        let text = printed(&hunted);
        assert!(
            text.starts_with(
                "NOTHING FOUND  none of 3 tests fails now and then, or under other conditions\n"
            ),
            "{text}"
        );
        let named = "7 tests that failed in every run, and are not flaky\n     demo t0\n";
        assert!(text.contains(named) && text.contains("     … and 2 more\n"), "{text}");
    }

    #[test]
    fn a_candidate_says_when_it_fails() {
        let words = |it| shows(&candidate("t", it));
        assert_eq!(words(Showing::FailsFrom("2030-01-01".to_owned())), "fails from 2030-01-01 on");
        assert_eq!(words(Showing::FailsOn("2027-03-31".to_owned())), "fails on 2027-03-31");
        let passes = words(Showing::PassesUnder("all at once".to_owned()));
        assert_eq!(passes, "fails alone, passes 3 of 4 runs: all at once");
    }
}
