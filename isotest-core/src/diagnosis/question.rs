//! What a diagnosis is asked, and the runs that it asks for in turn.

use std::collections::BTreeSet;

/// A test that fails now and then, as the conditions that can be changed about it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Question {
    /// The conditions. [`Arm::on`] names them by their index.
    pub switches: Vec<Switch>,
    /// Number of companions: other tests that may run beside this one.
    pub companions: usize,
    /// Those of them that change what all tests of a process share. They are tried without the others,
    /// too.
    pub suspects: BTreeSet<usize>,
    /// Where the diagnosis stops although it does not know the cause yet.
    pub budget: Budget,
    /// All seeds of the runs follow from it.
    pub seed: u64,
}

/// A condition that can be switched on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Switch {
    /// What it changes.
    pub kind: SwitchKind,
    /// For tests and messages of developers; it decides nothing.
    pub name: String,
    /// It is a load: its runs keep a processor busy.
    pub is_heavy: bool,
    /// Its runs take long, so that few of them are asked for, as of loads.
    pub is_slow: bool,
    /// It changes when the test does something, and with it what other tests do meanwhile: it is also
    /// tried while layers are shared.
    pub changes_timing: bool,
}

/// What a switch changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum SwitchKind {
    /// A layer is shared with the companions, and private otherwise.
    Shared,
    /// A layer is the host's.
    Host,
    /// The test and its companions run in one process.
    Together,
    /// It makes visible what suspects change in one process with the test, and changes nothing else.
    Amplifier,
    /// A condition on top of private layers, which takes effect by itself.
    Perturbation,
    /// A source of chance follows from the seed of the run: entropy, order of directories, process id.
    Determinism,
}

/// Limits of a diagnosis.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Budget {
    /// Runs in all.
    pub runs: u32,
}

/// One arrangement of a run: what is on, and who runs beside the test. Empty: the test alone, all
/// its layers private.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Arm {
    /// Indices of switches.
    pub on: BTreeSet<usize>,
    /// Indices of companions.
    pub companions: BTreeSet<usize>,
}

/// A run that the diagnosis asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// The name of this run in [`tell`](super::Diagnosis::tell).
    pub id: u64,
    /// How it is arranged.
    pub arm: Arm,
    /// The seed of the run. Runs of the same arm may have the same.
    pub seed: u64,
}

/// The outcome of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Observed {
    /// The test passed.
    Passed,
    /// The test failed, with this fingerprint: equal for failures of one kind.
    Failed(u64),
    /// The run could not be made. It does not count and is asked for again a few times.
    Lost,
}
