//! Batches: the cases that run in one root filesystem under one policy, and their sandboxes.

use isotest_core::case::{CaseIndex, Ignore};
use isotest_core::policy::Policy;

use crate::config::Needs;
use crate::run::context::Context;
use crate::run::policies::{Member, PolicyGroup};
use crate::sandbox::factory::{FactoryError, SandboxBuilder, SandboxFactory};
use crate::select::selected::{Selected, case};

/// Cases that run in one root filesystem under one policy.
pub struct Batch {
    /// The sandboxes of its cases.
    pub factory: SandboxFactory,
    /// Its cases, in order.
    pub members: Vec<Member>,
}

impl Batch {
    /// The priority of one of its cases.
    pub fn priority(&self, index: CaseIndex) -> i8 {
        let member = self.members.binary_search_by_key(&index, |member| member.index);
        member.map_or(0, |place| self.members[place].terms.rules.priority)
    }
}

/// A batch for each group; `factory` is that of the first.
pub fn batches(
    context: Context<'_>,
    factory: SandboxFactory,
    groups: Vec<PolicyGroup>,
) -> Result<Vec<Batch>, FactoryError> {
    let mut factory = Some(factory);
    let batches = groups.into_iter().map(|PolicyGroup { policy, members, .. }| {
        let factory = match factory.take() {
            Some(first) => first,
            None => SandboxBuilder::start(policy)?.build_for(context.project, context.machine)?,
        };
        Ok(Batch { factory, members })
    });
    batches.collect()
}

/// Services and setup commands that the cases need, each with its policy.
pub fn needs<'a>(
    batches: &'a [Batch],
    selected: &'a [Selected],
) -> impl Iterator<Item = (&'a Policy, &'a Needs)> {
    let runs = |member: &&Member| case(selected, member.index).ignore == Ignore::No;
    batches.iter().flat_map(move |Batch { factory, members }| {
        members.iter().filter(runs).map(|member| (&factory.policy, &member.terms.needs))
    })
}
