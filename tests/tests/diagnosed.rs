//! `diagnose`, `repro`, `prove-fixed`: the cause of a flaky test is named, and nothing else is.

use std::collections::BTreeSet;

use isotest_tests::{Project, refused};
use serde_json::Value;

/// The diagnosis of a test of the flaky fixture.
#[track_caller]
fn diagnosis(test: &str) -> Value {
    let project = Project::fixture("flaky");
    let line = format!("diagnose {test} --budget 3000 --format json");
    let run = project.isotest(&line).run();
    assert!([0, 100].contains(&run.code), "{run:?}");
    serde_json::from_str(&run.stdout).expect("it is JSON")
}

#[test]
fn another_test_on_the_same_port_is_the_cause_and_the_token_makes_it_fail_again() {
    if refused() {
        return;
    }
    let told = diagnosis("port::port_8080");
    assert_eq!(
        (&told["verdict"], &told["cause"]),
        (&"cause".into(), &"port-collision".into()),
        "{told}"
    );
    assert_eq!(told["other_party"], "port::port_8080_b", "{told}");
    assert_eq!(told["layer"], "shared-net", "{told}");
    let certainty = told["causes"][0]["certainty"].as_f64().expect("it is a number");
    assert!(certainty >= 100.0, "{told}");
    let token = told["token"].as_str().expect("there is one");
    let project = Project::fixture("flaky");
    let again = project.isotest(&format!("repro {token}")).run();
    again.check(0, &["REPRODUCED  port::port_8080", "Address already in use"]);
    let test = "port::port_8080";
    let not_fixed = format!("prove-fixed {test} --token {token}");
    project.isotest(&not_fixed).run().check(100, &["NOT FIXED  port::port_8080"]);
    let twin = "port::port_8080_fixed";
    let fixed = format!("prove-fixed {twin} --token {token}");
    project
        .isotest(&fixed)
        .run()
        .check(0, &["FIXED  port::port_8080_fixed", "It fails in less than"]);
}

const SAVERS: &str = r#"
use std::fs;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

static SAVED: AtomicUsize = AtomicUsize::new(0);

fn saves(number: usize) {
    let path = std::env::temp_dir().join(format!("part-{number}"));
    fs::write(&path, "1").unwrap();
    fs::rename(&path, path.with_extension("saved")).unwrap();
    SAVED.fetch_add(1, Ordering::SeqCst);
}

#[test]
fn all_are_saved_in_time() {
    let savers: Vec<_> = (0..24).map(|number| thread::spawn(move || saves(number))).collect();
    thread::sleep(Duration::from_millis(60));
    assert_eq!(SAVED.load(Ordering::SeqCst), 24);
    savers.into_iter().for_each(|it| it.join().unwrap());
}
"#;

/// Of 24 threads one is starved for 64 ms and more in most runs.
#[test]
fn the_threads_that_are_late_are_named_and_are_late_again() {
    if refused() {
        return;
    }
    let project = Project::new(&[("src/lib.rs", ""), ("tests/it.rs", SAVERS)]);
    let run = project.isotest("diagnose all_are_saved --budget 2000 --format json").run();
    run.check(100, &[]);
    let told: Value = serde_json::from_str(&run.stdout).expect("it is JSON");
    assert_eq!(told["cause"], "async-wait", "{told}");
    let waits = told["causes"][0]["waits"].as_array().expect("a list");
    let late = |wait: &Value| wait["milliseconds"].as_f64().is_some_and(|it| it >= 1.0);
    assert!(!waits.is_empty() && waits.iter().any(late), "{told}");
    for wait in waits {
        let place = wait["place"].as_str().unwrap_or("tests/it.rs:0");
        assert!(place.starts_with("tests/it.rs:"), "{told}");
    }
    let token = told["token"].as_str().expect("there is one");
    project
        .isotest(&format!("repro {token}"))
        .run()
        .check(0, &["REPRODUCED  all_are_saved_in_time"]);
}

/// It fails in one of some hundred runs. The variable is named, and the test that removes it.
#[test]
fn a_variable_that_another_test_changes_is_found_though_that_takes_a_moment() {
    if refused() {
        return;
    }
    let told = diagnosis("narrow_race::narrow_race_user");
    let of = |key: &str| told[key].as_str().unwrap_or_default().to_owned();
    assert_eq!(
        [of("cause"), of("other_party")],
        ["shared-process/env", "narrow_race::narrow_race_without"],
        "{told}"
    );
    assert_eq!(told["causes"][0]["resource"], "the environment variable `APP_HOME`", "{told}");
}

#[test]
fn a_condition_that_this_machine_does_not_have_is_a_latent_cause() {
    if refused() {
        return;
    }
    let told = diagnosis("files::umask_mode");
    assert_eq!(
        (&told["cause"], &told["causes"][0]["is_latent"]),
        (&"depends-umask".into(), &true.into()),
        "{told}"
    );
    let twin = diagnosis("files::umask_mode_fixed");
    assert_eq!(twin["verdict"], "never-failed", "{twin}");
}

#[test]
fn the_seed_of_a_hash_map_decides_and_a_coin_has_no_cause() {
    if refused() {
        return;
    }
    let told = diagnosis("hashes::hash_first_key");
    assert_eq!(told["cause"], "depends-seed/hash", "{told}");
    let project = Project::fixture("flaky");
    let again = format!("repro {}", told["token"].as_str().expect("there is one"));
    project.isotest(&again).run().check(0, &["REPRODUCED", "in run "]);
    let told = diagnosis("numbers::coin_flip_null");
    assert_eq!(
        (&told["verdict"], &told["cause"]),
        (&"unattributed".into(), &Value::Null),
        "{told}"
    );
}

#[test]
fn what_always_fails_or_never_does_is_said_so() {
    if refused() {
        return;
    }
    let told = diagnosis("none::always_fails");
    assert_eq!(
        (&told["verdict"], &told["cause"]),
        (&"always-fails".into(), &Value::Null),
        "{told}"
    );
    let told = diagnosis("none::always_passes");
    let bound = told["answer"]["never-failed"]["bound"].as_f64().expect("it is a number");
    assert!(told["verdict"] == "never-failed" && bound > 0.0 && bound < 1.0, "{told}");
}

#[test]
fn words_that_are_no_token_and_names_of_no_test_are_told() {
    if refused() {
        return;
    }
    let project = Project::fixture("flaky");
    let hint = "hint: `cargo isotest diagnose` prints it behind AGAIN";
    let wrong = project.isotest("prove-fixed none::always_passes --token hello").run();
    wrong.check(2, &["does not begin with `it1:`", hint]);
    project.isotest("repro no::such").run().check(4, &["cannot find a test named `no::such`"]);
    project.isotest("repro it9:AAAA").run().check(2, &["its version is `it9`"]);
    project.isotest("repro it1:AAAA").run().check(2, &["it was cut or changed"]);
    project.isotest("diagnose no::such").run().check(4, &["cannot find a test named `no::such`"]);
    let wrong = project.isotest("diagnose none::always_passes --budget soon").run();
    wrong.check(2, &["neither a time nor a number of runs; try `60s` or `5000`"]);
}

/// A test that passes, slowly.
const SLOW: &str = "
#[test]
fn slow() {
    std::thread::sleep(std::time::Duration::from_millis(300));
}
";

#[test]
fn ctrl_c_ends_it_in_every_phase_with_what_is_known() {
    if refused() {
        return;
    }
    let project = Project::new(&[("src/lib.rs", ""), ("tests/it.rs", SLOW)]);
    project.isotest("--no-run").run().check(0, &[]);
    // The command, what the line shows, and what is told at the end.
    let cases: [(&str, &str, &[&str]); 5] = [
        ("diagnose slow", "Diagnosing traces of this test", &[]),
        (
            "diagnose slow",
            " fail (",
            &["INTERRUPTED", "Not decided: interrupted, and no run failed until then."],
        ),
        ("prove-fixed slow --rate 0.001", "so far: 0 of ", &["UNDECIDED", " of 4603 that"]),
        ("hunt --budget 10m", "Hunting ", &["NOTHING FOUND", ", interrupted"]),
        ("bisect-order slow", "Bisecting ", &[]),
    ];
    for (line, shown, told) in cases {
        let call = project.isotest(line).env("TERM", "xterm").env("NO_COLOR", "1").typed_at();
        let running = call.start();
        running.wait_for(shown);
        running.press(b"\x03");
        let run = running.end();
        run.check(130, told);
        assert!(!run.stdout.contains("NEVER FAILED"), "{line}: {run:?}");
    }
    assert!(!project.directory().join("target/isotest/diagnoses").exists(), "it would hide others");
}

/// A test that notices its zone, its locale and all limits.
const NOTICES: &str = r#"
use std::fs;
use std::io::pipe;
use std::os::fd::AsRawFd;
use std::process::Command;

unsafe extern "C" {
    fn fcntl(descriptor: i32, command: i32, ...) -> i32;
}

#[test]
fn notices() {
    const F_GETPIPE_SZ: i32 = 1032;
    fs::write("/tmp/file", [0; 1 << 16]).unwrap();
    let (pipe, _write) = pipe().unwrap();
    let capacity = unsafe { fcntl(pipe.as_raw_fd(), F_GETPIPE_SZ) };
    let data = vec![1_u8; 192 << 20];
    let script = "date +%z; echo $LC_ALL; ulimit -n; ulimit -v; df -k --output=size /tmp | tail -n 1";
    let output = Command::new("/bin/sh").args(["-c", script]).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let told = format!("{capacity} {} {}", data[7], text.split('\n').map(str::trim).collect::<Vec<_>>().join(" "));
    assert_eq!(told.trim(), "65536 1 +0000  16384 unlimited 1048576");
}
"#;

#[test]
fn zones_locales_and_limits_are_those_of_their_runs_and_of_no_others() {
    if refused() {
        return;
    }
    let project = Project::new(&[("src/lib.rs", ""), ("tests/it.rs", NOTICES)]);
    let run = project.isotest("diagnose notices --budget 400 --format json").run();
    run.check(100, &[]);
    let told: Value = serde_json::from_str(&run.stdout).expect("it is JSON");
    let mut seen = BTreeSet::new();
    for arm in told["arms"].as_array().expect("they are listed") {
        let number = |name: &str| arm[name].as_u64().expect("a number");
        let failed = number("failed") + number("other");
        let settings: Vec<&str> =
            arm["settings"].as_array().expect("a list").iter().filter_map(Value::as_str).collect();
        let is_noticed = |name: &&str| {
            let named = ["few-files", "small-disk", "little-memory", "small-pipe"];
            named.contains(name)
                || name.starts_with("zone-")
                || name.starts_with("locale-")
                || *name == "clock-zone-change"
        };
        match settings.iter().any(is_noticed) {
            // It takes effect in every run.
            true => assert_eq!(failed, number("runs"), "{arm}"),
            // Runs of these stand between the others, in wardens that are used again.
            false => assert_eq!(failed, 0, "{arm}"),
        }
        if let [only] = settings.as_slice() {
            seen.insert((*only).to_owned());
        }
    }
    let expected = [
        "few-files",
        "small-disk",
        "little-memory",
        "small-pipe",
        "zone-America/New_York",
        "zone-Pacific/Auckland",
    ];
    for setting in expected {
        assert!(seen.contains(setting), "{setting} was not tried: {told}");
    }
}
