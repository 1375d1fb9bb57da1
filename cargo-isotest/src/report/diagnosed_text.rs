//! A diagnosis, printed for people and for programs.

use std::io::{self, Write};

use anstyle::Style;
use isotest_core::escape::escape;

use super::cause_words::why;
use super::diagnosed::{
    ArmPart, Diagnosed, DiagnosisVerdict, Effect, OtherParty, Rate, ToldArm, ToldCause, ToldWait,
};
use super::paint::{ERROR, GOOD, STRONG, WARNING};
use super::plain_json;
use super::words::{counted, more};

const DIM: Style = Style::new().dimmed();
/// Maximum number of arms without a part in the answer that are listed.
const LISTED: usize = 12;
/// The first call of a thread.
const STARTS: &str = "set_robust_list";
/// Maximum number of tests that are named.
const NAMED: usize = 4;

/// Prints a diagnosis as one line of JSON.
pub fn diagnosed_for_programs(diagnosed: &Diagnosed) -> io::Result<()> {
    let mut out = anstream::stdout().lock();
    plain_json::write(&mut out, diagnosed)?;
    writeln!(out)
}

/// Prints a diagnosis. If it is kept, other commands find its token.
pub fn diagnosed_for_people(diagnosed: &Diagnosed, is_kept: bool) -> io::Result<()> {
    let mut out = anstream::stdout().lock();
    write_diagnosis(&mut out, diagnosed, is_kept)
}

fn write_diagnosis(out: &mut impl Write, it: &Diagnosed, is_kept: bool) -> io::Result<()> {
    write_heading(out, it)?;
    for cause in &it.causes {
        write_cause(out, cause)?;
    }
    if it.causes.is_empty() {
        write_uncaused(out, it)?;
    }
    write_again(out, it, is_kept)?;
    write_findings(out, it)?;
    write_tried(out, it)
}

fn write_heading(out: &mut impl Write, it: &Diagnosed) -> io::Result<()> {
    let (style, word) = match &it.answer {
        DiagnosisVerdict::NeverFailed { .. } => (GOOD, "NEVER FAILED"),
        DiagnosisVerdict::AlwaysFails => (ERROR, "ALWAYS FAILS"),
        DiagnosisVerdict::Caused if it.causes.iter().all(|cause| cause.is_latent) => {
            (WARNING, "FLAKY ELSEWHERE")
        }
        DiagnosisVerdict::Caused => (ERROR, "FLAKY"),
        DiagnosisVerdict::Unattributed => (ERROR, "FLAKY"),
        DiagnosisVerdict::Undecided { .. } if it.is_interrupted => (WARNING, "INTERRUPTED"),
        DiagnosisVerdict::Undecided { .. } => (WARNING, "UNDECIDED"),
    };
    let name = escape(&it.test);
    writeln!(out, "{style}{word}{style:#}  {STRONG}{name}{STRONG:#}  ({})", escape(&it.binary))?;
    writeln!(out, "  fails  {}  {}", rate(&it.rate), escape(&it.rate_of))?;
    if let Some(message) = &it.failure {
        let place = it.failure_at.as_ref().map(|at| format!("{}: ", escape(at)));
        let mut lines = message.lines().map(escape);
        let first = lines.next().unwrap_or_default();
        writeln!(out, "         {}{first}", place.unwrap_or_default())?;
        for line in lines.take(4) {
            writeln!(out, "         {line}")?;
        }
    }
    Ok(())
}

/// `7 of 412 runs (1.7 %, 95 %: between 0.7 % and 3.5 %)`
fn rate(rate: &Rate) -> String {
    let share = f64::from(rate.failed) / f64::from(rate.runs.max(1));
    let runs = counted(rate.runs as usize, "run");
    let (low, high) = (percent(rate.low), percent(rate.high));
    match rate.failed {
        _ if rate.runs == 0 => "not known: no run has ended".to_owned(),
        0 => format!("0 of {runs} (95 %: at most {high})"),
        failed if failed == rate.runs => format!("{failed} of {runs} (95 %: at least {low})"),
        failed => {
            format!("{failed} of {runs} ({}, 95 %: between {low} and {high})", percent(share))
        }
    }
}

/// `1.7 %`
pub(super) fn percent(share: f64) -> String {
    let percent = share * 100.0;
    match percent {
        _ if percent >= 99.5 => "over 99 %".to_owned(),
        _ if percent >= 10.0 || percent == 0.0 => format!("{percent:.0} %"),
        _ => format!("{percent:.1} %"),
    }
}

fn write_cause(out: &mut impl Write, cause: &ToldCause) -> io::Result<()> {
    let latent = if cause.is_latent { " An ordinary run does not show it." } else { "" };
    writeln!(
        out,
        "\n{STRONG}WHY{STRONG:#}    {}{latent}",
        why(cause.cause, cause.other_party.as_ref())
    )?;
    for line in details(cause) {
        writeln!(out, "       {}", escape(&line))?;
    }
    writeln!(out, "       {DIM}certainty: {}{DIM:#}", certainty(cause.certainty))?;
    writeln!(out, "\n{STRONG}FIX{STRONG:#}    {}", cause.fix.text)?;
    for line in &cause.fix.code {
        writeln!(out, "           {line}")?;
    }
    for tool in &cause.fix.tools {
        writeln!(out, "       {}: {}", tool.name, tool.what)?;
        writeln!(out, "           {}", escape(&tool.command))?;
    }
    Ok(())
}

/// The resource, the other party, and both rates.
pub(super) fn details(cause: &ToldCause) -> Vec<String> {
    let mut lines = Vec::new();
    let other = cause.other_party.as_ref().and_then(others);
    lines.extend(match (&cause.resource, other) {
        (Some(resource), Some(other)) => {
            Some(format!("Both use {resource}: this test and {other}."))
        }
        (Some(resource), None) => Some(format!("It is about {resource}.")),
        (None, Some(other)) => Some(format!("The other party: {other}.")),
        (None, None) => None,
    });
    if !cause.cleaners.is_empty() {
        lines.push(format!("It does not fail if {} runs in between.", cause.cleaners.join(", ")));
    }
    let (failing, clean) = (share(&cause.failing), share(&cause.clean));
    let words = capitalized(&cause.words);
    lines.push(match cause.effect {
        Effect::Provokes => format!("{words}: it fails {failing}. Otherwise: {clean}."),
        Effect::Removes => format!("{words}: it fails {clean}. Otherwise: {failing}."),
        Effect::Determines => format!(
            "{words}: the outcome follows from the seed. One seed: it fails {failing}. Another: {clean}."
        ),
    });
    lines.extend(waits(cause));
    lines
}

/// The waits that decide, a line each.
fn waits(cause: &ToldCause) -> Vec<String> {
    let Some((failed, runs)) = cause.waits_rate else { return Vec::new() };
    let first = format!("It fails {failed} of {runs} times if only this is late:");
    let told = cause.waits.iter().take(NAMED).map(late);
    let hidden = more(cause.waits.len().saturating_sub(NAMED));
    [first].into_iter().chain(told.chain(hidden).map(|line| format!("  {line}"))).collect()
}

/// ``thread `saver`, 64 ms, at tests/it.rs:12 (openat)``
fn late(wait: &ToldWait) -> String {
    let ToldWait { thread, call, milliseconds, place } = wait;
    let digits = if *milliseconds < 1.0 { 2 } else { 0 };
    // Its name is still that of the thread that has made it.
    if call == STARTS {
        return format!("a thread that `{thread}` starts, {milliseconds:.digits$} ms");
    }
    let place = place.as_ref().map_or(String::new(), |place| format!(", at {place}"));
    format!("thread `{thread}`, {milliseconds:.digits$} ms{place} ({call})")
}

fn others(other: &OtherParty) -> Option<String> {
    match other {
        OtherParty::Tests(tests) => {
            let name = |test: &super::diagnosed::NamedTest| match &test.place {
                Some(place) => format!("{} ({place})", test.name),
                None => test.name.clone(),
            };
            let named: Vec<String> = tests.iter().take(NAMED).map(name).collect();
            let more = more(tests.len().saturating_sub(NAMED));
            Some(named.into_iter().chain(more).collect::<Vec<_>>().join(", "))
        }
        OtherParty::EarlierRun => Some("an earlier run of itself".to_owned()),
        OtherParty::ThisMachine => Some("this machine".to_owned()),
        OtherParty::Isotest => None,
    }
}

fn capitalized(words: &str) -> String {
    let mut letters = words.chars();
    letters.next().map_or(String::new(), |first| first.to_uppercase().chain(letters).collect())
}

/// `24 of 24 times`
fn share(rate: &Rate) -> String {
    format!("{} of {} times", rate.failed, rate.runs)
}

/// No certainty is complete, and none is told beyond a million.
pub(super) fn certainty(certainty: f64) -> String {
    let times = match certainty {
        e if e >= 1e6 => "1,000,000".to_owned(),
        e if e >= 1000.0 => format!("{},000", (e / 1000.0) as u64),
        e => format!("{}", e.max(1.0) as u64),
    };
    format!("wrong less than once in {times}")
}

fn write_uncaused(out: &mut impl Write, it: &Diagnosed) -> io::Result<()> {
    let label = format!("{STRONG}WHY{STRONG:#}    ");
    match &it.answer {
        DiagnosisVerdict::NeverFailed { bound } => writeln!(
            out,
            "\n{label}No run failed, whatever was changed: it fails in less than {} of its\n       \
             runs (with a confidence of 95 %).",
            percent(*bound)
        ),
        DiagnosisVerdict::AlwaysFails => writeln!(
            out,
            "\n{label}The test is not flaky: it fails in every run, whatever was changed."
        ),
        DiagnosisVerdict::Unattributed | DiagnosisVerdict::Caused => writeln!(
            out,
            "\n{label}Not known. Nothing that was tried changes how often it fails: the cause is in the\n       \
             code, or in something that isotest cannot change."
        ),
        DiagnosisVerdict::Undecided { needed, left } => {
            let left = match left.is_empty() {
                true => String::new(),
                false => format!(" It may be {}.", left.join(", or ")),
            };
            let reason = match (it.is_interrupted, it.has_failed()) {
                (true, true) => "interrupted",
                (true, false) => "interrupted, and no run failed until then",
                (false, _) => "the budget is used up",
            };
            writeln!(out, "\n{label}Not decided: {reason}.{}", escape(&left))?;
            match (needed, it.is_interrupted) {
                (0, true) => Ok(()),
                (0, false) => writeln!(out, "       A larger `--budget` may decide it."),
                (needed, _) => writeln!(
                    out,
                    "       About {needed} more runs would decide it: `--budget` is the limit."
                ),
            }
        }
    }
}

fn write_again(out: &mut impl Write, it: &Diagnosed, is_kept: bool) -> io::Result<()> {
    if let Some(token) = &it.token {
        writeln!(out, "\n{STRONG}AGAIN{STRONG:#}  cargo isotest repro {}", escape(token))?;
    }
    if let (Some(runs), false) = (it.clean_runs, it.causes.is_empty()) {
        let typed = it.token.as_ref().filter(|_| !is_kept);
        let token = typed.map_or(String::new(), |token| format!(" --token {token}"));
        let named = it.named();
        let runs = counted(runs as usize, "run");
        writeln!(
            out,
            "{STRONG}CHECK{STRONG:#}  cargo isotest prove-fixed {named}{token}  ({runs})"
        )?;
    }
    Ok(())
}

fn write_findings(out: &mut impl Write, it: &Diagnosed) -> io::Result<()> {
    if it.findings.is_empty() {
        return Ok(());
    }
    writeln!(out, "\n{STRONG}NOT HERMETIC{STRONG:#}")?;
    for (code, text) in &it.findings {
        writeln!(out, "  {code}: {}", escape(text))?;
    }
    Ok(())
}

fn write_tried(out: &mut impl Write, it: &Diagnosed) -> io::Result<()> {
    writeln!(out, "\n{STRONG}{:<56}{STRONG:#} failed / runs", "WHAT WAS TRIED")?;
    let (mut parts, mut others): (Vec<&ToldArm>, Vec<&ToldArm>) =
        it.arms.iter().partition(|arm| arm.part.is_some());
    others.sort_by_key(|arm| std::cmp::Reverse(arm.rate.failed + arm.rate.other));
    let without: Vec<&ToldArm> =
        others.iter().copied().filter(|arm| arm.rate.failed + arm.rate.other == 0).collect();
    others.retain(|arm| arm.rate.failed + arm.rate.other > 0);
    let hidden = others.len().saturating_sub(LISTED);
    others.truncate(LISTED);
    parts.append(&mut others);
    for arm in parts {
        write_arm(out, arm)?;
    }
    if hidden > 0 {
        writeln!(out, "  {}", counted(hidden, "further condition"))?;
    }
    if !without.is_empty() {
        let runs: u32 = without.iter().map(|arm| arm.rate.runs).sum();
        let label = format!("no failure: {}", counted(without.len(), "other condition"));
        writeln!(out, "  {label:<54} {:>6} / {runs}", 0)?;
    }
    if !it.skipped.is_empty() {
        let conditions = counted(it.skipped.len(), "condition");
        writeln!(
            out,
            "  {DIM}{conditions} not tried: not looked at by the test, or not possible here{DIM:#}"
        )?;
    }
    let runs = counted(it.runs as usize, "run");
    writeln!(
        out,
        "  {DIM}{runs} in {:.1} s, {:.0} a second; `--format json` has all of them{DIM:#}",
        it.seconds, it.runs_per_second
    )
}

fn write_arm(out: &mut impl Write, arm: &ToldArm) -> io::Result<()> {
    let mark = match arm.part {
        Some(ArmPart::Cause) => format!("  {ERROR}◀ cause{ERROR:#}"),
        Some(ArmPart::Removes) => format!("  {GOOD}◀ removes it{GOOD:#}"),
        None => String::new(),
    };
    let other = match arm.rate.other {
        0 => String::new(),
        other => format!(" ({other} in another way)"),
    };
    let words = escape(&arm.words).into_owned();
    writeln!(out, "  {words:<54} {:>6} / {}{other}{mark}", arm.rate.failed, arm.rate.runs)
}
