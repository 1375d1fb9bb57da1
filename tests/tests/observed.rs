//! What a test did and leaves behind, observed when it exits: against `fixtures/findings`, where each
//! test says by its name what is found of it.

use isotest_tests::{Project, Run, refused};
use serde_json::Value;

/// Name and findings of each test of a run.
fn findings(run: &Run) -> Vec<(String, Vec<Value>)> {
    let events = run.stdout.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let ended = events.filter(|event| event["type"] == "test-finished");
    let finding = |event: Value| {
        let name = event["test"].as_str().unwrap_or_default().to_owned();
        let list = event["findings"].as_array().or(event["last"]["findings"].as_array());
        (name, list.cloned().unwrap_or_default())
    };
    ended.map(finding).collect()
}

/// Enough tests at once that each has 64 MiB of the machine's memory.
fn threads() -> u64 {
    let text = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let words: Vec<&str> = text.split_whitespace().collect();
    let kibibytes: u64 = words.get(1).and_then(|word| word.parse().ok()).unwrap_or(1 << 20);
    (kibibytes >> 16).clamp(8, 1024)
}

/// Runs the tests and requires of each the findings that its name asks for. Those of some modules
/// have none, since an option takes the cause away.
fn check(options: &str, without: &[&str]) {
    if refused() {
        return;
    }
    let project = Project::fixture("findings");
    let threads = threads();
    let line = format!(
        "--test observed --tmp-size 16M --test-threads {threads} --message-format json {options}"
    );
    let run = project.isotest(&line).run();
    let all = findings(&run);
    assert!(all.len() > 35, "{} tests", all.len());
    for (name, found) in all {
        let (module, test) = name.split_once("::").expect("each is in a module");
        let code = module.replace('_', "-");
        let has = !test.starts_with("has_not") && !without.contains(&module);
        let expected: &[&str] = if has { &[&code] } else { &[] };
        let codes: Vec<&str> = found.iter().filter_map(|it| it["finding"].as_str()).collect();
        assert_eq!(codes, expected, "{name} with `{options}`: {found:?}");
    }
    run.check(100, &[]);
}

#[test]
fn each_finding_has_a_test_that_has_it_and_a_twin_that_has_not() {
    check("", &[]);
}

#[test]
fn findings_are_the_same_without_a_fork_server() {
    check("--no-fork-server", &[]);
}

#[test]
fn findings_are_the_same_for_root_of_the_sandbox() {
    check("--user root", &[]);
    check("--user root --no-fork-server", &[]);
}

#[test]
fn findings_are_the_same_under_an_init() {
    // The test is not PID 1, and the signal ends it.
    check("--init reaper", &["signal_discarded"]);
    check("--init reaper --no-fork-server", &["signal_discarded"]);
}

/// The findings of one test.
fn of<'a>(all: &'a [(String, Vec<Value>)], name: &str) -> &'a Value {
    let found = all.iter().find(|(known, _)| known == name);
    found.and_then(|(_, findings)| findings.first()).unwrap_or_else(|| panic!("{name}: {all:?}"))
}

#[test]
fn a_finding_names_what_it_is_about() {
    if refused() {
        return;
    }
    let run = Project::fixture("findings").isotest("--test observed --message-format json").run();
    let all = findings(&run);
    let names = |test| of(&all, test)["names"].clone();
    assert_eq!(
        names("dns_attempt::has_two_names_each_once"),
        Value::from(vec!["one.example", "two.example"])
    );
    assert_eq!(names("dns_attempt::has_a_name_of_a_child"), Value::from(vec!["child.example"]));
    assert_eq!(
        names("dns_attempt::has_as_many_names_as_are_kept").as_array().map(Vec::len),
        Some(32)
    );
    assert_eq!(names("dns_attempt::has_queries_of_another_resolver"), Value::Array(Vec::new()));
    let process = &of(&all, "leaves_process::has_a_child")["processes"][0];
    assert_eq!(process["command-line"], "sleep 1000");
    let grandchild = &of(&all, "leaves_process::has_a_grandchild")["processes"][1];
    assert_eq!((&grandchild["name"], &grandchild["ancestors"][0]), (&"sleep".into(), &"sh".into()));
    let text = |test: &str, words: &str| {
        let finding = of(&all, test);
        let text = finding["text"].as_str().unwrap_or_default();
        assert!(text.contains(words), "{text}");
    };
    text("listens_fixed_port::has_tcp_over_ipv6", "tcp [::]:8080");
    text("listens_fixed_port::has_udp", "udp 0.0.0.0:5353");
    text("leaves_thread::has_one_with_a_name", "1 thread behind: background");
    text("leaves_thread::has_one_that_spins", "left 1 thread without a name behind");
    text("leaves_ipc::has_a_segment", "shared memory segment key 0x2a");
    text("leaves_ipc::has_semaphores", "semaphore set key 0x2b");
    text("leaves_ipc::has_messages", "message queue key 0x2c");
    text("leaves_ipc::has_a_queue", "POSIX message queue /findings");
    text("listens_fixed_port::has_one_in_the_place_of_a_standard_stream", "tcp 127.0.0.1:8081");
    run.check(100, &[]);
}

#[test]
fn the_findings_of_a_whole_binary_are_its_own() {
    if refused() {
        return;
    }
    let skipped = "--skip limit_hit --skip signal_discarded --skip exits_itself";
    let run = Project::fixture("findings")
        .isotest(&format!("--test observed --unit binary -- {skipped}"))
        .run();
    let expected = [
        "tried to reach the network: 4 packets without a route",
        "tried to resolve ",
        "tcp 127.0.0.1:8080",
        "`sleep 1000`",
        "left 3 threads behind",
        "semaphore set key 0x2b",
    ];
    run.check(100, &expected);
}

#[test]
fn what_a_test_did_is_known_where_its_time_is_over_or_it_aborts() {
    if refused() {
        return;
    }
    let manifest = "[package]\nname = 'ended'\nversion = '0.0.0'\nedition = '2024'\n[workspace]\n";
    let library = r#"
#[cfg(test)]
fn tries() {
    use std::net::ToSocketAddrs;
    assert!(std::net::TcpStream::connect("192.0.2.1:80").is_err());
    assert!("ended.example:80".to_socket_addrs().is_err());
}
#[test]
fn hangs() { tries(); loop { std::thread::park(); } }
#[test]
fn aborts() { tries(); std::process::abort(); }
#[test]
fn faults() { tries(); unsafe { std::ptr::null_mut::<u8>().write_volatile(1) } }
"#;
    let project = Project::new(&[("Cargo.toml", manifest), ("src/lib.rs", library)]);
    for options in ["", "--no-fork-server", "--init reaper"] {
        let run =
            project.isotest(&format!("--lib --timeout 1s --message-format json {options}")).run();
        for (name, found) in findings(&run) {
            let codes: Vec<&str> = found.iter().filter_map(|it| it["finding"].as_str()).collect();
            // The kernel has taken its network before anybody could ask.
            let is_gone = name == "faults" && options != "--init reaper";
            let expected: &[&str] = match is_gone {
                true => &["dns-attempt"],
                false => &["net-attempt", "dns-attempt"],
            };
            assert_eq!(codes, expected, "{name} with `{options}`: {found:?}");
        }
        run.check(100, &["ended.example"]);
    }
}

#[test]
fn the_largest_resident_set_of_a_test_is_its_own() {
    if refused() {
        return;
    }
    let line = "--test observed --message-format json -- memory";
    for options in ["", "--no-fork-server ", "--init reaper "] {
        let run = Project::fixture("findings").isotest(&format!("{options}{line}")).run();
        for event in run.stdout.lines().filter_map(|it| serde_json::from_str::<Value>(it).ok()) {
            let usage = event.get("usage").unwrap_or(&event["last"]["usage"]);
            let Some(used) = usage["own-max-rss"].as_u64() else { continue };
            let is_much = event["test"] == "memory::has_used_much";
            assert_eq!(used > 256 << 20, is_much, "{event}");
        }
        run.check(0, &["own-max-rss"]);
    }
}

#[test]
fn as_cargo_s_runner_a_single_test_is_told_of_too() {
    if refused() {
        return;
    }
    let project = Project::fixture("findings");
    let single = |name: &str| {
        let line = format!("--test observed -- {name} --exact --nocapture");
        project.cargo_test(&line).runner("").run()
    };
    let run = single("dns_attempt::has_two_names_each_once");
    run.check(0, &["note[dns-attempt]: the test tried to resolve one.example, two.example"]);
    let run = single("dns_attempt::has_not_for_its_own_names");
    run.check(0, &["1 passed"]);
    assert!(!run.stderr.contains("note["), "{}", run.stderr);
}
