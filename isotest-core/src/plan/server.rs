//! Steps of a fork server before it is executed: the program and its libraries at their own paths,
//! which its cases read in `/proc/self/exe`, and no capabilities.

use std::path::Path;

use super::builder::Steps;
use super::layout::{Layout, STAGING, TMP};
use super::steps::{Op, Step};
use crate::policy::Policy;

/// The library that makes a fork server of a program (`build.rs`).
pub const LIBRARY: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/preload.so"));

pub fn steps(layout: &Layout, policy: &Policy) -> Vec<Step> {
    let mut steps = Steps::default();
    for placed in &layout.placed {
        if let Some(staged) = &placed.staged
            && is_shown(&placed.path)
        {
            steps.bind_read_only(staged, &placed.path, placed.what.clone());
        }
    }
    steps.add("no terminal", Op::NewSession);
    steps.add("no key of the caller's session", Op::NewKeyring);
    if policy.perturbations.fixed_addresses {
        steps.add("its cases have its addresses", Op::FixedAddresses);
    }
    steps.add("the dynamic loader needs none", Op::DropCapabilities);
    steps.0
}

/// True if a fork server sees an exposure at this path. Its cases need the staging directory, so
/// that nothing can be shown in the staging directory, nor in its parents.
pub fn is_shown(path: &Path) -> bool {
    let staging = Path::new(STAGING);
    !path.starts_with(staging) && !staging.starts_with(path)
}

/// True if a fork server sees this file.
pub fn sees(layout: &Layout, file: &Path) -> bool {
    match layout.placed.iter().rev().find(|placed| file.starts_with(&placed.path)) {
        Some(placed) => is_shown(&placed.path),
        None => !file.starts_with(TMP),
    }
}
