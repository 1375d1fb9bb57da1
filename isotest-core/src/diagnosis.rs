//! Diagnosis: why a test fails now and then, found by runs under different conditions.
//!
//! A state machine without I/O, clock or threads. It is asked for the next runs
//! ([`Diagnosis::next`]), told their outcomes ([`Diagnosis::tell`]), and ends in an [`Attribution`].
//! It knows switches and companions by number only; whoever runs the test knows what they are.
//!
//! The way from runs to an answer is an ordinary function, `procedure`, of what is known so far. It
//! is called again from its start whenever all outcomes are known that it waited for, and comes to the
//! same decisions as before, since every decision reads a fixed number of outcomes.
//!
//! Method: `docs/diagnosis.md`. Halving by complementary arms, a sequential probability ratio test
//! (Wald 1945), delta debugging (Zeller, Hildebrandt 2002), and, before anything is called a cause, an
//! anytime-valid test of two rates on fresh runs (Turner, Ly, Grünwald 2021).

mod attribution;
mod candidates;
mod question;

mod machine;
mod notes;
mod record;
mod setting;

mod chance;
mod confirm;
mod effort;
mod explain;
mod procedure;
mod sweep;

mod minimise;
mod odds;
mod pairs;
pub mod proof;
mod rate;

#[cfg(test)]
mod simulation;

pub use self::attribution::{ArmRate, Attribution, Cause, Direction, Phase, Progress, Verdict};
pub use self::machine::Diagnosis;
pub use self::minimise::Minimise;
pub use self::question::{Arm, Budget, Observed, Question, Request, Switch, SwitchKind};
