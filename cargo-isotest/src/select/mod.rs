//! Selection: the tests of each binary are listed and filtered.
//!
//! [`prepare`] starts here: it builds the project, lists each binary's tests in a sandbox ([`listing`])
//! and applies the filters; what is left are [`selected`] tests. [`subset`] keeps one partition, or the
//! tests that failed last time; [`find_case`] finds the one test that a name means.

pub mod prepare;

pub mod listing;

pub mod selected;

pub mod subset;

pub mod partition;

pub mod unfinished;

pub mod find_case;

mod arguments;
pub mod stored;
