//! Runs one command in a sandbox: `cargo run --example one_command -- /bin/ls -l /`.

use std::error::Error;
use std::ffi::CString;
use std::path::Path;
use std::sync::Arc;

use isotest_core::foreground;
use isotest_core::host::Host;
use isotest_core::plan::{self, CommandSpec, Plan, Project, StartBy};
use isotest_core::policy::Policy;
use isotest_core::sandbox::Warden;
use isotest_core::signals::Signals;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<CString> =
        std::env::args().skip(1).map(CString::new).collect::<Result<_, _>>()?;
    let program = arguments.first().cloned().ok_or("usage: one_command PROGRAM ARGUMENTS...")?;
    let (host, project, policy) =
        (Host::read(Path::new("/"))?, Project::default(), Policy::default());
    let mut warden = Warden::start(&host, &policy)?;
    warden.build(&plan::template(&host, &project, &policy), None)?;
    let command = CommandSpec {
        program,
        arguments,
        environment: vec![c"PATH=/usr/bin:/bin".to_owned()],
        directory: c"/".to_owned(),
        start_by: StartBy::Exec("a single command"),
    };
    let spec = Arc::new(plan::sandbox_spec(&host, &project, &policy, command));
    let conclusion = foreground::run(&mut warden, &Plan::of(spec), &Signals::listen()?)?;
    println!("{:?}", conclusion.ended);
    Ok(())
}
