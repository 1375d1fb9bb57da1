//! Nextest's setup scripts become setup commands, where they mean the same.

use std::fmt::Write as _;

use toml::Value;

use super::import::{Import, key, quoted};

impl Import {
    /// `[scripts.setup.NAME]`: as many setup commands.
    pub fn scripts(&mut self, value: &Value) {
        let Value::Table(kinds) = value else { return };
        for (kind, scripts) in kinds {
            match (kind.as_str(), scripts) {
                ("setup", Value::Table(scripts)) => {
                    for (name, script) in scripts {
                        self.script(name, script);
                    }
                }
                (kind, _) => self.leave("scripts", kind),
            }
        }
    }

    fn script(&mut self, name: &str, value: &Value) {
        let at = format!("scripts.setup.{}", key(name));
        let Value::Table(table) = value else { return };
        let Some(command) = table.get("command").and_then(command_of) else {
            self.notes
                .push(format!("{at}: `command`: isotest takes a string or a list of strings"));
            return;
        };
        // What nextest tells of as slow it lets go on.
        let mut timeout = "timeout = \"none\"".to_owned();
        for (key, value) in table {
            match key.as_str() {
                "command" => {}
                "slow-timeout" => {
                    if let Some([_, limit]) = self.timeout(&at, value) {
                        timeout = limit;
                    }
                }
                key => self.leave(&at, key),
            }
        }
        self.setups.push(name.to_owned());
        let _ = write!(self.text, "\n[setup.{}]\ncommand = {command}\n{timeout}\n", key(name));
    }

    /// `[[profile.NAME.scripts]]`: overrides that ask for setup commands.
    pub fn bound_scripts(&mut self, profile: &str, value: &Value) {
        let Value::Array(rules) = value else { return };
        for (rule, number) in rules.iter().filter_map(Value::as_table).zip(1..) {
            let at = format!("{profile}.scripts {number}");
            for key in rule.keys().filter(|key| !["filter", "setup"].contains(&key.as_str())) {
                self.leave(&at, key);
            }
            let names: Vec<&str> = match rule.get("setup") {
                Some(Value::String(name)) => vec![name],
                Some(Value::Array(names)) => names.iter().filter_map(Value::as_str).collect(),
                Some(_) | None => continue,
            };
            let (known, unknown): (Vec<&str>, Vec<&str>) =
                names.into_iter().partition(|name| self.setups.iter().any(|known| known == name));
            for name in unknown {
                self.notes.push(format!("{at}: `setup`: `{name}` is not converted"));
            }
            let (Some(Value::String(filter)), false) = (rule.get("filter"), known.is_empty())
            else {
                continue;
            };
            let names: Vec<String> = known.into_iter().map(quoted).collect();
            let (filter, names) = (quoted(filter), names.join(", "));
            let _ = write!(
                self.text,
                "\n[[{profile}.override]]\nfilter = {filter}\nsetup = [{names}]\n"
            );
        }
    }
}

/// A command as it is written; `None` where it means something that isotest has not.
fn command_of(value: &Value) -> Option<String> {
    match value {
        Value::String(_) | Value::Array(_) => Some(value.to_string()),
        Value::Table(table) => {
            let relative = table.get("relative-to").is_none_or(|relative| {
                matches!(relative.as_str(), Some("none" | "workspace-root"))
            });
            let plain = table.keys().all(|key| ["command-line", "relative-to"].contains(&&**key));
            table.get("command-line").filter(|_| relative && plain).map(Value::to_string)
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::super::import::{Imported, import};

    #[test]
    fn setup_scripts_become_setup_commands() {
        let text = r#"
            experimental = ["setup-scripts"]
            [[profile.default.scripts]]
            filter = "package(db)"
            setup = ["db", "cache"]
            [[profile.default.scripts]]
            platform = { host = "cfg(unix)" }
            setup = "db"
            [[profile.ci.scripts]]
            filter = "all()"
            setup = "fetch"
            run-wrapper = "valgrind"
            [scripts.setup.db]
            command = "cargo run -p make-db"
            slow-timeout = { period = "60s", terminate-after = 2 }
            capture-stdout = true
            [scripts.setup.fetch]
            command = { command-line = "scripts/fetch", relative-to = "workspace-root" }
            [scripts.setup.cache]
            command = { command-line = "cache", relative-to = "target" }
            [scripts.wrapper.valgrind]
            command = "valgrind"
        "#;
        let Imported { text, notes } = import("n.toml", text).expect("it can be imported");
        for part in [
            "\n[setup.db]\ncommand = \"cargo run -p make-db\"\ntimeout = \"2m\"\n",
            "\n[setup.fetch]\ncommand = \"scripts/fetch\"\ntimeout = \"none\"\n",
            "\n[[profile.default.override]]\nfilter = \"package(db)\"\nsetup = [\"db\"]\n",
            "\n[[profile.ci.override]]\nfilter = \"all()\"\nsetup = [\"fetch\"]\n",
        ] {
            assert!(text.contains(part), "{part}: {text}");
        }
        let reported = |at: &str| notes.iter().any(|note| note.starts_with(at));
        for at in [
            "`experimental`",
            "scripts: `wrapper`",
            "scripts.setup.cache: `command`",
            "scripts.setup.db: `capture-stdout`",
            "profile.default.scripts 1: `setup`: `cache`",
            "profile.default.scripts 2: `platform`",
            "profile.ci.scripts 1: `run-wrapper`",
        ] {
            assert!(reported(at), "{at}: {notes:#?}");
        }
        assert_eq!(notes.len(), 7, "{notes:#?}");
    }
}
