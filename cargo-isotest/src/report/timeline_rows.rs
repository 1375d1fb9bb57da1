//! The events of a trace in words, a line each.

use std::time::Duration;

use anstyle::{AnsiColor, Style};
use isotest_core::escape::escape;
use isotest_core::trace::{
    Act, Change, Endpoint, Existence, OpenMode, PrintStream, ProcessProperty, Surrounding, Trace,
    TraceEvent,
};

use super::paint::STRONG;

/// Style of what matters less.
pub const DIM: Style = Style::new().dimmed();
/// Style of what was not found.
pub const MISSING: Style = AnsiColor::Yellow.on_default();
const WRITE: Style = AnsiColor::Magenta.on_default();
const NETWORK: Style = AnsiColor::Cyan.on_default();

/// Ways to shorten a path or a line.
pub struct Names<'a> {
    /// The root of the project.
    pub workspace: Option<&'a str>,
    /// The home directory.
    pub home: Option<&'a str>,
    /// Nothing is cut.
    pub full: bool,
}

/// Maximum number of characters of the arguments of a program.
const ARGUMENTS: usize = 60;

impl Names<'_> {
    /// The beginning of long arguments.
    fn cut(&self, text: &str) -> String {
        match text.char_indices().nth(ARGUMENTS).filter(|_| !self.full) {
            Some((end, _)) => format!("{}…", &text[..end]),
            None => text.to_owned(),
        }
    }

    /// A path, relative to the project or to the home directory.
    pub fn path(&self, path: &str) -> String {
        let below = |top: Option<&str>| {
            let rest = path.strip_prefix(top.filter(|top| top.len() > 1)?)?;
            if rest.is_empty() { Some("") } else { rest.strip_prefix('/') }
        };
        match (below(self.workspace), below(self.home)) {
            (Some(""), _) => ".".to_owned(),
            (Some(rest), _) => escape(rest).into_owned(),
            (None, Some("")) => "~".to_owned(),
            (None, Some(rest)) => format!("~/{}", escape(rest)),
            (None, None) => escape(path).into_owned(),
        }
    }
}

/// A line of the axis.
#[derive(Debug, Clone, PartialEq)]
pub struct Row {
    /// Time since the start of the case.
    pub at: Duration,
    /// The process.
    pub process: i32,
    /// The words.
    pub text: String,
    /// Their style.
    pub style: Style,
    /// Number of equal events.
    pub times: usize,
}

impl Row {
    /// A line for an event.
    pub fn new(event: &TraceEvent, text: String, style: Style) -> Row {
        Row { at: event.at, process: event.process, text, style, times: 1 }
    }
}

/// A line an event.
pub fn every(trace: &Trace, names: &Names<'_>) -> Vec<Row> {
    trace.events.iter().map(|event| row(event, names)).collect()
}

/// The line of an event.
pub fn row(event: &TraceEvent, names: &Names<'_>) -> Row {
    let (text, style) = match &event.act {
        Act::Spawned { parent: 0 } => ("starts".to_owned(), STRONG),
        Act::Spawned { parent } => (format!("starts, child of {parent}"), STRONG),
        Act::Executed { program, arguments, found } => {
            let arguments: Vec<String> =
                arguments.iter().skip(1).map(|it| names.path(it)).collect();
            let (program, arguments) = (names.path(program), names.cut(&arguments.join(" ")));
            let gap = if arguments.is_empty() { "" } else { " " };
            let text = format!("{:9} {program}{gap}{arguments}{}", "executes", missing(*found));
            (text, STRONG)
        }
        Act::Exited { code } => (format!("{:9} {code}", "exits"), STRONG),
        Act::Opened { path, mode, found } => {
            let (verb, style) = match (mode, found) {
                (OpenMode::Read, Existence::Missing) => ("reads", MISSING),
                (OpenMode::Read, _) => ("reads", Style::new()),
                (OpenMode::List, Existence::Missing) => ("lists", MISSING),
                (OpenMode::List, _) => ("lists", Style::new()),
                (OpenMode::Create, Existence::Missing) => ("creates", WRITE),
                (OpenMode::Write | OpenMode::Create, _) => ("writes", WRITE),
            };
            let found = match mode {
                OpenMode::Create => Existence::Exists,
                _ => *found,
            };
            (format!("{verb:9} {}{}", names.path(path), missing(found)), style)
        }
        Act::LookedUp { path, found } => {
            let style = if *found == Existence::Missing { MISSING } else { DIM };
            (format!("{:9} {}{}", "looks up", names.path(path), missing(*found)), style)
        }
        Act::Changed { change, path, to } => {
            let verb = match change {
                Change::Removed => "removes",
                Change::MadeDirectory => "makes",
                Change::MadeNode => "makes",
                Change::Renamed => "renames",
                Change::Linked | Change::LinkedSymbolically => "links",
                Change::Truncated => "truncates",
                Change::Attributes => "changes",
            };
            let to = to.as_ref().map(|to| format!(" → {}", names.path(to))).unwrap_or_default();
            let what = match change {
                Change::MadeDirectory => "/",
                Change::Attributes => " (mode, owner or times)",
                _ => "",
            };
            (format!("{verb:9} {}{what}{to}", names.path(path)), WRITE)
        }
        Act::Connected(endpoint) => (format!("{:9} {}", "connects", address(endpoint)), NETWORK),
        Act::Bound(endpoint) => (format!("{:9} {}", "binds", address(endpoint)), NETWORK),
        Act::Listened(endpoint) => (format!("{:9} {}", "listens", address(endpoint)), NETWORK),
        Act::Sent(endpoint) => (format!("{:9} {}", "sends to", address(endpoint)), NETWORK),
        Act::Resolved { name, kind } => {
            (format!("{:9} {} ({})", "asks DNS", escape(name), escape(kind)), NETWORK)
        }
        Act::Entropy { bytes } => (format!("{:9} {bytes} random bytes", "reads"), DIM),
        Act::HostName => (format!("{:9} host name (uname)", "reads"), DIM),
        Act::ProcessId => (format!("{:9} process id", "reads"), DIM),
        Act::Processors => (format!("{:9} number of processors", "reads"), DIM),
        Act::ThreadStarted => (format!("{:9} a thread", "starts"), DIM),
        Act::Clock => (format!("{:9} clock", "reads"), DIM),
        Act::Waited => (format!("{:9} for a time", "waits"), DIM),
        Act::VariableRead { name } => (format!("{:9} variable {}", "reads", escape(name)), DIM),
        Act::ProcessChanged(property) => (format!("{:9} {}", "changes", words(property)), WRITE),
        Act::Printed { stream, text } => (printed(*stream, text), Style::new()),
    };
    let note = event.act.surrounding().filter(|_| is_path(&event.act));
    let note = note.map(|it| format!(" ({})", surrounding(it))).unwrap_or_default();
    Row::new(event, format!("{text}{note}"), style)
}

fn words(property: &ProcessProperty) -> String {
    match property {
        ProcessProperty::WorkingDirectory => "working directory of the process".to_owned(),
        ProcessProperty::Limit(number) => format!("resource limit {number} of the process"),
        ProcessProperty::Umask => "umask of the process".to_owned(),
        ProcessProperty::Variable(name) => format!("variable {} of the process", escape(name)),
    }
}

fn is_path(act: &Act) -> bool {
    matches!(act, Act::Opened { .. } | Act::LookedUp { .. })
}

fn missing(found: Existence) -> &'static str {
    match found {
        Existence::Missing => ": not found",
        Existence::Exists | Existence::Unknown => "",
    }
}

fn address(endpoint: &Endpoint) -> String {
    escape(&endpoint.to_string()).into_owned()
}

fn printed(stream: PrintStream, text: &str) -> String {
    let stream = match stream {
        PrintStream::Stdout => "stdout",
        PrintStream::Stderr => "stderr",
    };
    let text = text.strip_suffix('\n').unwrap_or(text);
    format!("{stream:9} {DIM}│{DIM:#} {}", escape(text))
}

/// The words for a property of the surroundings.
pub fn surrounding(surrounding: Surrounding) -> &'static str {
    match surrounding {
        Surrounding::Entropy => "entropy",
        Surrounding::Zone => "time zone",
        Surrounding::HostName => "host name",
        Surrounding::ProcessId => "process id",
        Surrounding::Processors => "number of processors",
        Surrounding::Clock => "clock",
    }
}
