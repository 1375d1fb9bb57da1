//! Recorded runs: listed, printed again, run again; what is wrong with a file is said.

use std::fs;
use std::path::{Path, PathBuf};

use isotest_tests::{Call, Project, Run, refused};
use nix::sys::signal::Signal;

/// Every kind of end, with output that is not text.
const ENDS: &str = r#"
use std::io::Write;

#[test]
fn passes() {
    println!("passed");
}
#[test]
fn fails() {
    std::io::stdout().write_all(b"\xff\xfe raw bytes\n").unwrap();
    eprintln!("on stderr");
    panic!("it fails");
}
#[test]
#[should_panic]
fn panics() {
    panic!("as it should");
}
#[test]
#[ignore = "not today"]
fn ignored() {}
#[test]
fn exits() {
    std::process::exit(0);
}
#[test]
fn aborts() {
    std::process::abort();
}
#[test]
fn leaves_a_process() {
    std::process::Command::new("sleep").arg("600").spawn().unwrap();
}
#[test]
fn tries_the_network() {
    let _ = std::net::UdpSocket::bind("0.0.0.0:0").unwrap().send_to(b"x", "192.0.2.1:9");
}
"#;

/// The end of libtest's own file, as `demo::it`, with a documentation test in the library.
fn project() -> Project {
    Project::new(&[("src/lib.rs", "//! ```\n//! assert!(true);\n//! ```\n"), ("tests/it.rs", ENDS)])
}

/// Stderr without the lines of cargo and rustdoc, which are not recorded.
fn own(stderr: &str) -> String {
    let cargos = ["Compiling", "Finished", "Doc-tests", "Locking", "Blocking"];
    let is_own = |line: &&str| !cargos.iter().any(|word| line.trim_start().starts_with(word));
    stderr.lines().filter(is_own).fold(String::new(), |text, line| text + line + "\n")
}

/// The files of the store.
fn files(project: &Project) -> Vec<PathBuf> {
    let directory = project.directory().join("target/isotest/runs");
    let entries = fs::read_dir(directory).into_iter().flatten();
    let files = entries.map(|entry| entry.expect("an entry").path());
    let is_run = |file: &PathBuf| file.extension().is_some_and(|end| end == "isotest");
    let mut files: Vec<PathBuf> = files.filter(is_run).collect();
    files.sort();
    files
}

fn only_file(project: &Project) -> PathBuf {
    let [file] = files(project).try_into().expect("one run is recorded");
    file
}

#[track_caller]
fn same(run: &Run, again: &Run) {
    assert_eq!(again.stdout, run.stdout);
    assert_eq!(own(&again.stderr), own(&run.stderr));
}

#[test]
fn a_run_is_printed_again_as_it_was() {
    if refused() {
        return;
    }
    let project = project();
    for line in [
        "",
        "--show-output --slowest 2 --retries 1",
        "--nocapture --test-threads 1",
        "--message-format json --lib --tests",
        "-- --format terse",
        "--unit binary",
    ] {
        let run = project.isotest(line).run();
        run.check(100, &[]);
        let again = project.isotest("replay --exit-code").run();
        assert_eq!(again.code, run.code, "{line}");
        same(&run, &again);
    }
    assert_eq!(files(&project).len(), 6);
}

#[test]
fn a_run_is_printed_again_in_another_format() {
    if refused() {
        return;
    }
    let project = project();
    let formats = ["--show-output", "--format terse", "--message-format json", "-q", "--slowest 1"];
    for format in formats {
        let words =
            if format.starts_with("--format") { format!("-- {format}") } else { format.into() };
        let direct = project.isotest(&format!("--test it --exact aborts {words}")).run();
        project.isotest("--test it --exact aborts").run().check(100, &[]);
        let again = project.isotest(&format!("replay {format}")).run();
        again.check(0, &[]);
        // Two runs differ in their times.
        let words = |run: &Run| isotest_tests::normalise::normalise(&run.stdout).lines().count();
        assert_eq!(words(&again), words(&direct), "{format}");
    }
    let report = project.directory().join("again.xml");
    project.isotest("replay --junit again.xml").run().check(0, &[]);
    assert!(fs::read_to_string(report).expect("it was written").contains("aborts"));
}

#[test]
fn runs_are_listed_and_one_is_read_elsewhere() {
    if refused() {
        return;
    }
    let project = project();
    project
        .isotest("runs")
        .run()
        .check(4, &["error: no run is recorded in `", "hint: `cargo isotest`"]);
    project.isotest("--test it").run().check(100, &[]);
    let list = project.isotest("runs").run();
    list.check(0, &["RUN", "COMMIT", "4 passed, 3 failed, 1 ignored"]);
    let id = list.stdout.lines().nth(1).and_then(|line| line.split(' ').next()).expect("a run");
    let json = project.isotest("runs --format json").run();
    json.check(0, &[&format!("\"run\":\"{id}\""), "\"state\":\"ended\"", "\"failed\":3"]);
    let (_, end) = id.rsplit_once('-').expect("it has parts");
    project.isotest(&format!("runs export {end} ./ci.isotest")).run().check(0, &[]);
    project
        .isotest("runs export latest ./ci.isotest")
        .run()
        .check(2, &["error: cannot write `", "ci.isotest`: File exists"]);
    let elsewhere = Project::new(&[("src/lib.rs", "")]);
    let file = project.directory().join("ci.isotest");
    let again = elsewhere.isotest("replay").arg(&file).run();
    same(&project.isotest("replay").run(), &again);
    project.isotest("rerun").arg(&file).run().check(100, &["0 passed; 3 failed"]);
}

#[test]
fn what_failed_or_never_ran_is_run_again() {
    if refused() {
        return;
    }
    let project =
        Project::new(&[("src/lib.rs", ""), ("tests/it.rs", &ENDS.replace("exit(0)", "exit(0); "))]);
    project.isotest("--test it --exact fails passes").run().check(100, &[]);
    let again = project.isotest("rerun").run();
    again.check(100, &["running 1 test\n", "test fails ... FAILED"]);
    let mended = ENDS.replace("panic!(\"it fails\")", "");
    fs::write(project.directory().join("tests/it.rs"), mended).expect("it is writable");
    project.isotest("rerun latest").run().check(0, &["test fails ... ok"]);
    project.isotest("rerun").run().check(4, &["no test of `", "` failed or is left to run"]);
    // The run before the last one.
    let id = files(&project)[0].file_stem().expect("a name").to_string_lossy().into_owned();
    project.isotest(&format!("rerun {id}")).run().check(0, &["1 passed; 0 failed"]);
}

#[test]
fn rerun_builds_what_the_run_built() {
    if refused() {
        return;
    }
    let manifest = "[package]\nname = 'demo'\nversion = '0.0.0'\nedition = '2024'\n[features]\nx = []\n\
         [workspace]\n";
    let test = "#[test] fn a() { assert!(!cfg!(feature = \"x\")); }\n#[test] fn b() {}";
    let project =
        Project::new(&[("Cargo.toml", manifest), ("src/lib.rs", ""), ("tests/it.rs", test)]);
    let run = project.isotest("--test it -F x --net host --pass-env=SECRET_NAME");
    run.run().check(100, &["1 passed; 1 failed"]);
    let first = text(&only_file(&project)).lines().next().expect("a line").to_owned();
    assert!(first.contains("\"repeated-options\":[\"--test=it\",\"--features=x\"]"), "{first}");
    project.isotest("rerun").run().check(
        100,
        &[
            "note: as in that run: --test=it --features=x\n",
            "note: that run also had --net --pass-env; give them again if the tests need them\n",
            "0 passed; 1 failed",
        ],
    );
    project.isotest("rerun --no-default-features").run().check(0, &["1 passed; 0 failed"]);
}

#[test]
fn a_killed_run_is_whole_up_to_the_last_test_that_ended() {
    if refused() {
        return;
    }
    let hangs =
        "#[test] fn a() {} #[test] fn b() { loop { std::thread::park(); } } #[test] fn c() {}";
    let project = Project::new(&[("src/lib.rs", ""), ("tests/it.rs", hangs)]);
    let running = project.isotest("--test it --test-threads 1").start();
    running.wait_for("test a ... ok");
    project.isotest("runs").run().check(0, &["1 passed, running"]);
    running.signal(Signal::SIGKILL);
    running.end();
    project.isotest("runs").run().check(0, &["1 passed, killed"]);
    let again = project.isotest("replay").run();
    again.check(0, &["test a ... ok\n", "warning: run `", "` has no end: it was killed"]);
    let left = project.isotest("rerun --timeout 2s").run();
    left.check(100, &["running 2 tests", "test b ... FAILED", "test c ... ok"]);
}

/// Tests whose results hang on a variable.
const CHANGES: &str = r#"
fn is_second() -> bool {
    std::env::var_os("SECOND").is_some()
}
#[test]
fn breaks() {
    assert!(!is_second());
}
#[test]
fn mended() {
    assert!(is_second());
}
#[test]
fn slow() {
    if is_second() {
        std::thread::sleep(std::time::Duration::from_secs(1));
    }
}
#[test]
fn leaves() {
    if is_second() {
        std::process::Command::new("sleep").arg("600").spawn().unwrap();
    }
}
#[test]
fn same() {}
"#;

#[test]
fn two_runs_are_compared() {
    if refused() {
        return;
    }
    let project = Project::new(&[("src/lib.rs", ""), ("tests/it.rs", CHANGES)]);
    project.isotest("runs diff").run().check(4, &["error: no run is recorded in `"]);
    let run = |line: &str| project.isotest(&format!("--test it --pass-env SECOND {line}"));
    run("").run().check(100, &[]);
    project
        .isotest("runs diff")
        .run()
        .check(4, &["error: only one run is recorded in `", "hint: run the tests again"]);
    run("").env("SECOND", "1").run().check(100, &[]);
    project.isotest("runs diff").run().check(
        0,
        &[
            "failed in B, and not in A (1)\n    demo::it breaks  passed -> failed\n",
            "fixed in B (1)\n    demo::it mended  failed -> passed\n",
            // On a busy machine others are slower too.
            "slower: at least 2 times, and 50 ms (",
            "    demo::it slow  ",
            "new findings in B (1)\n    demo::it leaves  leaves-process: left 1 process behind",
        ],
    );
    let json = project.isotest("runs diff --format json").run();
    let found: serde_json::Value = serde_json::from_str(&json.stdout).expect("one object");
    assert_eq!(found["compared"], 5);
    assert_eq!(found["new-findings"][0]["finding"], "leaves-process");
    assert_eq!(found["new-failing"][0]["after"]["verdict"], "failed");
    // From a file, of another project's directory.
    project.isotest("runs export latest ./b.isotest").run().check(0, &[]);
    let elsewhere = Call::new(isotest_tests::program::isotest(), Path::new("/"));
    let file = project.directory().join("b.isotest");
    let same = elsewhere.words("runs diff").arg(&file).arg(&file).run();
    same.check(0, &["no difference in 5 tests"]);
    // Tests that were not selected are not gone.
    run("same").run().check(0, &[]);
    let part = project.isotest("runs diff").run();
    part.check(0, &["note: 4 tests of `demo::it` only in A: B selected others"]);
    assert!(!part.stdout.contains("gone"));
    project.isotest("runs diff nothing").run().check(2, &["no recorded run is called `nothing`"]);
}

#[test]
fn a_test_has_a_history_also_when_it_is_gone() {
    if refused() {
        return;
    }
    let project = Project::new(&[("src/lib.rs", ""), ("tests/it.rs", CHANGES)]);
    let history = |line: &str| project.isotest(&format!("history {line}")).run();
    history("breaks").check(4, &["error: no run is recorded in `"]);
    let run = |filter: &str| project.isotest(&format!("--test it --pass-env SECOND {filter}"));
    run("").run().check(100, &[]);
    run("").env("SECOND", "1").run().check(100, &[]);
    run("same").run().check(0, &[]);
    let renamed = CHANGES.replace("fn breaks", "fn broke");
    fs::write(project.directory().join("tests/it.rs"), renamed).expect("it is writable");
    run("").run().check(100, &[]);
    history("breaks").check(
        0,
        &[
            "demo::it breaks\n    .F  2 runs, the oldest left: ",
            "1 change between passed and failed in 1 pair of runs (100 %)\n",
            "duration: median 0.",
            "s  failed\n",
        ],
    );
    history("leaves").check(0, &["    ...  3 runs", "s  passed; leaves-process\n"]);
    history("--runs 1 leaves").check(0, &["    .  1 run,"]);
    let json = project.isotest("history --format json").arg("demo::it breaks").run();
    let found: serde_json::Value = serde_json::from_str(&json.stdout).expect("one object");
    assert_eq!(
        (&found["flips"]["rate"], &found["runs"][0]["verdict"]),
        (&1.0.into(), &"failed".into())
    );
    history("s").check(4, &["cannot choose among 4 tests for `s`", "\"demo::it leaves\""]);
    history("nothing").check(4, &["no recorded run has a test named `nothing`", "hint: "]);
    fs::write(&files(&project)[0], "words").expect("it is writable");
    history("breaks").check(0, &["    F  1 run,", "warning: the history is without a run: `"]);
}

/// The slices of a timeline: process, thread, start, end, arguments.
fn slices(trace: &serde_json::Value) -> Vec<(u64, u64, u64, u64, &serde_json::Value)> {
    let events = trace["traceEvents"].as_array().expect("a list");
    let number = |event: &serde_json::Value, key: &str| event[key].as_u64().expect("a number");
    let complete = events.iter().filter(|event| event["ph"] == "X").map(|event| {
        let start = number(event, "ts");
        let end = start + number(event, "dur");
        (number(event, "pid"), number(event, "tid"), start, end, &event["args"])
    });
    complete.collect()
}

#[test]
fn a_run_is_a_timeline_by_slot_and_by_binary() {
    if refused() {
        return;
    }
    let slow = "#[test] fn a() { std::thread::sleep(std::time::Duration::from_millis(200)); }\n\
                #[test] fn b() { std::thread::sleep(std::time::Duration::from_millis(200)); }";
    let project =
        Project::new(&[("src/lib.rs", ""), ("tests/it.rs", ENDS), ("tests/more.rs", slow)]);
    project.isotest("--tests --retries 1 --test-threads 2").run().check(100, &[]);
    project.isotest("runs export latest ./run.json --format chrome-trace").run().check(0, &[]);
    let text = fs::read(project.directory().join("run.json")).expect("it was written");
    let trace: serde_json::Value = serde_json::from_slice(&text).expect("JSON");
    let slices = slices(&trace);
    // Seven tests ran in `it`, three of them twice; one is ignored.
    assert_eq!(slices.len(), 2 * (7 + 3 + 2));
    let mut threads = std::collections::BTreeMap::new();
    for (process, thread, start, end, arguments) in &slices {
        let last = threads.insert((*process, *thread), *end).unwrap_or(0);
        assert!(last <= *start, "slices of {process}/{thread} overlap at {start}");
        // What was measured is in the slice, but for the time in which its events were read.
        let measured = arguments["seconds"].as_f64().expect("it has ended");
        let shown = (end - start) as f64 / 1e6;
        assert!((measured - shown).abs() < 5.0, "{arguments}: {shown}");
    }
    let slots = threads.keys().filter(|(process, _)| *process == 0).count();
    assert!((1..=2).contains(&slots), "{slots} slots");
    let total = |process: u64| -> u64 {
        slices.iter().filter(|slice| slice.0 == process).map(|slice| slice.3 - slice.2).sum()
    };
    assert_eq!(total(0), total(1));
    let sleeps = slices.iter().filter(|slice| slice.4["binary"] == "demo::more");
    assert!(sleeps.clone().count() == 4 && sleeps.clone().all(|slice| slice.3 - slice.2 > 150_000));
    let names: Vec<&str> = trace["traceEvents"]
        .as_array()
        .expect("a list")
        .iter()
        .filter(|event| event["name"] == "thread_name")
        .filter_map(|event| event["args"]["name"].as_str())
        .collect();
    assert!(["slot", "demo::it", "demo::more"].iter().all(|name| names.contains(name)));
    // A thread that has slices has a name, once.
    assert_eq!(names.len(), threads.len());
    project
        .isotest("runs export latest ./run.json --format chrome-trace")
        .run()
        .check(2, &["error: cannot write `", "run.json`: File exists"]);
}

#[test]
fn no_run_is_recorded_where_that_is_asked_for() {
    if refused() {
        return;
    }
    let project = project();
    project.isotest("--test it fails --no-record").run().check(100, &[]);
    assert!(!project.directory().join("target/isotest/runs").exists());
    let again = project.isotest("--test it --rerun-failed").run();
    again
        .check(4, &["error: no failed tests to rerun", "hint: failed tests are those of the runs"]);
    // Earlier runs are used all the same.
    project.isotest("--test it fails").run().check(100, &[]);
    let again = project.isotest("--test it --rerun-failed --no-record").run();
    again.check(100, &["running 1 test\n"]);
    assert_eq!(files(&project).len(), 1);
}

#[test]
fn the_configuration_says_what_is_recorded_and_kept() {
    if refused() {
        return;
    }
    let config = "[profile.default]\nmax-records = 2\n[profile.none]\nrecord = false\n";
    let project = Project::new(&[
        ("src/lib.rs", ""),
        ("tests/it.rs", "#[test] fn a() {}"),
        (".config/isotest.toml", config),
    ]);
    let run = |words: &str| project.isotest(&format!("--test it {words}"));
    run("-P none").run().check(0, &[]);
    run("").env("ISOTEST_RECORD", "false").run().check(0, &[]);
    assert_eq!(files(&project).len(), 0);
    run("-P none --record").run().check(0, &[]);
    run("").run().check(0, &[]);
    run("").run().check(0, &[]);
    assert_eq!(files(&project).len(), 2);
    let prune = project.isotest("prune").env("ISOTEST_MAX_RECORDS", "1");
    prune.run().check(0, &["Removed 1 run, "]);
    assert_eq!(files(&project).len(), 1);
    let shown = project.isotest("show-config").env("ISOTEST_MAX_RECORDS_AGE", "none").run();
    shown.check(0, &["max-records      2", "max-records-age  none", "max-records-size 536870912"]);
    run("").env("ISOTEST_MAX_RECORDS", "0").run().check(2, &["ISOTEST_MAX_RECORDS", "`0`"]);
    let overriding = "[[profile.default.override]]\nfilter = \"all()\"\nrecord = false\n";
    fs::write(project.directory().join(".config/isotest.toml"), overriding).expect("writable");
    run("").run().check(2, &["`record` is not valid in an override"]);
}

#[test]
fn a_store_that_cannot_be_written_costs_no_verdict() {
    if refused() {
        return;
    }
    let project = project();
    fs::create_dir_all(project.directory().join("target/isotest")).expect("it is writable");
    fs::write(project.directory().join("target/isotest/runs"), "a file").expect("it is writable");
    let run = project.isotest("--test it passes").run();
    run.check(
        0,
        &["1 passed", "warning: cannot record the run in `", "hint: `cargo isotest prune`"],
    );
    project
        .isotest("replay")
        .run()
        .check(2, &["error: cannot read `", "isotest/runs`: Not a directory"]);
}

#[test]
fn a_full_disk_costs_no_verdict() {
    if refused() {
        return;
    }
    let project =
        Project::new(&[("src/lib.rs", "#[test] fn passes() {}\n#[test] fn fails() { panic!() }")]);
    let script = r#"
        mkdir tmp; mount -t tmpfs -o size=256m tmpfs tmp
        export CARGO_TARGET_DIR=$PWD/tmp/target
        "$1" isotest --lib --no-run
        dd if=/dev/zero of=tmp/full bs=64k 2> /dev/null || :
        set +e
        "$1" isotest --lib
        echo "exit code $?"
        rm tmp/full
        "$1" isotest runs
        "$1" isotest --lib --rerun-failed
        echo "exit code $?"
    "#;
    let call = Call::new("unshare", project.directory());
    let call = call.words("--map-root-user --mount --pid --fork --kill-child --mount-proc sh -euc");
    let run = call.arg(script).arg("sh").arg(isotest_tests::program::isotest()).run();
    run.check(
        0,
        &[
            "test result: FAILED. 1 passed; 1 failed",
            "exit code 100\n",
            "warning: cannot record the run in `",
            "tmp/target/isotest/runs`: No space left on device",
            "hint: `cargo isotest prune` removes old runs; `--no-record` does without",
        ],
    );
}

#[test]
fn what_is_printed_again_speaks_to_no_workflow() {
    if refused() {
        return;
    }
    let speaks = "#[test] fn a() { println!(\"::error::from a test\"); panic!() }";
    let project = Project::new(&[("src/lib.rs", speaks)]);
    project.isotest("--lib").run().check(100, &[]);
    for line in ["replay", "history a", "runs", "runs diff latest latest"] {
        let again = project.isotest(line).env("GITHUB_ACTIONS", "true").run();
        again.check(0, &[]);
        let (first, rest) = again.stderr.split_once('\n').expect("two lines at least");
        let token = first.strip_prefix("::stop-commands::").expect("commands are stopped");
        assert!(rest.ends_with(&format!("::{token}::\n")), "{rest}");
    }
}

#[test]
fn a_long_output_is_cut_so_that_it_can_be_read_again() {
    if refused() {
        return;
    }
    let long = "#[test] fn a() { print!(\"{}\", \"\\u{1}\".repeat(9 << 20)); panic!(\"the end\") }";
    let project = Project::new(&[("src/lib.rs", long)]);
    project.isotest("--lib --output-limit 32M").run().check(100, &["the end"]);
    project.isotest("replay").run().check(0, &["bytes of output cut here", "the end"]);
    project.isotest("rerun --lib").run().check(100, &["1 failed"]);
}

#[test]
fn a_hostile_file_takes_little_memory() {
    if refused() {
        return;
    }
    let project = Project::new(&[("src/lib.rs", "#[test] fn a() {}")]);
    project.isotest("--lib").run().check(0, &[]);
    let first = text(&only_file(&project)).lines().next().expect("a line").to_owned();
    let many =
        format!("{first}\n{{\"type\":\"new\",\"at\":0,\"exact\":[{}1]}}\n", "[],".repeat(1 << 22));
    let long = format!("{first}\n{{\"type\":\"{}\"}}\n", "x".repeat(1 << 26));
    for (name, text, why) in
        [("many", many, "a line has more than 2097152 values"), ("long", long, "67108864 bytes")]
    {
        let file = project.directory().join(format!("{name}.isotest"));
        fs::write(&file, zstd::encode_all(text.as_bytes(), 1).expect("memory takes it"))
            .expect("it is writable");
        let limited = Call::new("sh", project.directory());
        let limited = limited.arg("-c").arg("ulimit -v 600000; exec \"$@\"").arg("sh");
        let limited = limited.arg(isotest_tests::program::isotest()).words("isotest runs diff");
        limited
            .arg(&file)
            .arg(&file)
            .run()
            .check(2, &[&format!("{name}.isotest` cannot be read"), why]);
    }
}

#[test]
fn a_hole_in_a_file_stays_one() {
    if refused() {
        return;
    }
    let project = Project::new(&[("src/lib.rs", "#[test] fn a() {}")]);
    project.isotest("--lib").run().check(0, &[]);
    let file = fs::File::options().write(true).open(only_file(&project)).expect("it is there");
    file.set_len(1 << 30).expect("it is sparse");
    project.isotest("runs export latest ./hole.isotest").run().check(0, &[]);
    let copy = fs::metadata(project.directory().join("hole.isotest")).expect("it was written");
    let blocks = std::os::unix::fs::MetadataExt::blocks(&copy);
    assert!((copy.len(), blocks * 512 < 1 << 20) == (1 << 30, true), "{blocks} blocks");
}

#[test]
fn no_value_of_a_hidden_variable_is_recorded() {
    if refused() {
        return;
    }
    let project = project();
    let call = project.isotest("--test it --exact fails").env("DEPLOY_TOKEN", "correct horse");
    call.run().check(100, &["DEPLOY_TOKEN"]);
    let record = text(&only_file(&project));
    assert!(record.contains("DEPLOY_TOKEN") && !record.contains("correct horse"), "{record}");
}

#[test]
fn no_file_of_the_host_is_recorded_as_a_commit() {
    if refused() {
        return;
    }
    let project = project();
    let secret = tempfile::NamedTempFile::new().expect("it is writable");
    fs::write(secret.path(), "a token of the host").expect("it is writable");
    let head = project.directory().join(".git/HEAD");
    fs::create_dir(project.directory().join(".git")).expect("it is writable");
    fs::write(head, format!("ref: {}\n", secret.path().display())).expect("it is writable");
    project.isotest("--test it --exact passes").run().check(0, &[]);
    assert!(!text(&only_file(&project)).contains("token"));
}

#[test]
fn a_report_goes_through_no_link_of_the_target_directory() {
    if refused() {
        return;
    }
    let project = project();
    project.isotest("--test it --exact passes").run().check(0, &[]);
    let other = tempfile::tempdir().expect("a directory");
    let link = project.directory().join("target/link");
    std::os::unix::fs::symlink(other.path(), &link).expect("a link");
    let manifest = project.directory().join("Cargo.toml");
    let run = Call::new(isotest_tests::program::isotest(), &project.directory().join("src"))
        .words("replay --junit ../target/link/report.xml --manifest-path")
        .arg(manifest)
        .run();
    run.check(110, &["symbolic link"]);
    assert_eq!(fs::read_dir(other.path()).expect("it is there").count(), 0);
}

/// The lines of a file.
fn text(file: &Path) -> String {
    let bytes = fs::read(file).expect("it is there");
    String::from_utf8(zstd::decode_all(&bytes[..]).expect("it is whole")).expect("JSON is text")
}

#[test]
fn the_lines_are_messages_with_their_times() {
    if refused() {
        return;
    }
    let project = project();
    project.isotest("--test it --exact passes").run().check(0, &[]);
    let text = text(&only_file(&project));
    let lines: Vec<serde_json::Value> =
        text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    let kinds: Vec<&str> = lines.iter().filter_map(|line| line["type"].as_str()).collect();
    let all = ["run-started", "binary", "test-started", "test-finished", "run-finished"];
    assert_eq!(kinds, all);
    assert!(lines.iter().all(|line| line["at"].is_f64()));
    let id = only_file(&project).file_stem().expect("a name").to_string_lossy().into_owned();
    assert_eq!(lines[0]["run"], id);
}

#[test]
fn a_file_that_is_no_run_is_refused_and_a_damaged_one_read_as_far_as_it_goes() {
    if refused() {
        return;
    }
    let project = project();
    project.isotest("--test it").run().check(100, &[]);
    let whole = fs::read(only_file(&project)).expect("it is there");
    let place = project.directory();
    let replay = |name: &str, bytes: &[u8]| {
        fs::write(place.join(name), bytes).expect("it is writable");
        Call::new(isotest_tests::program::isotest(), Path::new("/"))
            .arg("replay")
            .arg(place.join(name))
            .run()
    };
    replay("text.isotest", b"words").check(2, &["text.isotest` is not a recorded run", "hint: "]);
    replay("empty.isotest", b"").check(2, &["empty.isotest` is not a recorded run"]);
    let packed = |text: &str| zstd::encode_all(text.as_bytes(), 1).expect("memory takes it");
    replay("other.isotest", &packed("{}\n")).check(2, &["other.isotest` is not a recorded run"]);
    let first = text(&only_file(&project)).lines().next().expect("a line").to_owned();
    let newer = first.replace("\"format-version\":1", "\"format-version\":2");
    replay("newer.isotest", &packed(&format!("{newer}\n")))
        .check(2, &["newer.isotest` was written by a newer isotest (format 2)", "hint: update"]);
    replay("cut.isotest", &whole[..whole.len() - 100]).check(0, &["running 8 tests", "has no end"]);
    let mut damaged = whole.clone();
    damaged.truncate(whole.len() - 100);
    damaged.extend([0xff; 600]);
    replay("damaged.isotest", &damaged)
        .check(2, &["running 8 tests", "damaged.isotest` cannot be read after line "]);
    let other = text(&only_file(&project)).replace("\"Event\":", "\"Happening\":");
    replay("changed.isotest", &packed(&other))
        .check(2, &["changed.isotest` cannot be read after line 2: unknown variant `Happening`"]);
    let sound = text(&only_file(&project));
    let unfit = |name: &str, text: String| {
        replay(name, &packed(&text)).check(2, &["` cannot be read after line ", "does not fit"]);
    };
    unfit("index.isotest", sound.replace("\"case\":3", "\"case\":3000"));
    unfit(
        "time.isotest",
        sound.replace("\"Event\":[{\"secs\":0", "\"Event\":[{\"secs\":9223372036854775808"),
    );
    let twice = sound.lines().find(|line| line.contains("test-finished")).expect("one has ended");
    unfit("twice.isotest", sound.replace(twice, &format!("{twice}\n{twice}")));
    let raw = sound.replace("demo::it", "demo::\\u001bit");
    replay("raw.isotest", &packed(&raw)).check(2, &["raw.isotest` cannot be read after line 2: "]);
    Call::new(isotest_tests::program::isotest(), place)
        .words("replay ./missing.isotest")
        .run()
        .check(2, &["missing.isotest`: No such file or directory"]);
    project.isotest("replay nothing").run().check(2, &["no recorded run is called `nothing`"]);
}
