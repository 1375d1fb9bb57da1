//! Services: programs that run beside a test, in its namespaces, and what happens where one cannot
//! be had.

use std::fs;

use isotest_tests::{Project, missing, refused, until};
use nix::sys::signal::Signal;

/// The fixture has a profile for each kind of service.
fn check(line: &str, code: i32, texts: &[&str]) {
    if !refused() {
        Project::fixture("services").isotest(line).run().check(code, texts);
    }
}

/// A project whose one test must not run, with these services, and a profile of the same name for
/// each.
fn failing(services: &[(&str, &str)]) -> Project {
    let tables = services.iter().map(|(name, definition)| {
        format!("[service.{name}]\n{definition}\n[profile.{name}]\nservices = [\"{name}\"]\n")
    });
    let config: String = tables.collect();
    Project::new(&[
        (".config/isotest.toml", &config),
        ("src/lib.rs", "#[test]\nfn test() { panic!(\"it ran\") }\n"),
    ])
}

#[test]
fn each_test_finds_a_server_of_its_own_at_the_same_port() {
    for line in ["", "--no-fork-server", "--init reaper", "--scratch disk", "--guard strict"] {
        let line = format!("-P server {line} -j 20 -E test(/^counts/)");
        check(&line, 0, &["test result: ok. 20 passed; 0 failed"]);
    }
}

#[test]
fn the_test_is_pid_1_and_its_service_as_restricted_and_nobody_s_child() {
    for line in ["", "--no-fork-server", "--user root", "--user nobody"] {
        check(&format!("-P server {line} -E test(/^looks/)"), 0, &["4 passed; 0 failed"]);
    }
}

#[test]
fn a_test_that_needs_no_service_has_none() {
    check("-E test(=needs_none)", 0, &["1 passed"]);
}

#[test]
fn what_a_service_wrote_stands_with_a_test_that_failed_and_with_no_other() {
    if refused() {
        return;
    }
    let project = Project::fixture("services");
    let told = "isotest: service `server`: wrote\nthe server listens\nrequest 1\n";
    let failed = project.isotest("-P server --test it -- --exact fails").run();
    failed.check(100, &["as it should", told, "test result: FAILED. 0 passed; 1 failed"]);
    let passed = project.isotest("-P server --test it -- --exact passes --show-output").run();
    passed.check(0, &["1 passed"]);
    assert!(!passed.stdout.contains("the server listens"));
    let json = "-P server --test it -- -Zunstable-options --format json --exact fails";
    let text = r"service `server`: wrote\nthe server listens\nrequest 1\n";
    project.isotest(json).run().check(100, &[text]);
    let junit = "-P server --test it --junit target/services.xml -- --exact fails";
    project.isotest(junit).run().check(100, &[]);
    let junit = fs::read_to_string(project.directory().join("target/services.xml"));
    let junit = junit.expect("it was written");
    assert!(junit.contains("the server listens\nrequest 1\n"), "{junit}");
}

#[test]
fn a_service_that_ends_while_the_test_runs_is_told_of() {
    let told = "isotest: service `server`, which exited with 7: wrote\nthe server";
    check("-P server --test it -- --exact ends_the_server", 100, &[told]);
}

#[test]
fn every_way_to_be_ready_is_waited_for() {
    for way in ["server", "writing"] {
        check(&format!("-P {way} -E test(/^counts::[abc]$/)"), 0, &["3 passed"]);
    }
    // The command has asked once before.
    check("-P asked --test it -- --exact counts::a", 100, &["left: (2, 3)"]);
    check("-P prepared --test it -- --exact finds_what_was_prepared", 0, &["1 passed"]);
    check("-P local --test it -- --exact finds_a_socket", 0, &["1 passed"]);
}

#[test]
fn the_time_of_a_test_begins_when_its_services_are_ready() {
    let texts = ["test counts::a ... ok", "timed out after 3s", "1 passed; 1 failed"];
    check("-P late --test it -- --exact counts::a hangs", 100, &texts);
}

#[test]
fn a_service_that_cannot_be_had_is_an_error_of_the_case() {
    if refused() {
        return;
    }
    // Definition, and what is said.
    let table: [(&str, &str, &[&str]); 8] = [
        (
            "missing",
            "command = \"nosuch -x\"\nready = { tcp = 1 }",
            &[
                "cannot execute `nosuch -x`: No such file or directory (ENOENT)",
                "hint: commands are looked up on PATH in the sandbox",
                "service `missing`: wrote nothing",
            ],
        ),
        (
            "failing",
            "command = [\"sh\", \"-c\", \"echo out of luck; exit 3\"]\nready = { tcp = 7 }",
            &[
                "isotest: service `failing`: wrote\nout of luck\n",
                "`sh -c echo out of luck; exit 3` exited with 3 before port 7 took connections",
                "hint: its output is shown with the test",
            ],
        ),
        (
            "daemon",
            "command = [\"sh\", \"-c\", \"sleep 600 &\"]\nready = { output = \"hello\" }",
            &[
                "`sh -c sleep 600 &` exited with 0 before it wrote `hello`",
                "hint: it must stay in the foreground, not become a daemon",
            ],
        ),
        (
            "killed",
            "command = [\"sh\", \"-c\", \"kill -SEGV $$\"]\nready = \"exit\"",
            &["was killed by SIGSEGV before it had finished"],
        ),
        (
            "never",
            "command = \"sleep 600\"\nready = { unix = \"/tmp/s\" }\ntimeout = \"200ms\"",
            &[
                "the socket `/tmp/s` took no connections within 200ms",
                "hint: `timeout` in `[service.never]` gives it more time",
            ],
        ),
        (
            "asked",
            "command = \"sleep 600\"\nready = { command = \"sleep 601\" }\ntimeout = \"200ms\"",
            &["`sleep 601` did not exit with 0 within 200ms (it was still running)"],
        ),
        (
            "unasked",
            "command = \"sleep 600\"\nready = { command = \"nosuchask\" }",
            &["cannot execute `nosuchask`: No such file or directory (ENOENT)"],
        ),
        (
            "hasty",
            "command = [\"sh\", \"-c\", \"echo up\"]\nready = { output = \"up\" }\n\
             [service.second]\nready = \"exit\"\n\
             command = [\"sh\", \"-c\", \"while test -d /proc/2; do sleep 0.01; done\"]\n\
             [profile.both]\ninherits = \"hasty\"\nservices = [\"second\"]",
            &[],
        ),
    ];
    let project = failing(&table.map(|(name, definition, _)| (name, definition)));
    let check = |profile: &str, name: &str, texts: &[&str]| {
        let run = project.isotest(&format!("-P {profile}")).run();
        run.check(96, texts);
        let error = format!("error: 1 test was not run: cannot start the service `{name}`: ");
        run.check(96, &["test test ... NOT RUN", &error]);
        assert!(!run.stdout.contains("it ran"));
    };
    for (name, _, texts) in table.iter().filter(|(_, _, texts)| !texts.is_empty()) {
        check(name, name, texts);
    }
    // The first has ended when the second is ready.
    check("both", "hasty", &["`sh -c echo up` exited with 0 before it wrote `up`"]);
}

#[test]
fn a_service_needs_the_pid_namespace_of_the_test() {
    let texts = [
        "error: cannot start the service `server` with `pid = \"host\"`",
        "hint: the end of its pid namespace ends a service",
    ];
    check("-P server --pid host --test it", 2, &texts);
}

/// A copy of isotest waits as PID 1 while services start: its memory is not theirs to read.
#[test]
fn a_service_reads_nothing_of_isotest() {
    if refused() {
        return;
    }
    let project = Project::fixture("services");
    for line in ["--no-fork-server", "", "--user root --no-fork-server"] {
        let call = project.isotest(line).words("-P spied --test it -- --exact fails");
        let run = call.env("SECRET_OF_ISOTEST", "p4ssw0rd").run();
        run.check(100, &["isotest: service `spy`: wrote", "looked\n", "Permission denied"]);
        assert!(!run.stdout.contains("p4ssw0rd"), "{line}");
    }
}

#[test]
fn an_interrupted_run_ends_services_that_are_being_started() {
    if refused() {
        return;
    }
    let definition =
        "command = [\"sh\", \"-c\", \"echo >started; exec sleep 600\"]\nready = { tcp = 7 }";
    let project = failing(&[("slow", definition)]);
    let running = project.isotest("-P slow --workspace shared").start();
    until("the service", || project.directory().join("started").exists().then_some(()));
    running.signal(Signal::SIGINT);
    running.end().check(130, &["interrupted by SIGINT"]);
}

#[test]
fn a_shell_and_explain_have_the_services_of_the_case() {
    if refused() {
        return;
    }
    let project = Project::fixture("services");
    let shell = project.isotest("shell -P server --test it counts::a --");
    let run = shell.arg("sh").arg("-c").arg("echo $URL; cat /proc/*/comm; exit 5").run();
    run.check(5, &["tcp://127.0.0.1:7777\n", "server\n"]);
    let explain = project.isotest("explain -P server --test it counts::a").run();
    explain.check(
        0,
        &[
            "wait for the services",
            "services, started in the namespaces of the case by a service supervisor outside",
            "server         target/debug/server 7777",
            "ready when port 7777 takes connections, within 30s",
            "services         server                   profile `server` (.config/isotest.toml:",
        ],
    );
    let definition = "command = [\"sh\", \"-c\", \"echo no; exit 1\"]\nready = { tcp = 7 }";
    let texts = ["service `bad`: wrote\nno\n", "error: cannot start the service `bad`: "];
    failing(&[("bad", definition)]).isotest("shell -P bad test -- true").run().check(96, &texts);
}

#[test]
fn as_cargo_s_runner_the_tests_of_a_binary_have_their_services() {
    if refused() {
        return;
    }
    let call = Project::fixture("services").cargo_test("--test it -- counts").runner("");
    let run = call.env("ISOTEST_PROFILE", "server").run();
    run.check(0, &["test result: ok. 20 passed; 0 failed"]);
}

#[test]
fn as_cargo_s_runner_one_test_has_its_services_too() {
    if refused() {
        return;
    }
    let project = Project::fixture("services");
    let one = |name: &str| {
        let call = project.cargo_test("--test it -- --nocapture --exact").words(name).runner("");
        call.env("ISOTEST_PROFILE", "server").run()
    };
    one("looks::at_its_variables").check(0, &["test looks::at_its_variables ... ok"]);
    let told = "isotest: service `server`: wrote\nthe server listens\nrequest 1\n";
    one("fails").check(101, &["as it should", told]);
    let definition =
        ("bad", "command = [\"sh\", \"-c\", \"echo no; exit 1\"]\nready = { tcp = 7 }");
    let project = failing(&[definition]);
    let call = project.cargo_test("--lib -- --exact test --nocapture").runner("");
    let run = call.env("ISOTEST_PROFILE", "bad").run();
    let texts = ["service `bad`: wrote\nno\n", "error: cannot start the service `bad`: "];
    run.check(96, &texts);
    assert!(!run.stdout.contains("it ran"));
}

#[test]
fn under_nextest_each_test_has_its_services_and_its_overrides() {
    if refused() || missing("cargo-nextest") {
        return;
    }
    let config = "[service.one]\ncommand = [\"sh\", \"-c\", \"echo $TOLD >/tmp/served\"]\n\
                  ready = \"exit\"\nenv = { TOLD = \"yes\" }\n\
                  [[profile.default.override]]\nfilter = \"package(demo) & test(=served)\"\n\
                  services = [\"one\"]\nuts = \"other\"\n";
    let tests = "#[cfg(test)]\nuse std::fs::read_to_string;\n\
                 #[cfg(test)]\nfn host() -> String { read_to_string(\"/proc/sys/kernel/hostname\").unwrap() }\n\
                 #[test]\nfn served() {\n\
                     assert_eq!(read_to_string(\"/tmp/served\").unwrap(), \"yes\\n\");\n\
                     assert_eq!((host().trim(), std::env::var(\"TOLD\").is_ok()), (\"other\", true));\n\
                 }\n\
                 #[test]\nfn not_served() {\n\
                     assert!(read_to_string(\"/tmp/served\").is_err());\n\
                     assert_eq!(host().trim(), \"isotest\");\n\
                 }\n";
    let project = Project::new(&[(".config/isotest.toml", config), ("src/lib.rs", tests)]);
    let run = project.cargo("nextest run").runner("").run();
    run.check(0, &["2 tests run: 2 passed, 0 skipped"]);
    project.cargo_test("--lib").runner("").run().check(0, &["2 passed; 0 failed"]);
}

#[test]
fn twenty_tests_at_once_have_a_redis_each() {
    if refused() || missing("redis-server") {
        return;
    }
    let run = Project::fixture("services").isotest("-j 20 --test redis").run();
    run.check(0, &["test result: ok. 20 passed; 0 failed"]);
}

#[test]
fn twenty_tests_at_once_have_a_postgresql_each() {
    if refused() || missing("psql") || missing("/usr/lib/postgresql") {
        return;
    }
    let run = Project::fixture("services").isotest("-j 20 --test postgres").run();
    run.check(0, &["Setting up cluster", "test result: ok. 20 passed; 0 failed"]);
}
