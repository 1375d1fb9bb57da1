//! The layers and limits as keys of a configuration file and as variables of the environment.
//!
//! A key is the long name of a flag, and its values are read as the flag's: the definition of the
//! flags is asked, so that the three can not drift apart. Text in, [`LayerOptions`] out; where the
//! text stands is the caller's business.

use std::error::Error as _;

use clap::error::{ContextKind, ContextValue};
use clap::{ArgAction, Args, CommandFactory, FromArgMatches, Parser};

use super::layers::{LayerOptions, Workspace};

/// What a key takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// One value.
    Single,
    /// Any number of values.
    List,
    /// `true` or `false`.
    Switch,
}

/// A key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Key {
    /// Its name: that of the flag without the dashes.
    pub name: String,
    /// What it takes.
    pub shape: Shape,
}

/// Every layer and limit, without cargo's meaning of `--workspace`.
#[derive(Debug, Parser)]
#[command(no_binary_name = true, disable_help_flag = true, args_override_self = true)]
struct Keys {
    #[command(flatten)]
    layers: LayerOptions,
    #[arg(long)]
    workspace: Option<Workspace>,
}

/// All keys.
pub fn keys() -> Vec<Key> {
    let command = Keys::augment_args(clap::Command::new("keys").disable_help_flag(true));
    let keys = command.get_arguments().filter_map(|argument| {
        let shape = match argument.get_action() {
            ArgAction::Append => Shape::List,
            ArgAction::SetTrue => Shape::Switch,
            _ => Shape::Single,
        };
        Some(Key { name: argument.get_long()?.to_owned(), shape })
    });
    keys.collect()
}

/// What a key with these values asks for; a switch takes none. The error names the value and what
/// may stand in its place.
pub fn read(key: &str, values: &[String]) -> Result<LayerOptions, String> {
    let words: Vec<String> = match values {
        [] => vec![format!("--{key}")],
        values => values.iter().map(|value| format!("--{key}={value}")).collect(),
    };
    let matches = Keys::command().try_get_matches_from(words).map_err(|error| wording(&error))?;
    let keys = Keys::from_arg_matches(&matches).map_err(|error| wording(&error))?;
    Ok(LayerOptions { workspace: keys.workspace, ..keys.layers })
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
        assert_eq!(shape("help"), None);
    }

    #[test]
    fn values_are_read_as_the_flags_are() {
        let timeout = read("timeout", &text(&["none"])).expect("a value of `--timeout`").timeout;
        assert_eq!(timeout, Some(Deadline::Never));
        let workspace = read("workspace", &text(&["shared"])).expect("a layer").workspace;
        assert_eq!(workspace, Some(Workspace::Shared));
        assert!(read("no-fork-server", &[]).expect("a switch").no_fork_server);
        let passed = read("pass-env", &text(&["A", "B*"])).expect("variables").pass_env;
        assert_eq!(passed, ["A", "B*"]);
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
