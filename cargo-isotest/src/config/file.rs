//! `.config/isotest.toml`: its text becomes profiles and overrides.
//!
//! Keys that are flags too are read by `cli`; the rest is read here, and in `run_options`. The types are
//! what the JSON Schema is made of.

use std::collections::BTreeMap;
use std::ops::Range;

use schemars::{JsonSchema, Schema};
use serde_json::Value;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::archive::ArchiveTable;
use super::commands::{ServiceTable, SetupTable};
use super::document::{Node, Reader, SpannedText};
use super::error::{ConfigError, nearest};
use super::layer_tables::LayerTable;
use super::quarantine::QuarantineTable;
use super::run_options::TestGroup;
use crate::cli::{self, Key, LayerOptions, RunOptions, Shape, Values};

/// The whole file.
#[derive(Debug, Default, JsonSchema)]
#[schemars(deny_unknown_fields, default, title = ".config/isotest.toml")]
pub struct File {
    /// Profiles by name; `default` is taken where none is asked for
    pub profile: BTreeMap<String, Profile>,
    /// Programs by name that run beside a test, in its sandbox
    #[schemars(with = "BTreeMap<String, ServiceTable>")]
    pub service: Vec<ServiceTable>,
    /// Commands by name that run once, before the tests
    #[schemars(with = "BTreeMap<String, SetupTable>")]
    pub setup: Vec<SetupTable>,
    /// Test groups by name
    #[schemars(rename = "test-groups")]
    pub test_groups: BTreeMap<String, TestGroup>,
}

/// Values of one profile.
#[derive(Debug, Default, JsonSchema)]
#[schemars(deny_unknown_fields, default, rename_all = "kebab-case")]
pub struct Profile {
    /// The profile that is asked next; `default` where nothing is said
    #[schemars(with = "Option<String>")]
    pub inherits: Option<SpannedText>,
    /// Run only tests that this filter expression selects
    #[schemars(with = "Option<String>")]
    pub default_filter: Option<SpannedText>,
    /// Reason why tests get more of the host than by default
    pub reason: Option<String>,
    /// Names of services that tests need; those of all tables that select a test add up
    #[schemars(with = "Vec<String>")]
    pub services: Vec<SpannedText>,
    /// Names of setup commands that tests need; those of all tables that select a test add up
    #[schemars(with = "Vec<String>")]
    pub setup: Vec<SpannedText>,
    /// Files that archives of the tests include
    pub archive: Option<ArchiveTable>,
    /// The keys that overrides have as well.
    #[schemars(flatten)]
    pub values: Values,
    /// Other values for the tests that a filter expression selects; for each key the first counts
    #[schemars(rename = "override")]
    pub overrides: Vec<Override>,
    /// Directories that a command makes once, and of which each test has a copy-on-write view
    #[schemars(rename = "layer")]
    pub layers: Vec<LayerTable>,
    /// Tests that may fail: the run does not fail with them; for each test the first entry counts
    pub quarantine: Vec<QuarantineTable>,
    /// The line of its first key.
    #[schemars(skip)]
    pub line: usize,
}

/// Values for some of the tests.
#[derive(Debug, Default, JsonSchema)]
#[schemars(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Override {
    /// The tests, as a filter expression
    #[schemars(with = "String")]
    pub filter: SpannedText,
    /// Reason why they get more of the host than by default
    pub reason: Option<String>,
    /// Names of services that tests need; those of all tables that select a test add up
    #[schemars(with = "Vec<String>", default)]
    pub services: Vec<SpannedText>,
    /// Names of setup commands that tests need; those of all tables that select a test add up
    #[schemars(with = "Vec<String>", default)]
    pub setup: Vec<SpannedText>,
    /// The other keys.
    #[schemars(flatten)]
    pub values: Values,
    /// The line that it starts in.
    #[schemars(skip)]
    pub line: usize,
}

/// The JSON Schema of the file.
pub fn schema() -> Schema {
    let mut schema = schemars::schema_for!(File);
    let overrides = schema.pointer_mut("/$defs/Override/properties");
    if let Some(properties) = overrides.and_then(Value::as_object_mut) {
        for key in cli::keys().iter().filter(|key| key.is_of_run) {
            properties.shift_remove(&key.name);
        }
    }
    schemars::transform::transform_subschemas(&mut without_null, &mut schema);
    schema
}

/// TOML has no null: what may be absent is not required, and that is all.
fn without_null(schema: &mut Schema) {
    schemars::transform::transform_subschemas(&mut without_null, schema);
    if schema.get("default").is_some_and(Value::is_null) {
        schema.remove("default");
    }
    if let Some(Value::Array(types)) = schema.get_mut("type") {
        types.retain(|one| one != "null");
    }
    if let Some(Value::Array(any)) = schema.get_mut("anyOf") {
        any.retain(|one| one.get("type").is_none_or(|one| one != "null"));
    }
}

/// Reads a text that goes by `name`.
pub fn read(name: &str, text: &str) -> Result<File, Box<ConfigError>> {
    Reader { name, text }.file().map_err(Box::new)
}

/// Kind of a table of the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum TableKind {
    Profile,
    Override,
}

impl TableKind {
    fn name(self) -> &'static str {
        match self {
            TableKind::Profile => "a profile",
            TableKind::Override => "an override",
        }
    }

    fn own_keys(self) -> &'static [&'static str] {
        match self {
            TableKind::Profile => &[
                "inherits",
                "default-filter",
                "reason",
                "services",
                "setup",
                "archive",
                "override",
                "layer",
                "quarantine",
            ],
            TableKind::Override => &["filter", "reason", "services", "setup"],
        }
    }
}

/// Names that values of the file may use.
struct KnownNames {
    keys: Vec<Key>,
    groups: BTreeMap<String, TestGroup>,
}

impl<'t> Reader<'t> {
    fn file(&self) -> Result<File, ConfigError> {
        let table = DeTable::parse(self.text).map_err(|error| {
            let end = self.text.len();
            self.error(error.message(), error.span().unwrap_or(end..end))
        })?;
        let mut file = File::default();
        let groups = table.get_ref().iter().find(|(key, _)| key.get_ref() == "test-groups");
        let groups = groups.map(|(_, groups)| self.test_groups(groups)).transpose()?;
        let known = KnownNames { keys: cli::keys(), groups: groups.unwrap_or_default() };
        for (key, value) in table.get_ref() {
            match key.get_ref().as_ref() {
                "profile" => {
                    for (name, profile) in self.table(value, "`profile` must be a table")? {
                        let profile = self.profile(&known, name.span(), profile)?;
                        file.profile.insert(name.get_ref().to_string(), profile);
                    }
                }
                "service" => file.service = self.services(value)?,
                "setup" => file.setup = self.setups(value)?,
                "test-groups" => {}
                _ => {
                    let known = ["profile", "service", "setup", "test-groups"];
                    return Err(self.unknown(key, "the file", known.into_iter()));
                }
            }
        }
        self.check_names(&file.profile, &file.service, &file.setup)?;
        file.test_groups = known.groups;
        Ok(file)
    }

    fn profile(
        &self,
        known: &KnownNames,
        name: Range<usize>,
        value: &Node<'t>,
    ) -> Result<Profile, ConfigError> {
        let table = self.table(value, "a profile must be a table: `[profile.NAME]`")?;
        let mut profile = Profile { line: self.line(name.start), ..Profile::default() };
        for (key, value) in table {
            match key.get_ref().as_ref() {
                "inherits" => profile.inherits = Some(self.string(value)?),
                "default-filter" => profile.default_filter = Some(self.string(value)?),
                "reason" => profile.reason = Some(self.reason(value)?),
                "services" => profile.services = self.names(value)?,
                "setup" => profile.setup = self.names(value)?,
                "layer" => profile.layers = self.layers(value)?,
                "quarantine" => profile.quarantine = self.quarantine(value)?,
                "archive" => profile.archive = Some(self.archive(value)?),
                "override" => {
                    let DeValue::Array(overrides) = value.get_ref() else {
                        let what = "overrides must be tables: `[[profile.NAME.override]]`";
                        return Err(self.error(what, key.span()));
                    };
                    for value in overrides.iter() {
                        profile.overrides.push(self.one_override(known, value)?);
                    }
                }
                _ => {
                    let values = self.values(known, TableKind::Profile, key, value)?;
                    profile.values = values.over(profile.values);
                }
            }
        }
        self.check(table, &profile.values, profile.reason.as_deref())?;
        Ok(profile)
    }

    fn one_override(&self, known: &KnownNames, value: &Node<'t>) -> Result<Override, ConfigError> {
        let table =
            self.table(value, "an override must be a table: `[[profile.NAME.override]]`")?;
        let line = self.line(value.span().start);
        let (mut made, mut filter) = (Override { line, ..Override::default() }, None);
        for (key, value) in table {
            match key.get_ref().as_ref() {
                "filter" => filter = Some(self.string(value)?),
                "reason" => made.reason = Some(self.reason(value)?),
                "services" => made.services = self.names(value)?,
                "setup" => made.setup = self.names(value)?,
                _ => {
                    let values = self.values(known, TableKind::Override, key, value)?;
                    made.values = values.over(made.values);
                }
            }
        }
        self.check(table, &made.values, made.reason.as_deref())?;
        made.filter = filter.ok_or_else(|| {
            let hint = "add a filter expression: `filter = \"package(api) & test(/^live_/)\"`";
            self.error("missing `filter` in an override", value.span()).hint(Some(hint))
        })?;
        Ok(made)
    }

    /// Nothing is said twice, and whoever lets tests have more of the host says why.
    fn check(
        &self,
        table: &DeTable<'t>,
        values: &Values,
        reason: Option<&str>,
    ) -> Result<(), ConfigError> {
        let key = |name| table.keys().find(|key| key.get_ref() == name);
        if let (Some(key), Some(_)) = (key("fail-fast"), key("max-fail")) {
            let what = "`fail-fast` and `max-fail` exclude each other";
            let hint = "`fail-fast = true` is `max-fail = 1`, and `false` is `max-fail = \"all\"`";
            return Err(self.error(what, key.span()).hint(Some(hint)));
        }
        self.check_grants(table, &values.layers, reason)
    }

    /// Fails for a service or a setup command that is not defined.
    fn check_names(
        &self,
        profiles: &BTreeMap<String, Profile>,
        services: &[ServiceTable],
        setups: &[SetupTable],
    ) -> Result<(), ConfigError> {
        let services: Vec<&str> = services.iter().map(|table| table.name.as_str()).collect();
        let setups: Vec<&str> = setups.iter().map(|table| table.name.as_str()).collect();
        for profile in profiles.values() {
            let asked =
                |of: fn(&Override) -> &Vec<SpannedText>| profile.overrides.iter().flat_map(of);
            let asked_services = profile.services.iter().chain(asked(|one| &one.services));
            let asked_setups = profile.setup.iter().chain(asked(|one| &one.setup));
            self.check_list(asked_services, "service", &services)?;
            self.check_list(asked_setups, "setup", &setups)?;
        }
        Ok(())
    }

    fn check_list<'a>(
        &self,
        mut asked: impl Iterator<Item = &'a SpannedText>,
        kind: &str,
        known: &[&str],
    ) -> Result<(), ConfigError> {
        let Some(text) = asked.find(|text| !known.contains(&text.text.as_str())) else {
            return Ok(());
        };
        let what = format!("there is no `[{kind}.{}]`", text.text);
        let hint = match nearest(&text.text, known.iter().copied()) {
            Some(meant) => format!("did you mean `{meant}`?"),
            None if known.is_empty() => format!("define it in a table `[{kind}.NAME]`"),
            None => format!("defined: {}", known.join(", ")),
        };
        Err(self.error(what, text.span.clone()).hint(Some(hint)))
    }

    fn check_grants(
        &self,
        table: &DeTable<'t>,
        layers: &LayerOptions,
        reason: Option<&str>,
    ) -> Result<(), ConfigError> {
        let (grants, None) = (layers.grants(), reason) else { return Ok(()) };
        let given = table.keys().find(|key| grants.contains(&key.get_ref().as_ref()));
        let Some(key) = given else { return Ok(()) };
        let what =
            format!("`{}` gives tests access to the host, without a `reason`", key.get_ref());
        let hint = "add it to the same table: `reason = \"talks to the staging server\"`";
        Err(self.error(what, key.span()).hint(Some(hint)))
    }

    /// A key that is read as a flag is.
    fn values(
        &self,
        names: &KnownNames,
        part: TableKind,
        key: &Spanned<impl AsRef<str>>,
        value: &Node<'t>,
    ) -> Result<Values, ConfigError> {
        let word = key.get_ref().as_ref();
        let Some(known) = names.keys.iter().find(|known| known.name == word) else {
            let layers = names.keys.iter().map(|known| known.name.as_str());
            let known = part.own_keys().iter().copied().chain(layers);
            return Err(self.unknown(key, part.name(), known));
        };
        if part == TableKind::Override && known.is_of_run {
            let what = format!("`{word}` is not valid in an override: it applies to the whole run");
            let hint = "move it to the profile";
            return Err(self.error(what, key.span()).hint(Some(hint)));
        }
        if let ("retries", DeValue::Table(table)) = (word, value.get_ref()) {
            let retries = Some(self.retries(table)?);
            let run_options = RunOptions { retries, ..RunOptions::default() };
            return Ok(Values { run_options, ..Values::default() });
        }
        if word == "test-group" {
            self.check_group(&names.groups, value)?;
        }
        let values = match (known.shape, value.get_ref()) {
            (Shape::Switch, DeValue::Boolean(false)) => return Ok(Values::default()),
            (Shape::Switch, DeValue::Boolean(true)) => Vec::new(),
            (Shape::Switch, _) => return Err(self.wrong_type(word, "`true` or `false`", value)),
            (Shape::List, DeValue::Array(values)) => {
                let values = values.iter().map(|value| {
                    self.scalar(value).ok_or_else(|| self.wrong_type(word, "texts", value))
                });
                values.collect::<Result<Vec<_>, _>>()?
            }
            (Shape::List, _) => {
                return Err(self.wrong_type(word, "a list: `[\"…\", \"…\"]`", value));
            }
            (Shape::Bool, DeValue::Boolean(given)) => vec![given.to_string()],
            (Shape::Bool, _) => return Err(self.wrong_type(word, "`true` or `false`", value)),
            (Shape::Single, _) => match self.scalar(value) {
                Some(value) => vec![value],
                None => return Err(self.no_scalar(word, value)),
            },
        };
        if known.shape == Shape::List && values.is_empty() {
            return Ok(Values::default());
        }
        cli::read_key(word, &values)
            .map_err(|cause| self.error(format!("`{word}`: {cause}"), value.span()))
    }

    /// Not what a key takes that takes one value; nextest has tables for some.
    fn no_scalar(&self, key: &str, value: &Node<'t>) -> ConfigError {
        let (wanted, hint) = match key {
            "retries" => ("a number, or a table: `{ count = 2, delay = \"1s\" }`", None),
            "slow-timeout" => {
                let hint = "`timeout = \"2m\"` sets when a test is killed";
                ("a string or a number", Some(hint))
            }
            _ => ("a string or a number", None),
        };
        self.wrong_type(key, wanted, value).hint(hint)
    }

    pub(super) fn reason(&self, value: &Node<'t>) -> Result<String, ConfigError> {
        let SpannedText { text, span } = self.string(value)?;
        match text.trim() {
            "" => Err(self.error("the reason is empty", span)),
            text => Ok(text.to_owned()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(text: &str) -> String {
        read("c.toml", text).expect_err("it is wrong").to_string()
    }

    #[test]
    fn a_whole_file_is_read() {
        let text = r#"
            [profile.default]
            timeout = "5s"
            [profile.ci]
            inherits = "base"
            default-filter = "not test(slow)"
            pass-env = ["CI_*"]
            reason = "the number of the job"
            no-fork-server = true
            [[profile.ci.override]]
            filter = "test(a)"
            processes = 0x10
        "#;
        let file = read("c.toml", text).expect("it is right");
        let ci = &file.profile["ci"];
        assert_eq!(ci.inherits.as_ref().map(|text| text.text.as_str()), Some("base"));
        assert_eq!(ci.values.layers.values("pass-env"), ["CI_*"]);
        assert!(ci.values.layers.has("no-fork-server"));
        assert_eq!(ci.overrides[0].values.layers.values("processes"), ["16"]);
        assert_eq!(ci.overrides[0].line, 10);
        assert!(file.profile["default"].values.layers.has("timeout"));
    }

    #[test]
    fn unknown_keys_are_errors_with_a_suggestion() {
        let error = refused("[profile.default]\ntimout = \"5s\"\n");
        assert!(error.contains("unknown key `timout` in a profile\n --> c.toml:2:1\n"), "{error}");
        assert!(error.ends_with("hint: did you mean `timeout`?"), "{error}");
        let error = refused("[profiles.default]\n");
        assert!(error.contains("unknown key `profiles` in the file"), "{error}");
    }

    #[test]
    fn a_value_that_is_wrong_is_pointed_at() {
        let error = refused("[profile.default]\nnet = \"internet\"\n");
        assert!(
            error.contains("`net`: invalid value `internet` (expected one of: `loopback`, `host`)")
        );
        assert!(error.contains("--> c.toml:2:7\n") && error.ends_with(" ^^^^^^^^^^"), "{error}");
        let error = refused("[profile.default]\npass-env = \"A\"\n");
        assert!(error.contains("`pass-env` takes a list"), "{error}");
        let error = refused("[profile.default]\nno-fork-server = 1\n");
        assert!(error.contains("takes `true` or `false`"), "{error}");
    }

    #[test]
    fn what_is_no_toml_is_pointed_at() {
        let error = refused("[profile.default]\ntimeout = \n");
        assert!(error.starts_with("cannot read `c.toml`: "), "{error}");
        assert!(error.contains("--> c.toml:2:"), "{error}");
    }

    #[test]
    fn a_grant_needs_a_reason() {
        let error = refused("[[profile.default.override]]\nfilter = \"all()\"\nnet = \"host\"\n");
        assert!(error.contains("`net` gives tests access to the host, without a `reason`"));
        assert!(error.contains("--> c.toml:3:1\n"), "{error}");
        let error = refused("[profile.default]\nhome = \"host\"\nreason = \" \"\n");
        assert!(error.contains("the reason is empty"), "{error}");
    }

    #[test]
    fn an_override_needs_a_filter_and_has_nothing_of_the_whole_run() {
        let error = refused("[[profile.default.override]]\ntimeout = 5\n");
        assert!(error.contains("missing `filter` in an override"), "{error}");
        let error = refused("[[profile.default.override]]\nfilter = \"all()\"\nroot = [\"/x\"]\n");
        assert!(error.contains("`root` is not valid in an override"), "{error}");
        let error = refused("[[profile.default.override]]\nfilter = \"all()\"\nmax-fail = 1\n");
        assert!(error.contains("`max-fail` is not valid in an override"), "{error}");
    }

    #[test]
    fn what_nextest_writes_otherwise_is_said() {
        let error = refused("[profile.default]\nslow-timeout = { period = \"1s\" }\n");
        assert!(error.contains("`slow-timeout` takes a string or a number"), "{error}");
        assert!(error.ends_with("hint: `timeout = \"2m\"` sets when a test is killed"));
        let error = refused("[profile.default]\nfail-fast = { max-fail = 1 }\n");
        assert!(error.contains("`fail-fast` takes `true` or `false`"), "{error}");
        let error = refused("[profile.default]\nfail-fast = true\nmax-fail = 2\n");
        assert!(error.contains("--> c.toml:2:1\n"), "{error}");
        assert!(error.ends_with("`false` is `max-fail = \"all\"`"), "{error}");
    }
}
