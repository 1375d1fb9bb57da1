//! Clocks, random bytes, directories and pipes that are not the machine's: each setting takes effect,
//! in children as well, and without it nothing is changed.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use isotest_core::perturbation::{Perturbations, Time, TimeOrigin};
use isotest_core::policy::{Guard, Init, Namespace, Policy};
use isotest_core::{Output, Sandbox};
use isotest_tests::refused;
use tempfile::TempDir;

const PAYLOAD: &str = env!("CARGO_BIN_EXE_interposed-payload");
/// The 19th of January 2038, when 32 bits of seconds are over: in nanoseconds since the Epoch.
const IN_2038: i64 = SECONDS_IN_2038 * 1_000_000_000;
const SECONDS_IN_2038: i64 = 0x7FFF_FFFF;
/// errno.h.
const ETIMEDOUT: &str = "110";

/// A sandbox in which the programs of this package are to be seen.
fn sandbox(policy: Policy) -> Sandbox {
    let directory = Path::new(PAYLOAD).parent().expect("it is in a directory");
    Sandbox::builder().policy(policy).read_only(directory).build().expect("it is built")
}

fn at(origin: TimeOrigin, is_frozen: bool) -> Policy {
    Policy { time: Time { origin, is_frozen, resolution: None }, ..Policy::default() }
}

fn perturbed(perturbations: Perturbations) -> Policy {
    Policy { perturbations, ..Policy::default() }
}

fn output(sandbox: &Sandbox, words: &[&str], seed: u64) -> Output {
    let command = sandbox.command(words[0]).args(&words[1..]).seed(seed);
    command.output().expect("it runs")
}

fn stdout(sandbox: &Sandbox, words: &[&str], seed: u64) -> String {
    let output = output(sandbox, words, seed);
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(output.status.success(), "{words:?}: {}", text(&output.stderr));
    text(&output.stdout)
}

/// What the payload tells: a name and a value a line.
fn told(sandbox: &Sandbox, words: &[&str], seed: u64) -> BTreeMap<String, String> {
    let words = [&[PAYLOAD], words].concat();
    let line = |line: &str| {
        let (name, value) = line.split_once(' ').expect("a name and a value");
        (name.to_owned(), value.to_owned())
    };
    stdout(sandbox, &words, seed).lines().map(line).collect()
}

fn number(facts: &BTreeMap<String, String>, name: &str) -> i64 {
    facts[name].parse().expect("a number")
}

fn now() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("after the Epoch").as_secs() as i64
}

/// Functions by which a program asks for the time of the day.
const WALL_CLOCKS: [&str; 5] = ["std", "coarse", "system-call", "time", "gettimeofday"];

/// Fails unless all clocks of the day show this second, or the next minute.
#[track_caller]
fn check_wall_clocks(facts: &BTreeMap<String, String>, expected: i64) {
    for name in WALL_CLOCKS {
        let shown = number(facts, name);
        assert!((expected - 1..expected + 60).contains(&shown), "{name}: {shown}, not {expected}");
    }
}

#[test]
fn every_clock_of_the_day_is_shifted_and_the_others_run_on() {
    if refused() {
        return;
    }
    let facts = told(&sandbox(at(TimeOrigin::At(IN_2038), false)), &["clocks"], 0);
    check_wall_clocks(&facts, SECONDS_IN_2038);
    assert!((50..5000).contains(&number(&facts, "slept")), "{facts:?}");
    assert!((49..5000).contains(&number(&facts, "wall")), "{facts:?}");
    assert_eq!(facts["no-clock"], "22", "EINVAL");
    let year = 400 * 24 * 3600;
    for later in [year, -3600] {
        let origin = TimeOrigin::Later(later * 1_000_000_000);
        check_wall_clocks(&told(&sandbox(at(origin, false)), &["clocks"], 0), now() + later);
    }
    check_wall_clocks(&told(&sandbox(Policy::default()), &["clocks"], 0), now());
}

#[test]
fn a_clock_that_stands_still_lets_threads_sleep() {
    if refused() {
        return;
    }
    let facts = told(&sandbox(at(TimeOrigin::At(IN_2038), true)), &["clocks"], 0);
    for name in WALL_CLOCKS {
        assert_eq!(number(&facts, name), SECONDS_IN_2038, "{name}");
    }
    assert!((50..5000).contains(&number(&facts, "slept")), "{facts:?}");
    assert_eq!(facts["wall"], "0");
}

#[test]
fn a_coarse_clock_advances_in_steps() {
    if refused() {
        return;
    }
    let step = Duration::from_millis(16);
    let time = Time { resolution: Some(step), ..Time::default() };
    let facts = told(&sandbox(Policy { time, ..Policy::default() }), &["clocks"], 0);
    check_wall_clocks(&facts, now());
    assert_eq!((number(&facts, "slept") % 16, facts["resolution"].as_str()), (0, "16000000"));
    let facts = told(&sandbox(Policy::default()), &["clocks"], 0);
    assert_eq!(facts["resolution"], "1");
}

#[test]
fn waits_until_a_time_of_the_day_last_as_long_as_they_are_to() {
    if refused() {
        return;
    }
    let origins = [TimeOrigin::Later(IN_2038), TimeOrigin::Later(-IN_2038 / 2), TimeOrigin::Now];
    for (origin, is_frozen) in
        origins.map(|origin| (origin, false)).into_iter().chain([(TimeOrigin::At(IN_2038), true)])
    {
        let facts = told(&sandbox(at(origin, is_frozen)), &["waits"], 0);
        assert_eq!(facts.len(), 7);
        for (name, value) in facts {
            let result = if name.ends_with("sleep") { "0" } else { ETIMEDOUT };
            assert_eq!(value, format!("{result} true"), "{name} from {origin:?}");
        }
    }
}

#[test]
fn children_have_the_same_time_whatever_their_environment() {
    if refused() {
        return;
    }
    let sandbox = sandbox(at(TimeOrigin::At(IN_2038), true));
    for script in [
        "date +%s",
        "env -i date +%s",
        "sh -c 'env - PATH=$PATH date +%s'",
        "echo $(cd /tmp; LD_PRELOAD= date +%s)",
    ] {
        let shown = stdout(&sandbox, &["sh", "-c", script], 0);
        assert_eq!(shown.trim(), SECONDS_IN_2038.to_string(), "{script}");
    }
    let variables = stdout(&sandbox, &["sh", "-c", "env"], 0);
    assert!(!variables.contains("isotest") && !variables.contains("LD_PRELOAD"), "{variables}");
}

#[test]
fn one_seed_gives_the_same_random_bytes_and_another_gives_others() {
    if refused() {
        return;
    }
    let seeded = Perturbations { seeded_entropy: true, ..Perturbations::default() };
    let sandbox_of = |init| sandbox(Policy { init, ..perturbed(seeded.clone()) });
    let one = sandbox_of(Init::None);
    let [first, again, other] = [7, 7, 8].map(|seed| told(&one, &["random"], seed));
    assert_eq!(first, again);
    for (name, value) in &first {
        assert_ne!(Some(value), other.get(name), "{name}");
    }
    // No two calls, threads or processes have the same bytes.
    let mut values: Vec<&String> = first.values().collect();
    values.sort();
    values.dedup();
    assert_eq!((values.len(), first.len()), (8, 8), "{first:?}");
    assert_eq!(told(&sandbox_of(Init::Reaper), &["random"], 7)["order"], first["order"]);
    let plain = sandbox(Policy::default());
    let [one, two] = [7, 7].map(|seed| told(&plain, &["random"], seed));
    assert!(one.iter().all(|(name, value)| two[name] != *value), "{one:?}");
}

/// Random bytes of nothing but the seed would be the same in a test that is not the first process.
#[test]
fn random_bytes_cannot_follow_from_a_seed_where_process_ids_are_the_hosts() {
    if refused() {
        return;
    }
    let seeded = Perturbations { seeded_entropy: true, ..Perturbations::default() };
    let policy = Policy { pid: Namespace::Host, ..perturbed(seeded) };
    let error = Sandbox::builder().policy(policy).build().expect_err("it is refused");
    assert!(
        error
            .to_string()
            .contains("random bytes cannot follow from a seed where process ids differ"),
        "{error}"
    );
    let policy = Policy { guard: Guard::NoListener, ..at(TimeOrigin::Now, true) };
    let error = Sandbox::builder().policy(policy).build().expect_err("it is refused");
    assert!(error.to_string().contains("`--guard no-listener`"), "{error}");
}

/// A directory with so many files.
fn directory_of(count: usize) -> TempDir {
    let directory = tempfile::tempdir().expect("a directory");
    for number in 0..count {
        fs::write(directory.path().join(format!("file-{number:05}")), "").expect("written");
    }
    directory
}

fn showing(policy: Policy, directory: &Path) -> Sandbox {
    let payload = Path::new(PAYLOAD).parent().expect("it is in a directory");
    let sandbox = Sandbox::builder().policy(policy).read_only(payload).read_only(directory);
    sandbox.build().expect("it is built")
}

#[test]
fn directories_are_listed_in_the_order_of_the_seed_and_complete() {
    if refused() {
        return;
    }
    // More than one getdents64(2) gives.
    let directory = directory_of(5000);
    let path = directory.path().to_str().expect("text");
    let shuffled = Perturbations { shuffled_directories: true, ..Perturbations::default() };
    let sandbox = showing(perturbed(shuffled), directory.path());
    let list = |seed| stdout(&sandbox, &[PAYLOAD, "list", path], seed);
    let [first, again, other] = [3, 3, 4].map(list);
    assert!(first == again && first != other);
    let sorted = |text: &str| {
        let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
        lines.sort();
        lines
    };
    let all: Vec<String> = (0..5000).map(|number| format!("file-{number:05}")).collect();
    assert_eq!((sorted(&first), sorted(&other)), (all.clone(), all));
    let plain = showing(Policy::default(), directory.path());
    let [first, other] = [3, 4].map(|seed| stdout(&plain, &[PAYLOAD, "list", path], seed));
    assert_eq!(first, other, "without the setting the seed does nothing");
}

#[test]
fn a_shuffled_directory_can_be_read_again_and_its_dots_move_too() {
    if refused() {
        return;
    }
    let directory = directory_of(20);
    let path = directory.path().to_str().expect("text");
    let shuffled = Perturbations { shuffled_directories: true, ..Perturbations::default() };
    let sandbox = showing(perturbed(shuffled), directory.path());
    let all: Vec<_> = (0..8).map(|seed| told(&sandbox, &["list-again", path], seed)).collect();
    for facts in &all {
        let values = ["again", "dots", "entries", "closed"].map(|name| facts[name].as_str());
        assert_eq!(values, ["true", "2", "22", "0"]);
    }
    assert!(all.iter().any(|facts| facts["dot"] != all[0]["dot"]), "{all:?}");
}

#[test]
fn pipes_hold_what_they_are_to() {
    if refused() {
        return;
    }
    let small = Perturbations { pipe_capacity: Some(4096), ..Perturbations::default() };
    assert_eq!(told(&sandbox(perturbed(small)), &["pipe"], 0)["capacity"], "4096");
    assert_eq!(told(&sandbox(Policy::default()), &["pipe"], 0)["capacity"], "65536");
}

/// A program that is linked statically; `None` where there is no compiler or no static C library.
fn static_program(directory: &Path) -> Option<String> {
    let (source, program) = (directory.join("main.c"), directory.join("main"));
    fs::write(&source, "int main(void) { return 3; }\n").expect("written");
    let built = Command::new("cc").arg("-static").arg("-o").args([&program, &source]).output();
    let is_built = built.is_ok_and(|built| built.status.success());
    if !is_built {
        println!("skipped: there is no compiler for static programs");
    }
    is_built.then(|| program.to_str().expect("text").to_owned())
}

#[test]
fn a_static_program_is_refused_first_or_as_a_child() {
    let directory = tempfile::tempdir().expect("a directory");
    let Some(program) = static_program(directory.path()).filter(|_| !refused()) else { return };
    for init in [Init::None, Init::Reaper] {
        let policy = Policy { init, ..at(TimeOrigin::At(IN_2038), false) };
        let shifted = showing(policy, directory.path());
        let facts = told(&shifted, &["execute", &program], 0);
        let message = "Can not access a needed shared library (os error 79)";
        assert_eq!(facts.get("refused").map(String::as_str), Some(message), "{facts:?}");
        let script = format!("{program}; echo $?");
        assert_eq!(stdout(&shifted, &["sh", "-c", &script], 0), "126\n");
        let error = shifted.command(&program).output().expect_err("it is refused");
        let text = error.to_string();
        assert!(text.contains(&format!("cannot execute `{program}`")), "{text}");
        assert!(text.contains("linked statically"), "{text}");
    }
    let plain = showing(Policy::default(), directory.path());
    assert_eq!(told(&plain, &["execute", &program], 0)["status"], "exit status: 3");
}

#[test]
fn a_static_program_whose_variables_are_not_told_runs_all_the_same() {
    let directory = tempfile::tempdir().expect("a directory");
    let Some(program) = static_program(directory.path()).filter(|_| !refused()) else { return };
    let told = Perturbations { told_variables: true, ..Perturbations::default() };
    let told = showing(perturbed(told), directory.path());
    assert_eq!(stdout(&told, &["sh", "-c", &format!("{program}; echo $?")], 0), "3\n");
    let output = told.command(&program).output().expect("it runs");
    assert_eq!(output.status.code(), Some(3));
}

#[test]
fn a_sandbox_without_the_settings_does_not_have_the_library() {
    if refused() {
        return;
    }
    let script =
        "ls /etc/isotest /etc/ld.so.preload 2>/dev/null; grep -c interpose /proc/self/maps";
    let of = |policy| stdout(&sandbox(policy), &["sh", "-c", &format!("{script}; true")], 0);
    assert_eq!(of(Policy::default()), "0\n");
    let with = of(at(TimeOrigin::At(IN_2038), false));
    assert!(with.contains("interpose.so") && !with.ends_with("\n0\n"), "{with}");
}
