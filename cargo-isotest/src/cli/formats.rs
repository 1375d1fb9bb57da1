//! Formats of output, as they are typed.

use clap::ValueEnum;

/// `--message-format`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum MessageFormat {
    /// The format of `--format`.
    #[default]
    Human,
    /// isotest's own events.
    Json,
    /// libtest's events.
    LibtestJson,
    /// The same, with what nextest adds.
    LibtestJsonPlus,
}

/// `--findings`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum ListedFindings {
    /// Each.
    All,
    /// A few lines of each kind.
    #[default]
    Summary,
    /// None.
    None,
}

/// Output format of a list or a diagnosis.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum ReportFormat {
    /// For people.
    #[default]
    Human,
    /// For programs.
    Json,
}
