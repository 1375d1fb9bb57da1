//! What a fork server needs for itself before it is executed: the program and its libraries at
//! their own paths, which the kernel will tell its cases (`/proc/self/exe`), and no power.

use std::path::Path;

use super::builder::Steps;
use super::layout::{Layout, STAGE};
use crate::sandbox::{Op, Step};

pub fn steps(layout: &Layout) -> Vec<Step> {
    let mut steps = Steps::default();
    for placed in &layout.placed {
        if let Some(staged) = &placed.staged
            && is_shown(&placed.path)
        {
            steps.bind_read_only(staged, &placed.path, placed.what.clone());
        }
    }
    steps.add("no terminal", Op::NewSession);
    steps.add("no key of the caller's session", Op::NewKeyring);
    steps.add("the dynamic loader needs none", Op::DropCapabilities);
    steps.0
}

/// Whether a fork server sees what is shown there. The stage is in the way of what lies in `/tmp`.
pub fn is_shown(path: &Path) -> bool {
    !path.starts_with(STAGE)
}
