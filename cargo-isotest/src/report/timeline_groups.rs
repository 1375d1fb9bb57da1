//! The lines of a trace for people: what belongs together is one line.
//!
//! The dynamic loader, the start of libtest, repetitions, a search for one name in many directories, many
//! files of one directory.

use std::collections::HashMap;

use anstyle::Style;
use isotest_core::escape::escape;
use isotest_core::trace::{Act, Existence, OpenMode, PrintStream, Trace, TraceEvent};

use super::timeline_rows::{DIM, MISSING, Names, Row, row};

/// Rows for people: what belongs together is one row.
pub fn together(trace: &Trace, names: &Names<'_>) -> Vec<Row> {
    let events = merged_prints(&trace.events);
    let mut parts = parts_of(&events, trace.main_process().filter(|_| trace.is_libtest()));
    let mut rows: Vec<Row> = Vec::new();
    // The place of the row of an act of a process.
    let mut known: HashMap<(i32, &Act), usize> = HashMap::new();
    for place in 0..events.len() {
        let event = &events[place];
        match std::mem::replace(&mut parts[place], Part::Hidden) {
            Part::Hidden => continue,
            Part::Summary(text) => {
                rows.push(Row::new(event, text, DIM));
                continue;
            }
            Part::Own => {}
        }
        let rest: Vec<usize> = (place..events.len())
            .take_while(|next| events[*next].process == event.process)
            .filter(|next| *next == place || matches!(parts[*next], Part::Own))
            .take(TOGETHER)
            .collect();
        if let Some((row, length)) = group(&events, &rest, names) {
            rows.push(row);
            rest.iter().take(length).for_each(|next| parts[*next] = Part::Hidden);
            continue;
        }
        if is_covered(event, rest.get(1).map(|next| &events[*next])) {
            continue;
        }
        let repeats = !matches!(
            event.act,
            Act::Printed { .. } | Act::Exited { .. } | Act::Spawned { .. } | Act::Executed { .. }
        );
        match known.get(&(event.process, &event.act)) {
            Some(row) if repeats => rows[*row].times += 1,
            _ => {
                known.insert((event.process, &event.act), rows.len());
                rows.push(row(event, names));
            }
        }
    }
    rows
}

/// The part that an event has among the rows.
enum Part {
    /// A row, its own or one with others.
    Own,
    /// None: another event has the row.
    Hidden,
    /// A row with this text, for several events.
    Summary(String),
}

/// The parts of events that programs cause by being started: what the dynamic loader reads, the
/// start of libtest, a search for a program, the locale.
fn parts_of(events: &[TraceEvent], libtest: Option<i32>) -> Vec<Part> {
    let mut parts: Vec<Part> = events.iter().map(|_| Part::Own).collect();
    let mut of_process: HashMap<i32, Vec<usize>> = HashMap::new();
    for (place, event) in events.iter().enumerate() {
        of_process.entry(event.process).or_default().push(place);
    }
    for (process, places) in of_process {
        let acts: Vec<&Act> = places.iter().map(|place| &events[*place].act).collect();
        let mut hide = |from: usize, to: usize, text: Option<String>| {
            let mut text = text;
            for place in &places[from..to] {
                parts[*place] = text.take().map_or(Part::Hidden, Part::Summary);
            }
        };
        let mut at = 0;
        let mut is_first = true;
        while at < acts.len() {
            let Act::Executed { found, .. } = acts[at] else {
                let length = acts[at..].iter().take_while(|act| is_of_locale(act)).count();
                if length > 1 {
                    hide(at, at + length, Some(format!("{:9} the locale", "reads")));
                }
                at += length.max(1);
                continue;
            };
            if *found == Existence::Missing && is_found_later(&acts[at..]) {
                hide(at, at + 1, None);
                at += 1;
                continue;
            }
            at += 1;
            let reads = acts[at..].iter().take_while(|act| path_of(act).is_some()).count();
            let is_loaded = |act: &&Act| path_of(act).is_some_and(is_library);
            let last = acts[at..at + reads].iter().rposition(is_loaded);
            if let Some(last) = last {
                let libraries = acts[at..=at + last].iter().filter(|act| {
                    matches!(act, Act::Opened { path, found, .. }
                        if *found != Existence::Missing && is_library(path))
                });
                let count = libraries.count();
                let noun = if count == 1 { "library" } else { "libraries" };
                hide(at, at + last + 1, Some(format!("{:9} {count} {noun}", "loads")));
                at += last + 1;
            }
            let start = acts[at..].iter().position(|act| is_running(act));
            if let Some(length) = start.filter(|_| libtest == Some(process) && is_first) {
                // The line that libtest prints belongs to it.
                hide(at, at + length + 1, Some(format!("{:9} the tests", "starts")));
                at += length + 1;
            }
            is_first = false;
        }
    }
    parts
}

/// libtest is about to run the tests.
fn is_running(act: &Act) -> bool {
    matches!(act, Act::Printed { text, .. } if text.starts_with("running "))
}

/// True if a program that was not found is found in another directory.
fn is_found_later(acts: &[&Act]) -> bool {
    let name = |act: &Act| match act {
        Act::Executed { program, found, .. } => {
            let name = program.rsplit_once('/').map_or(program.as_str(), |(_, name)| name);
            Some((name.to_owned(), *found))
        }
        _ => None,
    };
    let Some((sought, _)) = acts.first().and_then(|act| name(act)) else { return false };
    let search = acts.iter().map_while(|act| name(act)).take_while(|(name, _)| *name == sought);
    search.map(|(_, found)| found).any(|found| found != Existence::Missing)
}

/// What setlocale(3) reads.
fn is_of_locale(act: &Act) -> bool {
    path_of(act).is_some_and(|path| {
        path.starts_with("/usr/lib/locale/")
            || path.starts_with("/usr/share/locale/")
            || path.ends_with("/gconv/gconv-modules.cache")
    })
}

/// Events in which each line that a process prints is one.
fn merged_prints(events: &[TraceEvent]) -> Vec<TraceEvent> {
    let mut merged: Vec<TraceEvent> = Vec::new();
    // The place of a line that has no end yet.
    let mut open: HashMap<(i32, bool), usize> = HashMap::new();
    for event in events {
        let Act::Printed { stream, text } = &event.act else {
            merged.push(event.clone());
            continue;
        };
        let key = (event.process, *stream == PrintStream::Stdout);
        for part in text.split_inclusive('\n') {
            let place = match open.get(&key) {
                Some(place) => {
                    if let Act::Printed { text, .. } = &mut merged[*place].act {
                        text.push_str(part);
                    }
                    *place
                }
                None => {
                    let act = Act::Printed { stream: *stream, text: part.to_owned() };
                    merged.push(TraceEvent { act, ..event.clone() });
                    merged.len() - 1
                }
            };
            match part.ends_with('\n') {
                true => open.remove(&key),
                false => open.insert(key, place),
            };
        }
    }
    merged
        .retain(|event| !matches!(&event.act, Act::Printed { text, .. } if text.trim().is_empty()));
    merged
}

/// A search of more places than this for one name is one row.
const SEARCH: usize = 2;
/// Maximum number of events that are one row.
const TOGETHER: usize = 512;
/// More files than this of one directory are one row.
const FILES: usize = 4;

/// The row of the first of these events of one process that belong together, and their number.
fn group(events: &[TraceEvent], places: &[usize], names: &Names<'_>) -> Option<(Row, usize)> {
    let acts = || places.iter().map(|place| &events[*place].act);
    let first = &events[*places.first()?];
    if let Some((_, name)) = missing_path(&first.act).and_then(|path| path.rsplit_once('/')) {
        let is_same = |act: &&Act| {
            missing_path(act).and_then(|path| path.rsplit_once('/')).is_some_and(|it| it.1 == name)
        };
        let sought: Vec<&str> = acts().take_while(is_same).filter_map(missing_path).collect();
        let mut directories = sought.clone();
        directories.sort_unstable();
        directories.dedup();
        let next = places.get(sought.len()).and_then(|place| {
            let act = &events[*place].act;
            let found = path_of(act).filter(|_| missing_path(act).is_none())?;
            (found.rsplit_once('/')?.1 == name).then_some(found)
        });
        if let Some(found) = next.filter(|_| directories.len() > 1) {
            let text = format!("{:9} {}", "finds", names.path(found));
            return Some((Row::new(first, text, DIM), sought.len() + 1));
        }
        if directories.len() > SEARCH {
            let (name, count) = (escape(name), directories.len());
            let text = format!("{:9} {name} in {count} directories: not found", "looks for");
            return Some((Row::new(first, text, MISSING), sought.len()));
        }
    }
    let directory = read_in(&first.act)?;
    let read: Vec<&str> =
        acts().take_while(|act| read_in(act) == Some(directory)).filter_map(path_of).collect();
    let mut files = read.clone();
    files.sort_unstable();
    files.dedup();
    (files.len() > FILES).then(|| {
        let text = format!("{:9} {} files in {}", "reads", files.len(), names.path(directory));
        (Row::new(first, text, Style::new()), read.len())
    })
}

fn path_of(act: &Act) -> Option<&str> {
    match act {
        Act::Opened { path, .. } | Act::LookedUp { path, .. } => Some(path),
        _ => None,
    }
}

/// The path that is looked up or opened to read, and is missing.
fn missing_path(act: &Act) -> Option<&str> {
    match act {
        Act::LookedUp { path, found: Existence::Missing }
        | Act::Opened {
            path,
            found: Existence::Missing,
            mode: OpenMode::Read | OpenMode::List | OpenMode::Write,
        } => Some(path),
        _ => None,
    }
}

/// The directory of a file that is there and is read or looked up.
fn read_in(act: &Act) -> Option<&str> {
    match act {
        Act::LookedUp { path, found: Existence::Exists }
        | Act::Opened { path, found: Existence::Exists, mode: OpenMode::Read } => {
            path.rsplit_once('/').map(|(directory, _)| directory)
        }
        _ => None,
    }
}

fn is_library(path: &str) -> bool {
    let name = path.rsplit_once('/').map_or(path, |(_, name)| name);
    name.ends_with(".so") || name.contains(".so.")
}

/// True if this look-up is of a path that the process uses next.
fn is_covered(event: &TraceEvent, next: Option<&TraceEvent>) -> bool {
    let Act::LookedUp { path, found: Existence::Exists | Existence::Unknown } = &event.act else {
        return false;
    };
    match next.map(|next| &next.act) {
        Some(Act::Executed { program, .. }) => program == path,
        Some(Act::Opened { path: next, .. }) => next == path,
        _ => false,
    }
}
