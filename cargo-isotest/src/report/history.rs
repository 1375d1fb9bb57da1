//! The history of a test: its results in recorded runs. [`Histories`] gathers, the rest counts and
//! prints.

use std::collections::BTreeMap;
use std::io::{self, Write};

use anstyle::Style;
use isotest_core::escape::escape;
use serde::Serialize;

use super::fact::State;
use super::message_test::Test;
use super::paint::{ERROR, GOOD, STRONG, WARNING};
use super::plain_json;
use super::results::{Results, shown_binary};
use super::words::counted;
use crate::discover::is_named;

/// Histories of the tests that a name may mean.
#[derive(Debug, Default)]
pub struct Histories {
    name: String,
    /// By binary, name and root filesystem; the results of each, the latest first.
    found: BTreeMap<(String, String, Option<String>), Vec<Entry>>,
}

/// A test in a run.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Entry {
    /// The id of the run.
    pub run: String,
    /// The time of its start in UTC (RFC 3339).
    pub time: Option<String>,
    /// The commit that was checked out.
    pub commit: Option<String>,
    /// The verdict; none if the test has not ended.
    pub verdict: Option<String>,
    /// What the verdict counts as.
    pub state: State,
    /// It failed in quarantine: the run did not fail with it.
    pub quarantined: bool,
    /// Its duration in seconds.
    pub seconds: f64,
    /// The codes of its findings.
    pub findings: Vec<String>,
    /// The run for people.
    #[serde(skip)]
    shown: [String; 2],
}

/// The history of a test.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct History {
    /// The test.
    #[serde(flatten)]
    pub test: Test,
    /// How often its result changed.
    pub flips: Flips,
    /// Its durations, of the runs in which it passed or failed.
    pub durations: Option<Durations>,
    /// Its results, the latest first.
    pub runs: Vec<Entry>,
}

/// How often a test passed after it had failed, or failed after it had passed.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Flips {
    /// Number of these changes.
    pub changes: usize,
    /// Number of pairs of neighbouring runs in which it passed or failed.
    pub pairs: usize,
    /// Changes for each pair; none where there is no pair.
    pub rate: Option<f64>,
}

/// Durations of a test in seconds.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Durations {
    /// The median.
    pub median: f64,
    /// The shortest.
    pub min: f64,
    /// The longest.
    pub max: f64,
    /// That of the latest run.
    pub last: f64,
}

impl Histories {
    /// Those of the tests that `name` may mean.
    pub fn of(name: &str) -> Histories {
        Histories { name: name.to_owned(), found: BTreeMap::new() }
    }

    /// Takes the results of a run; later runs come first.
    pub fn take(&mut self, results: &Results) {
        let run = &results.run;
        for (binary, test, result) in results.tests() {
            if !test.contains(&self.name) && !is_named(&binary.binary, test, &self.name) {
                continue;
            }
            let key = (binary.binary.clone(), test.to_owned(), binary.root.clone());
            self.found.entry(key).or_default().push(Entry {
                run: run.run.clone(),
                time: run.time.clone(),
                commit: run.commit.clone(),
                verdict: Some(result.verdict.clone()).filter(|verdict| !verdict.is_empty()),
                state: result.state,
                quarantined: result.may_fail,
                seconds: result.seconds,
                findings: result.findings.keys().cloned().collect(),
                shown: [run.shown_time(), run.shown_commit()],
            });
        }
    }

    /// The tests: id of the binary, and name.
    pub fn tests(&self) -> impl Iterator<Item = (&str, &str)> {
        let mut last = None;
        let names = self.found.keys().map(|(binary, test, _)| (binary.as_str(), test.as_str()));
        names.filter(move |name| last.replace(*name) != Some(*name))
    }

    /// The histories of one of them, one for each root filesystem, of so many runs each.
    pub fn histories(&self, binary: &str, test: &str, runs: usize) -> Vec<History> {
        let is_it = |key: &(String, String, Option<String>)| key.0 == binary && key.1 == test;
        let found = self.found.iter().filter(|(key, _)| is_it(key));
        let histories = found.map(|((binary, test, root), entries)| {
            let runs = entries.iter().take(runs).cloned().collect();
            let (binary, root, test) = (binary.clone(), root.clone(), test.clone());
            History::new(Test { binary, root, test }, runs)
        });
        histories.collect()
    }
}

impl History {
    fn new(test: Test, runs: Vec<Entry>) -> History {
        let ran: Vec<&Entry> = runs.iter().filter(|run| run.has_run()).collect();
        let changed = |pair: &&[&Entry]| pair[0].state.is_passed() != pair[1].state.is_passed();
        let pairs = ran.len().saturating_sub(1);
        let changes = ran.windows(2).filter(changed).count();
        let rate = (pairs > 0).then(|| changes as f64 / pairs as f64);
        let durations = Durations::of(ran.iter().map(|run| run.seconds).collect());
        History { test, flips: Flips { changes, pairs, rate }, durations, runs }
    }

    /// Prints it for people.
    pub fn for_people(&self, out: &mut impl Write) -> io::Result<()> {
        let Test { binary, root, test } = &self.test;
        let binary = shown_binary(binary, root.as_deref());
        writeln!(out, "{STRONG}{binary} {}{STRONG:#}", escape(test))?;
        write!(out, "    ")?;
        for run in self.runs.iter().rev() {
            let (mark, style) = run.mark();
            write!(out, "{style}{mark}{style:#}")?;
        }
        let runs = counted(self.runs.len(), "run");
        writeln!(
            out,
            "  {runs}, the oldest left: . passed, ~ flaky, F failed, Q quarantined, i ignored, - not run"
        )?;
        let Flips { changes, pairs, rate } = self.flips;
        if let Some(rate) = rate {
            writeln!(
                out,
                "    {} between passed and failed in {} of runs ({:.0} %)",
                counted(changes, "change"),
                counted(pairs, "pair"),
                rate * 100.0
            )?;
        }
        if let Some(Durations { median, min, max, last }) = self.durations {
            writeln!(
                out,
                "    duration: median {median:.2}s, min {min:.2}s, max {max:.2}s, last {last:.2}s"
            )?;
        }
        self.table(out)
    }

    fn table(&self, out: &mut impl Write) -> io::Result<()> {
        let id = self.runs.iter().map(|run| run.run.len()).max().unwrap_or(0).max(3);
        writeln!(
            out,
            "\n{STRONG}{:<id$}  {:<20}  {:<8}  {:>9}  VERDICT{STRONG:#}",
            "RUN", "TIME", "COMMIT", "DURATION"
        )?;
        for run in &self.runs {
            let [time, commit] = &run.shown;
            let (_, style) = run.mark();
            let seconds = format!("{:.2}s", run.seconds);
            writeln!(
                out,
                "{:<id$}  {time:<20}  {commit:<8}  {seconds:>9}  {style}{}{style:#}",
                escape(&run.run),
                run.words()
            )?;
        }
        Ok(())
    }
}

/// Prints histories for people.
pub fn histories_for_people(histories: &[History]) -> io::Result<()> {
    let mut out = anstream::stdout().lock();
    for (number, history) in histories.iter().enumerate() {
        if number > 0 {
            writeln!(out)?;
        }
        history.for_people(&mut out)?;
    }
    out.flush()
}

/// Prints an object for each history.
pub fn histories_for_programs(histories: &[History]) -> io::Result<()> {
    let mut out = io::stdout().lock();
    for history in histories {
        plain_json::write(&mut out, history)?;
        writeln!(out)?;
    }
    out.flush()
}

impl Entry {
    /// True if it passed or failed.
    fn has_run(&self) -> bool {
        match self.state {
            State::Passed | State::Flaky | State::Failed => true,
            State::Ignored | State::NotRun => false,
        }
    }

    /// Its character in the strip, and how it is shown.
    fn mark(&self) -> (char, Style) {
        match self.state {
            State::Passed => ('.', GOOD),
            State::Flaky => ('~', WARNING),
            State::Failed if self.quarantined => ('Q', WARNING),
            State::Failed => ('F', ERROR),
            State::Ignored => ('i', Style::new()),
            State::NotRun => ('-', Style::new()),
        }
    }

    /// Its verdict and its findings.
    fn words(&self) -> String {
        let mut verdict = self.state.words(self.verdict.as_deref());
        if self.quarantined {
            verdict.push_str(", quarantined");
        }
        let findings: Vec<_> = self.findings.iter().map(|code| escape(code)).collect();
        match findings.is_empty() {
            true => verdict,
            false => format!("{verdict}; {}", findings.join(", ")),
        }
    }
}

impl Durations {
    /// Those of these seconds, the latest first; none of none.
    fn of(mut seconds: Vec<f64>) -> Option<Durations> {
        let last = *seconds.first()?;
        seconds.sort_unstable_by(f64::total_cmp);
        let middle = |at: usize| seconds[at];
        let half = seconds.len() / 2;
        let median = match seconds.len() % 2 {
            0 => f64::midpoint(middle(half - 1), middle(half)),
            _ => middle(half),
        };
        Some(Durations { median, min: middle(0), max: middle(seconds.len() - 1), last })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn history(states: &[(State, f64)]) -> History {
        let entry = |(number, (state, seconds)): (usize, &(State, f64))| Entry {
            run: number.to_string(),
            time: None,
            commit: None,
            verdict: None,
            state: *state,
            quarantined: false,
            seconds: *seconds,
            findings: Vec::new(),
            shown: Default::default(),
        };
        let test = Test { binary: "b".to_owned(), root: None, test: "a\u{1b}".to_owned() };
        History::new(test, states.iter().enumerate().map(entry).collect())
    }

    #[test]
    fn changes_are_counted_between_runs_in_which_it_ran() {
        let flips = |states: &[State]| {
            let states: Vec<(State, f64)> = states.iter().map(|state| (*state, 1.0)).collect();
            let Flips { changes, pairs, .. } = history(&states).flips;
            (changes, pairs)
        };
        use State::{Failed, Flaky, Ignored, NotRun, Passed};
        assert_eq!(flips(&[]), (0, 0));
        assert_eq!(flips(&[Passed]), (0, 0));
        assert_eq!(flips(&[Passed, Failed, Passed, Failed]), (3, 3));
        assert_eq!(flips(&[Passed, NotRun, Ignored, Failed]), (1, 1));
        assert_eq!(flips(&[Passed, Flaky, Passed]), (0, 2));
    }

    #[test]
    fn durations_have_a_median() {
        use State::{Failed, NotRun, Passed};
        let durations = |states: &[(State, f64)]| history(states).durations;
        assert_eq!(durations(&[(NotRun, 0.0)]), None);
        let of = |median, min, max, last| Some(Durations { median, min, max, last });
        assert_eq!(
            durations(&[(NotRun, 0.0), (Passed, 3.0), (Failed, 1.0)]),
            of(2.0, 1.0, 3.0, 3.0)
        );
        assert_eq!(
            durations(&[(Passed, 2.0), (Passed, 9.0), (Passed, 1.0)]),
            of(2.0, 1.0, 9.0, 2.0)
        );
    }

    #[test]
    fn the_strip_has_the_oldest_run_left_and_names_are_escaped() {
        use State::{Failed, Flaky, Passed};
        let mut text = Vec::new();
        let history = history(&[(Failed, 1.0), (Flaky, 1.0), (Passed, 1.0)]);
        let mut plain = anstream::StripStream::new(&mut text);
        history.for_people(&mut plain).expect("memory takes it");
        let text = String::from_utf8(text).expect("it is text");
        assert!(text.starts_with("b a\\u{1b}\n    .~F  3 runs, the oldest left: "), "{text}");
        assert!(text.contains("1 change between passed and failed in 2 pairs of runs (50 %)"));
    }
}
