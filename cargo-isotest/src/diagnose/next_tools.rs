//! Tools that look for the races of a test, with the command for it.

use std::env::consts::ARCH;

use super::investigate::Investigation;
use crate::discover::Binary;
use crate::report::{self, NextTool};

/// The tools for a test. What runs programs, or uses the network or files, is too much for an interpreter and
/// for a model.
pub fn for_test(it: &Investigation, binary: &Binary, name: &str) -> Vec<NextTool> {
    let (flag, name) = (&binary.rerun_flag, report::quoted(name));
    let tool = |name: &str, what: &str, command: String| NextTool {
        name: name.to_owned(),
        what: what.to_owned(),
        command,
    };
    let sanitizer = tool(
        "ThreadSanitizer",
        "data races that happen in a run (nightly, with `rust-src`)",
        format!(
            "RUSTFLAGS=-Zsanitizer=thread cargo +nightly test -Zbuild-std --target {ARCH}-unknown-linux-gnu \
             {flag} -- --exact {name}"
        ),
    );
    let facts = &it.facts;
    let is_of_threads = facts.is_whole
        && !facts.executes
        && !facts.writes
        && facts.footprint.binds.is_empty()
        && facts.footprint.dials.is_empty();
    if !is_of_threads {
        return vec![sanitizer];
    }
    vec![
        tool(
            "Miri",
            "many schedules of the same test (nightly, with `miri`)",
            format!(
                "MIRIFLAGS=-Zmiri-many-seeds cargo +nightly miri test {flag} -- --exact {name}"
            ),
        ),
        sanitizer,
        tool(
            "loom",
            "all schedules of a model: its types for those of std, the body in `loom::model(|| …)`",
            format!("RUSTFLAGS='--cfg loom' cargo test --release {flag} -- --exact {name}"),
        ),
        tool(
            "shuttle",
            "random schedules of a larger one, the body in `shuttle::check_random(|| …, 1000)`",
            format!("RUSTFLAGS='--cfg shuttle' cargo test --release {flag} -- --exact {name}"),
        ),
    ]
}
