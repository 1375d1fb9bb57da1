//! A sandbox: the template from which commands are started.

use std::cell::{Cell, RefCell};

use super::running::RunningCommands;
use crate::host::Host;
use crate::plan::{self, Project, Template};
use crate::policy::Policy;

/// A template from which commands are started, each in a sandbox of its own.
///
/// Its warden, the process that starts the commands, ends with the thread that has built it (prctl(2),
/// PR_SET_PDEATHSIG), and every command with it. Therefore a sandbox stays on its thread; each thread
/// may build one.
///
/// ```no_run
/// use isotest_core::Sandbox;
///
/// # fn main() -> Result<(), isotest_core::command::Error> {
/// let sandbox = Sandbox::builder().read_only("/srv/data").build()?;
/// let output = sandbox.command("ls").arg("/srv/data").output()?;
/// assert!(output.status.success());
/// println!("{}", String::from_utf8_lossy(&output.stdout));
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Sandbox {
    pub(super) host: Host,
    pub(super) project: Project,
    pub(super) policy: Policy,
    pub(super) running: RefCell<RunningCommands>,
    pub(super) next: Cell<u64>,
}

impl Sandbox {
    /// Value of every layer and limit.
    pub fn policy(&self) -> &Policy {
        &self.policy
    }

    /// Steps that have built the template.
    pub fn template(&self) -> Template {
        plan::template(&self.host, &self.project, &self.policy)
    }
}
