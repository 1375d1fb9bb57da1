//! Diagnosis: why a test is flaky, found by running it under other conditions.
//!
//! [`setting`] has the conditions, [`facts`] what a test looks at, [`switches`] those conditions that are
//! tried for it. The engine (`isotest_core::diagnosis`) decides which runs are made, the [`mod@bench`] makes
//! them, and [`investigate()`] goes back and forth between them. [`causes`] says what the answer means, from
//! what the tests did ([`resources`]), [`waits`] which late threads decide a race, at which [`lines`], and [`told`] puts it
//! into words. A [`token`] makes a run again.
//!
//! Whole suites: [`hunting`] decides which [`rounds`] are made over which tests, under which [`amplifier`];
//! the [`hunter`] makes them, puts what was found into [`clusters`], and investigates those. [`bombs`] runs a
//! suite on [`dates`], [`verifier`] twice. [`order_runs`] makes the runs in one process that [`order`] asks for.

mod absent;
mod amplifier;
mod arrangement;
mod bench;
mod bombs;
mod causes;
mod clusters;
mod companions;
mod dates;
mod facts;
mod fingerprint;
mod ground;
mod hunter;
mod hunting;
mod investigate;
mod libtest_order;
mod lines;
mod next_tools;
mod one_process;
mod order;
mod order_runs;
mod places;
mod resources;
mod rounds;
mod setting;
mod shared_runs;
mod switches;
mod token;
mod told;
mod verifier;
mod verify;
mod waits;

pub use arrangement::{Arrangement, ArrangementError};
pub use bench::Bench;
pub use fingerprint::Failure;
pub use hunter::{HuntOptions, Hunter};
pub use investigate::{Limits, investigate};
pub use order::{OrderAnswer, OrderCause};
pub use order_runs::{BisectRefusal, Bisected, bisect_order};
pub use token::{Token, TokenError};
pub use told::{CONFIDENCE, tell};
pub use verifier::verify;
