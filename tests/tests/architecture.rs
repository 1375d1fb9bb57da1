//! Holds the sources to the table and the rules of the house: who may import what, who may print,
//! read the environment, make system calls. Read from the `use` lines and paths, not guessed.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use isotest_tests::program::workspace;

/// A module of a crate, by its name, and the modules of the same crate that it may name.
type Row = (&'static str, &'static [&'static str]);

/// A module of the core, what it owns, and the modules of the core that it may name.
type CoreRow = (&'static str, &'static str, &'static [&'static str]);

/// Rows of the table in `docs/architecture.md`.
const CORE: [CoreRow; 39] = [
    ("lib", "the example of the crate, and its public modules", &["command"]),
    (
        "command",
        "`Sandbox` and `Command`, in the manner of `std::process`: the public API of the crate",
        &[
            "capture",
            "collect",
            "escape",
            "finding",
            "host",
            "outcome",
            "plan",
            "policy",
            "poll_timeout",
            "refusal",
            "sandbox",
            "streams",
        ],
    ),
    ("escape", "names that a test has chosen, without control and format characters", &[]),
    ("errno", "errnos of other libraries as those of nix", &[]),
    ("poll_timeout", "time-outs of poll(2), rounded up", &[]),
    ("seed", "numbers that follow from a seed", &[]),
    ("serialized", "forms of values that serde lacks, for recorded runs", &[]),
    ("wait_status", "the words for signals and wait statuses", &[]),
    ("capture", "a pipe, and the part of a stream that is kept", &["serialized"]),
    ("case", "a test by name and binary, as it is listed", &["escape"]),
    ("finding", "what a case did that is not hermetic", &["escape", "serialized", "wait_status"]),
    (
        "outcome",
        "the verdict of a case, with its output and usage",
        &["capture", "finding", "perturbation", "policy", "refusal", "retry", "trace"],
    ),
    (
        "diagnosis",
        "why a test fails now and then: asked for runs, told outcomes. Pure: no I/O, no clock",
        &["seed"],
    ),
    ("perturbation", "conditions of a case that make a dependence on them show", &[]),
    ("policy", "value of every layer and limit", &["perturbation"]),
    ("refusal", "errors of a sandbox or a service that could not be set up", &["serialized"]),
    ("trace", "what the processes of a case asked the kernel for, on one time axis", &[]),
    ("retry", "number of retries, and the pauses between them", &[]),
    ("host", "facts about the machine, read once", &[]),
    (
        "plan",
        "project, host and policy become lists of steps. Pure: no I/O, no descriptors",
        &["changes", "finding", "host", "perturbation", "policy", "untrusted", "write_back"],
    ),
    (
        "sandbox",
        "a plan becomes a running case",
        &[
            "capture",
            "errno",
            "finding",
            "host",
            "outcome",
            "perturbation",
            "plan",
            "policy",
            "poll_timeout",
            "refusal",
            "seed",
            "trace",
            "wait_status",
        ],
    ),
    ("harness", "libtest's lines in an output", &["capture", "interleaved"]),
    ("interleaved", "bytes of one writer between those of others", &[]),
    ("foreign", "lines of other harnesses that print in libtest's words", &["harness"]),
    (
        "collect",
        "an end and an output become an `Outcome`",
        &["capture", "finding", "foreign", "harness", "outcome", "plan", "sandbox"],
    ),
    (
        "untrusted",
        "files and directories that a case, an archive or the project may have put in place: by descriptor, through no link, bounded",
        &[],
    ),
    ("word_search", "search for many words in a program", &[]),
    (
        "changes",
        "files that a case made, changed or deleted, read from its scratch",
        &["finding", "untrusted"],
    ),
    ("merge", "changes of two cases to one file, merged", &[]),
    (
        "write_back",
        "files copied out of a case's layers, which wait for the end of a run; its scratch on disk removed",
        &["finding", "merge", "untrusted"],
    ),
    ("signals", "signals as a descriptor", &["terminal"]),
    ("terminal", "the terminal during a run or a program; the caller's modes restored", &[]),
    (
        "snapshot",
        "processes of a running case and what they wait for, from `/proc`",
        &["case", "escape", "sandbox", "serialized"],
    ),
    (
        "schedule",
        "one queue with weights and groups, one loop, one channel of events; attempts, rounds, stacks",
        &[
            "capture",
            "case",
            "collect",
            "errno",
            "escape",
            "foreign",
            "harness",
            "host",
            "outcome",
            "plan",
            "poll_timeout",
            "retry",
            "sandbox",
            "serialized",
            "service_monitor",
            "signals",
            "snapshot",
            "terminal",
            "untrusted",
            "write_back",
        ],
    ),
    (
        "service_monitor",
        "the output and the ends of the services of a case",
        &["capture", "outcome", "plan", "refusal", "sandbox", "wait_status"],
    ),
    (
        "foreground",
        "one program at a terminal (`exec`, `shell`)",
        &[
            "capture",
            "collect",
            "finding",
            "outcome",
            "plan",
            "poll_timeout",
            "refusal",
            "sandbox",
            "service_monitor",
            "signals",
            "streams",
            "terminal",
            "untrusted",
        ],
    ),
    ("streams", "descriptors of the caller that may be a program's standard streams", &[]),
    (
        "host_command",
        "one program of the host, outside of every sandbox",
        &["poll_timeout", "signals"],
    ),
    ("file_lock", "locks of files that another run may have", &["signals"]),
];

/// Modules of `sandbox`, and what they own.
const SANDBOX: [(&str, &str); 14] = [
    ("`fault`, `error`, `remedy`", "the step where set-up stopped, and the meaning of a refusal"),
    ("`compile`", "operations become system calls, as bytecode"),
    (
        "`child`",
        "all that runs between clone and the program, in two places: a child of the warden, and one of a fork server",
    ),
    ("`guard`", "the seccomp filter and its notifications"),
    ("`procfs`", "a case's files in `/proc`, as the warden reads them"),
    ("`trace`", "the process that reads the system calls of a traced case"),
    (
        "`counters`, `sock_diag`, `ipc_objects`",
        "the network and the IPC namespace of a case: packets, sockets, objects",
    ),
    ("`resolver`, `dns`", "the question to a name server in the memory of a process"),
    ("`servers`", "the warden's side of fork servers"),
    (
        "`service`, `service_supervisor`",
        "the process that starts the services of a case, and its events",
    ),
    (
        "`cgroup`, `keeper`",
        "limits for all processes of a case together; the process that restores the control group",
    ),
    (
        "`warden`, `protocol`, `client`",
        "the process that starts cases, its protocol, the caller's end",
    ),
    ("`debugger`", "the process of a debugger, confined before its program is executed"),
    ("`sys`", "system calls"),
];

/// Rooms of the program in the order of their imports, and files that may import less than their room.
/// `main`, `commands` and `error` may import every room.
const PROGRAM: [Row; 14] = [
    ("cli", &[]),
    ("discover", &[]),
    ("report", &["discover"]),
    ("store", &["report"]),
    ("config", &["cli", "discover", "report"]),
    ("sandbox/environment", &["config"]),
    ("sandbox/root", &[]),
    ("sandbox", &["config", "discover", "report"]),
    ("select", &["cli", "config", "discover", "report", "sandbox", "store"]),
    ("run", &["cli", "config", "discover", "report", "sandbox", "select", "store"]),
    ("adopt", &["cli", "config", "discover", "report", "run", "sandbox", "select", "store"]),
    ("diagnose", &["cli", "config", "discover", "report", "run", "sandbox", "select"]),
    ("archive", &["cli", "config", "discover", "report", "sandbox"]),
    ("exit_code", &["report"]),
];

/// Data of the core that each stage of the program may name, and for `settings` the policy.
const DATA: [Row; 6] = [
    ("cli", &["finding", "perturbation", "policy", "retry", "schedule"]),
    ("discover", &["case", "escape", "untrusted"]),
    ("store", &["escape", "untrusted"]),
    ("sandbox/environment", &["policy"]),
    ("sandbox/root", &["escape", "untrusted"]),
    (
        "report",
        &[
            "capture",
            "case",
            "diagnosis",
            "finding",
            "outcome",
            "plan",
            "policy",
            "escape",
            "refusal",
            "sandbox",
            "schedule",
            "serialized",
            "snapshot",
            "trace",
            "untrusted",
            "wait_status",
        ],
    ),
];

/// Files that may be unsafe: the leaf that wraps system calls, what runs around clone and fork,
/// and the handlers of signals.
const UNSAFE: [&str; 17] = [
    "sys.rs",
    "compile.rs",
    "compile/loopback.rs",
    "client.rs",
    "debugger.rs",
    "guard.rs",
    "keeper.rs",
    "protocol.rs",
    "servers.rs",
    "warden/serve.rs",
    "warden/services.rs",
    "warden/slots.rs",
    "warden/competitor.rs",
    "warden/start.rs",
    "warden/tracers.rs",
    "service_supervisor.rs",
    "signals.rs",
];

/// Files that may open, list, make or remove what a path names, and whose files these are. What a case,
/// an archive or its tests can have put in place, in the target directory above all, is reached by
/// `untrusted` alone.
const BY_PATH: [(&str, &str); 47] = [
    ("isotest-core/src/command/invocation.rs", "named by a layer, and links stay in it"),
    ("isotest-core/src/command/running.rs", "a device"),
    ("isotest-core/src/foreground.rs", "a device"),
    ("isotest-core/src/host/debugger.rs", "the machine's"),
    ("isotest-core/src/host/etc.rs", "the machine's"),
    ("isotest-core/src/host/mountinfo.rs", "the machine's"),
    ("isotest-core/src/host/parts.rs", "the machine's"),
    ("isotest-core/src/host/read.rs", "the machine's"),
    ("isotest-core/src/host/surroundings.rs", "the machine's"),
    ("isotest-core/src/sandbox/cgroup.rs", "the kernel's"),
    ("isotest-core/src/sandbox/client.rs", "the kernel's, and programs"),
    ("isotest-core/src/sandbox/counters.rs", "the kernel's"),
    ("isotest-core/src/sandbox/ipc_objects.rs", "the kernel's, mounted for this"),
    ("isotest-core/src/sandbox/resolver.rs", "the kernel's"),
    ("isotest-core/src/sandbox/procfs.rs", "the kernel's"),
    ("isotest-core/src/sandbox/compile.rs", "the kernel's"),
    ("isotest-core/src/sandbox/interpose/programs.rs", "a case's, in its root"),
    ("isotest-core/src/sandbox/interpose/written.rs", "the scratch of a case that has not begun"),
    ("isotest-core/src/sandbox/trace/paths.rs", "a case's, in its root and without opening it"),
    ("isotest-core/src/sandbox/trace/places.rs", "the kernel's"),
    ("isotest-core/src/sandbox/trace/watch.rs", "the kernel's"),
    ("isotest-core/src/sandbox/warden/scratch.rs", "a run's, compared by its identity"),
    ("isotest-core/src/sandbox/warden/start.rs", "the kernel's"),
    ("isotest-core/src/snapshot.rs", "the kernel's"),
    ("isotest-core/src/untrusted.rs", "anybody's"),
    ("cargo-isotest/src/archive/open.rs", "named by an option"),
    ("cargo-isotest/src/archive/write.rs", "cargo's"),
    ("cargo-isotest/src/commands/runner_environment.rs", "the kernel's"),
    ("cargo-isotest/src/discover/assemble.rs", "the project's"),
    ("cargo-isotest/src/discover/config.rs", "cargo's"),
    ("cargo-isotest/src/commands/doctor.rs", "the kernel's"),
    ("cargo-isotest/src/sandbox/exposures.rs", "what is shown"),
    ("cargo-isotest/src/sandbox/coverage.rs", MADE),
    ("cargo-isotest/src/sandbox/provision.rs", "its own new directory"),
    ("cargo-isotest/src/report/github.rs", "named by the workflow"),
    ("cargo-isotest/src/report/report_file.rs", "named by an option"),
    ("cargo-isotest/src/sandbox/root/cache.rs", "the user's cache"),
    ("cargo-isotest/src/sandbox/root/find.rs", "named by an option, and the user's cache"),
    ("cargo-isotest/src/sandbox/root/resolve.rs", "a root that nothing runs in yet"),
    ("cargo-isotest/src/sandbox/root/unpack.rs", "a root that nothing runs in yet"),
    ("cargo-isotest/src/sandbox/run_directory.rs", MADE),
    ("cargo-isotest/src/sandbox/trial.rs", "a device"),
    ("cargo-isotest/src/diagnose/bench.rs", "the machine's"),
    ("cargo-isotest/src/run/outside.rs", "whether a path is there, by lstat and readlink alone"),
    ("cargo-isotest/src/run/programs.rs", "whether a path is there, by lstat alone"),
    ("cargo-isotest/src/run/traced.rs", "cargo's"),
    ("cargo-isotest/src/run/traces.rs", "programs, directories of `PATH`"),
];

/// A directory is made, and opened by `untrusted`.
const MADE: &str = "the directory that the user names, made where it is missing";

/// Code between clone and the program.
const CHILD: &str = "isotest-core/src/sandbox/child";
const INTERPOSED: &str = "isotest-core/src/sandbox/interpose/library";

/// A source file of a crate.
pub struct Source {
    pub path: PathBuf,
    /// The top-level module that it belongs to.
    module: String,
    /// Its lines before its tests, without comments.
    pub code: String,
}

/// The sources of a crate, without files of tests.
pub fn sources(crate_name: &str) -> Vec<Source> {
    let root = workspace().join(crate_name).join("src");
    let mut files = Vec::new();
    find(&root, &mut files);
    let sources = files.into_iter().map(|path| {
        let relative = path.strip_prefix(&root).expect("it was found there");
        let first = relative.iter().next().expect("it has a name").to_string_lossy();
        let text = fs::read_to_string(&path).expect("sources are text");
        let before_tests = text.split("#[cfg(test)]\nmod ").next().unwrap_or_default();
        let is_code = |line: &&str| !line.trim_start().starts_with("//");
        let code: Vec<&str> = before_tests.lines().filter(is_code).collect();
        Source { module: first.trim_end_matches(".rs").to_owned(), code: code.join("\n"), path }
    });
    sources.filter(|source| !source.path.ends_with("tests.rs")).collect()
}

fn find(directory: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(directory).expect("the sources are there").flatten() {
        match entry.path() {
            path if path.is_dir() => find(&path, found),
            path if path.extension().is_some_and(|extension| extension == "rs") => found.push(path),
            _ => {}
        }
    }
}

/// The words that follow `prefix`, one or a list in braces, wherever it stands in the code.
fn named<'a>(code: &'a str, prefix: &str) -> BTreeSet<&'a str> {
    let ends = |c: char| !c.is_alphanumeric() && c != '_';
    let words = code.match_indices(prefix).flat_map(|(at, _)| {
        let rest = &code[at + prefix.len()..];
        let (list, depth_of_paths) = match rest.strip_prefix('{') {
            Some(list) => (list.split_once("};").map_or(list, |(list, _)| list), true),
            None => (rest, false),
        };
        let items: Vec<&str> = if depth_of_paths { outer_items(list) } else { vec![list] };
        items.into_iter().map(move |item| {
            let item = item.trim_start();
            &item[..item.find(ends).unwrap_or(item.len())]
        })
    });
    words.filter(|word| !word.is_empty()).collect()
}

/// The parts between the commas of a list that are in no braces.
fn outer_items(list: &str) -> Vec<&str> {
    let (mut items, mut depth, mut start) = (Vec::new(), 0, 0);
    for (at, character) in list.char_indices() {
        match character {
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 0 => {
                items.push(&list[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    items.push(&list[start..]);
    items
}

/// Fails with one line for each source that breaks a rule.
#[track_caller]
fn check(crates: &[&str], rule: &str, breach: impl Fn(&Source) -> Option<String>) {
    let sources: Vec<Source> = crates.iter().flat_map(|name| sources(name)).collect();
    assert!(sources.len() > 5, "the sources were found");
    let breaches = sources.iter().filter_map(|source| {
        let path = source.path.strip_prefix(workspace()).unwrap_or(&source.path);
        Some(format!("{}: {}", path.display(), breach(source)?))
    });
    let breaches: Vec<String> = breaches.collect();
    assert!(breaches.is_empty(), "{rule}:\n{}", breaches.join("\n"));
}

/// Items that a source names by `prefix` beyond its row; `None` if it has no row.
fn beyond(table: impl IntoIterator<Item = Row>, source: &Source, prefix: &str) -> Option<String> {
    let is_below = |module: &str| {
        let source = source.path.with_extension("");
        source.ancestors().any(|above| above.ends_with(Path::new("src").join(module)))
    };
    let (_, allowed) = table.into_iter().find(|(module, _)| is_below(module))?;
    let mut named = named(&source.code, prefix);
    named.retain(|name| *name != source.module && !allowed.contains(name));
    (!named.is_empty()).then(|| format!("names {named:?}"))
}

/// One of these stands in the code.
fn has(source: &Source, words: &[&str]) -> Option<String> {
    let found: Vec<&&str> = words.iter().filter(|word| source.code.contains(**word)).collect();
    (!found.is_empty()).then(|| format!("has {found:?}"))
}

#[test]
fn every_module_of_the_core_has_a_row() {
    check(&["isotest-core"], "the table of this test has no row for it", |source| {
        let known = CORE.iter().any(|(module, _, _)| *module == source.module);
        (!known).then(|| source.module.clone())
    });
}

/// The table of the core, as in `docs/architecture.md`.
fn core_table() -> String {
    let mut table = String::from("| module | owns | may import |\n|---|---|---|\n");
    for (module, owns, names) in CORE {
        let names: Vec<String> = names.iter().map(|name| format!("`{name}`")).collect();
        let names = if names.is_empty() { "nothing".to_owned() } else { names.join(", ") };
        table += &format!("| `{module}` | {owns} | {names} |\n");
        for (part, owns) in SANDBOX.iter().filter(|_| module == "sandbox") {
            table += &format!("| — {part} | {owns} | |\n");
        }
    }
    table
}

#[test]
fn the_page_has_the_table_of_the_core() {
    const UPDATE: &str = "UPDATE_EXPECT";
    const MARKERS: [&str; 2] = ["<!-- modules of the core -->\n\n", "\n<!-- end -->"];
    let page = page("architecture.md");
    let (before, rest) = page.split_once(MARKERS[0]).expect("the table begins");
    let (_, after) = rest.split_once(MARKERS[1]).expect("the table ends");
    let expected = format!("{before}{}{}{}{after}", MARKERS[0], core_table(), MARKERS[1]);
    if std::env::var_os(UPDATE).is_some() {
        fs::write(workspace().join("docs/architecture.md"), &expected).expect("it can be written");
    } else {
        let run = "cargo test -p isotest-tests --test main architecture::";
        assert!(page == expected, "run `{UPDATE}=1 {run}`");
    }
}

#[test]
fn modules_of_the_core_name_only_what_their_row_allows() {
    check(&["isotest-core"], "it may not name that", |source| {
        beyond(CORE.map(|(module, _, names)| (module, names)), source, "crate::")
    });
}

#[test]
fn stages_of_the_program_name_only_what_their_row_allows() {
    check(&["cargo-isotest"], "it may not name that", |source| beyond(PROGRAM, source, "crate::"));
}

#[test]
fn stages_of_the_program_name_only_data_of_the_core() {
    let rule = "it may not name that of the core";
    check(&["cargo-isotest"], rule, |source| beyond(DATA, source, "isotest_core::"));
}

#[test]
fn the_core_never_prints() {
    let words = ["println!", "print!(", "eprint", "dbg!", "io::stdout", "io::stderr"];
    check(&["isotest-core"], "only `report` prints", |source| has(source, &words));
}

#[test]
fn the_core_never_reads_the_environment() {
    let words = ["std::env", "env::var", "getenv", "env!("];
    check(&["isotest-core"], "only `settings` reads it", |source| {
        // The library that tells the tracer of variables defines the function.
        if source.path.starts_with(workspace().join(INTERPOSED)) {
            return None;
        }
        // Where the build script left the library of the fork server.
        let code = source.code.replace("env!(\"OUT_DIR\")", "");
        has(&Source { code, module: source.module.clone(), path: source.path.clone() }, &words)
    });
}

#[test]
fn the_core_knows_nothing_of_cargo() {
    let manifest = fs::read_to_string(workspace().join("isotest-core/Cargo.toml"));
    let manifest = manifest.expect("it is there");
    let (_, dependencies) = manifest.split_once("[dependencies]").expect("it has some");
    let bad = dependencies.lines().find(|line| line.contains("cargo") || line.contains("nextest"));
    assert_eq!(bad, None, "the core depends on it");
    let words = ["cargo_metadata", "\"cargo\"", "Cargo.toml", "CARGO_"];
    check(&["isotest-core"], "the core knows nothing of cargo", |source| has(source, &words));
}

#[test]
fn only_few_files_are_unsafe() {
    check(&["isotest-core", "cargo-isotest"], "`unsafe` is for the leaves", |source| {
        let leaf = UNSAFE.iter().any(|name| source.path.ends_with(name));
        let may = source.path.starts_with(workspace().join("isotest-core")) && leaf
            || [CHILD, INTERPOSED].iter().any(|it| source.path.starts_with(workspace().join(it)));
        if may { None } else { has(source, &["unsafe {", "unsafe fn", "unsafe_code"]) }
    });
}

/// Functions that open, list, make or remove by a path.
fn by_path(source: &Source) -> Vec<&'static str> {
    const WORDS: [&str; 20] = [
        "fs::canonicalize",
        "fs::copy",
        "fs::create_dir",
        "fs::exists",
        "fs::hard_link",
        "fs::metadata",
        "fs::read",
        "fs::remove",
        "fs::rename",
        "fs::set_permissions",
        "fs::symlink",
        "fs::write",
        "File::create",
        "File::open",
        "File::options",
        "OpenOptions",
        "openat(",
        "openat2(",
        "(CWD,",
        "use std::fs::*",
    ];
    WORDS.into_iter().filter(|word| source.code.contains(word)).collect()
}

#[test]
fn few_files_go_by_paths_where_a_case_could_have_put_something() {
    check(&["isotest-core", "cargo-isotest"], "go by `isotest_core::untrusted`", |source| {
        let row = BY_PATH.iter().find(|(path, _)| source.path == workspace().join(path));
        let mut found = by_path(source);
        match row {
            Some(_) if found.is_empty() => {
                return Some("the table names it for nothing".to_owned());
            }
            Some((_, whose)) if *whose == MADE => found.retain(|word| *word != "fs::create_dir"),
            Some(_) => found.clear(),
            None => {}
        }
        (!found.is_empty()).then(|| format!("has {found:?}"))
    });
}

#[test]
fn the_program_makes_no_raw_system_call() {
    let words = [" libc::", " nix::", " rustix::", "(libc::", "(nix::", "extern \"C\""];
    check(&["cargo-isotest"], "the core makes them", |source| has(source, &words));
}

#[test]
fn only_the_report_prints() {
    let words = ["println!", "print!(", "eprint"];
    check(&["cargo-isotest"], "only `report` prints", |source| {
        if source.module == "report" { None } else { has(source, &words) }
    });
}

/// Code between clone and the program has no means to allocate, to lock or to panic by itself.
#[test]
fn nothing_that_allocates_is_named_after_clone() {
    let words = [
        "String",
        "Vec",
        "Box",
        "format!",
        "vec!",
        ".to_owned()",
        ".clone()",
        ".unwrap",
        ".expect(",
        "panic!",
        "Mutex",
    ];
    check(&["isotest-core"], "it runs between clone and the program", |source| {
        let inside = source.path.starts_with(workspace().join(CHILD));
        inside.then(|| has(source, &words)).flatten()
    });
}

#[test]
fn files_are_short() {
    const MOST: usize = 500;
    check(&["isotest-core", "cargo-isotest"], "split it", |source| {
        let lines = source.code.lines().count();
        (lines > MOST).then(|| format!("{lines} lines of code"))
    });
}

#[test]
fn nothing_is_left_to_do() {
    let words = ["todo!", "unimplemented!", "TODO", "FIXME", "XXX"];
    check(&["isotest-core", "cargo-isotest"], "do it", |source| has(source, &words));
}

#[test]
fn every_module_says_what_it_is_for() {
    check(&["isotest-core", "cargo-isotest"], "it has no `//!`", |source| {
        let text = fs::read_to_string(&source.path).expect("sources are text");
        (!text.starts_with("//! ")).then(|| "starts otherwise".to_owned())
    });
}

/// The names in the third column of `docs/probe-list.md`.
fn listed_probes(list: &str) -> Vec<&str> {
    let cells = list.lines().filter_map(|line| line.split('|').nth(3));
    let names = cells.flat_map(|cell| cell.split('`').skip(1).step_by(2));
    names.filter(|name| !name.starts_with('/')).collect()
}

/// A page of the book.
fn page(name: &str) -> String {
    fs::read_to_string(workspace().join("docs").join(name)).expect("it is there")
}

/// Names without a probe, a test or a row of the zoo.
fn unknown<'a>(names: impl IntoIterator<Item = &'a str>) -> Vec<&'a str> {
    let read = |path: &str| fs::read_to_string(workspace().join(path)).expect("it is there");
    let mut sources = vec![read("tests/probes/table/rows.rs"), read("fixtures/zoo/expected.tsv")];
    let entries = fs::read_dir(workspace().join("tests/tests")).expect("it is there");
    let paths = entries.map(|entry| entry.expect("it can be listed").path());
    sources.extend(paths.map(|path| fs::read_to_string(path).expect("it can be read")));
    let exists = |name: &&str| {
        let forms = [format!("\"{name}\""), format!("fn {name}("), format!("\t{name}\t")];
        sources.iter().any(|source| forms.iter().any(|form| source.contains(form)))
    };
    names.into_iter().filter(|name| !exists(name)).collect()
}

#[test]
fn every_attempt_of_the_list_has_its_probe_or_test() {
    let list = page("probe-list.md");
    let numbers =
        list.lines().filter_map(|line| line.split('|').nth(1)?.trim().parse::<u32>().ok());
    assert!(numbers.eq(1..=120), "a row for each attempt, in order");
    assert_eq!(unknown(listed_probes(&list)), [""; 0]);
}

#[test]
fn every_claim_of_security_is_attacked_by_a_probe_or_test() {
    let page = page("security.md");
    let (_, table) =
        page.split_once("| defended | by | up to | attacked by |\n").expect("it is there");
    let rows: Vec<&str> = table.lines().skip(1).take_while(|line| line.starts_with('|')).collect();
    assert!(rows.len() > 20, "{rows:?}");
    for row in rows {
        let attacks = row.trim_end_matches(" |").rsplit(" | ").next().unwrap_or_default();
        let names: Vec<&str> = attacks.split('`').skip(1).step_by(2).collect();
        assert!(!names.is_empty(), "attacked by nothing: {row}");
        assert_eq!(unknown(names), [""; 0], "{row}");
    }
}
