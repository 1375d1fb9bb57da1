//! A command that was started, to be waited for or killed.

use std::time::Duration;

use super::error::Error;
use super::running::Output;
use super::sandbox::Sandbox;
use crate::collect::Killed;

/// A command that was started.
///
/// Dropping it neither ends nor waits for the command: it ends with its [`Sandbox`] at the latest.
/// Whoever waits for one child of a sandbox takes what the others write meanwhile, so that none of
/// them waits for a reader.
#[derive(Debug)]
pub struct Child<'a> {
    pub(super) sandbox: &'a Sandbox,
    pub(super) case: u64,
}

impl Child<'_> {
    /// Waits for its end.
    ///
    /// # Errors
    /// Its sandbox could not be set up, or the warden has ended.
    pub fn wait_with_output(self) -> Result<Output, Error> {
        loop {
            let mut running = self.sandbox.running.borrow_mut();
            if let Some(output) = running.ended.remove(&self.case) {
                return output;
            }
            running.wait(None)?;
        }
    }

    /// True if it has ended; never waits.
    ///
    /// # Errors
    /// poll(2) has failed.
    pub fn has_ended(&self) -> Result<bool, Error> {
        let mut running = self.sandbox.running.borrow_mut();
        running.wait(Some(Duration::ZERO))?;
        Ok(running.ended.contains_key(&self.case))
    }

    /// Kills every process of its sandbox. Its end is waited for as any other.
    pub fn kill(&self) {
        self.sandbox.running.borrow_mut().kill(self.case, Killed::Cancelled);
    }
}
