//! Runs one command in a sandbox: `cargo run --example one_command -- /bin/ls -l /`.
use std::ffi::CString;
use std::io::{stderr, stdin, stdout};
use std::os::fd::AsFd;
use std::path::Path;
use std::sync::Arc;

use isotest_core::host::Host;
use isotest_core::plan::{Command, Project, setup, template};
use isotest_core::policy::Policy;
use isotest_core::sandbox::{Notice, Start, Warden};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<CString> =
        std::env::args().skip(1).map(|a| CString::new(a).unwrap()).collect();
    let host = Host::read(Path::new("/"))?;
    let (policy, project) = (Policy::default(), Project::default());
    let mut warden = Warden::start(&host, &policy)?;
    warden.build(&template(&host, &project, &policy))?;
    let command = Command {
        program: arguments[0].clone(),
        arguments,
        environment: vec![c"PATH=/usr/bin:/bin".to_owned()],
        directory: c"/".to_owned(),
    };
    let setup = Arc::new(setup(&host, &project, &policy, command));
    let start =
        Start { case: 1, setup: 0, arguments: vec![], environment: vec![], terminal: false };
    warden.spawn(&setup, start, &[stdin().as_fd(), stdout().as_fd(), stderr().as_fd()])?;
    if let Some(Notice::Ended(end, _)) = warden.notice(true) {
        println!("{end:?}");
        if let Some(fault) = end.fault {
            println!("{}", isotest_core::sandbox::SandboxError::new(fault, &setup.steps, "", ""));
        }
    }
    Ok(())
}
