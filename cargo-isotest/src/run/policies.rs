//! Policies of the cases of a run, which overrides may change.
//!
//! A warden has one policy, so there is one warden for each policy that differs in more than the
//! values of a plan.

use std::sync::Arc;

use isotest_core::case::{Case, CaseIndex, Ignore};
use isotest_core::finding::Codes;
use isotest_core::policy::{Limits, Policy};
use isotest_core::retry::Retries;
use isotest_core::schedule::{self, Claim, Repeat};

use crate::cli::ThreadsRequired;
use crate::config::machine::Machine;
use crate::config::settings::{self, Settings};
use crate::config::{Config, Needs, Source, merged};
use crate::discover::filterset::FilterSubject;
use crate::report::Grant;
use crate::run::context::Context;
use crate::sandbox::trial;
use crate::select::selected::Selected;

/// A case, and what the configuration has for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// The case.
    pub index: CaseIndex,
    /// Shared by all cases that the same overrides select: there may be very many.
    pub terms: Arc<Terms>,
}

/// Configuration of a case beside its policy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Terms {
    /// Its limits, of which those that a plan holds may be its own.
    pub limits: Limits,
    /// Services and setup commands that it needs.
    pub needs: Needs,
    /// Its run options.
    pub rules: Rules,
}

/// Run options of a case.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rules {
    /// Its retries.
    pub retries: Retries,
    /// Number of slots that it takes; `None` is one.
    pub threads_required: Option<ThreadsRequired>,
    /// The test group that it is in.
    pub group: Option<schedule::TestGroup>,
    /// It starts before those with a lower one.
    pub priority: i8,
    /// The codes of findings with which it does not pass.
    pub deny: Codes,
}

impl Rules {
    /// Retries of the case. A stress run counts failures instead.
    pub fn retries(&self, settings: &Settings) -> Retries {
        match settings.repeat {
            Repeat::Once => self.retries,
            Repeat::Times(_) | Repeat::For(_) => Retries::default(),
        }
    }

    /// Slots and group of the case while it is in flight.
    pub fn claim(&self, settings: &Settings) -> Claim {
        let count = |required: ThreadsRequired| required.count(settings.processors, settings.jobs);
        Claim { threads: self.threads_required.map_or(1, count), group: self.group }
    }
}

/// Cases that one warden can start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PolicyGroup {
    /// The policy that they share.
    pub policy: Policy,
    /// The layers that they see, by their places in the configuration.
    pub layers: Vec<usize>,
    /// The cases.
    pub members: Vec<Member>,
}

/// The cases of some binaries, `first` being the index of the first, by policy and layers. Those that
/// no override and no layer selects come first, with the policy `base`, even where there are none.
pub fn groups(
    context: Context<'_>,
    base: &Policy,
    selected: &[Selected],
    first: usize,
) -> Vec<PolicyGroup> {
    let Context { config, machine, .. } = context;
    let first_group = PolicyGroup { policy: base.clone(), layers: Vec::new(), members: Vec::new() };
    let mut groups = vec![first_group];
    // What sources ask for, and what became of it: few differ, and a trial takes time.
    let all = config.sources();
    let terms_of_all = terms(config, &all, base, machine);
    let mut known = vec![Known { sources: all, layers: Vec::new(), group: 0, terms: terms_of_all }];
    for (offset, selected) in selected.iter().enumerate() {
        let subject = FilterSubject::of(&selected.binary);
        for (case, listed) in selected.selection.cases.iter().enumerate() {
            let sources = config.sources_of(&subject, listed);
            let layers = config.layers_of(&subject, listed);
            let is_same = |known: &Known<'_>| known.sources == sources && known.layers == layers;
            let place = known.iter().position(is_same).unwrap_or_else(|| {
                let policy = policy_of(config, base, &sources, machine);
                let terms = terms(config, &sources, &policy, machine);
                let shares = |group: &PolicyGroup| {
                    group.layers == layers && shares_warden(&group.policy, &policy)
                };
                let group = groups.iter().position(shares).unwrap_or_else(|| {
                    groups.push(PolicyGroup {
                        policy,
                        layers: layers.clone(),
                        members: Vec::new(),
                    });
                    groups.len() - 1
                });
                known.push(Known { sources, layers, group, terms });
                known.len() - 1
            });
            let Known { group, terms, .. } = &known[place];
            let index = CaseIndex { binary: first + offset, case };
            groups[*group].members.push(Member { index, terms: Arc::clone(terms) });
        }
    }
    groups
}

/// The policy of one case; `base` is that of the cases that no override selects.
pub fn of_case(
    config: &Config,
    base: &Policy,
    selected: &Selected,
    case: &Case,
    machine: &Machine,
) -> Policy {
    let sources = config.sources_of(&FilterSubject::of(&selected.binary), case);
    policy_of(config, base, &sources, machine)
}

/// What some sources and layers ask for, and what became of it.
struct Known<'a> {
    sources: Vec<&'a Source>,
    layers: Vec<usize>,
    /// The number of its group.
    group: usize,
    terms: Arc<Terms>,
}

/// Grants of the configuration: number of cases, layers and reason of each.
pub fn grants(config: &Config, selected: &[Selected]) -> Vec<Grant> {
    let mut grants: Vec<Grant> = Vec::new();
    for selected in selected {
        let subject = FilterSubject::of(&selected.binary);
        for case in selected.selection.cases.iter().filter(|case| case.ignore == Ignore::No) {
            for source in config.sources_of(&subject, case) {
                if !source.grants() {
                    continue;
                }
                let (layers, origin) = (source.values.layers.grants(), source.origin.to_string());
                match grants.iter_mut().find(|grant| grant.origin == origin) {
                    Some(grant) => grant.cases += 1,
                    None => {
                        let layers = layers.into_iter().map(str::to_owned).collect();
                        grants.push(Grant { layers, origin, cases: 1 });
                    }
                }
            }
        }
    }
    grants
}

/// The policy that sources ask for; that of a case which no override selects is known.
fn policy_of(config: &Config, base: &Policy, sources: &[&Source], machine: &Machine) -> Policy {
    if sources == config.sources() {
        return base.clone();
    }
    let layers = merged(sources).layers;
    let policy = trial::weaken(settings::policy(&layers), &layers.allow_weaker(), machine);
    // It has been found already, and a whole run has it.
    Policy { root: base.root.clone(), trace: base.trace, ..policy }
}

fn terms(config: &Config, sources: &[&Source], policy: &Policy, machine: &Machine) -> Arc<Terms> {
    Arc::new(Terms {
        limits: policy.limits.clone(),
        needs: config.needs(sources),
        rules: rules(config, sources, machine),
    })
}

fn rules(config: &Config, sources: &[&Source], machine: &Machine) -> Rules {
    let run_options = merged(sources).run_options;
    let named = run_options.test_group.as_ref();
    let mut groups = config.test_groups.iter().enumerate();
    let group = groups.find(|(_, (name, ..))| Some(name) == named);
    Rules {
        retries: run_options.retries(),
        threads_required: run_options.threads_required,
        priority: run_options.priority.unwrap_or_default(),
        deny: run_options.deny(),
        group: group.map(|(number, (_, group, _))| schedule::TestGroup {
            number,
            max_threads: group.max_threads.count(machine.cores),
        }),
    }
}

/// True if a warden for one of them can start cases of the other: they differ only in values of the
/// plan.
pub fn shares_warden(one: &Policy, other: &Policy) -> bool {
    let limits = Limits {
        timeout: one.limits.timeout,
        slow_timeout: one.limits.slow_timeout,
        output: one.limits.output,
        ..other.limits.clone()
    };
    *one == Policy { limits, ..other.clone() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use isotest_core::policy::Net;

    #[test]
    fn a_warden_is_shared_where_only_plans_differ() {
        let base = Policy::default();
        let mut patient = base.clone();
        patient.limits.timeout = None;
        patient.limits.slow_timeout = None;
        patient.limits.output = 1;
        assert!(shares_warden(&base, &patient));
        let mut few = base.clone();
        few.limits.processes = 1;
        assert!(!shares_warden(&base, &few));
        assert!(!shares_warden(&base, &Policy { net: Net::Host, ..base.clone() }));
    }
}
