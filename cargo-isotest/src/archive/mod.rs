//! Archives of tests, in cargo-nextest's format: a project is built on one machine, and its tests
//! run on another, which needs neither cargo nor rustc.
//!
//! A tar archive compressed by zstd. All its entries lie below `target`: cargo's target directory,
//! as far as tests need it, and what describes it in `target/nextest`. The sources of the project
//! are not in it.

mod layout;

mod error;
mod open;
mod write;

pub use error::ArchiveError;
pub use open::{OpenedArchive, open};
pub use write::{ArchiveContents, ArchiveSummary, write};
