//! What a suite needs to pass isolated: tests that fail isolated only, and the smallest set of
//! grants with which each passes.
//!
//! [`comparison`] says which tests fail only isolated, from [`observed`] runs and from those
//! [`outside`] of every sandbox. [`evidence`] names what a test may need, [`search`] decides which
//! grants are tried next, and [`trials`] runs what it decides. [`overrides`] makes entries of the
//! configuration of them, and [`packages`] lists for distributions.

mod comparison;
mod evidence;
mod filter;
mod grant;
mod observed;
mod outside;
mod overrides;
mod packages;
mod search;
mod trials;

pub use comparison::{Comparison, Standing, compare};
pub use evidence::{Evidence, Hidden};
pub use grant::Grant;
pub use observed::{Observed, observe};
pub use outside::{OutsideCase, OutsideError, Results, run_outside};
pub use overrides::{Adoption, Changes, Needed, Override, Present};
pub use packages::{Skipped, skip_list};
pub use search::Found;
pub use trials::{Asked, Explained, Trials};
