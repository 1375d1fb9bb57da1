//! Flags as variables of the environment, for who calls where no flag can be given.
//!
//! `ISOTEST_TMP_SIZE=1G` is `--tmp-size=1G`. Text in, words of a command line out; they are put
//! before those that are typed, which win.

use std::ffi::{OsStr, OsString};

use clap::builder::EnumValueParser;
use clap::{Arg, ArgAction, Args};

use super::layers::{LayerOptions, Workspace};

/// What stands before the name of a flag.
const PREFIX: &str = "ISOTEST_";

/// The words that these variables stand for. Commas part the values of a flag that takes several,
/// a switch takes `1` or `0`, and an empty variable counts as unset. A variable that names no
/// layer or limit is somebody else's.
pub fn words(variables: &[(OsString, OsString)]) -> Result<Vec<OsString>, String> {
    let workspace = Arg::new("workspace").long("workspace");
    let workspace = workspace.value_parser(EnumValueParser::<Workspace>::new());
    let command = clap::Command::new("layers").no_binary_name(true).arg(workspace);
    let command = LayerOptions::augment_args(command);
    let mut words = Vec::new();
    for flag in command.get_arguments() {
        let Some(long) = flag.get_long() else { continue };
        let name = format!("{PREFIX}{}", long.to_uppercase().replace('-', "_"));
        let found = variables.iter().find(|(known, _)| *known == *name);
        let Some((_, value)) = found.filter(|(_, value)| !value.is_empty()) else { continue };
        let found = words_of(flag, long, &name, value)?;
        let read = command.clone().try_get_matches_from(&found);
        read.map_err(|error| format!("cannot use the variable `{name}`: {}", reason(&error)))?;
        words.extend(found);
    }
    Ok(words)
}

fn words_of(flag: &Arg, long: &str, name: &str, value: &OsStr) -> Result<Vec<OsString>, String> {
    let Some(value) = value.to_str() else {
        return Err(format!("cannot use the variable `{name}`: its value is not UTF-8"));
    };
    let values: Vec<&str> = match (flag.get_action(), value) {
        (ArgAction::SetTrue, "1" | "true") => return Ok(vec![format!("--{long}").into()]),
        (ArgAction::SetTrue, "0" | "false") => return Ok(Vec::new()),
        (ArgAction::SetTrue, _) => {
            return Err(format!("cannot use `{name}={value}`: it is `1` or `0`"));
        }
        (ArgAction::Append, values) => values.split(',').collect(),
        (_, value) => vec![value],
    };
    Ok(values.into_iter().map(|value| format!("--{long}={value}").into()).collect())
}

/// What clap says, without advice on a command line that nobody has typed.
fn reason(error: &clap::Error) -> String {
    let text = error.to_string();
    let text = text.strip_prefix("error: ").unwrap_or(&text);
    text.split("\n\n").next().unwrap_or(text).trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(variables: &[(&str, &str)]) -> Result<Vec<OsString>, String> {
        let owned = variables.iter().map(|(name, value)| (name.into(), value.into()));
        words(&owned.collect::<Vec<_>>())
    }

    #[test]
    fn variables_are_flags_in_capitals() {
        let found = read(&[
            ("ISOTEST_NET", "host"),
            ("ISOTEST_TMP_SIZE", "1G"),
            ("ISOTEST_WRITE_BACK", "**/*.snap,wip/*"),
            ("ISOTEST_NO_FORK_SERVER", "1"),
            ("ISOTEST_WORKSPACE", "readonly"),
            ("ISOTEST_UTS", ""),
            ("ISOTEST_NO_SKIP", "1"),
        ]);
        let expected = [
            "--workspace=readonly",
            "--net=host",
            "--write-back=**/*.snap",
            "--write-back=wip/*",
            "--no-fork-server",
            "--tmp-size=1G",
        ];
        assert_eq!(found.expect("all can be read"), expected);
    }

    #[test]
    fn a_value_that_no_flag_takes_is_named_with_its_variable() {
        let error = read(&[("ISOTEST_NET", "hos")]).expect_err("there is none");
        assert_eq!(
            error,
            "cannot use the variable `ISOTEST_NET`: invalid value 'hos' for '--net <NET>'\n  \
             [possible values: loopback, host]"
        );
        assert!(read(&[("ISOTEST_WORKSPACE", "w")]).is_err());
    }

    #[test]
    fn a_switch_is_on_or_off() {
        assert_eq!(read(&[("ISOTEST_NO_FORK_SERVER", "0")]), Ok(Vec::new()));
        let error = read(&[("ISOTEST_NO_FORK_SERVER", "perhaps")]).expect_err("neither");
        assert_eq!(error, "cannot use `ISOTEST_NO_FORK_SERVER=perhaps`: it is `1` or `0`");
    }
}
