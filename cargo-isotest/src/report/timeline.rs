//! `cargo isotest trace`: the trace of a case, for people and for programs.

use std::borrow::Cow;
use std::io::{self, BufWriter, Write};
use std::path::Path;

use isotest_core::case::Case;
use isotest_core::escape::escape;
use isotest_core::outcome::{Outcome, Verdict};
use isotest_core::policy::Guard;
use isotest_core::trace::Trace;

use super::messages;
use super::paint::STRONG;
use super::plain_json;
use super::timeline_groups::together;
use super::timeline_json::TraceJson;
use super::timeline_rows::{DIM, MISSING, Names, Row, every, surrounding};
use super::words;

/// A case that was traced.
pub struct TracedCase<'a> {
    /// The id of its binary.
    pub id: &'a str,
    /// The case.
    pub case: &'a Case,
    /// Its outcome, with the trace.
    pub outcome: &'a Outcome,
    /// The root of the project: paths below it are printed relative to it.
    pub workspace: &'a Path,
    /// The home directory, which is printed as `~`.
    pub home: Option<&'a Path>,
    /// The guard, for what it hides from a trace.
    pub guard: Guard,
}

impl TracedCase<'_> {
    fn trace(&self) -> Cow<'_, Trace> {
        self.outcome.trace.as_deref().map_or_else(Cow::default, Cow::Borrowed)
    }
}

/// Prints the trace of a case. `full`: a line an event.
pub fn trace_for_people(traced: &TracedCase<'_>, full: bool) -> io::Result<()> {
    let mut out = BufWriter::new(anstream::stdout());
    write_for_people(traced, &traced.trace(), full, &mut out)?;
    out.flush()
}

/// Prints the trace of a case as one object.
pub fn trace_for_programs(traced: &TracedCase<'_>) -> io::Result<()> {
    let mut out = BufWriter::new(io::stdout().lock());
    plain_json::write(&mut out, &for_programs(traced, &traced.trace()))?;
    writeln!(out)?;
    out.flush()
}

/// What no trace has.
fn blind_spots(guard: Guard) -> Vec<&'static str> {
    let io_uring = match guard {
        Guard::IoUring => Some("requests by io_uring, which `--guard io-uring` allows"),
        Guard::Basic | Guard::Strict | Guard::NoListener => None,
    };
    let always = [
        "reads of environment variables and of the clock (vDSO): they are no system calls",
        "results of calls: a path is looked up beside its call",
    ];
    always.into_iter().chain(io_uring).collect()
}

fn write_for_people(
    traced: &TracedCase<'_>,
    trace: &Trace,
    full: bool,
    out: &mut dyn Write,
) -> io::Result<()> {
    let seconds = traced.outcome.duration.as_secs_f64();
    let verdict = verdict(&traced.outcome.verdict);
    let (id, case) = (escape(traced.id), escape(&traced.case.name));
    writeln!(out, "{STRONG}{id} {case}{STRONG:#}: {verdict} in {seconds:.3}s, traced")?;
    let (workspace, home) = (traced.workspace.to_str(), traced.home.and_then(Path::to_str));
    let names = Names { workspace, home, full };
    let rows = if full { every(trace, &names) } else { together(trace, &names) };
    let main = trace.main_process();
    let has_more = trace.events.iter().any(|event| Some(event.process) != main);
    let width = rows.iter().map(|row| row.process.to_string().len()).max().unwrap_or(0) + 2;
    if !rows.is_empty() {
        writeln!(out)?;
    }
    for row in &rows {
        let at = row.at.as_secs_f64() * 1000.0;
        let times =
            if row.times > 1 { format!(" {DIM}×{}{DIM:#}", row.times) } else { String::new() };
        let process = match has_more {
            true => format!("{DIM}{:width$}{DIM:#}  ", format!("[{}]", row.process)),
            false => String::new(),
        };
        let style = row.style;
        writeln!(out, "{at:9.2} ms  {process}{style}{}{style:#}{times}", row.text)?;
    }
    writeln!(out)?;
    write_end(traced, trace, &rows, out)
}

/// The lines below the axis.
fn write_end(
    traced: &TracedCase<'_>,
    trace: &Trace,
    rows: &[Row],
    out: &mut dyn Write,
) -> io::Result<()> {
    if let Verdict::NotRun(reason) = &traced.outcome.verdict {
        return writeln!(out, "not run: {}", words::not_run(reason));
    }
    let footprint = trace.footprint();
    let looked: Vec<&str> = footprint.surroundings.iter().map(|it| surrounding(*it)).collect();
    if !looked.is_empty() {
        writeln!(out, "looked at: {}", looked.join(", "))?;
    }
    let shown = rows.len();
    let events = trace.events.len();
    if shown < events {
        let events = words::counted(events, "event");
        writeln!(out, "{events} in {shown} lines; `--full` prints each")?;
    }
    if trace.dropped > 0 {
        let dropped = words::counted(trace.dropped as usize, "event");
        writeln!(
            out,
            "{dropped} not kept: a trace has room for 20,000, half of it for repetitions"
        )?;
    }
    for gap in &trace.gaps {
        writeln!(out, "{MISSING}not whole{MISSING:#}: {gap}")?;
    }
    for (place, spot) in blind_spots(traced.guard).into_iter().enumerate() {
        let before = if place == 0 { "not seen:" } else { "" };
        writeln!(out, "{DIM}{before:9} {spot}{DIM:#}")?;
    }
    Ok(())
}

fn verdict(verdict: &Verdict) -> String {
    match verdict {
        Verdict::Passed => "passed".to_owned(),
        Verdict::Failed { .. } => "failed".to_owned(),
        Verdict::Ignored => "ignored".to_owned(),
        other => words::explain(other).unwrap_or_default(),
    }
}

fn for_programs<'a>(traced: &'a TracedCase<'_>, trace: &'a Trace) -> TraceJson<'a> {
    TraceJson {
        binary: traced.id,
        test: &traced.case.name,
        verdict: messages::verdict(traced.case, traced.outcome),
        seconds: traced.outcome.duration.as_secs_f64(),
        blind_spots: blind_spots(traced.guard),
        trace: trace.into(),
    }
}
