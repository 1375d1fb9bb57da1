//! The subcommands, one file each.

pub mod run;

pub mod debug;

pub mod runner;

pub mod caller;

pub mod inspect;

pub mod show_config;

pub mod doctor;
pub mod prune;
