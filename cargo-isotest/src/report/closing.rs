//! The closing block on stderr: what a reader of the last screen wants to know.
//!
//! The counts, the findings, the sandboxes that could not be set up, and the commands that run
//! again what failed. It gathers what it needs from the events; lists have a limit, counts none.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Write};
use std::time::Duration;

use anstyle::Style;
use isotest_core::case::CaseIndex;
use isotest_core::finding::Finding;
use isotest_core::outcome::{NotRun, Outcome, Verdict};
use isotest_core::policy::Weakened;
use isotest_core::schedule::Interruption;
use serde::{Deserialize, Serialize};

use super::doctests::DoctestSummary;

use super::finding_groups::{Doer, FindingGroups};
use super::gates::Gates;
use super::groups::{GroupLines, write_more};
use super::hints::{Naming, Reruns};
use super::known::{self, KnownDiagnosis};
use super::notes;
use super::options::FindingsShown;
use super::paint::{self, ERROR, GOOD, HINT, STRONG, WARNING};
use super::rerun;
use super::suite::{self, Suite};
use super::tally::Tally;
use super::traces::{self, Trace};
use super::withheld::Withheld;
use super::words::{self, counted};

/// Maximum number of commands that are listed.
const COMMANDS: usize = 5;

/// Access to the host that the configuration grants to some cases.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Grant {
    /// The layers.
    pub layers: Vec<String>,
    /// Its place in the configuration, with the reason.
    pub origin: String,
    /// Number of cases that have it.
    pub cases: usize,
}

/// State of a case after the run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CaseState {
    /// It failed.
    Failed,
    /// It passed, or is ignored.
    Passed,
    /// It was not run, or not to its end.
    NotEnded,
}

/// Content of the closing block.
#[derive(Debug)]
pub struct Closing {
    /// The indices of the failed cases, by binary.
    failed: BTreeMap<usize, Vec<usize>>,
    grants: Vec<Grant>,
    reruns: Reruns,
    /// The findings that are listed.
    shown: FindingsShown,
    /// The binaries whose failures `--rerun-failed` runs again.
    recorded: BTreeSet<usize>,
    withheld: Withheld,
    traces: Vec<Trace>,
    known: Vec<(String, KnownDiagnosis)>,
    /// The binaries of which a case has failed with no finding, and whether one has written that
    /// something is not there.
    unexplained: BTreeMap<usize, bool>,
    /// What failed cases have written of and do not have.
    named: BTreeMap<CaseIndex, Vec<Finding>>,
    /// The variables of which failed cases have written.
    reported: BTreeSet<String>,
    doctests: DoctestSummary,
    /// The slowest cases, slowest first, and how many are kept.
    slowest: (Vec<(Duration, CaseIndex)>, usize),
    /// The cases that passed, but not at the first attempt.
    flaky: GroupLines,
    /// Those of them that count as failed.
    flaky_failed: BTreeSet<CaseIndex>,
    findings: FindingGroups,
    gates: Gates,
    /// The run is recorded.
    is_recorded: bool,
    /// Number of cases that shared a layer with the host because the machine refuses another.
    weakened: BTreeMap<Weakened, usize>,
    /// Refusals, each with a hint and a count.
    refusals: Vec<(String, usize)>,
    wardens_died: usize,
    wardens_silent: usize,
    /// The cases of which it is not known how they end.
    not_ended: BTreeSet<CaseIndex>,
    interrupted: Option<Interruption>,
}

impl Closing {
    /// A block that names so many of the slowest cases, and these findings.
    pub fn new(slowest: usize, findings: FindingsShown) -> Self {
        Closing {
            failed: BTreeMap::new(),
            grants: Vec::new(),
            reruns: Reruns::default(),
            shown: findings,
            recorded: BTreeSet::new(),
            withheld: Withheld::default(),
            traces: Vec::new(),
            known: Vec::new(),
            unexplained: BTreeMap::new(),
            named: BTreeMap::new(),
            reported: BTreeSet::new(),
            doctests: DoctestSummary::default(),
            slowest: (Vec::new(), slowest),
            flaky: GroupLines::default(),
            flaky_failed: BTreeSet::new(),
            findings: FindingGroups::new(findings),
            gates: Gates::default(),
            is_recorded: false,
            weakened: BTreeMap::new(),
            refusals: Vec::new(),
            wardens_died: 0,
            wardens_silent: 0,
            not_ended: BTreeSet::new(),
            interrupted: None,
        }
    }

    fn observe_duration(&mut self, index: CaseIndex, duration: Duration) {
        let (slowest, kept) = &mut self.slowest;
        let at = slowest.partition_point(|(slower, _)| *slower >= duration);
        if at < *kept {
            slowest.insert(at, (duration, index));
            slowest.truncate(*kept);
        }
    }

    /// Takes note of a case that has ended.
    pub fn observe(&mut self, suites: &[Suite], index: CaseIndex, outcome: &Outcome) {
        self.gates.observe(suites, index, outcome);
        if outcome.fails_run() {
            self.failed.entry(index.binary).or_default().push(index.case);
        }
        if outcome.fails_run()
            && !self.gates.is_denied(index)
            && !outcome.findings.iter().any(|finding| finding.code().may_be_the_reason())
        {
            *self.unexplained.entry(index.binary).or_default() |= words::lacks(&outcome.output);
        }
        if words::was_run(&outcome.verdict) {
            self.observe_duration(index, outcome.duration);
        }
        if outcome.verdict == Verdict::Flaky {
            self.flaky_failed.insert(index);
        }
        if let Some(flaky) = words::flaky(outcome) {
            self.flaky.add(|| format!("{flaky} {}", suite::label(suites, index)));
        }
        if let Verdict::NotRun(reason) = &outcome.verdict {
            self.not_ended.insert(index);
            self.observe_not_run(reason);
        }
        for layer in &outcome.weakened {
            *self.weakened.entry(*layer).or_default() += 1;
        }
        for finding in &outcome.findings {
            if let Finding::NotPassed(names) = finding {
                self.reported.extend(names.iter().cloned());
            }
            if matches!(finding, Finding::NotPassed(_) | Finding::NotShown(_)) {
                self.named.entry(index).or_default().push(finding.clone());
            }
            self.findings.add(Doer::Case(index), finding, &outcome.verdict);
        }
    }

    fn observe_not_run(&mut self, reason: &NotRun) {
        match reason {
            NotRun::Cancelled | NotRun::ProcessEnded => {}
            NotRun::WardenDied => self.wardens_died += 1,
            NotRun::WardenSilent => self.wardens_silent += 1,
            NotRun::Sandbox(error) => self.observe_refusal(error.to_string()),
            NotRun::Service(error) => self.observe_refusal(error.to_string()),
        }
    }

    fn observe_refusal(&mut self, error: String) {
        match self.refusals.iter_mut().find(|(known, _)| *known == error) {
            Some((_, count)) => *count += 1,
            None => self.refusals.push((error, 1)),
        }
    }

    /// Takes note of what ended the run early.
    pub fn interrupt(&mut self, cause: Interruption) {
        self.interrupted = Some(cause);
    }

    /// The cases that have failed at every attempt, and not for a finding.
    pub fn failed(&self) -> Vec<CaseIndex> {
        let failed = self.failed.iter();
        failed
            .flat_map(|(&binary, cases)| cases.iter().map(move |&case| CaseIndex { binary, case }))
            .filter(|index| !self.flaky_failed.contains(index) && !self.gates.is_denied(*index))
            .collect()
    }

    /// What failed cases have written of and do not have.
    pub fn named(&self) -> &BTreeMap<CaseIndex, Vec<Finding>> {
        &self.named
    }

    /// The binaries of which a case has failed, and not for a finding.
    pub fn failed_binaries(&self) -> impl Iterator<Item = usize> {
        let itself = |(binary, case)| !self.gates.is_denied(CaseIndex { binary, case });
        let failed = self
            .failed
            .iter()
            .filter(move |(binary, cases)| cases.iter().any(|case| itself((**binary, *case))));
        failed.map(|(binary, _)| *binary)
    }

    /// The binaries of which a case has failed and nothing is known of why, and whether one has
    /// written that something is not there.
    pub fn unexplained(&self) -> impl Iterator<Item = (usize, bool)> {
        self.unexplained.iter().map(|(binary, lacks)| (*binary, *lacks))
    }

    /// State of a case after the run.
    pub fn state(&self, index: CaseIndex) -> CaseState {
        match self.failed.get(&index.binary) {
            Some(failed) if failed.contains(&index.case) => CaseState::Failed,
            Some(_) | None if self.not_ended.contains(&index) => CaseState::NotEnded,
            Some(_) | None => CaseState::Passed,
        }
    }

    /// Takes note of what a binary did whose tests share a sandbox: one of them did it.
    pub fn take_shared(&mut self, binary: usize, findings: &[Finding], verdict: &Verdict) {
        for finding in findings {
            self.findings.add(Doer::OneOf(binary), finding, verdict);
        }
    }

    /// The gates.
    pub fn gates(&self) -> &Gates {
        &self.gates
    }

    /// Takes note of entries of the baseline that no longer occur.
    pub fn take_gone(&mut self, gone: Vec<String>) {
        self.gates.take_gone(gone);
    }

    /// Takes note that the run can be printed again.
    pub fn take_is_recorded(&mut self) {
        self.is_recorded = true;
    }

    /// The findings, by their codes.
    pub fn findings(&self) -> &FindingGroups {
        &self.findings
    }

    /// Takes note of documentation tests, which rustdoc reports itself.
    pub fn take_doctests(&mut self, doctests: DoctestSummary) {
        self.doctests = doctests;
    }

    /// Takes note of what the configuration grants.
    pub fn take_grants(&mut self, grants: Vec<Grant>) {
        self.grants = grants;
    }

    /// Takes note of what running failed cases once more has shown.
    pub fn take_reruns(&mut self, reruns: Reruns) {
        self.reruns = reruns;
    }

    /// Takes note of the binaries whose failures `--rerun-failed` runs again.
    pub fn take_recorded(&mut self, binaries: BTreeSet<usize>) {
        self.recorded = binaries;
    }

    /// Takes note of variables that did not reach the tests. Those of which a finding tells are
    /// told of already.
    pub fn take_withheld(&mut self, withheld: Withheld) {
        self.withheld = withheld.without(&self.reported);
    }

    /// Takes note of what is known of a test that has failed, by its label.
    pub fn take_diagnosis(&mut self, label: String, known: KnownDiagnosis) {
        self.known.push((label, known));
    }

    /// Takes note of what the programs of failed tests name.
    pub fn take_traces(&mut self, traces: Vec<Trace>) {
        self.traces = traces;
    }

    /// The cause that ended the run early.
    pub fn interrupted(&self) -> Option<Interruption> {
        self.interrupted
    }

    /// True if there is more to report than the number of passed tests; notes do not count where
    /// only trouble is of interest.
    pub fn is_noteworthy(&self, tally: &Tally, quiet: bool) -> bool {
        let has_findings = match quiet {
            true => self.findings.have_warnings(),
            false => !self.findings.is_empty(),
        };
        !tally.is_clean()
            || has_findings
            || self.flaky.count > 0
            || self.gates.are_noteworthy()
            || self.slowest.1 > 0
            || !self.weakened.is_empty()
            || self.interrupted.is_some()
    }

    /// Writes the block.
    pub fn write(
        &mut self,
        suites: &[Suite],
        tally: &Tally,
        wall: Duration,
        shuffle_seed: Option<u64>,
        colour: bool,
        err: &mut dyn Write,
    ) -> io::Result<()> {
        writeln!(
            err,
            "\n{}{}",
            summary(tally, wall, shuffle_seed, colour),
            doctests(self.doctests, colour)
        )?;
        self.write_slowest(suites, err)?;
        self.write_grants(colour, err)?;
        self.write_weakened(colour, err)?;
        self.write_findings(suites, colour, err)?;
        notes::write(suites, colour, err)?;
        self.write_not_run(colour, err)?;
        let naming = Naming::of(self.shown, self.how_to_see_all());
        self.reruns.write(suites, naming, colour, err)?;
        known::write(&self.known, colour, err)?;
        if !self.failed.is_empty() {
            traces::write(&self.traces, colour, err)?;
            self.withheld.write(colour, err)?;
        }
        if let Some(cause) = self.interrupted {
            let error = paint::styled(colour, ERROR, "error");
            let cut = counted(tally.cancelled, "test");
            let (cause, hint) = words::interruption(cause);
            writeln!(err, "\n{error}: {cause}; {cut} did not run to the end{hint}")?;
        }
        self.write_commands(suites, colour, err)
    }

    fn write_slowest(&self, suites: &[Suite], err: &mut dyn Write) -> io::Result<()> {
        let (slowest, _) = &self.slowest;
        if slowest.is_empty() {
            return Ok(());
        }
        writeln!(err, "\nslowest:")?;
        for (duration, index) in slowest {
            let (seconds, label) = (duration.as_secs_f64(), suite::label(suites, *index));
            writeln!(err, "    {seconds:>7.3}s {label}")?;
        }
        Ok(())
    }

    fn write_grants(&self, colour: bool, err: &mut dyn Write) -> io::Result<()> {
        if !self.grants.is_empty() {
            let note = paint::styled(colour, HINT, "note");
            writeln!(err, "\n{note}: the configuration gives tests access to the host")?;
        }
        for Grant { layers, origin, cases } in &self.grants {
            writeln!(err, "    {}: {}, by {origin}", layers.join(", "), counted(*cases, "test"))?;
        }
        Ok(())
    }

    fn write_weakened(&self, colour: bool, err: &mut dyn Write) -> io::Result<()> {
        let warning = paint::styled(colour, WARNING, "warning");
        for (layer, count) in &self.weakened {
            let (tests, layer) = (counted(*count, "test"), layer.name());
            writeln!(
                err,
                "\n{warning}: {tests} shared the layer `{layer}` with the host \
                 (`--allow-weaker {layer}`)"
            )?;
        }
        Ok(())
    }

    fn write_findings(
        &self,
        suites: &[Suite],
        colour: bool,
        err: &mut dyn Write,
    ) -> io::Result<()> {
        if self.flaky.count > 0 {
            let tests = counted(self.flaky.count, "test");
            self.flaky.write(&format!("{tests} failed and then passed"), colour, err)?;
        }
        self.findings.write(suites, self.how_to_see_all(), colour, err)?;
        self.gates.write(colour, err)
    }

    /// What lists each finding and each test.
    fn how_to_see_all(&self) -> &'static str {
        match self.is_recorded {
            true => "cargo isotest replay --findings all",
            false => "--findings all",
        }
    }

    fn write_not_run(&self, colour: bool, err: &mut dyn Write) -> io::Result<()> {
        let title = paint::styled(colour, ERROR, "error");
        for (error, count) in &self.refusals {
            let tests = counted(*count, "test");
            let verb = if *count == 1 { "was" } else { "were" };
            let mut lines = error.lines();
            let cause = lines.next().unwrap_or_default();
            writeln!(err, "\n{title}: {tests} {verb} not run: {cause}")?;
            for line in lines {
                writeln!(err, "{}", coloured_hint(line, colour))?;
            }
        }
        if self.wardens_died > 0 {
            let tests = counted(self.wardens_died, "test");
            writeln!(err, "\n{title}: the supervisor (warden) of {tests} died")?;
        }
        if self.wardens_silent > 0 {
            let tests = counted(self.wardens_silent, "test");
            let reported = "the warden did not answer and was killed";
            writeln!(err, "\n{title}: {reported}: {tests} not run to the end")?;
        }
        Ok(())
    }

    fn write_commands(
        &mut self,
        suites: &[Suite],
        colour: bool,
        err: &mut dyn Write,
    ) -> io::Result<()> {
        if self.failed.is_empty() {
            return Ok(());
        }
        let title = paint::styled(colour, HINT, "help");
        writeln!(err, "\n{title}: to rerun the failed tests")?;
        for (binary, cases) in self.failed.iter().take(COMMANDS) {
            let suite = &suites[*binary];
            let names = cases.iter().filter(|_| suite.harness);
            let mut names: Vec<String> =
                names.map(|case| suite.cases[*case].name.clone()).collect();
            names.sort();
            let Suite { again, again_behind, passed_on, .. } = suite;
            let command = match suite.harness && self.recorded.contains(binary) {
                true if names.len() > rerun::NAMES => rerun::recorded(again, passed_on),
                true | false => rerun::command(again, again_behind, passed_on, &names),
            };
            writeln!(err, "    {command}")?;
        }
        write_more(self.failed.len().saturating_sub(COMMANDS), err)
    }
}

/// The first word of a hint in colour.
fn coloured_hint(line: &str, colour: bool) -> String {
    match line.strip_prefix("hint:") {
        Some(rest) => format!("{}:{rest}", paint::styled(colour, HINT, "hint")),
        None => line.to_owned(),
    }
}

/// `     Summary 22 tests in 1.24s: 17 passed, 3 failed (1 timed out), 1 ignored`
fn summary(tally: &Tally, wall: Duration, shuffle_seed: Option<u64>, colour: bool) -> String {
    let style = if tally.is_clean() { GOOD } else { ERROR };
    let verb = paint::verb(colour, style, "Summary");
    let tests = counted(tally.total(), "test");
    let seconds = wall.as_secs_f64();
    let counts = counts(tally, colour).join(", ");
    let seed = words::shuffle_seed(shuffle_seed);
    format!("{verb} {tests} in {seconds:.2}s{seed}: {counts}")
}

/// `; 3 documentation tests passed`, where there were any.
fn doctests(doctests: DoctestSummary, colour: bool) -> String {
    let count = counted(doctests.passed, "documentation test");
    match doctests {
        DoctestSummary { failed: true, .. } => {
            format!("; {}", paint::styled(colour, ERROR, "documentation tests failed"))
        }
        DoctestSummary { selected: 0, .. } => String::new(),
        DoctestSummary { .. } => format!("; {count} passed"),
    }
}

/// The counts that are not zero; that of passed tests always.
fn counts(tally: &Tally, colour: bool) -> Vec<String> {
    let count = |count: usize, what: &str, style: Style| {
        (count > 0).then(|| paint::styled(colour, style, format_args!("{count} {what}")))
    };
    let passed = format_args!("{} passed", tally.passed).to_string();
    let passed_style = if tally.passed > 0 { GOOD } else { STRONG };
    let failed = count(tally.failed, "failed", ERROR);
    let later = [
        count(tally.quarantined, "quarantined", WARNING),
        count(tally.not_run, "not run", ERROR),
        count(tally.ignored, "ignored", WARNING),
        count(tally.cancelled, "cancelled", WARNING),
    ];
    let flaky_passed = count(tally.flaky - tally.flaky_failed, "flaky", WARNING);
    let flaky = flaky_passed.map_or(String::new(), |flaky| format!(" ({flaky})"));
    std::iter::once(paint::styled(colour, passed_style, passed) + &flaky)
        .chain(failed.map(|failed| failed + &ways_to_fail(tally)))
        .chain(later.into_iter().flatten())
        .collect()
}

/// ` (1 timed out, 2 killed by a signal)`; empty where all failed in the ordinary way.
fn ways_to_fail(tally: &Tally) -> String {
    let ways: Vec<String> = [
        (tally.timed_out, "timed out"),
        (tally.exited_early, "exited early"),
        (tally.signalled, "killed by a signal"),
        (tally.denied, "denied"),
        (tally.unproven, "unproven"),
        (tally.flaky_failed, "flaky"),
    ]
    .iter()
    .filter(|(count, _)| *count > 0)
    .map(|(count, what)| format!("{count} {what}"))
    .collect();
    if ways.is_empty() { String::new() } else { format!(" ({})", ways.join(", ")) }
}
