//! `[service.NAME]` and `[setup.NAME]`: programs that tests need.
//!
//! They are read here, by the reader of the file; the schema is made of the types.
//! `docs/services.md` describes them.

use std::collections::BTreeMap;
use std::time::Duration;

use schemars::JsonSchema;
use toml::de::DeValue;

use super::document::{Node, Reader, SpannedText};
use super::error::ConfigError;
use super::machine::is_variable_name;
use crate::cli;

/// Default time limit for a service to be ready.
const SERVICE_TIMEOUT: Duration = Duration::from_secs(30);
/// Default time limit of a setup command.
const SETUP_TIMEOUT: Duration = Duration::from_secs(300);

/// A program that runs beside each test that asks for it, in its sandbox, and ends with it
#[derive(Debug, Clone, PartialEq, Eq, JsonSchema)]
#[schemars(deny_unknown_fields, rename = "Service")]
pub struct ServiceTable {
    /// Its name.
    #[schemars(skip)]
    pub name: String,
    /// The program and its arguments; a text is parted into words as a shell would
    #[schemars(with = "Words")]
    pub command: Vec<String>,
    /// Condition that shows that it is ready; the test begins then
    pub ready: ReadyTable,
    /// Time limit until it is ready: `30s` by default
    #[schemars(with = "Option<String>")]
    pub timeout: Duration,
    /// Variables that the test gets, and its services too
    #[schemars(default)]
    pub env: BTreeMap<String, String>,
}

/// Condition that shows that a service is ready
#[derive(Debug, Clone, PartialEq, Eq, JsonSchema)]
#[schemars(rename = "Ready", rename_all = "kebab-case")]
pub enum ReadyTable {
    /// This port of the loopback interface takes connections
    Tcp(u16),
    /// The unix socket of this path takes connections
    Unix(String),
    /// It has written this text, to stdout or stderr
    Output(String),
    /// This command exits with 0
    Command(#[schemars(with = "Words")] Vec<String>),
    /// It has itself exited with 0: it prepares something
    Exit,
}

/// A command that runs once, before the tests that ask for it, outside of every sandbox
#[derive(Debug, Clone, PartialEq, Eq, JsonSchema)]
#[schemars(deny_unknown_fields, rename = "Setup")]
pub struct SetupTable {
    /// Its name.
    #[schemars(skip)]
    pub name: String,
    /// The program and its arguments; a text is parted into words as a shell would
    #[schemars(with = "Words")]
    pub command: Vec<String>,
    /// Time limit: `5m` by default, or `none`
    #[schemars(with = "Option<String>")]
    pub timeout: Option<Duration>,
}

/// A command.
#[derive(JsonSchema)]
#[schemars(untagged)]
#[expect(dead_code, reason = "it describes what is read by hand")]
enum Words {
    /// As one text
    Line(String),
    /// Word by word
    List(Vec<String>),
}

impl<'t> Reader<'t> {
    /// The tables below `service`, in the order in which they are defined.
    pub fn services(&self, value: &Node<'t>) -> Result<Vec<ServiceTable>, ConfigError> {
        self.each(value, "services must be tables: `[service.NAME]`", |name, value| {
            let table = self.table(value, "a service must be a table: `[service.NAME]`")?;
            let (mut command, mut ready) = (None, None);
            let (mut timeout, mut env) = (SERVICE_TIMEOUT, BTreeMap::new());
            for (key, value) in table {
                match key.get_ref().as_ref() {
                    "command" => command = Some(self.words(value)?),
                    "ready" => ready = Some(self.ready(value)?),
                    "timeout" => {
                        let wanted = "a service cannot have an unlimited `timeout`";
                        let limit = self.time(value)?;
                        timeout = limit.ok_or_else(|| self.error(wanted, value.span()))?;
                    }
                    "env" => env = self.variables(value)?,
                    _ => {
                        let known = ["command", "ready", "timeout", "env"];
                        return Err(self.unknown(key, "a service", known.into_iter()));
                    }
                }
            }
            let without = |key: &str, hint: &str| {
                let what = format!("missing `{key}` in a service");
                self.error(what, value.span()).hint(Some(hint))
            };
            Ok(ServiceTable {
                name,
                command: command
                    .ok_or_else(|| without("command", "`command = \"redis-server --save ''\"`"))?,
                ready: ready.ok_or_else(|| without("ready", READY))?,
                timeout,
                env,
            })
        })
    }

    /// The tables below `setup`, in the order in which they are defined.
    pub fn setups(&self, value: &Node<'t>) -> Result<Vec<SetupTable>, ConfigError> {
        self.each(value, "setup commands must be tables: `[setup.NAME]`", |name, value| {
            let table = self.table(value, "a setup command must be a table: `[setup.NAME]`")?;
            let (mut command, mut timeout) = (None, Some(SETUP_TIMEOUT));
            for (key, value) in table {
                match key.get_ref().as_ref() {
                    "command" => command = Some(self.words(value)?),
                    "timeout" => timeout = self.time(value)?,
                    _ => {
                        let known = ["command", "timeout"];
                        return Err(self.unknown(key, "a setup command", known.into_iter()));
                    }
                }
            }
            let command = command.ok_or_else(|| {
                let hint = "`command = \"scripts/make-database\"`";
                self.error("missing `command` in a setup command", value.span()).hint(Some(hint))
            })?;
            Ok(SetupTable { name, command, timeout })
        })
    }

    fn each<T>(
        &self,
        value: &Node<'t>,
        what: &str,
        read: impl Fn(String, &Node<'t>) -> Result<T, ConfigError>,
    ) -> Result<Vec<T>, ConfigError> {
        let mut tables: Vec<_> = self.table(value, what)?.iter().collect();
        tables.sort_by_key(|(name, _)| name.span().start);
        tables.into_iter().map(|(name, value)| read(name.get_ref().to_string(), value)).collect()
    }

    /// A command: a list of words, or a text that is parted into them.
    pub(super) fn words(&self, value: &Node<'t>) -> Result<Vec<String>, ConfigError> {
        let words = match value.get_ref() {
            DeValue::String(text) => shell_words::split(text).map_err(|cause| {
                self.error(format!("cannot parse the command: {cause}"), value.span())
            })?,
            DeValue::Array(words) => {
                let words = words.iter().map(|word| self.string(word).map(|text| text.text));
                words.collect::<Result<_, _>>()?
            }
            _ => {
                return Err(
                    self.error("a command must be a string or a list of strings", value.span())
                );
            }
        };
        match words.iter().find(|word| word.contains('\0')) {
            Some(_) => Err(self.error("a command must not contain a NUL character", value.span())),
            None if words.is_empty() => Err(self.error("the command is empty", value.span())),
            None => Ok(words),
        }
    }

    fn ready(&self, value: &Node<'t>) -> Result<ReadyTable, ConfigError> {
        let wrong = |what: &str| self.error(what, value.span()).hint(Some(READY));
        let table = match value.get_ref() {
            DeValue::String(text) if text == "exit" => return Ok(ReadyTable::Exit),
            DeValue::Table(table) => table,
            _ => return Err(wrong("invalid value of `ready`")),
        };
        let mut keys = table.iter();
        let (Some((key, value)), None) = (keys.next(), keys.next()) else {
            return Err(wrong("`ready` must have exactly one key"));
        };
        match key.get_ref().as_ref() {
            "tcp" => {
                let port = self.scalar(value).and_then(|text| text.parse().ok());
                let port = port
                    .filter(|port| *port != 0)
                    .ok_or_else(|| self.error("`tcp` must be a port number", value.span()))?;
                Ok(ReadyTable::Tcp(port))
            }
            "unix" => Ok(ReadyTable::Unix(self.filled(value)?)),
            "output" => Ok(ReadyTable::Output(self.filled(value)?)),
            "command" => Ok(ReadyTable::Command(self.words(value)?)),
            _ => {
                let known = ["tcp", "unix", "output", "command"];
                Err(self.unknown(key, "`ready`", known.into_iter()))
            }
        }
    }

    pub(super) fn filled(&self, value: &Node<'t>) -> Result<String, ConfigError> {
        let SpannedText { text, span } = self.string(value)?;
        match text.is_empty() {
            true => Err(self.error("the string is empty", span)),
            false => Ok(text),
        }
    }

    /// `None` for `none`.
    pub(super) fn time(&self, value: &Node<'t>) -> Result<Option<Duration>, ConfigError> {
        let text = self.scalar(value);
        let text =
            text.ok_or_else(|| self.error("expected a duration: `\"30s\"`", value.span()))?;
        cli::read_deadline(&text).map(Into::into).map_err(|cause| self.error(cause, value.span()))
    }

    fn variables(&self, value: &Node<'t>) -> Result<BTreeMap<String, String>, ConfigError> {
        let table = self.table(value, "variables must be a table: `env = { NAME = \"value\" }`")?;
        let variables = table.iter().map(|(name, value)| {
            if !is_variable_name(name.get_ref()) {
                let what = format!("`{}` is not a valid variable name", name.get_ref());
                return Err(self.error(what, name.span()));
            }
            let text = self.scalar(value).filter(|text| !text.contains('\0'));
            let wanted = || self.error("a variable must be a string or a number", value.span());
            Ok((name.get_ref().to_string(), text.ok_or_else(wanted)?))
        });
        variables.collect()
    }
}

const READY: &str = "one of `ready = { tcp = 5432 }`, `{ unix = \"/tmp/socket\" }`, \
     `{ output = \"text to wait for\" }`, `{ command = \"probe\" }`, or `\"exit\"`";

#[cfg(test)]
mod tests {
    use super::super::file::{File, read};
    use super::*;

    fn refused(text: &str) -> String {
        read("c.toml", text).expect_err("it is wrong").to_string()
    }

    #[test]
    fn commands_are_read_in_the_order_of_their_definition() {
        let text = r#"
            [service.z]
            command = "server --save ''"
            ready = { tcp = 6379 }
            [service.a]
            command = ["server", "a b"]
            ready = "exit"
            timeout = "2m"
            env = { URL = "x", PORT = 1 }
            [setup.y]
            command = "make it"
            timeout = "none"
            [setup.b]
            command = "make it"
            [profile.default]
            services = ["a", "z"]
            setup = ["b"]
        "#;
        let File { service, setup, profile, .. } = read("c.toml", text).expect("it is right");
        let names: Vec<&str> = service.iter().map(|table| table.name.as_str()).collect();
        assert_eq!(names, ["z", "a"]);
        assert_eq!(service[0].command, ["server", "--save", ""]);
        assert_eq!(
            (&service[0].ready, service[0].timeout),
            (&ReadyTable::Tcp(6379), SERVICE_TIMEOUT)
        );
        assert_eq!(service[1].command, ["server", "a b"]);
        assert_eq!(service[1].env["PORT"], "1");
        assert_eq!((&*setup[0].name, setup[0].timeout), ("y", None));
        assert_eq!(setup[1].timeout, Some(SETUP_TIMEOUT));
        assert_eq!(profile["default"].services.len(), 2);
    }

    #[test]
    fn what_is_wrong_with_a_command_is_pointed_at() {
        let error = refused("[service.a]\ncommand = \"a\"\n");
        assert!(error.contains("missing `ready` in a service\n --> c.toml:1:"), "{error}");
        assert!(error.contains("hint: one of `ready = { tcp = 5432 }`"), "{error}");
        let error = refused("[service.a]\ncommand = \"a 'b\"\nready = \"exit\"\n");
        assert!(error.contains("cannot parse the command") && error.contains("c.toml:2:11"));
        let error = refused("[service.a]\ncommand = []\nready = \"exit\"\n");
        assert!(error.contains("the command is empty"), "{error}");
        let error = refused("[service.a]\ncommand = \"a\"\nready = { port = 1 }\n");
        assert!(error.contains("unknown key `port` in `ready`"), "{error}");
        let error = refused("[service.a]\ncommand = \"a\"\nready = { tcp = 0 }\n");
        assert!(error.contains("`tcp` must be a port number"), "{error}");
        let error = refused("[setup.a]\ncommand = \"a\"\nslow-timeout = \"1s\"\n");
        assert!(error.contains("unknown key `slow-timeout` in a setup command"), "{error}");
    }

    #[test]
    fn a_name_that_is_not_there_is_pointed_at() {
        let text = "[service.redis]\ncommand = \"a\"\nready = \"exit\"\n[profile.default]\nservices = [\"rediss\"]\n";
        let error = refused(text);
        assert!(error.contains("there is no `[service.rediss]`\n --> c.toml:5:13\n"), "{error}");
        assert!(error.ends_with("hint: did you mean `redis`?"), "{error}");
        let error = refused("[[profile.a.override]]\nfilter = \"all()\"\nsetup = [\"x\"]\n");
        assert!(error.ends_with("hint: define it in a table `[setup.NAME]`"), "{error}");
    }
}
