//! Runs a hundred commands at once, each in a sandbox of its own, and prints what each saw:
//! all of them are PID 1, write the same file, and none sees another.

use std::time::Instant;

use isotest_core::Sandbox;
use isotest_core::command::Error;

const SCRIPT: &str = "echo $$ >> /tmp/pids; cat /tmp/pids";

fn main() -> Result<(), Error> {
    let sandbox = Sandbox::new()?;
    let started = Instant::now();
    let start = |_| sandbox.command("sh").args(["-c", SCRIPT]).spawn();
    let children = (0..100).map(start).collect::<Result<Vec<_>, Error>>()?;
    for child in children {
        let output = child.wait_with_output()?;
        assert_eq!(output.stdout, b"1\n", "each is alone");
    }
    println!("100 sandboxes in {:?}", started.elapsed());
    Ok(())
}
