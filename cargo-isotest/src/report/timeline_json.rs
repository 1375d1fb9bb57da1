//! A trace as JSON.

use isotest_core::trace::{
    Act, Change, Existence, OpenMode, PrintStream, ProcessProperty, Trace, TraceEvent,
};
use serde::Serialize;

use super::footprint::FootprintText;
use super::messages::Verdict;

/// A trace in JSON.
#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct TraceJson<'a> {
    /// The id of its binary.
    pub binary: &'a str,
    /// Its name.
    pub test: &'a str,
    /// Its verdict.
    #[serde(flatten)]
    pub verdict: Verdict,
    /// Its duration in seconds.
    pub seconds: f64,
    /// What no trace has.
    pub blind_spots: Vec<&'static str>,
    /// What it asked for.
    #[serde(flatten)]
    pub trace: EventsJson<'a>,
}

/// Events and sets of a trace in JSON.
#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct EventsJson<'a> {
    events: Vec<EventJson<'a>>,
    dropped: u64,
    footprint: FootprintText,
}

impl<'a> From<&'a Trace> for EventsJson<'a> {
    fn from(trace: &'a Trace) -> EventsJson<'a> {
        let event = |event: &'a TraceEvent| EventJson {
            at: event.at.as_secs_f64(),
            process: event.process,
            act: ActJson::from(&event.act),
        };
        EventsJson {
            events: trace.events.iter().map(event).collect(),
            dropped: trace.dropped,
            footprint: trace.into(),
        }
    }
}

/// An event in JSON.
#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct EventJson<'a> {
    at: f64,
    process: i32,
    #[serde(flatten)]
    act: ActJson<'a>,
}

/// An act in JSON.
#[derive(Serialize)]
#[serde(tag = "act", rename_all = "kebab-case", rename_all_fields = "kebab-case")]
enum ActJson<'a> {
    Spawned { parent: i32 },
    ThreadStarted,
    Executed { path: &'a str, arguments: &'a [String], found: Existence },
    Exited { code: i32 },
    Opened { path: &'a str, mode: OpenMode, found: Existence },
    LookedUp { path: &'a str, found: Existence },
    Changed { change: Change, path: &'a str, to: Option<&'a str> },
    Connected { address: String },
    Bound { address: String },
    Listened { address: String },
    Sent { address: String },
    Resolved { name: &'a str, kind: &'a str },
    Entropy { bytes: u64 },
    HostName,
    ProcessId,
    Processors,
    Clock,
    Waited,
    VariableRead { name: &'a str },
    ProcessChanged { property: &'a ProcessProperty },
    Printed { stream: PrintStream, text: &'a str },
}

impl<'a> From<&'a Act> for ActJson<'a> {
    fn from(act: &'a Act) -> ActJson<'a> {
        match act {
            Act::Spawned { parent } => ActJson::Spawned { parent: *parent },
            Act::ThreadStarted => ActJson::ThreadStarted,
            Act::Executed { program: path, arguments, found } => {
                ActJson::Executed { path, arguments, found: *found }
            }
            Act::Exited { code } => ActJson::Exited { code: *code },
            Act::Opened { path, mode, found } => {
                ActJson::Opened { path, mode: *mode, found: *found }
            }
            Act::LookedUp { path, found } => ActJson::LookedUp { path, found: *found },
            Act::Changed { change, path, to } => {
                ActJson::Changed { change: *change, path, to: to.as_deref() }
            }
            Act::Connected(endpoint) => ActJson::Connected { address: endpoint.to_string() },
            Act::Bound(endpoint) => ActJson::Bound { address: endpoint.to_string() },
            Act::Listened(endpoint) => ActJson::Listened { address: endpoint.to_string() },
            Act::Sent(endpoint) => ActJson::Sent { address: endpoint.to_string() },
            Act::Resolved { name, kind } => ActJson::Resolved { name, kind },
            Act::Entropy { bytes } => ActJson::Entropy { bytes: *bytes },
            Act::HostName => ActJson::HostName,
            Act::ProcessId => ActJson::ProcessId,
            Act::Processors => ActJson::Processors,
            Act::Clock => ActJson::Clock,
            Act::Waited => ActJson::Waited,
            Act::VariableRead { name } => ActJson::VariableRead { name },
            Act::ProcessChanged(property) => ActJson::ProcessChanged { property },
            Act::Printed { stream, text } => ActJson::Printed { stream: *stream, text },
        }
    }
}
