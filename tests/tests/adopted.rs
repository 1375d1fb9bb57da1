//! `cargo isotest adopt`: grants for tests that fail only isolated.

use std::env;
use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};

use isotest_tests::{Call, Project, Run, refused, until};
use nix::sys::signal::Signal;
use nix::sys::stat::Mode;
use nix::unistd::{geteuid, mkfifo};

const FILE: &str = ".config/isotest.toml";

/// What the user has written, with comments.
const OURS: &str = r#"# Ours.
[profile.default]
slow-timeout = "20s" # long

[[profile.default.override]]
filter = "test(passes)"
uts = "host"
reason = "by hand"
"#;

/// Each test differs by one layer, `needs_two` by two. `PORT` is a listener's.
const TESTS: &str = r#"
use std::{env, fs, net};

fn read(path: &str) {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("cannot read {path}: {error}"));
}
fn first_line(path: &str) -> String {
    fs::read_to_string(path).unwrap().lines().next().unwrap().to_owned()
}
#[test]
fn passes() {}
#[test]
fn reads_home() {
    let home = env::var("HOME").unwrap();
    assert!(fs::read(format!("{home}/.demorc")).is_ok());
}
#[test]
fn wants_a_variable() {
    env::var("DEMO_DATABASE").expect("DEMO_DATABASE must be set");
}
#[test]
fn wants_a_file() {
    read("../above.txt");
}
#[test]
fn wants_the_host_name() {
    assert_ne!(first_line("/proc/sys/kernel/hostname"), "isotest");
}
#[test]
fn has_a_parent() {
    assert_ne!(std::os::unix::process::parent_id(), 0);
}
#[test]
fn has_capabilities() {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("CapEff:")).unwrap();
    assert_ne!(line.trim_start_matches("CapEff:").trim(), "0000000000000000");
}
#[test]
fn talks_to_a_server() {
    net::TcpStream::connect(("127.0.0.1", PORT)).unwrap();
}
#[test]
fn needs_two() {
    read("../above.txt");
    assert_eq!(env::var("DEMO_SECOND").unwrap(), "2");
}
#[test]
fn fails_everywhere() {
    panic!("always");
}
#[test]
fn is_flaky() {
    let runs = fs::read_to_string("runs.txt").unwrap_or_default();
    fs::write("runs.txt", format!("{runs}.")).unwrap();
    assert_eq!(runs.len() % 3, 1);
}
#[test]
fn knows_where_it_is() {
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
    assert!(!mounts.contains(&format!(" {} ", env!("CARGO_MANIFEST_DIR"))));
}
"#;

/// A test for the size of a directory, which a tmpfs counts otherwise than most filesystems do.
const SIZED: &str = r#"
#[test]
fn measures_a_directory() {
    fs::create_dir_all("sized").unwrap();
    fs::write("sized/file", "").unwrap();
    assert_eq!(fs::metadata("sized").unwrap().len(), SIZE);
}
"#;

/// A project with a file above it, a home, and a server.
struct Machine {
    project: Project,
    server: TcpListener,
}

/// The size of a directory with one file where projects are.
fn directory_size() -> u64 {
    let project = Project::new(&[("sized/file", "")]);
    fs::metadata(project.directory().join("sized")).expect("it is there").len()
}

fn machine(tests: &str) -> Machine {
    let server = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let port = server.local_addr().expect("it has one").port();
    let tests = tests.replace("PORT", &port.to_string());
    let project = Project::new(&[("src/lib.rs", &tests)]);
    let above = project.directory().parent().expect("a parent");
    fs::write(above.join("above.txt"), "above").expect("it is writable");
    fs::create_dir(above.join("home")).expect("it is writable");
    fs::write(above.join("home/.demorc"), "home").expect("it is writable");
    Machine { project, server }
}

impl Machine {
    fn above(&self) -> &Path {
        self.project.directory().parent().expect("a parent")
    }

    fn file(&self) -> PathBuf {
        self.project.directory().join(FILE)
    }

    fn text(&self) -> String {
        fs::read_to_string(self.file()).unwrap_or_default()
    }

    fn write(&self, text: &str) {
        fs::create_dir_all(self.file().parent().expect("a parent")).expect("it is writable");
        fs::write(self.file(), text).expect("it is writable");
    }

    fn call(&self, line: &str) -> Call {
        let home = |name: &str, default: &str| {
            let usual = || PathBuf::from(env::var_os("HOME").unwrap_or_default()).join(default);
            env::var_os(name).map_or_else(usual, PathBuf::from)
        };
        self.project
            .isotest(line)
            .env("CARGO_HOME", home("CARGO_HOME", ".cargo"))
            .env("RUSTUP_HOME", home("RUSTUP_HOME", ".rustup"))
            .env("HOME", self.above().join("home"))
            .env("DEMO_DATABASE", "db")
            .env("DEMO_SECOND", "2")
    }

    fn adopt(&self, options: &str) -> Run {
        self.call(&format!("adopt {options}")).run()
    }
}

/// An override for tests of the library.
fn entry(tests: &str, grants: &str, reason: &str) -> String {
    format!(
        "[[profile.default.override]]\nfilter = \"{tests}\"\n{grants}\nreason = \"adopt: {reason}\"\n"
    )
}

fn one(test: &str, grants: &str, reason: &str) -> String {
    entry(&format!("binary_id(=demo) & test(={test})"), grants, reason)
}

/// The file after `adopt`; one entry is for root alone, whom a sandbox takes capabilities from.
fn expected(machine: &Machine, port: u16, is_sized: bool) -> String {
    let above = machine.above().display();
    let sized = is_sized.then(|| {
        let why = "passes only if its files lie on a disk, not in a tmpfs";
        one("measures_a_directory", "scratch = \"disk\"", why)
    });
    let parent = one("has_a_parent", "init = \"reaper\"", "passes only if an init is PID 1");
    let mut entries: Vec<String> = [parent].into_iter().chain(sized).collect();
    entries.extend([
        one(
            "wants_a_file",
            &format!("ro = [\"{above}/above.txt\"]"),
            &format!("looks for {above}/above.txt"),
        ),
        one(
            "needs_two",
            &format!("ro = [\"{above}/above.txt\"]\npass-env = [\"DEMO_SECOND\"]"),
            &format!("looks for {above}/above.txt; its program names the variable DEMO_SECOND"),
        ),
        one(
            "reads_home",
            &format!("ro = [\"{above}/home/.demorc\"]"),
            &format!("looks for {above}/home/.demorc"),
        ),
        one(
            "wants_a_variable",
            "pass-env = [\"DEMO_DATABASE\"]",
            "writes of the variable DEMO_DATABASE",
        ),
        one("wants_the_host_name", "uts = \"host\"", "asks for the host name"),
    ]);
    if geteuid().is_root() {
        entries.push(one("has_capabilities", "user = \"root\"", "passes only with capabilities"));
    }
    let net = format!("connects to tcp 127.0.0.1:{port}");
    entries.push(one("talks_to_a_server", "net = \"host\"", &net));
    entries.join("\n")
}

#[test]
fn each_test_gets_the_grants_that_it_needs_and_no_more() {
    if refused() {
        return;
    }
    let size = directory_size();
    let sized = SIZED.replace("SIZE", &size.to_string());
    let is_sized = size >= 1024;
    let machine = machine(&if is_sized { format!("{TESTS}{sized}") } else { TESTS.to_owned() });
    let port = machine.server.local_addr().expect("it has one").port();
    machine.write(OURS);
    let all = if is_sized { 13 } else { 12 };
    // Only root has capabilities outside.
    let outside = if geteuid().is_root() { 1 } else { 2 };
    let granted = all - outside - 3;
    let run = machine.adopt("--yes");
    let texts = [
        format!("{all} tests 3 times, isolated"),
        format!("{} tests 3 times outside of every sandbox, with your files, ", all - 1),
        "1 test passes isolated\n".to_owned(),
        format!("{granted} tests pass isolated with grants\n"),
        "outside as well\n    demo::fails_everywhere\n".to_owned(),
        "1 test is flaky, and gets no grant\n    demo::is_flaky: passed 0 of 3 isolated, 1 of 3 \
         outside\n"
            .to_owned(),
        "1 test passes outside and fails isolated, unexplained\n    demo::knows_where_it_is\n    \
         `cargo isotest trace CASE` prints what a test asks the kernel for\n"
            .to_owned(),
        format!("wrote `{FILE}`: {granted} overrides added, 0 removed, 0 as before\n"),
    ];
    run.check(100, &texts.iter().map(String::as_str).collect::<Vec<_>>());
    let expected = format!("{OURS}\n{}", expected(&machine, port, is_sized));
    assert_eq!(machine.text(), expected);

    // Once more it finds the same.
    let same = format!("`{FILE}` stays as it is: {granted} overrides of adopt\n");
    machine.adopt("--yes").check(100, &[&same]);
    assert_eq!(machine.text(), expected);
    let checked = machine.adopt("--yes --check");
    let current = format!("`{FILE}` is up to date: {granted} overrides of adopt\n");
    checked.check(100, &[&current, "unexplained\n    demo::knows_where_it_is\n"]);

    // With the file they pass: that which is flaky, fails always or has no explanation does not.
    let run = machine.call("--lib --explain-failures never").run();
    let failed = all - granted - 1;
    run.check(100, &[&format!("test result: FAILED. {} passed; {failed} failed", granted + 1)]);
}

const FEW: &str = r#"
use std::{env, fs};

#[test]
fn wants_a_variable() {
    env::var("DEMO_DATABASE").expect("DEMO_DATABASE must be set");
}
#[test]
fn wants_it_too() {
    env::var("DEMO_DATABASE").expect("DEMO_DATABASE must be set");
}
#[test]
fn passes() {
    assert!(fs::exists(".").unwrap());
}
"#;

const BOTH: &str = "binary_id(=demo) & (test(=wants_a_variable) | test(=wants_it_too))";
const VARIABLE: (&str, &str) =
    ("pass-env = [\"DEMO_DATABASE\"]", "writes of the variable DEMO_DATABASE");

#[test]
fn a_check_fails_for_a_grant_that_is_missing_or_not_needed() {
    if refused() {
        return;
    }
    let machine = machine(FEW);
    machine.adopt("--yes --check").check(
        100,
        &[
            "+ demo::wants_a_variable: pass-env = [\"DEMO_DATABASE\"]\n",
            "+ demo::wants_it_too: pass-env = [\"DEMO_DATABASE\"]\n",
            "`.config/isotest.toml` would change: 2 grants to add, 0 grants no longer needed\n",
        ],
    );
    assert!(!machine.file().exists(), "a check writes nothing");
    let by_hand = "[[profile.default.override]]\nfilter = \"test(passes)\"\nnet = \"host\"\n\
                   reason = \"not needed, but by hand\"\n";
    machine.write(by_hand);
    machine.adopt("--yes").check(0, &["1 override added, 0 removed, 0 as before"]);
    let both = entry(BOTH, VARIABLE.0, VARIABLE.1);
    assert_eq!(machine.text(), format!("{by_hand}\n{both}"));
    machine.adopt("--yes --check").check(0, &["is up to date: 1 override of adopt\n"]);

    // A grant too many for one test, and an entry that no test has.
    let gone = one("was_renamed", "uts = \"host\"", "asks for the host name");
    let needless =
        one("passes", "ipc = \"host\"", "passes only with the IPC objects of this machine");
    let text = format!("{by_hand}\n{both}\n{gone}\n{needless}");
    machine.write(&text);
    machine.adopt("--yes --check").check(
        100,
        &[
            "- demo::passes: ipc = \"host\"\n",
            ".config/isotest.toml:11: the override selects no test of this build; it stays\n",
            "would change: 0 grants to add, 1 grant no longer needed\n",
        ],
    );
    assert_eq!(machine.text(), text);
    machine.adopt("--yes").check(0, &["0 overrides added, 1 removed, 2 as before"]);
    assert_eq!(machine.text(), format!("{by_hand}\n{both}\n{gone}"));
    // Its test may be one of other features.
    let stays = ":11: the override selects no test of this build; it stays\n";
    machine.adopt("--yes --check").check(0, &[stays, "is up to date: 2 overrides of adopt\n"]);
    machine.write(&format!("{by_hand}\n{both}"));

    // One test less needs it.
    let source = machine.project.directory().join("src/lib.rs");
    let less =
        FEW.replacen("env::var(\"DEMO_DATABASE\").expect(\"DEMO_DATABASE must be set\");", "", 1);
    fs::write(&source, less).expect("it is writable");
    machine
        .adopt("--yes --check")
        .check(100, &["- demo::wants_a_variable: pass-env = [\"DEMO_DATABASE\"]\n"]);
    machine.adopt("--yes").check(0, &["1 override added, 1 removed, 0 as before"]);
    assert_eq!(
        machine.text(),
        format!("{by_hand}\n{}", one("wants_it_too", VARIABLE.0, VARIABLE.1))
    );
}

#[test]
fn filters_are_short_and_a_part_of_the_tests_only_adds() {
    if refused() {
        return;
    }
    let test = |name: &str| {
        format!("#[test]\nfn {name}() {{ std::env::var(\"DEMO_DATABASE\").unwrap(); }}\n")
    };
    let lib = format!("mod db {{\n{}{}}}\n#[test]\nfn passes() {{}}\n", test("one"), test("two"));
    let it = format!("{}{}", test("three"), test("four"));
    let machine = machine(&lib);
    fs::create_dir(machine.project.directory().join("tests")).expect("it is writable");
    fs::write(machine.project.directory().join("tests/it.rs"), it).expect("it is writable");
    let why = "its program names the variable DEMO_DATABASE";
    let entry = |filter: &str| entry(filter, VARIABLE.0, why);
    machine.adopt("--yes --test it").check(0, &["1 override added, 0 removed, 0 as before"]);
    let whole = entry("binary_id(=demo::it)");
    assert_eq!(machine.text(), whole);
    machine.adopt("--yes --lib").check(0, &["1 override added, 0 removed, 1 as before"]);
    let module = entry("binary_id(=demo) & test(/^db::/)");
    assert_eq!(machine.text(), format!("{whole}\n{module}"));
    machine.adopt("--yes").check(0, &["stays as it is: 2 overrides of adopt"]);
    machine.write("");
    machine.adopt("--yes").check(0, &["1 override added"]);
    let both = "(binary_id(=demo) & test(/^db::/)) | binary_id(=demo::it)";
    assert_eq!(machine.text(), entry(both));
    // All tests of the package need it.
    let lib = fs::read_to_string(machine.project.directory().join("src/lib.rs")).expect("there");
    let lib = lib.replace("fn passes() {}", &test("passes").replace("#[test]\n", ""));
    fs::write(machine.project.directory().join("src/lib.rs"), lib).expect("it is writable");
    machine.adopt("--yes").check(0, &["1 override added, 1 removed, 0 as before"]);
    assert_eq!(machine.text(), entry("package(=demo)"));
    machine.call("").run().check(0, &["5 passed"]);
}

#[test]
fn filters_select_no_test_that_has_not_run() {
    if refused() {
        return;
    }
    let test = |name: &str| {
        format!("#[test]\nfn {name}() {{ std::env::var(\"DEMO_DATABASE\").unwrap(); }}\n")
    };
    let machine = machine("#[test]\nfn passes() {}\n");
    let tests = machine.project.directory().join("tests");
    fs::create_dir(&tests).expect("it is writable");
    for name in ["one", "two"] {
        fs::write(tests.join(format!("{name}.rs")), test(name)).expect("it is writable");
    }
    let entry =
        |filter: &str| entry(filter, VARIABLE.0, "its program names the variable DEMO_DATABASE");
    // The library has tests of its own.
    machine.adopt("--yes --test one --test two").check(0, &["1 override added"]);
    assert_eq!(machine.text(), entry("binary_id(=demo::one) | binary_id(=demo::two)"));
    machine.write("");
    let ignored = format!("{}#[ignore]\n{}", test("two"), test("later"));
    fs::write(tests.join("two.rs"), ignored).expect("it is writable");
    machine.adopt("--yes").check(0, &["1 override added"]);
    let named = "binary_id(=demo::one) | (binary_id(=demo::two) & test(=two))";
    assert_eq!(machine.text(), entry(named));
}

#[test]
fn a_variable_that_may_be_a_secret_is_told_and_not_passed() {
    if refused() {
        return;
    }
    let machine = machine(
        "#[test]\nfn logs_in() { std::env::var(\"DEMO_PASSWORD\").expect(\"DEMO_PASSWORD must be set\"); }\n",
    );
    let adopt = || machine.call("adopt --yes").env("DEMO_PASSWORD", "x").run();
    let told = "unexplained\n    demo::logs_in\n        it passes with pass-env = [\"DEMO_PASSWORD\"], \
                which may be a secret: write an override by hand to pass it\n";
    adopt().check(100, &[told]);
    assert!(!machine.file().exists());
    let by_hand = "[[profile.default.override]]\nfilter = \"test(logs_in)\"\n\
                   pass-env = [\"DEMO_PASSWORD\"]\nreason = \"of a database for tests\"\n";
    machine.write(by_hand);
    adopt().check(0, &["1 test passes isolated\n"]);
    assert_eq!(machine.text(), by_hand);
}

#[test]
fn what_a_test_misses_after_its_first_failure_is_found() {
    if refused() {
        return;
    }
    let machine = machine(
        "#[test]\nfn reads_both() {\n    let home = std::env::var(\"HOME\").unwrap();\n    \
         for name in [\".demorc\", \".second\"] { std::fs::read(format!(\"{home}/{name}\")).unwrap(); }\n}\n",
    );
    let home = machine.above().join("home");
    fs::write(home.join(".second"), "").expect("it is writable");
    machine.adopt("--yes").check(0, &["1 override added"]);
    let home = home.display();
    let both = format!("ro = [\"{home}/.demorc\", \"{home}/.second\"]\n");
    assert!(machine.text().contains(&both), "{}", machine.text());
}

#[test]
fn what_no_grant_shows_is_told() {
    if refused() {
        return;
    }
    let tests = "#[test]\nfn wants_a_pipe() {\n    let above = concat!(env!(\"CARGO_MANIFEST_DIR\"), \
                 \"/../pipe\");\n    assert!(std::fs::exists(std::path::absolute(above).unwrap()).unwrap());\n}\n";
    let machine = machine(tests);
    let pipe = machine.above().join("pipe");
    mkfifo(&pipe, Mode::S_IRWXU).expect("it is writable");
    let missed = format!("\n    demo::wants_a_pipe\n        it missed {}\n", pipe.display());
    machine.adopt("--yes").check(100, &["fails isolated, unexplained\n", &missed]);
    assert!(!machine.file().exists());
}

#[test]
fn tests_run_outside_only_if_that_is_asked_for() {
    if refused() {
        return;
    }
    let machine = machine(&format!(
        "{FEW}\n#[test]\nfn marks() {{ fs::write(\"mark\", \"\").unwrap(); env::var(\"DEMO_DATABASE\").unwrap(); }}\n"
    ));
    let mark = machine.project.directory().join("mark");
    let run = machine.adopt("");
    run.check(
        2,
        &[
            "error: cannot ask whether 3 tests that fail isolated may run outside of every sandbox",
            "\n    demo::wants_a_variable\n",
            "hint: `cargo isotest adopt --yes` runs them with your files, network and processes",
        ],
    );
    for (keys, code) in [("n\n", 2), ("\n", 2), ("y\n", 0)] {
        assert!(!mark.exists() && !machine.file().exists());
        let running = machine.call("adopt").typed_at().start();
        running.wait_for("Run them? [y/N]");
        running.press(keys.as_bytes());
        let run = running.end();
        assert_eq!(run.code, code, "{run:?}");
    }
    assert!(mark.exists() && machine.file().exists());
}

#[test]
fn nothing_runs_outside_where_all_pass() {
    if refused() {
        return;
    }
    let machine = machine("#[test]\nfn passes() {}\n");
    machine
        .adopt("")
        .check(0, &["1 test passes isolated\n", "stays as it is: 0 overrides of adopt"]);
    assert!(!machine.file().exists());
}

#[test]
fn a_file_that_cannot_be_changed_is_left_as_it_is() {
    if refused() {
        return;
    }
    let machine = machine(FEW);
    let wrong = "[profile.default]\ntimout = \"5s\"\n";
    machine.write(wrong);
    machine.adopt("--yes").check(2, &["unknown key `timout`", "did you mean `timeout`?"]);
    assert_eq!(machine.text(), wrong);
    let inline =
        "[profile.default]\noverride = [{ filter = \"test(passes)\", timeout = \"5s\" }]\n";
    machine.write(inline);
    machine.adopt("--yes").check(
        2,
        &[
            "error: cannot change `.config/isotest.toml`: ",
            "hint: change the file by hand; these lines are new:",
            "pass-env = [\"DEMO_DATABASE\"]",
        ],
    );
    assert_eq!(machine.text(), inline);
    // A link could lead anywhere.
    let target = machine.above().join("elsewhere.toml");
    fs::rename(machine.file(), &target).expect("it is there");
    fs::write(&target, "# elsewhere\n").expect("it is writable");
    std::os::unix::fs::symlink(&target, machine.file()).expect("it is gone");
    machine.adopt("--yes").check(
        2,
        &[
            "error: cannot write `.config/isotest.toml`: it is a symbolic link\n",
            "hint: replace the link by the file itself",
        ],
    );
    assert_eq!(fs::read_to_string(&target).expect("it is there"), "# elsewhere\n");
    // Nothing that was found is lost where the file cannot be written.
    fs::remove_dir_all(machine.file().parent().expect("a parent")).expect("it is there");
    fs::write(machine.file().parent().expect("a parent"), "").expect("it is writable");
    machine.adopt("--yes").check(
        2,
        &[
            "error: cannot write `.config/isotest.toml`: ",
            "hint: change the file by hand; these lines are new:",
            "pass-env = [\"DEMO_DATABASE\"]",
        ],
    );
}

#[test]
fn an_interrupted_run_writes_nothing() {
    if refused() {
        return;
    }
    let wait = "\n#[test]\nfn waits() {\n    if std::path::Path::new(\"../outside\").exists() {\n        \
                fs::write(\"../started\", \"\").unwrap();\n        \
                loop { std::thread::park(); }\n    }\n    panic!(\"isolated\");\n}\n";
    let machine = machine(&format!("{FEW}{wait}"));
    fs::write(machine.above().join("outside"), "").expect("it is writable");
    let running = machine.call("adopt --yes").start();
    let started = machine.above().join("started");
    until("a test outside", || started.exists().then_some(()));
    running.signal(Signal::SIGINT);
    let run = running.end();
    assert_eq!(run.code, 130, "{run:?}");
    assert!(!machine.file().exists());
}

#[test]
fn packages_leave_out_tests_that_need_the_network() {
    if refused() {
        return;
    }
    let tests = "use std::net::{TcpStream, UdpSocket};\nmod net {\n    #[test]\n    fn talks() { super::TcpStream::connect((\"127.0.0.1\", PORT)).unwrap(); }\n\
                 }\n#[test]\nfn fails() { panic!(); }\n#[test]\nfn sends() { UdpSocket::bind(\"0.0.0.0:0\").unwrap().send_to(b\"x\", \"192.0.2.1:9\").unwrap(); panic!(\"no answer\"); }\n";
    let machine = machine(tests);
    let port = machine.server.local_addr().expect("it has one").port();
    let run = machine.adopt("--yes --format nix");
    run.check(
        0,
        &[&format!(
            "checkFlags = [\n  # connects to tcp 127.0.0.1:{port}\n  \"--skip=net::talks\"\n"
        )],
    );
    assert!(run.stdout.contains("\"--skip=sends\"") && !run.stdout.contains("fails\""), "{run:?}");
    machine
        .adopt("--yes --format debian")
        .check(0, &["\tdh_auto_test -- test --all -- \\\n\t\t--skip net::talks"]);
    machine
        .adopt("--yes --format guix")
        .check(0, &["#:cargo-test-flags\n'(\"--release\" \"--\"\n"]);
    assert!(!machine.file().exists(), "a list writes nothing");
    machine.adopt("--yes --format nix --check").check(2, &["cannot be used with"]);
}
