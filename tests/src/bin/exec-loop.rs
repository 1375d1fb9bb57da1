//! Runs each test of a binary in a process of its own, as many at a time as there are processors,
//! and does nothing else: what `benches/compare` compares with.

use std::env;
use std::process::{Command, Stdio, exit};
use std::thread;

use nix::sys::wait::{WaitStatus, wait};

fn main() {
    let Some(program) = env::args_os().nth(1) else {
        eprintln!("usage: exec-loop TEST_BINARY");
        exit(2);
    };
    let list = Command::new(&program).args(["--list", "--format", "terse"]).output();
    let list = list.expect("the binary lists its tests");
    let list = String::from_utf8(list.stdout).expect("names are text");
    let names: Vec<&str> = list.lines().filter_map(|line| line.strip_suffix(": test")).collect();
    #[allow(clippy::zombie_processes, reason = "`end_one` waits for whichever ends first")]
    let start = |name: &str| {
        let mut command = Command::new(&program);
        command.args([name, "--exact", "--nocapture"]).stdout(Stdio::null()).stderr(Stdio::null());
        command.spawn().expect("the binary can be started");
    };
    let most = thread::available_parallelism().map_or(1, |number| number.get());
    let (mut running, mut failed) = (0, false);
    let mut end_one = || match wait() {
        Ok(WaitStatus::Exited(_, code)) => failed |= code != 0,
        Ok(_) | Err(_) => failed = true,
    };
    for name in names {
        if running == most {
            end_one();
            running -= 1;
        }
        start(name);
        running += 1;
    }
    (0..running).for_each(|_| end_one());
    exit(i32::from(failed));
}
