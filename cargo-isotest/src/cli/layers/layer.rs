//! A row of the table of layers: its argument, its schema, its value in a policy, its shown text.
//!
//! In what a layer takes, `set` and `add` lay a value over a policy, and `get` and `is` read it there.

use std::ffi::{OsStr, OsString};
use std::num::ParseIntError;
use std::path::PathBuf;
use std::time::Duration;

use clap::builder::{
    PathBufValueParser, PossibleValue, PossibleValuesParser, TypedValueParser, ValueParser,
};
use clap::{Arg, ArgAction, ValueHint};
use isotest_core::policy::{Policy, Root};
use schemars::{Schema, SchemaGenerator, json_schema};
use serde_json::{Value, json};

use super::super::quantity::{self, Deadline};
use super::value;

/// Words for the value of a layer that no flag gives: that of a lab.
pub(super) const SHARED: &str = "shared with its companions";

/// All that the command knows of a layer or a limit.
#[derive(Debug)]
pub struct Layer {
    /// Name of its flag and key; in capitals, after `ISOTEST_`, of its variable.
    pub name: &'static str,
    /// Placeholder of its value in the help.
    pub(super) placeholder: &'static str,
    /// Its line in the help; its description in the schema.
    pub(super) help: &'static str,
    /// Part of a policy that it is shown with.
    pub(super) part: PolicyPart,
    /// Its values, and what they are in a policy.
    pub(super) takes: ValueKind,
}

/// Parts of a policy, in the order in which they are shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum PolicyPart {
    Process,
    Files,
    /// Limits that isotest enforces itself.
    Watched,
    /// Limits that the kernel enforces.
    Enforced,
}

/// Values of a layer, and what they are in a policy.
#[derive(Debug)]
pub(super) enum ValueKind {
    Word(WordValue),
    Text(TextValue),
    Number(NumberValue),
    /// A [`NumberValue`] of bytes, with or without a unit.
    Bytes(NumberValue),
    Duration(DurationValue),
    /// Any number of texts. Each is a grant.
    Texts(TextList),
    /// Any number of paths of the host. Each is a grant.
    Paths(PathList),
    Switch(Switch),
    /// Root filesystems. A run has a policy for each, after it has found them.
    Roots,
    /// Layers that a test may share with the host where the machine refuses them. Each is a grant.
    Weaker,
}

/// One of several words.
#[derive(Debug)]
pub(super) struct WordValue {
    /// Description in the schema.
    pub description: &'static str,
    pub choices: &'static [Choice],
}

/// A word, and the value of the policy that it stands for.
#[derive(Debug)]
pub(super) struct Choice {
    pub word: &'static str,
    pub help: &'static str,
    /// True if it gives a test more of the host than by default.
    pub grants: bool,
    pub set: fn(&mut Policy),
    pub is: fn(&Policy) -> bool,
}

/// A text of a form of its own.
#[derive(Debug)]
pub(super) struct TextValue {
    /// Fails if the text has another form.
    pub set: fn(&mut Policy, &str) -> Result<(), String>,
    /// The text that sets the value which the policy has.
    pub get: fn(&Policy) -> String,
    /// The same for people.
    pub show: fn(&Policy) -> String,
    /// True if it gives a test more of the host than by default.
    pub grants: fn(&Policy) -> bool,
}

/// A number; `None` is no limit, which is a default only.
#[derive(Debug)]
pub(super) struct NumberValue {
    pub set: fn(&mut Policy, u64),
    pub get: fn(&Policy) -> Option<u64>,
}

/// A duration; `None` is `none`.
#[derive(Debug)]
pub(super) struct DurationValue {
    pub read: fn(&str) -> Result<Deadline, String>,
    pub set: fn(&mut Policy, Option<Duration>),
    pub get: fn(&Policy) -> Option<Duration>,
}

/// A list of texts.
#[derive(Debug)]
pub(super) struct TextList {
    /// Fails if a text has the wrong form.
    pub check: fn(&str) -> Result<(), String>,
    pub add: fn(&mut Policy, String),
    pub get: fn(&Policy) -> &[String],
}

/// A list of paths.
#[derive(Debug)]
pub(super) struct PathList {
    pub add: fn(&mut Policy, PathBuf),
    pub get: fn(&Policy) -> &[PathBuf],
}

/// A flag without a value.
#[derive(Debug)]
pub(super) struct Switch {
    pub set: fn(&mut Policy),
    pub is: fn(&Policy) -> bool,
}

impl Layer {
    /// True if values of several sources add up; otherwise the first source wins.
    pub fn adds_up(&self) -> bool {
        matches!(self.takes, ValueKind::Texts(_) | ValueKind::Paths(_) | ValueKind::Weaker)
    }

    /// True if all tests of a run share its value.
    pub(super) fn is_of_run(&self) -> bool {
        matches!(self.takes, ValueKind::Roots | ValueKind::Weaker)
    }

    /// True if it takes one value.
    pub(super) fn is_single(&self) -> bool {
        use ValueKind::{Bytes, Duration, Number, Text, Word};
        matches!(self.takes, Word(_) | Text(_) | Number(_) | Bytes(_) | Duration(_))
    }

    /// True if it takes a duration.
    pub(super) fn is_time(&self) -> bool {
        matches!(self.takes, ValueKind::Duration(_))
    }

    /// True if it takes no value.
    pub(super) fn is_switch(&self) -> bool {
        matches!(self.takes, ValueKind::Switch(_))
    }

    /// True if these values give a test more of the host than by default.
    pub(super) fn grants(&self, values: &[OsString]) -> bool {
        let policy = self.policy_of(values);
        match &self.takes {
            ValueKind::Word(words) => {
                words.choices.iter().any(|choice| choice.grants && (choice.is)(&policy))
            }
            ValueKind::Text(text) => (text.grants)(&policy),
            ValueKind::Texts(_) | ValueKind::Paths(_) | ValueKind::Weaker => !values.is_empty(),
            ValueKind::Number(_)
            | ValueKind::Bytes(_)
            | ValueKind::Duration(_)
            | ValueKind::Switch(_)
            | ValueKind::Roots => false,
        }
    }

    fn policy_of(&self, values: &[OsString]) -> Policy {
        let mut policy = Policy::default();
        self.apply(&mut policy, values);
        policy
    }

    /// Lays values that [`Layer::read`] has made over a policy.
    pub(super) fn apply(&self, policy: &mut Policy, values: &[OsString]) {
        for value in values {
            self.set(policy, value).expect("what was read can be read again");
        }
    }

    /// Reads a value as it is typed; of two texts for one value the result is the same.
    fn read(&self, typed: &str) -> Result<OsString, String> {
        let mut policy = Policy::default();
        self.set(&mut policy, OsStr::new(typed))?;
        Ok(self.get(&policy).unwrap_or_else(|| typed.to_owned()).into())
    }

    fn set(&self, policy: &mut Policy, value: &OsStr) -> Result<(), String> {
        let text = &*value.to_string_lossy();
        match &self.takes {
            ValueKind::Word(words) => {
                let choice = words.choices.iter().find(|choice| choice.word == text);
                (choice.ok_or("unknown value")?.set)(policy);
            }
            ValueKind::Text(form) => (form.set)(policy, text)?,
            ValueKind::Number(number) => {
                let value = text.parse().map_err(|cause: ParseIntError| cause.to_string())?;
                (number.set)(policy, value);
            }
            ValueKind::Bytes(number) => (number.set)(policy, quantity::bytes(text)?),
            ValueKind::Duration(time) => (time.set)(policy, (time.read)(text)?.into()),
            ValueKind::Texts(texts) => {
                (texts.check)(text)?;
                (texts.add)(policy, text.to_owned());
            }
            ValueKind::Paths(paths) => (paths.add)(policy, value.into()),
            ValueKind::Switch(switch) => (switch.set)(policy),
            ValueKind::Roots => {}
            ValueKind::Weaker => drop(value::weakened(text)?),
        }
        Ok(())
    }

    /// The text that sets the one value which the policy has.
    fn get(&self, policy: &Policy) -> Option<String> {
        match &self.takes {
            ValueKind::Word(words) => {
                let choice = words.choices.iter().find(|choice| (choice.is)(policy));
                choice.map(|choice| choice.word.to_owned())
            }
            ValueKind::Text(text) => Some((text.get)(policy)),
            ValueKind::Number(number) | ValueKind::Bytes(number) => {
                (number.get)(policy).map(|value| value.to_string())
            }
            ValueKind::Duration(time) => Some(value::duration((time.get)(policy)).replace(' ', "")),
            ValueKind::Texts(_)
            | ValueKind::Paths(_)
            | ValueKind::Switch(_)
            | ValueKind::Roots
            | ValueKind::Weaker => None,
        }
    }

    /// The value of a policy, for people.
    pub fn show(&self, policy: &Policy) -> String {
        let none = || "none".to_owned();
        let list = |values: Vec<String>| match values.is_empty() {
            true => none(),
            false => values.join(" "),
        };
        let path = |path: &PathBuf| path.display().to_string();
        match &self.takes {
            ValueKind::Word(_) => self.get(policy).unwrap_or_else(|| SHARED.to_owned()),
            ValueKind::Number(_) | ValueKind::Bytes(_) => self.get(policy).unwrap_or_else(none),
            ValueKind::Text(text) => (text.show)(policy),
            ValueKind::Duration(time) => value::duration((time.get)(policy)),
            ValueKind::Texts(texts) => list((texts.get)(policy).to_vec()),
            ValueKind::Paths(paths) => list((paths.get)(policy).iter().map(path).collect()),
            ValueKind::Switch(switch) => (switch.is)(policy).to_string(),
            ValueKind::Roots => match &policy.root {
                Root::Host => "host".to_owned(),
                Root::Directory(directory) => path(directory),
            },
            ValueKind::Weaker => {
                list(policy.weakened.iter().map(|it| it.name().to_owned()).collect())
            }
        }
    }

    /// The flag.
    pub(super) fn argument(&'static self) -> Arg {
        let argument = Arg::new(self.name).long(self.name).help(self.help);
        let argument = match self.part {
            PolicyPart::Process | PolicyPart::Files => argument,
            PolicyPart::Watched | PolicyPart::Enforced => argument.help_heading("Limits"),
        };
        let (action, hint) = match self.takes {
            ValueKind::Switch(_) => return argument.action(ArgAction::SetTrue),
            ValueKind::Texts(_) | ValueKind::Weaker => (ArgAction::Append, ValueHint::Unknown),
            ValueKind::Paths(_) | ValueKind::Roots => (ArgAction::Append, ValueHint::AnyPath),
            ValueKind::Word(_)
            | ValueKind::Text(_)
            | ValueKind::Number(_)
            | ValueKind::Bytes(_)
            | ValueKind::Duration(_) => (ArgAction::Set, ValueHint::Unknown),
        };
        let argument = argument.value_name(self.placeholder).action(action).value_hint(hint);
        argument.value_parser(self.parser())
    }

    /// The parser of one value.
    pub(super) fn parser(&'static self) -> ValueParser {
        match &self.takes {
            ValueKind::Word(words) => {
                let words = words.choices.iter();
                let words = words.map(|choice| PossibleValue::new(choice.word).help(choice.help));
                PossibleValuesParser::new(words).map(OsString::from).into()
            }
            ValueKind::Paths(_) | ValueKind::Roots => {
                PathBufValueParser::new().map(PathBuf::into_os_string).into()
            }
            ValueKind::Text(_)
            | ValueKind::Number(_)
            | ValueKind::Bytes(_)
            | ValueKind::Duration(_)
            | ValueKind::Texts(_)
            | ValueKind::Switch(_)
            | ValueKind::Weaker => ValueParser::new(move |typed: &str| self.read(typed)),
        }
    }

    /// The schema of the key.
    pub(super) fn schema(&self, generator: &mut SchemaGenerator) -> Schema {
        let takes = match &self.takes {
            ValueKind::Word(words) => json_schema!({ "anyOf": [words.schema()] }),
            ValueKind::Text(_) => json_schema!({ "type": ["string"] }),
            ValueKind::Number(_) => {
                json_schema!({ "type": ["integer"], "format": "uint64", "minimum": 0 })
            }
            ValueKind::Bytes(_) | ValueKind::Duration(_) => quantity::schema(generator),
            ValueKind::Texts(_) | ValueKind::Paths(_) | ValueKind::Roots | ValueKind::Weaker => {
                json_schema!({ "type": "array", "items": { "type": "string" }, "default": [] })
            }
            ValueKind::Switch(_) => json_schema!({ "type": "boolean", "default": false }),
        };
        let mut schema = json_schema!({ "description": self.help });
        schema.ensure_object().extend(takes.as_object().cloned().unwrap_or_default());
        schema
    }
}

impl WordValue {
    fn schema(&self) -> Value {
        let word = |choice: &Choice| json!({ "description": choice.help, "type": "string", "const": choice.word });
        let words: Vec<Value> = self.choices.iter().map(word).collect();
        json!({ "description": self.description, "oneOf": words })
    }
}
