//! The subcommands, one file each.
//!
//! [`run`], and [`debug`] for its `--debugger` and `--tracer`, start the tests; [`list`], [`explain`],
//! [`shell`] and [`trace`] look at them; [`exec`] runs any command. [`runner`] is what cargo starts in place of a test
//! binary. The other files are shared: [`build`], [`selected_tests`], [`suite`], [`one_case`], [`find_program`],
//! [`foreground`], [`runner_environment`], [`recorded`], [`config_file`], [`kept_diagnoses`], [`repetition`].

pub mod run;

pub mod debug;
pub mod list;

pub mod diff;
pub mod explain;
pub mod shell;
pub mod trace;

pub mod exec;
pub mod runner;

pub mod adopt;
mod answer;
pub mod archive;
pub mod baseline;
pub mod bisect_order;
pub mod conflicts;
pub mod diagnose;
pub mod doctor;
pub mod history;
pub mod hunt;
pub mod import_nextest;
mod kept_diagnoses;
pub mod prove;
pub mod prove_fixed;
pub mod prune;
pub mod quarantine;
mod repetition;
pub mod replay;
pub mod repro;
pub mod runs;
pub mod show_config;
pub mod verify;

pub mod build;

pub mod selected_tests;
pub mod suite;

pub mod one_case;
pub mod recorded;

pub mod config_file;
pub mod find_program;
pub mod foreground;

pub mod runner_environment;
