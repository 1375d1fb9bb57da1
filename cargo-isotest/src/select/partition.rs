//! Partitions: a run has one part of the selected tests, other machines have the others.
//!
//! The parts are nextest's, so that its shards and these agree: the same order of tests, the same
//! hash, and only tests that would run are dealt out (`partition.rs` of nextest-runner).

use std::ffi::OsStr;
use std::fmt;

use isotest_core::case::{Case, Ignore};
use nextest_metadata::RustBinaryId;
use twox_hash::XxHash64;

use crate::cli::{Part, Partition, Scheme};
use crate::config::machine::Machine;
use crate::select::selected::Selected;

/// A CI system that runs a job several times, and the variables in which it tells each copy which
/// one it is.
struct CiSystem {
    name: &'static str,
    /// The number of the copy.
    number: &'static str,
    /// The number of the first one, or a variable that has it.
    first: FirstNumber,
    /// Variable with the number of copies.
    total: &'static str,
}

enum FirstNumber {
    Is(u64),
    In(&'static str),
}

/// CI systems stand before what their runners may run on.
const SYSTEMS: [CiSystem; 6] = [
    CiSystem {
        name: "GitHub Actions",
        number: "STRATEGY_JOB_INDEX",
        first: FirstNumber::Is(0),
        total: "STRATEGY_JOB_TOTAL",
    },
    CiSystem {
        name: "GitLab CI",
        number: "CI_NODE_INDEX",
        first: FirstNumber::Is(1),
        total: "CI_NODE_TOTAL",
    },
    CiSystem {
        name: "Buildkite",
        number: "BUILDKITE_PARALLEL_JOB",
        first: FirstNumber::Is(0),
        total: "BUILDKITE_PARALLEL_JOB_COUNT",
    },
    CiSystem {
        name: "CircleCI",
        number: "CIRCLE_NODE_INDEX",
        first: FirstNumber::Is(0),
        total: "CIRCLE_NODE_TOTAL",
    },
    CiSystem {
        name: "a Kubernetes indexed Job",
        number: "JOB_COMPLETION_INDEX",
        first: FirstNumber::Is(0),
        total: "JOB_COMPLETIONS",
    },
    CiSystem {
        name: "a Slurm array",
        number: "SLURM_ARRAY_TASK_ID",
        first: FirstNumber::In("SLURM_ARRAY_TASK_MIN"),
        total: "SLURM_ARRAY_TASK_COUNT",
    },
];

/// The part that is asked for; for `auto`, that of the CI system.
pub fn resolve(
    partition: Option<Partition>,
    machine: &Machine,
) -> Result<Option<Part>, PartitionError> {
    match partition {
        None => Ok(None),
        Some(Partition::Part(part)) => Ok(Some(part)),
        Some(Partition::Auto) => automatic(machine).map(Some).map_err(PartitionError),
    }
}

/// The variables of the CI system do not tell this run's part.
#[derive(Debug)]
pub struct PartitionError(String);

impl fmt::Display for PartitionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let cause = &self.0;
        write!(f, "cannot determine the partition for `--partition auto`: {cause}")
    }
}

impl std::error::Error for PartitionError {}

fn automatic(machine: &Machine) -> Result<Part, String> {
    let is_set = |system: &&CiSystem| machine.variable(system.number).is_some();
    let Some(system) = SYSTEMS.iter().find(is_set) else { return Err(none_found(machine)) };
    let read = |name: &str| number(name, machine.variable(name), system);
    let (number, total) = (read(system.number)?, read(system.total)?);
    let first = match system.first {
        FirstNumber::Is(first) => first,
        FirstNumber::In(name) => read(name)?,
    };
    // An array of every third number, say: what lies between two of them.
    let step = match system.first {
        FirstNumber::Is(_) => 1,
        FirstNumber::In(_) => match machine.variable("SLURM_ARRAY_TASK_STEP") {
            Some(_) => read("SLURM_ARRAY_TASK_STEP")?.max(1),
            None => 1,
        },
    };
    let place = number.checked_sub(first).map_or(0, |place| place / step + 1);
    Part::new(Scheme::Slice, place, total).map_err(|cause| {
        format!("the variables of {} (`{}` is {number}): {cause}", system.name, system.number)
    })
}

fn number(name: &str, value: Option<&OsStr>, system: &CiSystem) -> Result<u64, String> {
    let hint = match system.total {
        "JOB_COMPLETIONS" => {
            "\nhint: Kubernetes sets only `JOB_COMPLETION_INDEX`; set `JOB_COMPLETIONS` in the pod's \
             template to the Job's `completions`"
        }
        "STRATEGY_JOB_TOTAL" => {
            "\nhint: in the step's `env`: STRATEGY_JOB_TOTAL: ${{ strategy.job-total }}"
        }
        _ => "",
    };
    let Some(value) = value else {
        return Err(format!("this is {}, but `{name}` is not set{hint}", system.name));
    };
    let parsed = value.to_str().and_then(|text| text.parse().ok());
    parsed.ok_or_else(|| format!("`{name}` is `{}`, which is not a number", value.display()))
}

fn none_found(machine: &Machine) -> String {
    if machine.variable("GITHUB_ACTIONS").is_some() {
        return "GitHub Actions sets no variables for the jobs of a matrix\n\
                hint: in the step's `env`: STRATEGY_JOB_INDEX: ${{ strategy.job-index }} and \
                STRATEGY_JOB_TOTAL: ${{ strategy.job-total }}"
            .to_owned();
    }
    let names: Vec<String> =
        SYSTEMS.iter().map(|it| format!("`{}` ({})", it.number, it.name)).collect();
    format!("none of these variables is set: {}", names.join(", "))
}

/// Leaves out what other parts have. An ignored test, which no part runs, is reported by the first.
pub fn narrow(selected: Vec<Selected>, part: &Part) -> Vec<Selected> {
    let mut order: Vec<usize> = (0..selected.len()).collect();
    order.sort_by_key(|&index| RustBinaryId::new(&selected[index].binary.id));
    let mut selected: Vec<Option<Selected>> = selected.into_iter().map(Some).collect();
    let mut turn = 0;
    for index in order {
        if part.scheme == Scheme::Count {
            turn = 0;
        }
        let is_ours = |case: &Case| match (&case.ignore, part.scheme) {
            (Ignore::Yes | Ignore::Because(_), _) => part.number.get() == 1,
            (Ignore::No, Scheme::Hash) => is_turn(part, XxHash64::oneshot(0, case.name.as_bytes())),
            (Ignore::No, Scheme::Slice | Scheme::Count) => {
                turn += 1;
                is_turn(part, turn - 1)
            }
        };
        selected[index] = selected[index].take().and_then(|it| it.narrow(is_ours));
    }
    selected.into_iter().flatten().collect()
}

/// True if a number that counts from 0 belongs to this part.
fn is_turn(part: &Part, number: u64) -> bool {
    number % part.total == part.number.get() - 1
}

#[cfg(test)]
mod tests {
    use super::*;

    type Variables<'a> = &'a [(&'a str, &'a str)];

    fn found(variables: Variables<'_>) -> Result<(u64, u64), String> {
        let variables = variables.iter().map(|(name, value)| (name.into(), value.into())).collect();
        let machine = Machine { variables, ..Machine::read().expect("there is one") };
        automatic(&machine).map(|part| (part.number.get(), part.total.get()))
    }

    #[test]
    fn each_system_counts_in_its_own_way() {
        let table: &[(Variables<'_>, (u64, u64))] = &[
            (&[("STRATEGY_JOB_INDEX", "0"), ("STRATEGY_JOB_TOTAL", "4")], (1, 4)),
            (&[("CI_NODE_INDEX", "4"), ("CI_NODE_TOTAL", "4")], (4, 4)),
            (&[("BUILDKITE_PARALLEL_JOB", "3"), ("BUILDKITE_PARALLEL_JOB_COUNT", "4")], (4, 4)),
            (&[("CIRCLE_NODE_INDEX", "1"), ("CIRCLE_NODE_TOTAL", "2")], (2, 2)),
            (&[("JOB_COMPLETION_INDEX", "2"), ("JOB_COMPLETIONS", "3")], (3, 3)),
            (
                &[
                    ("SLURM_ARRAY_TASK_ID", "16"),
                    ("SLURM_ARRAY_TASK_MIN", "10"),
                    ("SLURM_ARRAY_TASK_STEP", "3"),
                    ("SLURM_ARRAY_TASK_COUNT", "4"),
                ],
                (3, 4),
            ),
        ];
        for (variables, part) in table {
            assert_eq!(found(variables), Ok(*part), "{variables:?}");
        }
    }

    #[test]
    fn what_is_missing_is_named() {
        let table: &[(Variables<'_>, &str)] = &[
            (&[], "none of these variables is set: `STRATEGY_JOB_INDEX` (GitHub Actions), "),
            (&[("GITHUB_ACTIONS", "true")], "GitHub Actions sets no variables"),
            (
                &[("JOB_COMPLETION_INDEX", "2")],
                "this is a Kubernetes indexed Job, but `JOB_COMPLETIONS` is not set\nhint: ",
            ),
            (
                &[("CI_NODE_INDEX", "x"), ("CI_NODE_TOTAL", "4")],
                "`CI_NODE_INDEX` is `x`, which is not a number",
            ),
            (
                &[("CI_NODE_INDEX", "5"), ("CI_NODE_TOTAL", "4")],
                "the variables of GitLab CI (`CI_NODE_INDEX` is 5): there is no part 5 of 4",
            ),
        ];
        for (variables, said) in table {
            let error = found(variables).expect_err("it cannot be known");
            assert!(error.starts_with(said), "{variables:?}: {error}");
        }
    }
}
