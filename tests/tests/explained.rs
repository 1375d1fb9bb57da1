//! `--explain-failures`: failed tests run once more under what they name, and the lines of
//! configuration with which they pass.

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

use isotest_tests::program::isotest;
use isotest_tests::{Call, Project, Run, refused};
use serde_json::Value;

const TESTS: &str = r#"
use std::fs;

fn read(path: &str) {
    if let Err(error) = fs::read_to_string(path) {
        panic!("cannot read {path}: {error}");
    }
}

#[test]
fn reads_above() {
    read("../above.txt");
}
#[test]
fn reads_above_too() {
    read("../above.txt");
}
#[test]
fn names_a_directory() {
    read("../above/file.txt");
}
#[test]
fn wants_a_variable() {
    std::env::var("DEMO_DATABASE").expect("DEMO_DATABASE must be set");
}
#[test]
fn wants_the_host_name() {
    assert_ne!(fs::read_to_string("/proc/sys/kernel/hostname").unwrap().trim(), "isotest");
}
#[test]
fn always_fails() {
    panic!("whatever is given: ../above.txt");
}
"#;

fn project() -> Project {
    let project = Project::new(&[("src/lib.rs", TESTS)]);
    let above = project.directory().parent().expect("a parent");
    // Nothing in a closed directory is public.
    fs::set_permissions(above, fs::Permissions::from_mode(0o755)).expect("it is ours");
    fs::write(above.join("above.txt"), "above").expect("it is writable");
    fs::create_dir(above.join("above")).expect("it is writable");
    fs::write(above.join("above/file.txt"), "above").expect("it is writable");
    project
}

fn run(project: &Project, options: &str) -> Run {
    project.isotest(&format!("--lib {options}")).env("DEMO_DATABASE", "db").run()
}

#[test]
fn failed_tests_are_given_what_they_name() {
    if refused() {
        return;
    }
    let project = project();
    let above = project.directory().parent().expect("a parent").join("above.txt");
    let above = above.to_str().expect("text");
    let run = run(&project, "");
    let files = format!(
        "help: 2 tests fail because `{above}` is not in the sandbox: they pass with `--ro {above}`\n"
    );
    run.check(100, &[&files]);
    let lines = format!(
        "  in .config/isotest.toml:\n    [[profile.default.override]]\n    \
         filter = \"binary_id(=demo) & (test(=reads_above) | test(=reads_above_too))\"\n    \
         ro = [\"{above}\"]\n    reason = \"`{above}` is not in the sandbox\"\n"
    );
    assert!(run.stderr.contains(&lines), "{}", run.stderr);
    // Neither the host's layers nor a variable, which may be a secret, are given unasked.
    for unasked in ["with `--uts host`", "with `--pass-env DEMO_DATABASE`"] {
        assert!(!run.stderr.contains(unasked), "{}", run.stderr);
    }
}

#[test]
fn a_named_file_that_may_be_a_secret_is_not_given() {
    if refused() {
        return;
    }
    let project = project();
    let above = project.directory().parent().expect("a parent");
    fs::create_dir(above.join(".ssh")).expect("it is writable");
    for (name, mode) in [(".ssh/known", 0o644), ("own.txt", 0o600)] {
        fs::write(above.join(name), "secret").expect("it is writable");
        let permissions = fs::Permissions::from_mode(mode);
        fs::set_permissions(above.join(name), permissions).expect("it is ours");
    }
    symlink(".ssh", above.join("keys")).expect("a link");
    let tests =
        TESTS.replace("../above/file.txt", "../keys/known").replace("../above.txt", "../own.txt");
    fs::write(project.directory().join("src/lib.rs"), tests).expect("it is writable");
    let run = run(&project, "");
    run.check(100, &["0 passed; 6 failed"]);
    for text in ["pass with", "passes with"] {
        assert!(!run.stderr.contains(text), "{}", run.stderr);
    }
    // A link to a secret is not even named.
    let named: Vec<&str> = run.stderr.lines().filter(|line| line.contains("keys/known")).collect();
    assert!(named.is_empty(), "{named:?}");
}

#[test]
fn the_lines_of_configuration_make_the_tests_pass() {
    if refused() {
        return;
    }
    let project = project();
    let told = run(&project, "--explain-failures always --message-format json");
    told.check(100, &["1 test fails because `DEMO_DATABASE` does not reach tests: it passes with"]);
    let last = told.stdout.lines().last().expect("a line");
    let last: Value = serde_json::from_str(last).expect("JSON");
    let hints = last["hints"].as_array().expect("a list");
    let text: String =
        hints.iter().map(|hint| hint["configuration"].as_str().expect("text")).collect();
    let path = project.directory().join(".config/isotest.toml");
    fs::create_dir(path.parent().expect("a parent")).expect("it is writable");
    fs::write(path, text).expect("it is writable");
    let run = run(&project, "");
    let verdicts =
        ["test reads_above ... ok", "test reads_above_too ... ok", "test wants_a_variable ... ok"];
    run.check(100, &[verdicts[0], verdicts[1], verdicts[2], "test wants_the_host_name ... ok"]);
    run.check(100, &["test always_fails ... FAILED", "test result: FAILED. 5 passed; 1 failed"]);
}

#[test]
fn nothing_is_run_once_more_where_that_is_not_wanted() {
    if refused() {
        return;
    }
    let project = project();
    let run = run(&project, "--explain-failures never");
    assert!(!run.stderr.contains(" with `--"), "{}", run.stderr);
    let wrong = project.isotest("--lib --explain-failures sometimes").run();
    wrong.check(2, &["invalid value 'sometimes'", "auto, never, always"]);
}

/// Tests whose output says nothing of what they lack, and twins that look for the same and fail for
/// another reason. `@` is a directory that tests do not see.
const SILENT: &str = r#"
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::Command;

fn check(is_well: bool) {
    if !is_well {
        panic!("it does not work");
    }
}

#[test]
fn file() {
    check(Path::new("@/file").exists());
}
#[test]
fn file_twin() {
    check(Path::new("@/file").exists() && false);
}
#[test]
fn two_files() {
    check(Path::new("@/file").exists() && Path::new("@/other").exists());
}
#[test]
fn two_layers() {
    let is_child_of_init = std::os::unix::process::parent_id() == 1;
    let mounts = std::fs::read_to_string("/proc/self/mounts").unwrap();
    let tmp = mounts.lines().rfind(|line| line.split(' ').nth(1) == Some("/tmp")).unwrap();
    check(is_child_of_init && tmp.split(' ').nth(2) != Some("tmpfs"));
}
#[test]
fn owners_file() {
    check(Path::new("@/own").exists());
}
#[test]
fn secret() {
    check(Path::new("@/id_rsa").exists());
}
#[test]
fn program() {
    check(Command::new("demo-tool").status().is_ok());
}
#[test]
fn program_twin() {
    check(Command::new("demo-tool").status().is_ok() && false);
}
#[test]
fn shim() {
    check(Command::new("demo-shim").status().is_ok_and(|status| status.success()));
}
#[test]
fn lost_program() {
    check(Command::new("demo-lost").status().is_ok_and(|status| status.success()));
}
#[test]
fn socket() {
    check(UnixStream::connect("@/socket").is_ok());
}
#[test]
fn address() {
    check(TcpStream::connect("127.0.0.1:PORT").is_ok());
}
#[test]
fn process() {
    check(Path::new("/proc/NUMBER").exists());
}
#[test]
fn own_server() {
    let server = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    check(TcpStream::connect(server.local_addr().unwrap()).is_ok() && false);
}
#[test]
fn nothing() {
    check(false);
}
"#;

/// A project with these tests, and what they look for.
struct Silent {
    project: Project,
    directory: PathBuf,
    _socket: UnixListener,
    server: TcpListener,
}

impl Silent {
    fn new() -> Silent {
        let server = TcpListener::bind("127.0.0.1:0").expect("there is a port");
        let project = Project::new(&[]);
        let directory = project.directory().with_file_name("outside");
        let at = |name: &str| directory.join(name);
        fs::create_dir_all(at("shims")).expect("it is writable");
        for (name, mode) in [("file", 0o644), ("other", 0o644), ("own", 0o600), ("id_rsa", 0o644)] {
            write(&at(name), "", mode);
        }
        let root = directory.to_str().expect("text");
        write(&at("real"), "#!/bin/sh\n", 0o755);
        write(&at("shims/demo-tool"), "#!/bin/sh\n", 0o755);
        let shim = format!("#!/bin/sh\nROOT=\"{root}\"\nexec \"{root}/real\"\n");
        write(&at("shims/demo-shim"), &shim, 0o755);
        write(&at("shims/demo-lost"), &format!("#!/bin/sh\nexec {root}/real\n"), 0o755);
        let socket = UnixListener::bind(at("socket")).expect("it is writable");
        let port = server.local_addr().expect("it is bound").port().to_string();
        let text = SILENT.replace('@', root).replace("PORT", &port);
        let text = text.replace("NUMBER", &std::process::id().to_string());
        write(&project.directory().join("src/lib.rs"), &text, 0o644);
        Silent { project, directory, _socket: socket, server }
    }

    fn run(&self, options: &str) -> Run {
        let path = std::env::var("PATH").expect("it is set");
        let path = format!("{}:{path}", self.directory.join("shims").display());
        self.project.isotest(&format!("--lib {options}")).env("PATH", path).run()
    }

    fn at(&self, name: &str) -> String {
        self.directory.join(name).to_str().expect("text").to_owned()
    }
}

fn write(path: &Path, text: &str, mode: u32) {
    fs::create_dir_all(path.parent().expect("a parent")).expect("it is writable");
    fs::write(path, text).expect("it is writable");
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("it is ours");
}

/// The tests of a hint with this flag in the last line of the JSON.
fn hinted(last: &Value, flag: &str) -> Vec<String> {
    tests_of(&last["hints"], flag)
}

fn tests_of(list: &Value, flag: &str) -> Vec<String> {
    let hints = list.as_array().expect("a list").iter();
    let hints = hints.filter(|hint| hint["flag"] == flag);
    let tests = hints.flat_map(|hint| hint["tests"].as_array().expect("a list"));
    tests.map(|test| test["test"].as_str().expect("text").to_owned()).collect()
}

fn last_line(run: &Run) -> Value {
    serde_json::from_str(run.stdout.lines().last().expect("a line")).expect("JSON")
}

/// The same whether a fork server starts the tests or each is executed.
#[test]
fn what_a_failed_test_looked_for_in_vain_is_given_or_told() {
    if refused() {
        return;
    }
    let silent = Silent::new();
    for started in ["", "--no-fork-server"] {
        let run = silent.run(&format!("--message-format json {started}"));
        run.check(100, &[]);
        let last = last_line(&run);
        let file = format!("--ro {}", silent.at("file"));
        assert_eq!(hinted(&last, &file), ["file"]);
        let both = format!("{file} --ro {}", silent.at("other"));
        assert_eq!(hinted(&last, &both), ["two_files"]);
        assert_eq!(hinted(&last, "--init reaper --scratch disk"), ["two_layers"]);
        let tool = format!("--ro {}", silent.at("shims/demo-tool"));
        assert_eq!(hinted(&last, &tool), ["program"]);
        assert_eq!(last["hints"].as_array().expect("a list").len(), 4, "{}", run.stderr);
        for (flag, tests) in [
            (format!("--ro {}", silent.at("own")), &["owners_file"][..]),
            (format!("--ro {}", silent.at("")).trim_end_matches('/').to_owned(), &["shim"]),
            (format!("--rw {}", silent.at("socket")), &["socket"]),
            ("--net host".to_owned(), &["address"]),
            ("--pid host".to_owned(), &["process"]),
        ] {
            assert_eq!(tests_of(&last["untried"], &flag), tests, "{flag}: {}", run.stderr);
        }
        assert_eq!(last["untried"].as_array().expect("a list").len(), 5, "{}", run.stderr);
        let port = silent.server.local_addr().expect("it is bound");
        let address = format!("    the network (tcp {port}): `--net host` (demo::address)\n");
        run.check(100, &["`--explain-failures always` tries it\n", &address]);
        assert!(!run.stderr.contains("id_rsa"), "a secret is never offered: {}", run.stderr);
    }
    silent.server.set_nonblocking(true).expect("it can be set");
    assert!(silent.server.accept().is_err(), "nobody has reached the server unasked");
}

#[test]
fn what_is_asked_for_is_given_and_what_fails_all_the_same_has_no_layer_to_blame() {
    if refused() {
        return;
    }
    let silent = Silent::new();
    let run = silent.run("--explain-failures always --message-format json");
    run.check(100, &[]);
    let last = last_line(&run);
    for (flag, tests) in [
        (format!("--ro {}", silent.at("own")), &["owners_file"][..]),
        (format!("--ro {}", silent.at("")).trim_end_matches('/').to_owned(), &["shim"]),
        (format!("--rw {}", silent.at("socket")), &["socket"]),
        ("--net host".to_owned(), &["address"]),
        ("--pid host".to_owned(), &["process"]),
    ] {
        assert_eq!(hinted(&last, &flag), tests, "{flag}: {}", run.stderr);
    }
    let unaffected = last["fail-with-all-layers"].as_array().expect("a list").iter();
    let unaffected: Vec<&str> =
        unaffected.map(|test| test["test"].as_str().expect("text")).collect();
    let named = ["file_twin", "nothing", "own_server", "program_twin"];
    assert_eq!(unaffected, named, "{}", run.stderr);
    let note = "note: 4 tests fail with all layers of this machine as well: none of them is the";
    run.check(100, &[note]);
    assert_eq!(last["untried"], Value::Array(Vec::new()));
    // What was not given to the last two may be what they lack: nothing is said of them, unless the
    // files lie in the home.
    for name in named.into_iter().chain(["secret", "lost_program"]) {
        assert!(!hinted_tests(&last).contains(&name.to_owned()), "{name}");
    }
}

/// The tests with a hint other than the whole home.
fn hinted_tests(last: &Value) -> Vec<String> {
    let hints = last["hints"].as_array().expect("a list").iter();
    let hints = hints.filter(|hint| hint["flag"] != "--home host");
    hints.flat_map(|hint| hinted(last, hint["flag"].as_str().expect("text"))).collect()
}

const HANGS: &str = r#"
#[test]
fn hangs() {
    std::thread::sleep(std::time::Duration::from_secs(1000));
}
"#;

/// A failed test that timed out takes as long again with each value.
#[test]
fn a_terminal_shows_which_values_are_tried() {
    if refused() {
        return;
    }
    let project = Project::new(&[("src/lib.rs", HANGS)]);
    // A bar needs a width, which a new terminal has not.
    let script =
        format!("stty cols 120 rows 40; exec '{}' isotest --lib --timeout 1s", isotest().display());
    let call = Call::new("sh", project.directory())
        .arg("-c")
        .arg(script)
        .env("TERM", "xterm")
        .on_terminal();
    let steps = [", unchanged, 1 running: demo::hangs ", ", --init reaper, 1 running"];
    call.run().check(100, &["Explaining", steps[0], steps[1]]);
    let piped = project.isotest("--lib --timeout 1s").run();
    assert!(!piped.stderr.contains("Explaining"), "a pipe has no bar: {}", piped.stderr);
}

/// Six tests that look for one file, in vain and without a word.
fn six_tests() -> (Project, String) {
    let project = Project::new(&[]);
    let file = project.directory().with_file_name("outside-file");
    write(&file, "", 0o644);
    let test = |number| {
        format!(
            "#[test]\nfn test_{number}() {{\n    let path = \"{}\";\n    let it = std::path::Path::new(path).exists();\n    assert!(it);\n}}\n",
            file.display()
        )
    };
    let text: String = (1..=6).map(test).collect();
    write(&project.directory().join("src/lib.rs"), &text, 0o644);
    (project, file.to_str().expect("text").to_owned())
}

#[test]
fn a_cause_is_one_sentence_with_five_names_and_the_command_that_names_all() {
    if refused() {
        return;
    }
    let (project, file) = six_tests();
    let sentence = format!(
        "help: 6 tests fail because `{file}` is not in the sandbox: they pass with `--ro {file}`\n"
    );
    let filter = "    filter = \"binary_id(=demo)\"\n";
    let more = "    demo::test_5\n    … and 1 more (`cargo isotest replay --findings all`)\n";
    project.isotest("--lib").run().check(100, &[&sentence, filter, more]);
    let all = project.isotest("--lib --findings all").run();
    all.check(100, &[&sentence, "    demo::test_6\n"]);
    let summary = project.directory().with_file_name("summary.md");
    let call = project.isotest("--lib").env("GITHUB_ACTIONS", "true");
    let run = call.env("GITHUB_STEP_SUMMARY", &summary).run();
    let annotation = "::notice title=Why tests fail::6 tests fail because `";
    run.check(100, &[annotation, "%0Ademo::test_5%0A… and 1 more%0A[[profile"]);
    let summary = fs::read_to_string(summary).expect("it was written");
    assert!(summary.contains("<summary>6 tests fail because "), "{summary}");
    assert!(summary.contains("filter = \"binary_id(=demo)\"\nro = [\""), "{summary}");
}
