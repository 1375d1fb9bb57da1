//! The run store: a file for each run below the target directory, and whoever reads one; beside them the
//! results of diagnoses.
//!
//! A file is a zstd frame of lines, [`Line`](crate::report::Line)s in JSON. The frame is flushed as
//! tests end, so a file is readable while it is written, and whole up to its last flush however
//! the run ended. Tests that share the project with the host may write there: files are opened by
//! descriptors, without links, and read with bounds.

mod commit;
mod diagnoses;
mod durations;
mod error;
mod index;
mod reader;
mod runs;
mod writer;

pub use commit::commit;
pub use diagnoses::Diagnoses;
pub use durations::Durations;
pub use error::StoreError;
pub use index::{Index, TestNames};
pub use reader::{Lines, Recorded, results};
pub use runs::{Keep, Store, Stored};
