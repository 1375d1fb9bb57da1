//! Layers and limits as typed, and what they make of a policy.
//!
//! A layer without a value here is left to the configuration. The flags, the keys' schema and the
//! words of another command line are read off the table.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use clap::builder::{PossibleValue, PossibleValuesParser, TypedValueParser, ValueParser};
use clap::{ArgMatches, Args, Command, FromArgMatches};
use isotest_core::policy::{Policy, Weakened};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde_json::Map;

use super::layer::{Layer, ValueKind};
use super::table::LAYERS;
use super::value;

/// Layers and limits as typed: for each layer its values, as the layer reads them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LayerOptions {
    values: BTreeMap<&'static str, Vec<OsString>>,
}

/// The layer that shares its flag with cargo, whose `--workspace` takes no value.
const WORKSPACE: &str = "workspace";

/// The layers of a policy, in the order in which they are shown.
pub fn layers_as_shown() -> Vec<&'static Layer> {
    let is_shown = |layer: &&Layer| !matches!(layer.takes, ValueKind::Weaker);
    let mut layers: Vec<&Layer> = LAYERS.iter().filter(is_shown).collect();
    layers.sort_by_key(|layer| layer.part);
    layers
}

/// True if all tests of a run share this layer.
pub fn is_layer_of_run(name: &str) -> bool {
    LAYERS.iter().any(|layer| layer.name == name && layer.is_of_run())
}

fn layer(name: &str) -> &'static Layer {
    LAYERS.iter().find(|layer| layer.name == name).expect("the table has a row of this name")
}

/// Parser of the layer `workspace`, for commands that do not take cargo's flag.
pub fn workspace_layer() -> ValueParser {
    layer(WORKSPACE).parser()
}

/// The same where `all` stands for cargo's flag.
pub fn workspace_of_cargo() -> ValueParser {
    let ValueKind::Word(words) = &layer(WORKSPACE).takes else { return workspace_layer() };
    let words = words.choices.iter().map(|choice| PossibleValue::new(choice.word));
    let all = PossibleValue::new("all").hide(true);
    PossibleValuesParser::new([all].into_iter().chain(words)).map(OsString::from).into()
}

impl LayerOptions {
    /// Values of one layer.
    pub fn values(&self, name: &str) -> &[OsString] {
        self.values.get(name).map_or(&[], Vec::as_slice)
    }

    /// True if a layer has a value.
    pub fn has(&self, name: &str) -> bool {
        self.values.contains_key(name)
    }

    /// Root filesystems.
    pub fn roots(&self) -> Vec<PathBuf> {
        self.values("root").iter().map(PathBuf::from).collect()
    }

    /// Layers that may be the host's where the machine refuses another.
    pub fn allow_weaker(&self) -> Vec<Weakened> {
        let layers = self.values("allow-weaker").iter();
        layers.filter_map(|layer| value::weakened(layer.to_str()?).ok()).collect()
    }

    /// Time limit of a test; `None` also where none is given.
    pub fn timeout(&self) -> Option<Duration> {
        self.has("timeout").then(|| self.apply(Policy::default()).limits.timeout).flatten()
    }

    /// Sets the layer `workspace`, where it has a value.
    pub fn set_workspace(&mut self, value: Option<OsString>) {
        self.values.extend(value.map(|value| (WORKSPACE, vec![value])));
    }

    /// The layers that have values, in the order of the table.
    fn given(&self) -> impl Iterator<Item = (&'static Layer, &Vec<OsString>)> {
        LAYERS.iter().filter_map(|layer| Some((layer, self.values.get(layer.name)?)))
    }

    /// The words that give these layers their values.
    fn words(&self, selects: fn(&Layer) -> bool) -> impl Iterator<Item = OsString> {
        let given = self.given().filter(move |(layer, _)| selects(layer));
        given.flat_map(|(layer, values)| {
            values.iter().map(|value| {
                let mut word = OsString::from(format!("--{}", layer.name));
                if !layer.is_switch() {
                    word.push("=");
                    word.push(value);
                }
                word
            })
        })
    }

    /// The options as `exec` takes them, each glued to its value; not `--root`, whose value has
    /// become another one, and no time limit, which is the command's.
    pub fn to_arguments(&self) -> Vec<OsString> {
        let single = self.words(|layer| layer.is_single() && !layer.is_time());
        let weaker = self.words(|layer| matches!(layer.takes, ValueKind::Weaker));
        let lists =
            |layer: &Layer| matches!(layer.takes, ValueKind::Texts(_) | ValueKind::Paths(_));
        single.chain(weaker).chain(self.words(lists)).collect()
    }

    /// All of the options as they can be typed, but for `--root`, whose value is another one for each
    /// root filesystem.
    pub fn to_rerun_arguments(&self) -> Vec<OsString> {
        let times = self.words(Layer::is_time);
        let switches = self.words(Layer::is_switch);
        self.to_arguments().into_iter().chain(times).chain(switches).collect()
    }

    /// These options; `lower` fills the gaps.
    pub fn over(&self, lower: LayerOptions) -> LayerOptions {
        let mut values = lower.values;
        for (layer, given) in self.given() {
            let kept = values.entry(layer.name).or_default();
            if !layer.adds_up() {
                kept.clear();
            }
            kept.extend_from_slice(given);
        }
        LayerOptions { values }
    }

    /// The layers by whose values a test gets more of the host than by default. Whoever writes one
    /// into a configuration says why.
    pub fn grants(&self) -> Vec<&'static str> {
        let grants = self.given().filter(|(layer, values)| layer.grants(values));
        grants.map(|(layer, _)| layer.name).collect()
    }

    /// Lays what was typed over `base`, but for `--root`, which is a file to be looked for.
    pub fn apply(&self, mut base: Policy) -> Policy {
        for (layer, values) in self.given() {
            layer.apply(&mut base, values);
        }
        base
    }
}

impl Args for LayerOptions {
    fn augment_args(command: Command) -> Command {
        let flags = LAYERS.iter().filter(|layer| layer.name != WORKSPACE);
        command.next_help_heading("Isolation layers").args(flags.map(Layer::argument))
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl FromArgMatches for LayerOptions {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let mut options = LayerOptions::default();
        options.update_from_arg_matches(matches)?;
        Ok(options)
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        for layer in LAYERS.iter().filter(|layer| layer.name != WORKSPACE) {
            let values = match layer.is_switch() {
                true => matches.get_flag(layer.name).then(|| vec!["true".into()]),
                false => matches.get_many(layer.name).map(|values| values.cloned().collect()),
            };
            self.values.extend(values.map(|values| (layer.name, values)));
        }
        Ok(())
    }
}

impl JsonSchema for LayerOptions {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Layers".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let layers = LAYERS.iter();
        let keys: Map<_, _> =
            layers.map(|layer| (layer.name.to_owned(), layer.schema(generator).into())).collect();
        json_schema!({ "type": "object", "properties": keys })
    }
}

#[cfg(test)]
mod tests {
    use isotest_core::policy::{Net, User};

    use super::*;

    fn typed(words: &[&str]) -> LayerOptions {
        let command = LayerOptions::augment_args(Command::new("layers").no_binary_name(true));
        let matches = command.try_get_matches_from(words).expect("they are right");
        LayerOptions::from_arg_matches(&matches).expect("they are right")
    }

    #[test]
    fn nothing_typed_changes_nothing() {
        assert_eq!(LayerOptions::default().apply(Policy::default()), Policy::default());
    }

    #[test]
    fn what_was_typed_is_laid_over_the_base() {
        let base = Policy {
            net: Net::Host,
            user: User::Root,
            pass_env: vec!["A".to_owned()],
            ..Policy::default()
        };
        let layers = typed(&["--net=loopback", "--pass-env=B*", "--timeout=none", "--file-size=7"]);
        let policy = layers.apply(base);
        assert_eq!(policy.net, Net::Loopback);
        assert_eq!(policy.user, User::Root);
        assert_eq!(policy.pass_env, ["A", "B*"]);
        assert_eq!(policy.limits.timeout, None);
        assert_eq!(policy.limits.file_size, Some(7));
    }

    #[test]
    fn other_words_for_the_same_values_are_the_same_command_line() {
        let layers = typed(&[
            "--timeout=1m 30s",
            "--ro=/a b",
            "--no-fork-server",
            "--allow-weaker=pid",
            "--uts=new",
            "--time=frozen, start=2038-01-19",
            "--tmp-size=1K",
            "--root=/x",
        ]);
        let words = [
            "--uts=isotest",
            "--time=start=2038-01-19T00:00:00Z,frozen",
            "--tmp-size=1024",
            "--allow-weaker=pid",
            "--ro=/a b",
        ];
        assert_eq!(layers.to_arguments(), words);
        let more = ["--timeout=1m30s", "--no-fork-server"];
        assert_eq!(layers.to_rerun_arguments(), [&words[..], &more].concat());
        assert_eq!(typed(&["--user=root", "--tmp=fresh", "--ro=/a"]).grants(), ["user", "ro"]);
    }

    #[test]
    fn every_row_sets_what_it_gets() {
        for layer in LAYERS.iter().filter(|layer| layer.is_single()) {
            let values = [
                "7", "7s", "host", "root", "reaper", "disk", "readonly", "strict", "slave",
                "frozen",
            ];
            let read = |value: &&str| {
                let command = Command::new("layer").no_binary_name(true).arg(layer.argument());
                let matches = command.try_get_matches_from([format!("--{}={value}", layer.name)]);
                matches.ok()?.get_one::<OsString>(layer.name).cloned()
            };
            let value = values.iter().find_map(read).expect(layer.name);
            let mut policy = Policy::default();
            layer.apply(&mut policy, std::slice::from_ref(&value));
            assert_ne!(policy, Policy::default(), "{}", layer.name);
            assert!(layer.show(&policy) != layer.show(&Policy::default()), "{}", layer.name);
        }
    }
}
