//! Facts about the machine: read once, before anything is planned.
//!
//! The only module of the core, beside the sandbox itself, that looks at the host. What it finds
//! is plain data, so that plans stay pure and can be tested for machines that are not there.

mod debugger;
mod etc;
mod facts;
mod mountinfo;
mod part;
mod parts;
mod read;
mod surroundings;

pub use debugger::{Debugger, DebuggerFile, Lookup};
pub use etc::{Content, Original, Piece};
pub use facts::{Host, TEMPORARY, TopLevel};
pub(crate) use mountinfo::SOURCE;
pub use mountinfo::{is_sandbox, mounts_of};
pub use part::{Part, ShownPart};
pub use read::is_root;
pub use surroundings::{Container, Surroundings};
