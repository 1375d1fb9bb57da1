//! Layers, limits and the course of a run as keys of a configuration file and as variables of the environment.
//!
//! A key is the long name of a flag, and its values are read as the flag's: the definition of the
//! flags is asked, so that the three can not drift apart. Text in, [`Values`] out; where the
//! text stands is the caller's business.

use std::any::TypeId;
use std::error::Error as _;

use clap::error::{ContextKind, ContextValue};
use clap::{ArgAction, Args, CommandFactory, FromArgMatches, Parser};
use schemars::JsonSchema;

use super::course::CourseOptions;
use super::layers::{LayerOptions, Workspace};

/// What a key takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// One value.
    Single,
    /// Any number of values.
    List,
    /// Nothing on the command line; `true` or `false` elsewhere, `false` as if it were not there.
    Switch,
    /// `true` or `false`.
    Bool,
}

/// A key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Key {
    /// Its name: that of the flag without the dashes.
    pub name: String,
    /// What it takes.
    pub shape: Shape,
}

/// What keys ask for.
#[derive(Debug, Clone, Default, PartialEq, Eq, JsonSchema)]
#[schemars(default)]
pub struct Values {
    /// The layers and limits.
    #[schemars(flatten)]
    pub layers: LayerOptions,
    /// The course of a run.
    #[schemars(flatten)]
    pub course: CourseOptions,
}

impl Values {
    /// What is asked for where `lower` is asked next.
    pub fn over(&self, lower: Values) -> Values {
        Values { layers: self.layers.over(lower.layers), course: self.course.over(lower.course) }
    }
}

/// Every key, without cargo's meaning of `--workspace`.
#[derive(Debug, Parser)]
#[command(no_binary_name = true, disable_help_flag = true, args_override_self = true)]
struct Keys {
    #[command(flatten)]
    layers: LayerOptions,
    #[arg(long)]
    workspace: Option<Workspace>,
    #[command(flatten)]
    course: CourseOptions,
}

/// All keys.
pub fn keys() -> Vec<Key> {
    let command = Keys::augment_args(clap::Command::new("keys").disable_help_flag(true));
    let keys = command.get_arguments().filter_map(|argument| {
        let shape = match argument.get_action() {
            ArgAction::Append => Shape::List,
            ArgAction::SetTrue => Shape::Switch,
            _ if argument.get_value_parser().type_id() == TypeId::of::<bool>() => Shape::Bool,
            _ => Shape::Single,
        };
        Some(Key { name: argument.get_long()?.to_owned(), shape })
    });
    keys.collect()
}

/// What a key with these values asks for; a switch takes none. The error names the value and what
/// may stand in its place.
pub fn read(key: &str, values: &[String]) -> Result<Values, String> {
    let words: Vec<String> = match values {
        [] => vec![format!("--{key}")],
        values => values.iter().map(|value| format!("--{key}={value}")).collect(),
    };
    let matches = Keys::command().try_get_matches_from(words).map_err(|error| wording(&error))?;
    let keys = Keys::from_arg_matches(&matches).map_err(|error| wording(&error))?;
    let layers = LayerOptions { workspace: keys.workspace, ..keys.layers };
    Ok(Values { layers, course: keys.course })
}

/// What clap says of a value, less the flag.
fn wording(error: &clap::Error) -> String {
    let Some(ContextValue::String(value)) = error.get(ContextKind::InvalidValue) else {
        return error.kind().to_string();
    };
    match (error.get(ContextKind::ValidValue), error.source()) {
        (Some(ContextValue::Strings(valid)), _) => {
            let valid: Vec<String> = valid.iter().map(|value| format!("`{value}`")).collect();
            format!("`{value}` is none of its values: {}", valid.join(", "))
        }
        (_, Some(cause)) => format!("invalid value `{value}`: {cause}"),
        (_, None) => format!("invalid value `{value}`"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::quantity::Deadline;

    fn text(words: &[&str]) -> Vec<String> {
        words.iter().map(|word| (*word).to_owned()).collect()
    }

    #[test]
    fn keys_are_the_flags() {
        let keys = keys();
        let shape = |name: &str| keys.iter().find(|key| key.name == name).map(|key| key.shape);
        assert_eq!(shape("net"), Some(Shape::Single));
        assert_eq!(shape("workspace"), Some(Shape::Single));
        assert_eq!(shape("pass-env"), Some(Shape::List));
        assert_eq!(shape("no-fork-server"), Some(Shape::Switch));
        assert_eq!(shape("fail-fast"), Some(Shape::Bool));
        assert_eq!(shape("test-threads"), Some(Shape::Single));
        assert_eq!(shape("help"), None);
    }

    #[test]
    fn values_are_read_as_the_flags_are() {
        let timeout =
            read("timeout", &text(&["none"])).expect("a value of `--timeout`").layers.timeout;
        assert_eq!(timeout, Some(Deadline::Never));
        let workspace = read("workspace", &text(&["shared"])).expect("a layer").layers.workspace;
        assert_eq!(workspace, Some(Workspace::Shared));
        assert!(read("no-fork-server", &[]).expect("a switch").layers.no_fork_server);
        let passed = read("pass-env", &text(&["A", "B*"])).expect("variables").layers.pass_env;
        assert_eq!(passed, ["A", "B*"]);
        let course = read("fail-fast", &text(&["0"])).expect("a boolean").course;
        assert_eq!(course.fail_fast, Some(false));
    }

    #[test]
    fn a_value_that_is_refused_is_named_with_what_may_stand_there() {
        let refused = |key: &str, value: &str| read(key, &text(&[value])).expect_err("refused");
        assert_eq!(
            refused("net", "internet"),
            "`internet` is none of its values: `loopback`, `host`"
        );
        assert!(refused("timeout", "soon").starts_with("invalid value `soon`: "));
        assert!(refused("processes", "many").contains("invalid digit"));
    }
}
