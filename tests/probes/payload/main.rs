//! The payload: runs inside a sandbox and tries to get out, one attempt by name.
//!
//! It prints `escaped: WHAT` for everything that got through, then `end`, without which nobody
//! believes that it tried at all. It does nothing that would harm a machine where there is no
//! sandbox: what is dangerous is done only in a namespace that is not the host's, and where
//! [`Facts::restrained`] is not set.

#![allow(unsafe_code)]
#![allow(missing_docs, reason = "a program")]

mod calls;
#[path = "../facts.rs"]
mod facts;
mod files;
mod ipc;
mod kernel;
mod mounts;
mod network;
mod privilege;
mod processes;
mod terminal;

use std::io::{Write, stdout};
use std::path::Path;

use facts::Facts;

/// Attempts that got through; empty if all were refused.
type Escapes = Vec<String>;
type Attempt = fn(&Facts) -> Escapes;

const TOPICS: [&[(&str, Attempt)]; 8] = [
    files::ATTEMPTS,
    mounts::ATTEMPTS,
    kernel::ATTEMPTS,
    processes::ATTEMPTS,
    network::ATTEMPTS,
    ipc::ATTEMPTS,
    privilege::ATTEMPTS,
    terminal::ATTEMPTS,
];

fn main() {
    let words: Vec<String> = std::env::args().collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    match words.as_slice() {
        [_, "--run", program, rest @ ..] => processes::stand_in(program, rest),
        [_, "--wait", ..] => processes::wait_forever(),
        [_, "--canary", marker] => processes::canary(marker),
        [_, name, facts] => attempt(name, Path::new(facts)),
        _ => panic!("usage: probe-payload ATTEMPT FACTS"),
    }
}

fn attempt(name: &str, facts: &Path) {
    let text = std::fs::read_to_string(facts).expect("the facts lie beside the payload");
    let facts: Facts = serde_json::from_str(&text).expect("the judge wrote them");
    let known = TOPICS.iter().flat_map(|topic| topic.iter()).find(|(known, _)| *known == name);
    let (_, attempt) = known.unwrap_or_else(|| panic!("no attempt `{name}`"));
    let escapes = attempt(&facts);
    say_end(&escapes);
}

/// Prints what got through, and that this is all.
fn say_end(escapes: &[String]) {
    let mut out = stdout().lock();
    for escape in escapes {
        // Nobody reads: then nobody believes, either.
        let _ = writeln!(out, "escaped: {}", escape.replace('\n', " "));
    }
    let _ = writeln!(out, "end");
    let _ = out.flush();
}

/// Tells the judge that it may do its part, and waits until it has: the judge closes stdin.
fn meet_judge() {
    println!("ready");
    let _ = stdout().flush();
    let mut byte = [0];
    // An error is an end, too.
    let _ = std::io::Read::read(&mut std::io::stdin(), &mut byte);
}

/// One escape if `got`.
fn escape_if(got: bool, what: impl FnOnce() -> String) -> Escapes {
    if got { vec![what()] } else { Vec::new() }
}

impl Facts {
    /// True if this process is in the host's namespace of that name (`net`, `pid`, …).
    fn shares(&self, namespace: &str) -> bool {
        let own = std::fs::read_link(format!("/proc/self/ns/{namespace}"));
        let own = own.map(|link| link.to_string_lossy().into_owned()).unwrap_or_default();
        self.namespaces.iter().any(|(name, link)| name == namespace && *link == own)
    }

    /// True if acts that could harm others are forbidden.
    fn must_not_harm(&self, namespace: &str) -> bool {
        self.restrained || self.shares(namespace)
    }

    /// The escape that reading a file with the marker is.
    fn read(&self, path: impl AsRef<Path>) -> Escapes {
        let path = path.as_ref();
        let content = std::fs::read(path).unwrap_or_default();
        let found = content.windows(self.marker.len()).any(|part| part == self.marker.as_bytes());
        escape_if(found, || format!("read {}", path.display()))
    }
}
