//! Options of a report: the format of stdout, the order of blocks, who prints the lines around them.

use super::blocks::Order;
use super::suite::TerminalStyle;

/// Options of a report.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
pub struct Options {
    /// The format of stdout.
    pub format: FormatName,
    /// Order of the binaries' blocks.
    pub order: Order,
    /// libtest's `--show-output`: what passed tests wrote is shown too.
    pub show_output: bool,
    /// libtest's `--report-time`.
    pub report_time: bool,
    /// Number of the slowest cases that the closing block names.
    pub slowest: usize,
    /// The findings that the closing block lists.
    #[serde(default)]
    pub findings: FindingsShown,
    /// The seed of the order in which cases start, where it is random.
    pub shuffle_seed: Option<u64>,
    /// cargo's `--quiet`: no `Running` lines, no summary of a run without trouble.
    pub quiet: bool,
    /// Printer of cargo's lines around the blocks.
    pub frame: Frame,
    /// Properties of the terminal.
    pub style: TerminalStyle,
}

/// `--findings`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
pub enum FindingsShown {
    /// Each.
    All,
    /// By code, a few lines for each.
    #[default]
    Summary,
    /// None.
    None,
}

/// Printer of cargo's lines around the blocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
pub enum Frame {
    /// This report, and a summary behind them.
    #[default]
    Isotest,
    /// Cargo itself, which has called for one binary; a summary follows where there is something
    /// to say that cargo does not.
    Cargo,
}

/// The formats, by what `--format` calls them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
pub enum FormatName {
    /// A line for each test.
    #[default]
    Pretty,
    /// A character for each test, `-q`.
    Terse,
    /// An object for each event.
    Json,
    /// The same, with what nextest adds of each binary.
    JsonPlus,
    /// isotest's own objects ([`messages`](super::messages)); a format has nothing to say.
    Messages,
}

impl FormatName {
    /// True if stdout may have nothing else.
    pub fn is_for_programs(self) -> bool {
        match self {
            FormatName::Pretty | FormatName::Terse => false,
            FormatName::Json | FormatName::JsonPlus | FormatName::Messages => true,
        }
    }
}
