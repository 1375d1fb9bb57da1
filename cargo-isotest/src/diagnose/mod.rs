//! Diagnosis: why a test is flaky, found by running it under other conditions.
//!
//! [`setting`] has the conditions, [`facts`] what a test looks at, [`switches`] those conditions that are
//! tried for it. The engine (`isotest_core::diagnosis`) decides which runs are made, the [`bench`] makes
//! them, and [`investigate`] goes back and forth between them. [`causes`] says what the answer means, from
//! what the tests did ([`resources`]), and [`told`] puts it into words. A [`token`] makes a run again.

mod absent;
mod arrangement;
mod bench;
mod causes;
mod facts;
mod fingerprint;
mod ground;
mod investigate;
mod places;
mod resources;
mod setting;
mod shared_runs;
mod switches;
mod token;
mod told;

pub use arrangement::{Arrangement, ArrangementError};
pub use bench::Bench;
pub use fingerprint::Failure;
pub use investigate::{HostArms, Limits, investigate};
pub use token::{Token, TokenError};
pub use told::{CONFIDENCE, tell};
