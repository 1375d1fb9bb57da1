//! A run: the selected cases are planned, executed and explained.
//!
//! Each step is given a [`context`]. [`policies`] groups cases by policy; each group is a [`batch`].
//! [`case_plan`] plans each case, [`execute`] runs them and reports their events. Failed cases then
//! get [`explanations`]: [`rerun_variants`] runs them once more, [`traces`] and [`withheld`] look for
//! what their programs name. [`rerun`] words the command that runs failed tests again.

pub mod kept;

pub mod context;

pub mod path_words;
pub mod policies;

pub mod batch;
pub mod gates;

pub mod case_plan;
pub mod suite_plan;
pub mod together;
pub mod whole_binary;

pub mod execute;
pub mod mentioned;
pub mod private_path;
pub mod prove;

pub mod explanations;

pub mod again;
pub mod evidence;
pub mod outside;
pub mod programs;
pub mod rerun_variants;
pub mod smallest;
pub mod traced;
pub mod traces;
pub mod variants;
pub mod withheld;

pub mod rerun;

pub mod doctests;
