//! Short programs whose whole output is wanted.

use std::process::{Command, Output, Stdio};

use super::error::DiscoverError;

/// Runs a program to its end, with its output collected.
pub(super) fn output(command: &mut Command) -> Result<Output, DiscoverError> {
    let output = command.stdin(Stdio::null()).output();
    output.map_err(|cause| DiscoverError::Start { program: command.get_program().into(), cause })
}

/// Text that a program wrote to stderr.
pub(super) fn message(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).trim_end().to_owned()
}
