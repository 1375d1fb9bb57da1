//! The fork server is invisible: a test that it has started finds the process that exec would have
//! given it, fact by fact. The facts are those that `fixtures/start` tells.

use std::collections::{BTreeMap, BTreeSet};
use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use isotest_tests::normalise::normalise;
use isotest_tests::project::{EXECUTED, executes};
use isotest_tests::{Call, Project, Run, missing, refused, unavailable, word};
use nix::unistd::{AccessFlags, Gid, Uid, access};
use tempfile::TempDir;

/// Values that cannot be equal, each with the reason.
const DIFFERENT: [(&str, &str); 13] = [
    ("layout", "addresses, the canary: one exec, one layout"),
    ("maps.library", "the library that waits for orders stays"),
    ("exe.same_file", "the server's view of the program: the file itself, not the case's overlay"),
    ("auxv.11", "AT_UID: the server's, which is outside of the user namespace"),
    ("auxv.12", "AT_EUID"),
    ("auxv.13", "AT_GID"),
    ("auxv.14", "AT_EGID"),
    ("status.Vm", "memory in use, of that library too"),
    ("status.Rss", "memory in use"),
    ("status.voluntary_ctxt_switches", "chance"),
    ("status.nonvoluntary_ctxt_switches", "chance"),
    ("status.SigQ", "signals that are queued for the user, on the whole machine"),
    ("status.Cpus", "may be changed from outside meanwhile"),
];

/// The same of fields of `/proc/self/stat`, proc_pid_stat(5).
const DIFFERENT_FIELDS: [(&[u32], &str); 4] = [
    (&[9], "PF_FORKNOEXEC: it has not called exec"),
    (&[10, 11, 12, 13, 14, 15, 22, 39, 42], "page faults, times, the processor"),
    (&[23, 24], "memory in use"),
    (&[26, 27, 28, 29, 30, 35, 45, 46, 47, 48, 49, 50, 51], "addresses"),
];

/// By test, then by name.
type Facts = BTreeMap<String, BTreeMap<String, String>>;

/// `cargo isotest LINE -- --nocapture` in the fixture, whose dependencies cargo may download.
fn call(line: &str) -> Call {
    let call = Project::fixture("start").isotest(line).words("-- --nocapture");
    call.env("CARGO_NET_OFFLINE", "false")
}

fn facts(run: &Run) -> Facts {
    let mut facts = Facts::new();
    for line in run.stdout.lines().filter_map(|line| line.strip_prefix("fact ")) {
        let (names, value) = line.split_once(" = ").expect("a name and a value");
        let (test, name) = names.split_once(' ').expect("a test and a name");
        let known = facts.entry(test.to_owned()).or_default();
        let before = known.insert(name.to_owned(), value.to_owned());
        assert_eq!(before, None, "{test} tells {name} twice");
    }
    assert_eq!(facts.len(), 3, "three tests");
    facts
}

/// Every test's value of one fact.
fn values<'a>(facts: &'a Facts, name: &str) -> Vec<&'a str> {
    facts.values().map(|known| known[name].as_str()).collect()
}

/// True if the three tests came from a server. They cannot share one layout by chance.
fn is_served(facts: &Facts) -> bool {
    let seen: BTreeSet<&str> = values(facts, "maps.library").into_iter().collect();
    let layouts: BTreeSet<&str> = values(facts, "layout").into_iter().collect();
    match (seen.contains("true"), seen.len()) {
        (true, 1) => assert_eq!(layouts.len(), 1, "{layouts:?}"),
        (false, 1) => assert_eq!(layouts.len(), 3, "{layouts:?}"),
        _ => panic!("only some were started by a server: {seen:?}"),
    }
    seen.contains("true")
}

fn can_differ(name: &str) -> bool {
    let field = name.strip_prefix("stat.").and_then(|number| number.parse().ok());
    DIFFERENT.iter().any(|(start, _)| name.starts_with(start))
        || field.is_some_and(|field| DIFFERENT_FIELDS.iter().any(|(all, _)| all.contains(&field)))
}

/// Fails where a test that is executed tells anything else than one that a server has started.
#[track_caller]
fn check_equal(served: &Facts, executed: &Facts) {
    assert!(is_served(served), "no fork server was used");
    assert!(!is_served(executed), "a fork server was used");
    let mut different = Vec::new();
    for (test, facts) in served {
        let others = &executed[test];
        let names: BTreeSet<&String> = facts.keys().chain(others.keys()).collect();
        assert!(names.len() > 200, "{names:?}");
        for name in names.into_iter().filter(|name| !can_differ(name)) {
            let (one, other) = (facts.get(name), others.get(name));
            if one != other {
                different.push(format!("{test} {name}:\n  {one:?}\n  {other:?}"));
            }
        }
    }
    assert!(different.is_empty(), "server, then exec:\n{}", different.join("\n"));
}

/// Runs a test binary of the fixture both ways, and returns what it tells.
fn check(line: &str) -> Option<Facts> {
    if refused() {
        return None;
    }
    let run = |options: &str| {
        let run = call(&format!("{line} {options}")).env("RUST_LOG", "a value").run();
        run.check(0, &["3 passed"]);
        facts(&run)
    };
    let served = run("");
    check_equal(&served, &run(EXECUTED));
    Some(served)
}

/// True if a tool that the package `linked` needs is missing.
fn cannot_link() -> bool {
    missing("cc") || missing("c++") || missing("/usr/include/openssl/sha.h")
}

fn check_linked(line: &str) -> Option<Facts> {
    if cannot_link() { None } else { check(&format!("-p linked {line}")) }
}

/// Fails unless each test tells this.
#[track_caller]
fn check_told(facts: &Facts, told: &[(&str, &str)]) {
    for (name, value) in told {
        assert_eq!(values(facts, name), [*value; 3], "{name}");
    }
}

#[test]
fn a_plain_process_is_the_same() {
    let Some(facts) = check("-p plain --test facts") else { return };
    check_told(
        &facts,
        &[
            ("main.ids", "(1, 1)"),
            ("main.thread_id", "1"),
            ("main.owner", "1"),
            ("main.lock_again", "35"),
            ("main.robust", "Some(true)"),
            ("main.robust_afterwards", "Some(false)"),
            ("main.raised", "(0, 10)"),
            ("descriptors", "3"),
            // Who started it is who it is.
            ("auxv.11", &Uid::current().to_string()),
            ("auxv.14", &Gid::effective().to_string()),
            ("prctl.no_new_privs", "1"),
        ],
    );
    for (test, known) in &facts {
        let environment = &known["environment"];
        assert!(environment.contains("\"RUST_LOG\", \"a value\""), "{environment}");
        let told = [environment, &known["/proc/self/environ"], &known["maps.shared"]];
        for text in told {
            assert!(!text.contains("LD_PRELOAD") && !text.contains("fork-server"), "{text}");
            assert!(!text.contains("isotest-s"), "{text}");
        }
        assert!(
            known["arguments"].contains(&format!("\"{test}")),
            "{test}: {}",
            known["arguments"]
        );
        let program = known["current_exe"].trim_start_matches("Ok(\"").trim_end_matches("\")");
        assert!(Path::new(program).is_file(), "{program}");
    }
}

#[test]
fn under_an_init_the_process_is_the_same() {
    let Some(facts) = check("-p plain --test facts --init reaper") else { return };
    check_told(&facts, &[("main.ids", "(2, 2)"), ("main.thread_id", "2"), ("main.owner", "2")]);
}

#[test]
fn as_root_inside_the_process_is_the_same() {
    // Started by root such a case is executed: its set-up takes capabilities.
    if !Uid::effective().is_root() {
        check("-p plain --test facts --user root");
    }
}

#[test]
fn with_the_hosts_namespaces_the_process_is_the_same() {
    check("-p plain --test facts --net host --ipc host --uts host");
}

#[test]
fn with_the_strict_guard_the_process_is_the_same() {
    check("-p plain --test facts --guard strict");
}

/// Both are run once for each case, and in its sandbox.
#[test]
fn constructors_of_program_and_libraries_run_in_each_case() {
    let Some(facts) = check_linked("--test constructors") else { return };
    check_told(&facts, &[("ctor", "(1, 1)")]);
}

#[test]
fn libraries_of_other_languages_are_the_same() {
    // Root has no server for a library with an indirect function.
    let direct = if Uid::effective().is_root() { "--features linked/direct" } else { "" };
    let Some(facts) = check_linked(&format!("--test native {direct}")) else { return };
    check_told(
        &facts,
        &[
            ("shared.constructed", "1"),
            ("shared.constructed_by", "1"),
            ("shared.local", "Some(77)"),
            ("shared.twice", "42"),
            ("native.early", "(1, 45)"),
            ("native.throws", "7"),
            ("crypto.random", "1"),
        ],
    );
}

#[test]
fn an_allocator_that_is_no_libcs_is_the_same() {
    check_linked("--test mimalloc");
}

/// Every way to end prints the same and counts the same.
#[test]
fn every_end_is_the_same() {
    if refused() {
        return;
    }
    let run = |options: &str| {
        let line = format!("-p plain --test ends --test-threads 1 {options}");
        let run = Project::fixture("start").isotest(&line).env("CARGO_NET_OFFLINE", "false").run();
        run.check(100, &["3 passed, 8 failed (2 exited early, 3 killed by a signal), 1 ignored"]);
        normalise(&run.stdout)
    };
    assert_eq!(run(""), run(EXECUTED));
}

/// A way to compile the fixture, with a target directory of its own.
struct Build {
    options: String,
    /// As CARGO_ENCODED_RUSTFLAGS has them: a path among them may have blanks.
    flags: String,
    directory: PathBuf,
}

impl Build {
    /// With `--target`, so that build scripts are not compiled that way.
    fn new(name: &str, flags: &str) -> Build {
        let directory = Project::fixture("start").directory().join("target").join(name);
        let options = format!("--target {} --target-dir {}", host(), word(&directory));
        Build { options, flags: flags.replace(' ', "\u{1f}"), directory }
    }

    fn call(&self, line: &str) -> Call {
        let line = format!("-p plain --test facts {} {line}", self.options);
        // What it takes for sanitizers; nothing else in the fixture is unstable.
        call(&line).env("CARGO_ENCODED_RUSTFLAGS", &self.flags).env("RUSTC_BOOTSTRAP", "1")
    }

    fn check(&self) -> Option<Facts> {
        if refused() {
            return None;
        }
        let run = |options: &str| {
            let run = self.call(options).run();
            run.check(0, &["3 passed"]);
            facts(&run)
        };
        let served = run("");
        check_equal(&served, &run(EXECUTED));
        Some(served)
    }

    /// Fails unless its tests are executed by themselves, and pass, and `explain` says why.
    #[track_caller]
    fn check_executed(&self, reason: &str) {
        if refused() {
            return;
        }
        let run = self.call("").run();
        run.check(0, &["3 passed"]);
        assert!(!is_served(&facts(&run)), "a fork server was used");
        let line = format!("explain one -p plain --test facts {}", self.options);
        let call = Project::fixture("start").isotest(&line);
        let call = call.env("CARGO_ENCODED_RUSTFLAGS", &self.flags);
        let explained = call.env("RUSTC_BOOTSTRAP", "1").env("CARGO_NET_OFFLINE", "false").run();
        explained.check(0, &[&format!("clone3 and execve, from the template ({reason})")]);
    }
}

/// Default target of rustc.
fn host() -> String {
    let told = rustc(&["-vV"]);
    let host = told.lines().find_map(|line| line.strip_prefix("host: ")).map(str::to_owned);
    host.expect("rustc tells its host")
}

/// Answer of rustc.
fn rustc(question: &[&str]) -> String {
    let rustc = env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let told = Command::new(rustc).args(question).output().expect("rustc can be run");
    String::from_utf8(told.stdout).expect("text").trim_end().to_owned()
}

/// The standard library by LD_LIBRARY_PATH.
#[test]
fn a_program_with_dylibs_of_rust_is_the_same() {
    let Some(facts) = Build::new("dynamic", "-C prefer-dynamic").check() else { return };
    assert!(values(&facts, "maps").iter().all(|maps| maps.contains("/libstd-")), "{facts:?}");
}

#[test]
fn a_coverage_build_writes_a_profile_for_each_case() {
    if refused() {
        return;
    }
    let build = Build::new("coverage", "-C instrument-coverage");
    // No other test may have built anything yet.
    let target = Project::fixture("start").directory().join("target");
    fs::create_dir_all(&target).expect("it is writable");
    let profiles = TempDir::new_in(target).expect("it is writable");
    let sizes = |options: &str| {
        let directory = profiles.path().join(options);
        let pattern = directory.join("%p.profraw");
        let run = build.call(options).env("LLVM_PROFILE_FILE", pattern).run();
        run.check(0, &["3 passed"]);
        assert_eq!(is_served(&facts(&run)), options.is_empty(), "`{options}`");
        let files = fs::read_dir(&directory).expect("it was made");
        let mut sizes: Vec<u64> =
            files.map(|file| file.expect("a file").metadata().expect("its size").len()).collect();
        sizes.sort_unstable();
        fs::remove_dir_all(&directory).expect("it is ours");
        sizes
    };
    // The first run asks for the list of tests, which is remembered.
    sizes("");
    let (served, executed) = (sizes(""), sizes(EXECUTED));
    assert_eq!(served, executed);
    assert!(served.len() == 3 && served.iter().all(|size| *size > 0), "{served:?}");
}

/// rustc links the sanitizer statically; a runtime that is a library of its own must come first.
#[test]
fn a_program_with_a_sanitizer_is_the_same() {
    let libraries = Path::new(&rustc(&["--print", "target-libdir"])).to_owned();
    let files = fs::read_dir(libraries).expect("it is there").flatten();
    let names = files.map(|file| file.file_name().to_string_lossy().into_owned());
    if !names.into_iter().any(|name| name.ends_with("_rt.asan.a")) {
        // Not every toolchain has it, so this is no fault.
        return eprintln!("skipped: this toolchain has no address sanitizer");
    }
    Build::new("sanitizer", "-Z sanitizer=address").check();
}

/// Three tests that need a fork server.
const SERVED: &str = "\
fn served() {
    let maps = std::fs::read_to_string(\"/proc/self/maps\").unwrap();
    assert!(maps.contains(\"fork-server\"), \"it was executed\");
    let program = std::env::current_exe().unwrap();
    let own = std::fs::metadata(&program).unwrap();
    assert!(own.is_file() && program.is_absolute());
}
#[test] fn one() { served() }
#[test] fn two() { served() }
#[test] fn three() { served() }
";

/// A server has its program at its own path, also below a directory that is empty in a sandbox.
#[test]
fn a_program_is_served_wherever_it_lies() {
    if refused() || executes() {
        return;
    }
    for parent in ["/tmp", "/var/tmp", "/dev/shm", "/run"].map(Path::new) {
        // `/run` is root's.
        if access(parent, AccessFlags::W_OK).is_err() {
            continue;
        }
        for (name, options) in [("s/l0", ""), ("a b/\u{fc},", "--init reaper")] {
            let project = Project::below(parent, name, &[("src/lib.rs", SERVED)]);
            let run = project.isotest(&format!("--lib {options}")).run();
            run.check(0, &["3 passed"]);
        }
        let project = Project::below(parent, "home/demo", &[("src/lib.rs", SERVED)]);
        let home = project.directory().parent().expect("it lies in a directory");
        let run = project.isotest("--lib").env("HOME", home).run();
        run.check(0, &["3 passed"]);
    }
}

/// Tests that fail where a fork server starts them, and none of the other tests of their binary.
const FAIL_SERVED: &str = "\
#[test] fn two() {}
#[test] fn three() {}
#[test] fn executed() {
    let maps = std::fs::read_to_string(\"/proc/self/maps\").unwrap();
    assert!(!maps.contains(\"fork-server\"));
}
";

/// Neither another attempt nor the second look at a failed test starts it in another way.
#[test]
fn what_is_run_once_more_is_started_in_the_same_way() {
    if refused() || executes() {
        return;
    }
    let project = Project::new(&[("src/lib.rs", FAIL_SERVED)]);
    let run = project.isotest("--lib --retries 2").run();
    run.check(100, &["2 passed; 1 failed"]);
    assert!(!run.stdout.contains("flaky") && !run.stderr.contains("flaky"), "{run:?}");
    let project = Project::new(&[("src/lib.rs", &FAIL_SERVED.replace("assert!(!", "assert!("))]);
    for line in ["--lib --retries 2", "--lib"] {
        project.isotest(line).run().check(0, &["3 passed"]);
        // Alone it is executed.
        let run = project.isotest(&format!("{line} executed")).run();
        run.check(100, &["0 passed; 1 failed"]);
        assert!(!run.stdout.contains("flaky") && !run.stderr.contains("flaky"), "{run:?}");
    }
}

#[test]
fn a_static_program_is_executed() {
    Build::new("static", "-C target-feature=+crt-static").check_executed("it is linked statically");
}

/// As libpthread was before glibc 2.34. The dynamic loader begins with one such library, and the
/// server must be that.
#[test]
fn a_program_with_a_library_that_must_be_first_is_executed() {
    if refused() || cannot_link() {
        return;
    }
    let build = Build::new("first", "");
    let line = "-p linked --test native --features linked/first --target-dir";
    let run = call(&format!("{line} {}", word(&build.directory))).run();
    run.check(0, &["3 passed"]);
    let facts = facts(&run);
    assert!(!is_served(&facts), "a fork server was used");
    check_told(&facts, &[("shared.constructed", "1"), ("shared.constructed_by", "1")]);
}

/// As on a musl system, whose dynamic loader has another name. The one that is named is glibc's.
#[test]
fn a_program_with_another_dynamic_loader_is_executed() {
    let build = Build::new("loader", "-C link-arg=-Wl,--dynamic-linker=LOADER");
    let loader = build.directory.join("ld-musl.so.1");
    fs::create_dir_all(&build.directory).expect("it is writable");
    let own = fs::read("/proc/self/maps").expect("it is readable");
    let own = String::from_utf8_lossy(&own).into_owned();
    let own = own.lines().find_map(|line| line.split_whitespace().nth(5).filter(is_loader));
    let Some(own) = own else { return unavailable("this program has no dynamic loader") };
    fs::copy(own, &loader).expect("it is readable");
    let flags = build.flags.replace("LOADER", &loader.display().to_string());
    Build { flags, ..build }.check_executed("its dynamic loader is not from glibc");
}

fn is_loader(path: &&str) -> bool {
    path.rsplit('/').next().is_some_and(|name| name.starts_with("ld-"))
}

/// Code of the project that runs in the server itself, before any case: the resolver of an indirect
/// function, which the dynamic loader calls. Root has no server for it.
#[test]
fn code_that_runs_in_a_server_has_no_way_out() {
    if refused() || missing("cc") {
        return;
    }
    let run = call("-p hostile --test attack").run();
    run.check(0, &["3 passed"]);
    let lines = run.stdout.lines().filter_map(|line| line.strip_prefix("attack one "));
    let told: Vec<(&str, &str)> = lines.filter_map(|line| line.split_once(" = ")).collect();
    let by = told.iter().find(|(name, _)| *name == "resolved by").map(|(_, process)| *process);
    if Uid::effective().is_root() {
        assert_eq!(told, [("resolved by", "1")], "it ran in a case, where it attacks nothing");
        return;
    }
    assert!(by.is_some_and(|process| process != "1"), "it did not run in a server: {by:?}");
    let results = [
        ("capabilities", "0 0"),
        ("ptrace 1", "EPERM"),
        ("process_vm_readv 1", "EPERM"),
        ("pidfd_getfd 1", "EPERM"),
        ("setns 1", "EPERM"),
        ("connect", "ENETUNREACH"),
        ("TIOCSTI", "ENXIO"),
        ("mount", "EPERM"),
        ("umount", "EPERM"),
        ("chroot", "EPERM"),
        ("unlock", "EPERM"),
    ];
    for result in results {
        assert!(told.contains(&result), "{result:?} is not among {told:?}");
    }
    // What anybody may write to: docs/security.md. The stage has a second proc.
    let harmless = |path: &str| {
        let device = ["null", "zero", "full", "random", "urandom", "tty", "ptmx"];
        let device = path.strip_prefix("/dev/").is_some_and(|name| device.contains(&name));
        device || path.starts_with("/proc/") || path.starts_with("/tmp/.isotest/proc/")
    };
    let mut written = told.iter().filter(|(name, _)| *name == "writable").map(|(_, path)| *path);
    assert_eq!(written.find(|path| !harmless(path)), None);
}

/// Neither root, whose server could write to the machine's settings, nor the strict guard lets a
/// resolver run in a server, in the program or in a library of its; nor the loader of another root
/// filesystem.
#[test]
fn code_that_runs_before_the_cases_of_root_and_of_the_strict_guard_runs_in_each_case() {
    if refused() || missing("cc") {
        return;
    }
    let by_root = Uid::effective().is_root();
    for (options, applies) in [("", by_root), ("--guard strict", true)] {
        if !applies {
            continue;
        }
        for package in ["hostile", "hostile --features hostile/inside"] {
            let line = format!("-p {package} --test attack {options}");
            let explain = format!("explain -p {package} --test attack {options} one");
            let explain = Project::fixture("start").isotest(&explain);
            explain
                .env("CARGO_NET_OFFLINE", "false")
                .run()
                .check(0, &["it has a resolver of an indirect function"]);
            let run = call(&line).run();
            run.check(0, &["3 passed"]);
            let is_case =
                |test: &str| run.stdout.contains(&format!("attack {test} resolved by = 1\n"));
            assert!(["one", "two", "three"].into_iter().all(is_case), "{line}: {}", run.stdout);
            assert!(!run.stdout.contains("writable = "), "{line}: nothing could be written");
        }
        // Without such code there is a server.
        let facts = facts(&call(&format!("-p plain {options}")).run());
        assert!(is_served(&facts), "no fork server was used: {options}");
    }
}

/// A build from elsewhere had no build script run here: it is not trusted, and such code gains it
/// nothing.
#[test]
fn a_build_of_others_has_no_server_that_could_do_more_than_its_cases() {
    if refused() || missing("cc") {
        return;
    }
    let place = TempDir::with_prefix("isotest-tests-").expect("there is a temporary directory");
    let archive = place.path().join("tests.tar.zst");
    let fixture = Project::fixture("start");
    let made = fixture.isotest("archive -p hostile --test attack --archive-file").arg(&archive);
    made.env("CARGO_NET_OFFLINE", "false").run().check(0, &["Archived"]);
    for options in ["", "--guard strict"] {
        let call = fixture.isotest("--archive-file").arg(&archive).words(options);
        let run = call.words("-- --nocapture").run();
        run.check(0, &["3 passed"]);
        let is_case = |test: &str| run.stdout.contains(&format!("attack {test} resolved by = 1\n"));
        let executed = ["one", "two", "three"].into_iter().all(is_case);
        // An ordinary user's server can write to no setting of the machine either.
        if Uid::effective().is_root() || !options.is_empty() {
            assert!(executed, "every resolver ran in a case: {options}");
            assert!(!run.stdout.contains("writable = "), "nothing could be written");
        }
    }
}

/// A server shares memory with the warden: that of its own cases.
#[test]
fn a_server_has_no_say_in_how_the_cases_of_others_have_ended() {
    if refused() || missing("cc") {
        return;
    }
    let build = Build::new("spoils", "");
    let line = "-p hostile --features hostile/spoils --test attack --test honest --init reaper";
    let line = format!("{line} --no-fail-fast --target-dir {} -j 2", word(&build.directory));
    let run = call(&line).run();
    let texts =
        ["test one ... FAILED", "exited with code 3", "killed by SIGABRT", "0 passed; 3 failed"];
    run.check(100, &texts);
}

/// Neither before it serves nor later: its cases end when their time is up. Root executes each case.
#[test]
fn a_server_that_never_serves_keeps_nobody() {
    if refused() || missing("cc") {
        return;
    }
    let build = Build::new("hangs", "");
    let line = "-p hostile --features hostile/hangs --test attack --timeout 1s";
    let line = format!("{line} --no-fail-fast --target-dir {} -j 2", word(&build.directory));
    let run = call(&line).run();
    if Uid::effective().is_root() {
        return run.check(0, &["3 passed"]);
    }
    assert!(!run.stdout.contains("3 passed"), "nothing of it could be started in time");
    assert!(run.code == 100 || run.code == 96, "the run has ended: {}", run.code);
}

/// It may spoil its own cases, and only these.
#[test]
fn a_server_that_answers_for_the_cases_of_others_is_not_believed() {
    if refused() || missing("cc") {
        return;
    }
    let build = Build::new("forges", "");
    let line = "-p hostile -p plain --features hostile/forges --test attack --test facts";
    let line = format!("{line} --no-fail-fast --target-dir {} -j 4", word(&build.directory));
    let run = call(&line).run();
    let facts = run.stdout.lines().filter(|line| line.starts_with("fact ")).count();
    assert!(facts > 600, "all three tests of `plain` have told theirs: {facts} lines");
    let results = run.stdout.lines().filter(|line| line.starts_with("test result: "));
    let passed = results.filter(|line| line.contains("3 passed; 0 failed")).count();
    assert!(passed >= 1, "the tests of `plain` passed");
    assert!(run.code == 0 || run.code == 96, "nothing failed: {}", run.code);
}
