//! The arguments after `--`, taken apart as libtest's getopts does.
//!
//! No abbreviations; `--x v` or `--x=v`; `-qZ v`; filters anywhere; nothing but `--skip` twice. What
//! the options mean stands in [`libtest`](super::libtest).
//!
//! An option that libtest does not know may be another harness's. Nobody here knows whether such a
//! one takes a value: a word behind it, where none is glued to it, is taken for its value and for no
//! filter. Behind `--` are filters only.

use std::ffi::OsString;
use std::iter::Peekable;

/// One part of the options, as typed.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Typed {
    pub filters: Vec<String>,
    pub skip: Vec<String>,
    flags: Vec<&'static str>,
    values: Vec<(&'static str, String)>,
    /// Options that libtest does not know, in order, each with its value.
    pub unknown: Vec<String>,
}

const FLAGS: &[&str] = &[
    "include-ignored",
    "ignored",
    "test",
    "bench",
    "list",
    "no-capture",
    "nocapture",
    "quiet",
    "exact",
    "show-output",
    "report-time",
    "shuffle",
    "fail-fast",
];
const VALUES: &[&str] = &["test-threads", "color", "format", "Z", "shuffle-seed"];
/// Options of libtest that isotest does not take, and their replacements.
const UNSUPPORTED: &[(&str, &str)] = &[
    ("logfile", "`--junit FILE` and `--message-format json`, before `--`, write results"),
    ("ensure-time", "`--timeout DURATION`, before `--`, limits each test"),
    ("force-run-in-process", "`--unit binary`, before `--`, runs a binary's tests in one process"),
    ("exclude-should-panic", "`--skip NAME` and `-E`, before `--`, leave tests out"),
];

impl Typed {
    /// True if the flag was given.
    pub(super) fn has(&self, flag: &str) -> bool {
        self.flags.contains(&flag)
    }

    /// The value of an option that takes one.
    pub(super) fn value(&self, name: &str) -> Option<&str> {
        self.values.iter().find(|(known, _)| *known == name).map(|(_, value)| value.as_str())
    }

    fn set_flag(&mut self, flag: &'static str) -> Result<(), String> {
        if self.has(flag) {
            return Err(format!("Option '{flag}' given more than once"));
        }
        self.flags.push(flag);
        Ok(())
    }

    fn set_value(&mut self, name: &'static str, value: String) -> Result<(), String> {
        if self.value(name).is_some() {
            return Err(format!("Option '{name}' given more than once"));
        }
        self.values.push((name, value));
        Ok(())
    }
}

/// Takes the arguments after `--` apart.
pub(super) fn read(arguments: &[OsString]) -> Result<Typed, String> {
    let mut typed = Typed::default();
    let mut rest = arguments.iter().peekable();
    while let Some(argument) = rest.next() {
        let argument = utf8(argument)?;
        if argument == "--" {
            for filter in rest.by_ref() {
                typed.filters.push(utf8(filter)?.to_owned());
            }
        } else if let Some(long) = argument.strip_prefix("--") {
            read_long(long, &mut rest, &mut typed)?;
        } else if argument.len() > 1 && argument.starts_with('-') {
            read_short(&argument[1..], &mut rest, &mut typed)?;
        } else {
            typed.filters.push(argument.to_owned());
        }
    }
    Ok(typed)
}

fn read_long<'a>(
    option: &str,
    rest: &mut Peekable<impl Iterator<Item = &'a OsString>>,
    typed: &mut Typed,
) -> Result<(), String> {
    let (name, glued) = match option.split_once('=') {
        Some((name, value)) => (name, Some(value.to_owned())),
        None => (option, None),
    };
    if name == "skip" {
        typed.skip.push(take_value(name, glued, rest)?);
        return Ok(());
    }
    if let Some(flag) = FLAGS.iter().copied().find(|flag| *flag == name) {
        return match glued {
            None => typed.set_flag(flag),
            Some(_) => Err(format!("Option '{name}' does not take an argument")),
        };
    }
    match VALUES.iter().copied().find(|known| *known == name && name.len() > 1) {
        Some(known) => typed.set_value(known, take_value(name, glued, rest)?),
        None => {
            check_supported(name)?;
            let is_complete = glued.is_some();
            take_unknown(format!("--{option}"), is_complete, rest, typed)
        }
    }
}

/// A cluster of short options: `-q`, `-Zunstable-options`, `-qZ unstable-options`.
fn read_short<'a>(
    cluster: &str,
    rest: &mut Peekable<impl Iterator<Item = &'a OsString>>,
    typed: &mut Typed,
) -> Result<(), String> {
    for (at, letter) in cluster.char_indices() {
        match letter {
            'q' => typed.set_flag("quiet")?,
            'Z' => {
                let glued = &cluster[at + 1..];
                let glued = (!glued.is_empty()).then(|| glued.to_owned());
                return typed.set_value("Z", take_value("Z", glued, rest)?);
            }
            unknown => {
                let is_complete = cluster.len() > at + unknown.len_utf8();
                return take_unknown(format!("-{}", &cluster[at..]), is_complete, rest, typed);
            }
        }
    }
    Ok(())
}

/// Takes an option that is not libtest's, with the word behind it unless it has its value already.
fn take_unknown<'a>(
    option: String,
    is_complete: bool,
    rest: &mut Peekable<impl Iterator<Item = &'a OsString>>,
    typed: &mut Typed,
) -> Result<(), String> {
    typed.unknown.push(option);
    let is_value = |word: &&OsString| {
        let word = word.as_encoded_bytes();
        word.len() < 2 || word[0] != b'-'
    };
    if let Some(value) = (!is_complete).then(|| rest.next_if(is_value)).flatten() {
        typed.unknown.push(utf8(value)?.to_owned());
    }
    Ok(())
}

fn take_value<'a>(
    name: &str,
    glued: Option<String>,
    rest: &mut impl Iterator<Item = &'a OsString>,
) -> Result<String, String> {
    match glued {
        Some(value) => Ok(value),
        None => {
            let next = rest.next().ok_or_else(|| format!("Argument to option '{name}' missing"))?;
            Ok(utf8(next)?.to_owned())
        }
    }
}

fn utf8(argument: &OsString) -> Result<&str, String> {
    argument.to_str().ok_or_else(|| format!("the argument {argument:?} is not UTF-8"))
}

fn check_supported(name: &str) -> Result<(), String> {
    match UNSUPPORTED.iter().find(|(known, _)| *known == name) {
        Some((_, instead)) => Err(format!(
            "the option '{name}' of libtest is not supported by cargo isotest\nhint: {instead}"
        )),
        None => Ok(()),
    }
}

/// libtest's message for an unknown option.
pub fn unrecognized(option: &str) -> String {
    let name = match option.strip_prefix("--") {
        Some(long) => long.split('=').next().unwrap_or(long).to_owned(),
        None => option.chars().skip(1).take(1).collect(),
    };
    format!("Unrecognized option: '{name}'")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn typed(arguments: &[&str]) -> Result<Typed, String> {
        read(&arguments.iter().map(OsString::from).collect::<Vec<_>>())
    }

    #[test]
    fn glued_and_separate_values_are_the_same() {
        assert_eq!(typed(&["--color=x", "a"]), typed(&["--color", "x", "a"]));
        assert_eq!(typed(&["-Zx", "a"]), typed(&["-Z", "x", "a"]));
        assert_eq!(typed(&["-qZx"]), typed(&["-q", "-Z", "x"]));
    }

    #[test]
    fn what_libtest_does_not_know_keeps_its_values() {
        let arguments =
            "a --tags @smoke b --bless --exact c --x=1 d -t e -vv f -qz -y - g --w -- h";
        let arguments: Vec<&str> = arguments.split(' ').collect();
        let typed = typed(&arguments).expect("valid");
        assert_eq!(typed.filters, ["a", "b", "c", "d", "f", "g", "h"]);
        let unknown = "--tags @smoke --bless --x=1 -t e -vv -z -y - --w";
        assert_eq!(typed.unknown.join(" "), unknown);
        assert!(typed.has("exact") && typed.has("quiet"));
    }

    #[test]
    fn what_is_not_known_is_named_as_libtest_names_it() {
        for (option, name) in [("--foo", "foo"), ("--foo=1", "foo"), ("-x", "x"), ("-vv", "v")] {
            assert_eq!(unrecognized(option), format!("Unrecognized option: '{name}'"));
        }
    }

    #[test]
    fn a_lone_dash_and_all_after_two_are_filters() {
        let typed = typed(&["-", "--exact", "--", "--exact", "-q"]).expect("valid");
        assert_eq!(typed.filters, ["-", "--exact", "-q"]);
        assert!(typed.has("exact") && !typed.has("quiet"));
    }
}
