//! Configuration: `.config/isotest.toml`, `ISOTEST_*` and the flags become one thing.
//!
//! [`Contents`] opens a file, [`mod@file`] reads its text, [`error`] words what is wrong with it, [`Config`] lays what is asked for
//! in order: flag, environment, override, profile, default. What a value does is the policy's
//! business; [`rows()`] says where each comes from. [`import()`] reads nextest's configuration.

mod adopted;
mod archive;
mod baseline;
mod commands;
mod contents;
mod document;
mod effective;
mod error;
mod file;
mod import;
mod layer_tables;
mod layers_in_force;
pub mod machine;
mod quarantine;
mod rows;
mod run_options;
pub mod settings;
mod setup_scripts;
mod source;
mod variables;

pub use adopted::{ADOPTED, Adopted, rewrite};
pub use archive::{Include, OnMissing, RelativeTo};
pub use baseline::{Baseline, Entry as BaselineEntry, PATH as BASELINE, read_baseline};
pub use commands::{ReadyTable, ServiceTable, SetupTable};
pub use contents::{Contents, PATH};
pub use effective::{Config, FlagValues, Needs, binary_expressions};
pub use error::{ConfigError, LoadError};
pub use file::schema;
pub use import::{Imported, import};
#[cfg(test)]
pub use layer_tables::input_glob;
pub use layer_tables::{InputGlob, MadeOnce, RunTable};
pub use quarantine::{Day, QuarantineEntry};
pub use rows::{case_rows, given, layer_row, rows, run_rows};
pub use run_options::TestGroup;
pub use source::{Source, merged};
