//! Output of `doctor`.

use std::io::{self, BufWriter, Write};

use anstyle::{AnsiColor, Style};
use serde::Serialize;

/// One kernel feature that was tried.
#[derive(Debug, Clone, Serialize)]
pub struct Check {
    /// The feature that was tried.
    pub feature: &'static str,
    /// True if it counts for full isolation.
    pub required: bool,
    /// True if it works.
    pub works: bool,
    /// Its use, or the refusal: the act and the errno.
    pub detail: String,
    /// The cause of the refusal, and the remedy.
    pub hint: Option<String>,
}

const BOLD: Style = Style::new().bold();
const DIM: Style = Style::new().dimmed();

/// One line a feature; a refusal takes a second one. Then what is known about the machine.
pub fn diagnosis_for_people(checks: &[Check], facts: &[(&str, String)]) -> io::Result<()> {
    let mut out = BufWriter::new(anstream::stdout());
    let mut reported: Vec<&String> = Vec::new();
    for check in checks {
        let (word, colour) = match (check.works, check.required) {
            (true, _) => ("works", AnsiColor::Green),
            (false, true) => ("refused", AnsiColor::Red),
            (false, false) => ("missing", AnsiColor::Yellow),
        };
        let style = Style::new().bold().fg_color(Some(colour.into()));
        writeln!(
            out,
            "{style}{word:>8}{style:#}  {:<28} {DIM}{}{DIM:#}",
            check.feature, check.detail
        )?;
        let hint = check.hint.as_ref().filter(|hint| !check.works && !reported.contains(hint));
        if let Some(hint) = hint {
            reported.push(hint);
            writeln!(out, "          {BOLD}hint:{BOLD:#} {hint}")?;
        }
    }
    writeln!(out)?;
    for (name, value) in facts {
        writeln!(out, "{name:>28}  {value}")?;
    }
    let refused = checks.iter().filter(|check| check.required && !check.works).count();
    let verdict = match refused {
        0 => "every test can have full isolation here".to_owned(),
        1 => "full isolation does not work here: 1 feature is refused".to_owned(),
        many => format!("full isolation does not work here: {many} features are refused"),
    };
    writeln!(out, "\n{BOLD}{verdict}{BOLD:#}")?;
    out.flush()
}

/// The same as one JSON object.
pub fn diagnosis_for_programs(checks: &[Check], facts: &[(&str, String)]) -> io::Result<()> {
    let facts: serde_json::Map<_, _> =
        facts.iter().map(|(name, value)| ((*name).to_owned(), value.clone().into())).collect();
    let isolated = checks.iter().all(|check| check.works || !check.required);
    let whole = serde_json::json!({ "full-isolation": isolated, "checks": checks, "facts": facts });
    let mut out = BufWriter::new(io::stdout());
    serde_json::to_writer_pretty(&mut out, &whole)?;
    writeln!(out)?;
    out.flush()
}
