//! From a plan to a running case.

mod error;

pub use error::{Fault, SandboxError};
