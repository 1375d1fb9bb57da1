//! Selection: the tests of each binary are listed and filtered.
//!
//! [`prepare`] starts here: it builds the project, lists each binary's tests in a sandbox ([`listing`])
//! and applies the filters. [`narrow`] keeps one partition, or the tests that failed last time;
//! [`find_case`] finds the one test that a name means.

pub mod prepare;

pub mod arguments;
pub mod listing;

pub mod narrow;

pub mod last_run;
pub mod partition;

pub mod find_case;

pub mod remembered;
