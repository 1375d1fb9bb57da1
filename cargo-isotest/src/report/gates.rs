//! What the closing block says of gates: quarantine, and entries of the baseline that are gone.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Write};

use isotest_core::case::CaseIndex;
use isotest_core::escape::escape;
use isotest_core::finding::Codes;
use isotest_core::outcome::{Outcome, Quarantine, Standing, Verdict};

use super::groups::{GroupLines, write_more};
use super::paint::{self, ERROR, HINT};
use super::suite::{self, Suite};
use super::words::counted;

/// Maximum number of entries that are listed.
const ENTRIES: usize = 5;

/// State of the gates of a run.
#[derive(Debug, Default)]
pub struct Gates {
    /// Cases that passed by themselves and failed by a gate.
    denied: BTreeSet<CaseIndex>,
    /// Cases that failed and may.
    quarantined: GroupLines,
    /// Cases that failed and may not any longer.
    lapsed: GroupLines,
    /// The codes of the findings of cases, of all attempts.
    codes: BTreeMap<CaseIndex, Codes>,
    /// Entries of the baseline that no longer occur.
    gone: Vec<String>,
}

impl Gates {
    /// Takes note of a case that has ended.
    pub fn observe(&mut self, suites: &[Suite], index: CaseIndex, outcome: &Outcome) {
        let attempts = outcome.earlier.iter().chain([outcome]);
        let codes: Codes = attempts.flat_map(|it| &it.findings).map(|it| it.code()).collect();
        if !codes.is_empty() {
            self.codes.insert(index, codes);
        }
        if matches!(outcome.verdict, Verdict::Denied(_) | Verdict::Unproven { .. }) {
            self.denied.insert(index);
        }
        let (true, Some(entry)) = (outcome.verdict.is_failure(), &outcome.quarantine) else {
            return;
        };
        let Quarantine { reason, until, token, place, standing } = &**entry;
        let (label, until) = (|| suite::label(suites, index), escape(until));
        match standing {
            Standing::Holds => self.quarantined.add(|| {
                let token = token.as_ref().map_or(String::new(), |it| format!(", {}", escape(it)));
                format!("{}: {} (until {until}{token})", label(), escape(reason))
            }),
            Standing::Expired => self
                .lapsed
                .add(|| format!("{}: the entry in {} expired on {until}", label(), escape(place))),
            Standing::Broken(runs) => self.lapsed.add(|| {
                let place = escape(place);
                format!(
                    "{}: the entry in {place} is broken: it failed in each of {runs} runs",
                    label()
                )
            }),
        }
    }

    /// True if the case passed by itself and failed by a gate.
    pub fn is_denied(&self, index: CaseIndex) -> bool {
        self.denied.contains(&index)
    }

    /// The codes of the findings of a case.
    pub fn codes(&self, index: CaseIndex) -> Codes {
        self.codes.get(&index).copied().unwrap_or_default()
    }

    /// Takes note of entries of the baseline that no longer occur.
    pub fn take_gone(&mut self, gone: Vec<String>) {
        self.gone = gone;
    }

    /// True if there is something to say.
    pub fn are_noteworthy(&self) -> bool {
        self.quarantined.count > 0 || !self.gone.is_empty()
    }

    /// Writes what there is to say.
    pub fn write(&self, colour: bool, err: &mut dyn Write) -> io::Result<()> {
        let (note, error) =
            (paint::styled(colour, HINT, "note"), paint::styled(colour, ERROR, "error"));
        if self.quarantined.count > 0 {
            let tests = counted(self.quarantined.count, "quarantined test");
            self.quarantined.write_as(&note, &format!("{tests} failed"), err)?;
        }
        if self.lapsed.count > 0 {
            let tests = counted(self.lapsed.count, "test");
            let verb = if self.lapsed.count == 1 { "is" } else { "are" };
            self.lapsed.write_as(
                &error,
                &format!("{tests} {verb} in quarantine no longer"),
                err,
            )?;
        }
        if !self.gone.is_empty() {
            let (entries, verb) = match self.gone.len() {
                1 => ("1 entry".to_owned(), "occurs"),
                count => (format!("{count} entries"), "occur"),
            };
            writeln!(err, "\n{note}: {entries} of the baseline no longer {verb}")?;
            for line in self.gone.iter().take(ENTRIES) {
                writeln!(err, "    {}", escape(line))?;
            }
            write_more(self.gone.len().saturating_sub(ENTRIES), err)?;
            let help = paint::styled(colour, HINT, "help");
            writeln!(err, "{help}: `cargo isotest baseline` removes what no longer occurs")?;
        }
        Ok(())
    }
}
