//! The probe suite: attempts to get out of a sandbox, each a test.
//!
//! `cargo test -p isotest-tests --test probes` runs every probe twice: in isotest, where it must be
//! held, and without a sandbox, where it must get through, since a probe that nothing stops and
//! nobody lets through proves nothing. `--against bwrap` (or `ISOTEST_PROBES_AGAINST`, a list
//! with commas) runs it against a peer. `ISOTEST_PROBES_RECORD` names a file to which a line a
//! verdict is added; `scripts/security-table` makes the table of them.
//!
//! In reading order: `table` and its rows, `programs` with the command lines, `arena` for what is
//! planted outside, `judge`; `payload/` is the program inside.

mod arena;
mod facts;
mod judge;
mod programs;
mod table;

use std::env;
use std::fs::OpenOptions;
use std::io::Write;
use std::process::ExitCode;
use std::sync::Arc;

use libtest_mimic::{Arguments, Failed, Trial};
use nix::unistd::Uid;

use judge::{Verdict, judge};
use programs::{Programs, Sandbox};
use table::{Probe, TOPICS, Without};

fn main() -> ExitCode {
    let (against, rest) = match against() {
        Ok(known) => known,
        Err(name) => {
            eprintln!("error: `{name}` is no sandbox; there are `isotest`, `bwrap` and `none`");
            return ExitCode::from(2);
        }
    };
    if against.contains(&Sandbox::Bwrap) && !programs::is_installed("bwrap") {
        eprintln!("error: `bwrap` is not installed (Debian: `apt-get install bubblewrap`)");
        return ExitCode::from(2);
    }
    let arguments = Arguments::from_iter(rest);
    if isotest_tests::refused() {
        return ExitCode::SUCCESS;
    }
    arena::join_session_keyring().expect("the kernel has keyrings");
    let programs = Arc::new(Programs::prepare().expect("/var/tmp is writable"));
    let trials = against.iter().flat_map(|sandbox| trials(*sandbox, &programs)).collect();
    let conclusion = libtest_mimic::run(&arguments, trials);
    // `exit` would leave the copy of the payload behind.
    drop(programs);
    conclusion.exit_code()
}

/// Whom to run against, and the arguments that are libtest's.
fn against() -> Result<(Vec<Sandbox>, Vec<String>), String> {
    let mut names = env::var("ISOTEST_PROBES_AGAINST").ok();
    let mut rest = Vec::new();
    let mut words = env::args();
    while let Some(word) = words.next() {
        match word.strip_prefix("--against") {
            Some("") => names = words.next(),
            Some(name) if name.starts_with('=') => names = name.get(1..).map(str::to_owned),
            _ => rest.push(word),
        }
    }
    let names = names.unwrap_or_else(|| "isotest,none".to_owned());
    let parse = |name: &str| Sandbox::parse(name).ok_or_else(|| name.to_owned());
    Ok((names.split(',').map(parse).collect::<Result<_, _>>()?, rest))
}

fn trials(sandbox: Sandbox, programs: &Arc<Programs>) -> Vec<Trial> {
    let rows = TOPICS.iter().flat_map(|(topic, rows)| rows.iter().map(move |row| (*topic, row)));
    let trial = |(topic, probe): (&'static str, &'static Probe)| {
        let programs = Arc::clone(programs);
        let impossible = probe.takes_root() && !Uid::effective().is_root();
        let name = format!("{topic}::{}", probe.name);
        Trial::test(name, move || check(&programs, sandbox, topic, probe))
            .with_kind(sandbox.name())
            .with_ignored_flag(impossible)
    };
    rows.map(trial).collect()
}

fn check(programs: &Programs, sandbox: Sandbox, topic: &str, probe: &Probe) -> Result<(), Failed> {
    let verdict = judge(programs, sandbox, probe).map_err(|error| format!("the judge: {error}"))?;
    record(sandbox, topic, probe, &verdict).map_err(|error| format!("the record: {error}"))?;
    let root = Uid::effective().is_root();
    let wanted = match sandbox {
        Sandbox::Isotest | Sandbox::Bwrap => Wanted::Held,
        Sandbox::None => match probe.without {
            Without::Escapes => Wanted::Escaped,
            Without::EscapesAsRoot if root => Wanted::Escaped,
            Without::EscapesWith(capability) if has(capability) => Wanted::Escaped,
            Without::EscapesAsRoot | Without::EscapesWith(_) => Wanted::Either,
            Without::Holds(_) => Wanted::Either,
        },
    };
    let told = format!("{}\nmust happen: {} ({})", probe.attempt, probe.must, probe.source);
    match (verdict, wanted) {
        (Verdict::NoAttempt(why), _) => Err(format!("{told}\nno attempt: {why}").into()),
        (Verdict::Escaped(what), Wanted::Held) => {
            Err(format!("{told}\ngot through: {}", what.join("; ")).into())
        }
        (Verdict::Held, Wanted::Escaped) => {
            Err(format!("{told}\nnothing got through without a sandbox: this is no probe").into())
        }
        (Verdict::Held | Verdict::Escaped(_), _) => Ok(()),
    }
}

/// The required verdict.
enum Wanted {
    Held,
    Escaped,
    Either,
}

/// True if this process has a capability. Root in a container lacks some.
fn has(capability: u8) -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    let set = line.and_then(|hex| u64::from_str_radix(hex.trim(), 16).ok()).unwrap_or(0);
    set >> capability & 1 == 1
}

/// Adds a line to the record, where one is kept.
fn record(sandbox: Sandbox, topic: &str, probe: &Probe, verdict: &Verdict) -> std::io::Result<()> {
    let Some(path) = env::var_os("ISOTEST_PROBES_RECORD") else { return Ok(()) };
    let who = if Uid::effective().is_root() { "root" } else { "user" };
    let (verdict, detail) = match verdict {
        Verdict::Held => ("held", String::new()),
        Verdict::Escaped(what) => ("escaped", what.join("; ")),
        Verdict::NoAttempt(why) => ("no attempt", why.clone()),
    };
    let note = match (sandbox, probe.without) {
        (Sandbox::None, Without::Holds(why)) => why,
        (Sandbox::None, Without::EscapesAsRoot | Without::EscapesWith(_)) => {
            "an ordinary user is refused"
        }
        _ => "",
    };
    let line = serde_json::json!({
        "topic": topic, "name": probe.name, "attempt": probe.attempt, "must": probe.must,
        "source": probe.source, "against": sandbox.name(), "who": who, "verdict": verdict,
        "detail": detail, "note": note,
    });
    let mut file = OpenOptions::new().create(true).append(true).open(path)?;
    file.write_all(format!("{line}\n").as_bytes())
}
