//! Prints all that is done for a command before it is executed, with the reason of each step, and
//! starts nothing but the template: first the steps of the template, then those of the command.

use std::time::Duration;

use isotest_core::Sandbox;
use isotest_core::command::Error;

fn main() -> Result<(), Error> {
    let sandbox = Sandbox::builder().timeout(Duration::from_secs(5)).build()?;
    println!("once for all commands:");
    for step in sandbox.template().steps {
        println!("  {}: {}", step.op, step.reason);
    }
    let plan = sandbox.command("true").plan()?;
    println!("for each command:");
    for step in &plan.spec.steps {
        println!("  {}: {}", step.op, step.reason);
    }
    println!("then {:?} is executed, for {:?} at the most", plan.spec.program, plan.timeout);
    Ok(())
}
