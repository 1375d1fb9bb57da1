//! The list of tests of each binary, asked for in a sandbox: a list is project code too, and a
//! `harness = false` program that knows no `--list` runs its tests when it is asked.
//!
//! [`list()`] asks, [`collect`] gathers the output of each binary, [`reply`] reads it.

mod list;

mod collect;
mod error;
mod output;
mod reply;

pub use error::{BinaryListError, ListingError};
pub use list::list;
pub use reply::BinaryList;
