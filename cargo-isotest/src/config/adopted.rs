//! Overrides that `cargo isotest adopt` has written: they are set aside, and replaced in the file,
//! whose other lines stay as they are. Their reasons begin with [`ADOPTED`].

use std::collections::BTreeSet;
use std::ops::Range;

use isotest_core::case::Case;
use toml::de::{DeTable, DeValue};

use super::document::Node;
use super::effective::Config;
use super::error::ConfigError;
use super::file;
use super::source::{Origin, Source};
use crate::discover::filterset::{Expression, FilterSubject};

/// Beginning of the reason of an override that `adopt` has written.
pub const ADOPTED: &str = "adopt: ";

/// Overrides that were set aside.
#[derive(Debug, Default)]
pub struct Adopted {
    overrides: Vec<(Expression, Source)>,
}

/// An override that `adopt` has written.
#[derive(Debug, Clone, Copy)]
pub struct AdoptedOverride<'a> {
    /// Its number in its profile, 1 being the first.
    pub number: usize,
    /// Its values.
    pub source: &'a Source,
    /// Its reason.
    pub reason: &'a str,
    /// Its file and line.
    pub place: &'a str,
    expression: &'a Expression,
}

impl Config {
    /// Takes the overrides of the chosen profile out that `adopt` has written and `is_own` takes for
    /// its own; the configuration is as it would be without them.
    pub fn set_aside_adopted(&mut self, is_own: impl Fn(&Source) -> bool) -> Adopted {
        let profile = self.profile.clone();
        let is_adopted = |source: &Source| match &source.origin {
            Origin::Override { profile: of, reason: Some(reason), .. } => {
                *of == profile && reason.starts_with(ADOPTED) && is_own(source)
            }
            Origin::Override { reason: None, .. }
            | Origin::Flag
            | Origin::Environment
            | Origin::Profile { .. } => false,
        };
        let (adopted, others) =
            std::mem::take(&mut self.overrides).into_iter().partition(|(_, it)| is_adopted(it));
        self.overrides = others;
        Adopted { overrides: adopted }
    }

    /// The keys among these that flags, variables or other overrides have set for this case.
    pub fn fixed_keys<'k>(
        &self,
        subject: &FilterSubject,
        case: &Case,
        keys: &[&'k str],
    ) -> Vec<&'k str> {
        let sources = self.sources_of(subject, case);
        let before = |source: &&&Source| !matches!(source.origin, Origin::Profile { .. });
        let has = |key: &&&str| sources.iter().filter(before).any(|it| it.values.layers.has(key));
        keys.iter().filter(has).copied().collect()
    }

    /// True if an override that was set aside selects this case.
    pub fn selects_adopted(
        &self,
        adopted: &AdoptedOverride<'_>,
        subject: &FilterSubject,
        case: &Case,
    ) -> bool {
        self.selects(adopted.expression, subject, case)
    }
}

impl Adopted {
    /// Each of them.
    pub fn iter(&self) -> impl Iterator<Item = AdoptedOverride<'_>> {
        self.overrides.iter().filter_map(|(expression, source)| match &source.origin {
            Origin::Override { number, reason: Some(reason), place, .. } => {
                let number = *number;
                Some(AdoptedOverride { number, source, reason, place, expression })
            }
            Origin::Override { reason: None, .. }
            | Origin::Flag
            | Origin::Environment
            | Origin::Profile { .. } => None,
        })
    }
}

/// The text of a file that goes by `name` without the overrides of a profile that have these numbers,
/// and with others at its end. All other lines stay.
pub fn rewrite(
    name: &str,
    text: &str,
    profile: &str,
    removed: &[usize],
    added: &[String],
) -> Result<String, ConfigError> {
    let cannot = |cause: &str| {
        let lines: String = added.iter().map(|one| format!("\n{one}")).collect();
        let hint = match lines.is_empty() {
            true => "remove the overrides whose reason begins with `adopt: ` by hand".to_owned(),
            false => format!("change the file by hand; these lines are new:\n{lines}"),
        };
        ConfigError::new(format!("cannot change `{name}`: {cause}")).hint(Some(hint.trim_end()))
    };
    let mut ranges = Vec::new();
    if !removed.is_empty() {
        let table = DeTable::parse(text).map_err(|error| cannot(error.message()))?;
        let overrides = overrides_of(table.get_ref(), profile);
        let overrides = overrides.ok_or_else(|| cannot("its overrides are in another form"))?;
        for number in removed {
            let range = overrides.get(*number - 1).and_then(|one| lines_of(text, one));
            ranges.push(range.ok_or_else(|| cannot("its overrides are in another form"))?);
        }
    }
    let mut changed = without(text, ranges);
    for one in added {
        if !changed.is_empty() && !changed.ends_with('\n') {
            changed.push('\n');
        }
        if !changed.is_empty() && !changed.ends_with("\n\n") {
            changed.push('\n');
        }
        changed += one;
    }
    check(name, text, &changed, profile, removed, added.len()).map_err(|cause| cannot(&cause))?;
    Ok(changed)
}

/// Fails unless the changed text has the same other overrides, and as many new ones.
fn check(
    name: &str,
    text: &str,
    changed: &str,
    profile: &str,
    removed: &[usize],
    added: usize,
) -> Result<(), String> {
    let filters = |text: &str| -> Result<Vec<String>, String> {
        let file = file::read(name, text).map_err(|error| error.to_string())?;
        let overrides = file.profile.get(profile).map_or(&[][..], |profile| &profile.overrides);
        Ok(overrides.iter().map(|one| one.filter.text.clone()).collect())
    };
    let (before, after) = (filters(text)?, filters(changed)?);
    let removed: BTreeSet<usize> = removed.iter().copied().collect();
    let stay = (1..).zip(&before).filter(|(number, _)| !removed.contains(number));
    let stay: Vec<&String> = stay.map(|(_, filter)| filter).collect();
    match after.len() == stay.len() + added && after.iter().zip(stay).all(|(a, b)| a == b) {
        true => Ok(()),
        false => Err("its overrides are in another form".to_owned()),
    }
}

/// The overrides of a profile, where it has any as tables.
fn overrides_of<'v, 't>(table: &'v DeTable<'t>, profile: &str) -> Option<Vec<&'v Node<'t>>> {
    let inner = |table: &'v DeTable<'t>, name: &str| {
        table.iter().find(|(key, _)| key.get_ref() == name).map(|(_, value)| value.get_ref())
    };
    let DeValue::Table(profiles) = inner(table, "profile")? else { return None };
    let DeValue::Table(profile) = inner(profiles, profile)? else { return None };
    let DeValue::Array(overrides) = inner(profile, "override")? else { return None };
    Some(overrides.iter().collect())
}

/// The lines of an override, from its `[[…]]` to its last value. `None` if it is an inline table.
fn lines_of(text: &str, node: &Node<'_>) -> Option<Range<usize>> {
    let DeValue::Table(table) = node.get_ref() else { return None };
    let first = table.keys().map(|key| key.span().start).min()?;
    let last = table.iter().map(|(_, value)| value.span().end).max()?;
    let header = text[..first].rfind("[[")?;
    let start = text[..header].rfind('\n').map_or(0, |at| at + 1);
    let is_alone = text[start..header].trim().is_empty();
    // Between the header and the first key there is nothing but its own line and comments.
    let mut between = text[header..first].lines().skip(1);
    let is_header = between.all(|line| line.trim().is_empty() || line.trim().starts_with('#'));
    let end = text[last..].find('\n').map_or(text.len(), |at| last + at + 1);
    (is_alone && is_header).then_some(start..end)
}

/// The text without these parts, each with one empty line beside it.
fn without(text: &str, mut ranges: Vec<Range<usize>>) -> String {
    ranges.sort_by_key(|range| range.start);
    let (mut kept, mut at) = (String::new(), 0);
    for Range { start, end } in ranges {
        kept += text.get(at..start).unwrap_or_default();
        let rest = &text[end..];
        at = end;
        match (kept.is_empty() || kept.ends_with("\n\n"), rest.starts_with('\n'), rest.is_empty()) {
            (true, true, _) => at += 1,
            (true, _, true) => {
                kept.pop();
            }
            _ => {}
        }
    }
    kept + &text[at..]
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = r#"# Ours.
[profile.default]
timeout = "5s" # not longer

[[profile.default.override]]
# By hand.
filter = "test(a)"
net = "host"
reason = "by hand"

[[profile.default.override]]
filter = "test(b)"
net = "host"
reason = "adopt: connects" # a remark

[test-groups] # few
one = { max-threads = 1 }

[[profile.default.override]]
filter = "test(c)"
uts = "host"
reason = "adopt: asks"
"#;

    fn entry(test: &str) -> String {
        format!(
            "[[profile.default.override]]\nfilter = \"test({test})\"\ninit = \"reaper\"\nreason = \"adopt: why\"\n"
        )
    }

    fn rewritten(text: &str, removed: &[usize], added: &[String]) -> String {
        rewrite("c.toml", text, "default", removed, added).expect("it can be changed")
    }

    #[test]
    fn other_lines_stay_as_they_are() {
        let (first, rest) = FILE.split_at(
            FILE.find("[[profile.default.override]]\nfilter = \"test(b)").expect("there"),
        );
        let (_, rest) = rest.split_at(rest.find("[test-groups]").expect("there"));
        let (groups, _) = rest.split_at(rest.find("\n[[").expect("there"));
        assert_eq!(rewritten(FILE, &[2, 3], &[]), format!("{first}{groups}"));
        assert_eq!(rewritten(FILE, &[], &[entry("d")]), format!("{FILE}\n{}", entry("d")));
        let both = rewritten(FILE, &[3, 2], &[entry("d"), entry("e")]);
        assert_eq!(both, format!("{first}{groups}\n{}\n{}", entry("d"), entry("e")));
        assert_eq!(rewritten(FILE, &[], &[]), FILE);
    }

    #[test]
    fn a_new_file_has_the_entries_alone() {
        assert_eq!(rewritten("", &[], &[entry("a")]), entry("a"));
        assert_eq!(rewritten(&entry("a"), &[1], &[]), "");
        assert_eq!(rewritten("# x", &[], &[entry("a")]), format!("# x\n\n{}", entry("a")));
    }

    #[test]
    fn overrides_of_another_form_are_left_to_the_user() {
        let inline = "[profile.default]\noverride = [{ filter = \"test(a)\", net = \"host\", reason = \"adopt: x\" }]\n";
        for (removed, added) in [(vec![1], vec![]), (vec![], vec![entry("b")])] {
            let error = rewrite("c.toml", inline, "default", &removed, &added).expect_err("inline");
            let error = error.to_string();
            assert!(error.starts_with("cannot change `c.toml`: "), "{error}");
            assert_eq!(error.contains("filter = \"test(b)\""), !added.is_empty(), "{error}");
        }
    }

    #[test]
    fn only_the_overrides_of_the_profile_are_counted() {
        let text = format!(
            "[[profile.ci.override]]\nfilter = \"test(x)\"\nreason = \"adopt: no\"\n\n{}",
            entry("a")
        );
        assert!(rewritten(&text, &[1], &[]).contains("profile.ci"));
    }
}
