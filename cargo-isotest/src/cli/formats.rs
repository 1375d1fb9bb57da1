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

/// Output format of a list or a diagnosis.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum ReportFormat {
    /// For people.
    #[default]
    Human,
    /// For programs.
    Json,
}
