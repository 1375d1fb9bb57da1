//! Layers, limits and run options as keys of a configuration file and as environment variables.
//!
//! A key is the long name of a flag. Its values are read by the definition of that flag, so the
//! three cannot differ. Text in, [`Values`] out; the caller knows where the text is.

use std::any::TypeId;
use std::error::Error as _;
use std::ffi::OsString;

use clap::error::{ContextKind, ContextValue};
use clap::{ArgAction, Args, CommandFactory, FromArgMatches, Parser};
use schemars::JsonSchema;

use super::layers::{LayerOptions, is_layer_of_run, workspace_layer};
use super::run_options::{self, RunOptions};

/// Form of a key's value.
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
    /// Form of its value.
    pub shape: Shape,
    /// True if all tests of a run share its value.
    pub is_of_run: bool,
}

/// Values of keys from one source.
#[derive(Debug, Clone, Default, PartialEq, Eq, JsonSchema)]
#[schemars(default)]
pub struct Values {
    /// The layers and limits.
    #[schemars(flatten)]
    pub layers: LayerOptions,
    /// The run options.
    #[schemars(flatten)]
    pub run_options: RunOptions,
}

impl Values {
    /// These values; `lower` fills the gaps.
    pub fn over(&self, lower: Values) -> Values {
        Values {
            layers: self.layers.over(lower.layers),
            run_options: self.run_options.over(lower.run_options),
        }
    }
}

/// Every key, without cargo's meaning of `--workspace`.
#[derive(Debug, Parser)]
#[command(no_binary_name = true, disable_help_flag = true, args_override_self = true)]
struct Keys {
    #[command(flatten)]
    layers: LayerOptions,
    #[arg(long, value_parser = workspace_layer())]
    workspace: Option<OsString>,
    #[command(flatten)]
    run_options: RunOptions,
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
        let name = argument.get_long()?;
        let is_of_run = is_layer_of_run(name) || run_options::OF_A_RUN.contains(&name);
        Some(Key { name: name.to_owned(), shape, is_of_run })
    });
    keys.collect()
}

/// Values that a key sets; a switch takes none. The error names the value and the valid ones.
pub fn read(key: &str, values: &[String]) -> Result<Values, String> {
    let words: Vec<String> = match values {
        [] => vec![format!("--{key}")],
        values => values.iter().map(|value| format!("--{key}={value}")).collect(),
    };
    let matches = Keys::command().try_get_matches_from(words).map_err(|error| wording(&error))?;
    let keys = Keys::from_arg_matches(&matches).map_err(|error| wording(&error))?;
    let (mut layers, run_options) = (keys.layers, keys.run_options);
    layers.set_workspace(keys.workspace);
    Ok(Values { layers, run_options })
}

/// clap's message for a value, without the flag.
fn wording(error: &clap::Error) -> String {
    let Some(ContextValue::String(value)) = error.get(ContextKind::InvalidValue) else {
        return error.kind().to_string();
    };
    let meant = match error.get(ContextKind::SuggestedValue) {
        Some(ContextValue::String(meant)) => format!("; did you mean `{meant}`?"),
        _ => String::new(),
    };
    match (error.get(ContextKind::ValidValue), error.source()) {
        (Some(ContextValue::Strings(valid)), _) => {
            let valid: Vec<String> = valid.iter().map(|value| format!("`{value}`")).collect();
            format!("invalid value `{value}` (expected one of: {}){meant}", valid.join(", "))
        }
        (_, Some(cause)) => format!("invalid value `{value}`: {cause}"),
        (_, None) => format!("invalid value `{value}`"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
        let layers = |key, values: &[&str]| read(key, &text(values)).expect(key).layers;
        assert_eq!(layers("timeout", &["none"]).values("timeout"), ["none"]);
        assert_eq!(layers("workspace", &["shared"]).values("workspace"), ["shared"]);
        assert!(layers("no-fork-server", &[]).has("no-fork-server"));
        assert_eq!(layers("pass-env", &["A", "B*"]).values("pass-env"), ["A", "B*"]);
        let run_options = read("fail-fast", &text(&["0"])).expect("a boolean").run_options;
        assert_eq!(run_options.fail_fast, Some(false));
    }

    #[test]
    fn a_value_that_is_refused_is_named_with_what_may_stand_there() {
        let refused = |key: &str, value: &str| read(key, &text(&[value])).expect_err("refused");
        assert_eq!(
            refused("net", "internet"),
            "invalid value `internet` (expected one of: `loopback`, `host`)"
        );
        assert!(refused("timeout", "soon").starts_with("invalid value `soon`: "));
        assert!(refused("processes", "many").contains("invalid digit"));
    }
}
