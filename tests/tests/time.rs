//! `--time`: the layer of ordinary runs, as a flag, a variable and a key, by a fork server and by exec.

use isotest_tests::project::EXECUTED;
use isotest_tests::{Project, Run, refused};

const TESTS: &str = r#"
use std::process::Command;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

const END: u64 = 0x7FFF_FFFF;

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

#[test]
fn the_clock_shows_the_end() {
    // A coarse clock may be a step behind.
    assert!((END - 1..END + 60).contains(&now()), "it is {}", now());
}

#[test]
fn a_child_sees_it_without_variables() {
    let child = Command::new("/bin/date").arg("+%s").env_clear().output().unwrap();
    let shown: u64 = String::from_utf8(child.stdout).unwrap().trim().parse().unwrap();
    assert!((END - 1..END + 60).contains(&shown), "it is {shown}");
}

#[test]
fn threads_sleep_and_wait() {
    let (start, short) = (Instant::now(), Duration::from_millis(20));
    thread::spawn(move || thread::sleep(short)).join().unwrap();
    let (_sender, receiver) = mpsc::channel::<()>();
    assert!(receiver.recv_timeout(short).is_err());
    let took = start.elapsed();
    assert!(took >= 2 * short && took < 500 * short, "{took:?}");
}

#[test]
fn tells_who_has_started_it() {
    let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
    println!("served {}", maps.contains("fork-server.so"));
}
"#;

const END: &str = "start=2038-01-19T03:14:07Z";

fn project() -> Project {
    Project::new(&[("src/lib.rs", ""), ("tests/clock.rs", TESTS)])
}

fn check(run: &Run, code: i32, texts: &[&str]) {
    run.check(code, texts);
}

#[test]
fn tests_see_it_whoever_has_started_them_and_it_is_no_grant() {
    if refused() {
        return;
    }
    let project = project();
    for (value, options, served) in [
        (END.to_owned(), "", "served true"),
        (format!("{END},frozen"), EXECUTED, "served false"),
        (format!("frozen,{END},resolution=16ms"), "--init reaper", "served true"),
        (END.to_owned(), "--trace always", "served false"),
    ] {
        let line = format!("--time {value} {options} -- --nocapture");
        let served = if isotest_tests::project::executes() { "served false" } else { served };
        let run = project.isotest(&line).run();
        check(&run, 0, &["4 passed", served]);
        assert!(!run.stderr.contains("weaker"), "it isolates no less: {}", run.stderr);
    }
    check(&project.isotest("").run(), 100, &["2 passed; 2 failed", "it is 1"]);
    let run = project.isotest("").env("ISOTEST_TIME", END).run();
    check(&run, 0, &["4 passed"]);
}

#[test]
fn overrides_give_tests_times_of_their_own() {
    if refused() {
        return;
    }
    let config = format!(
        "[profile.default]\ntime = \"offset=+400d\"\n\n[[profile.default.override]]\n\
         filter = \"not test(the_clock)\"\ntime = \"{END}\"\n\n[profile.end]\ntime = \"{END}\"\n"
    );
    let project = Project::new(&[
        ("src/lib.rs", ""),
        ("tests/clock.rs", TESTS),
        (".config/isotest.toml", &config),
    ]);
    let run = project.isotest("").run();
    check(&run, 100, &["3 passed; 1 failed", "the_clock_shows_the_end ... FAILED"]);
    check(&project.isotest(&format!("--time {END}")).run(), 0, &["4 passed"]);
    let shown = project.isotest("explain the_clock").run();
    check(&shown, 0, &["offset=+400d", "/etc/isotest/interpose.so"]);
    check(&project.isotest("show-config").run(), 0, &["offset=+400d"]);
}

#[test]
fn a_time_that_cannot_be_is_an_error_before_anything_runs() {
    let project = project();
    for (value, message) in [
        ("tomorrow", "`tomorrow` is none of `real`, `frozen`"),
        ("start=19.1.2038", "is no date; try `2038-01-19`"),
        ("offset=1d,start=2038-01-19", "`offset` and `start` cannot both be given"),
    ] {
        check(&project.isotest(&format!("--time {value}")).run(), 2, &[message]);
    }
    if !refused() {
        let run = project.isotest("--time frozen --guard no-listener").run();
        check(&run, 96, &["cannot change what the tests see of time", "`--guard no-listener`"]);
    }
}

/// The standard library can be linked into a static program for this target.
#[test]
fn a_static_test_binary_is_refused_and_no_test_of_it_is_judged() {
    if refused() {
        return;
    }
    let project = project();
    let call =
        |line: &str| project.isotest(line).env("RUSTFLAGS", "-C target-feature=+crt-static").run();
    let plain = call("-- --exact threads_sleep_and_wait");
    if plain.stderr.contains("could not compile") {
        println!("skipped: there is no static C library");
        return;
    }
    check(&plain, 0, &["1 passed"]);
    let run = call("--time frozen -- --exact threads_sleep_and_wait");
    assert!(![0, 100].contains(&run.code), "{}", run.stderr);
    let words = ["cannot execute", "linked statically", "without `--time`"];
    assert!(words.iter().all(|it| run.stderr.contains(it)), "{}", run.stderr);
    assert!(!run.stdout.contains("... ok"), "{}", run.stdout);
}
