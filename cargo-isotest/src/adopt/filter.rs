//! The shortest filter expression for some of the tests: packages, binaries and modules of which all
//! tests are among them, and names for the rest.

use std::collections::{BTreeMap, BTreeSet};

use isotest_core::case::CaseIndex;

use crate::discover::Selection;
use crate::report::literal;
use crate::select::selected::{Selected, case};

/// A filter expression for these cases. `has_all_targets` is true if all test targets of the packages
/// are among the binaries: a package is selected as a whole only then.
pub fn filter(selected: &[Selected], cases: &BTreeSet<CaseIndex>, has_all_targets: bool) -> String {
    let mut packages: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
    for (place, one) in selected.iter().enumerate() {
        packages.entry(&one.binary.package_name).or_default().push(place);
    }
    let mut parts = Vec::new();
    for (package, places) in packages {
        let with_tests = |place: &&usize| !selected[**place].selection.cases.is_empty();
        let has_all = places.iter().all(|place| covers(selected, *place, cases));
        let several = places.iter().filter(with_tests).count() > 1;
        if has_all_targets && has_all && several {
            parts.push(format!("package(={})", literal(package)));
            continue;
        }
        parts.extend(places.into_iter().filter_map(|place| of_binary(selected, place, cases)));
    }
    match parts.as_slice() {
        [part] => {
            let inner = part.strip_prefix('(').and_then(|part| part.strip_suffix(')'));
            inner.unwrap_or(part).to_owned()
        }
        parts => parts.join(" | "),
    }
}

/// True if all tests of a binary are among the cases: none was filtered out, and none is ignored.
fn covers(selected: &[Selected], binary: usize, cases: &BTreeSet<CaseIndex>) -> bool {
    let Selection { cases: all, filtered_out } = &selected[binary].selection;
    *filtered_out == 0 && (0..all.len()).all(|case| cases.contains(&CaseIndex { binary, case }))
}

/// The part of a binary: the whole, or its modules and tests.
fn of_binary(selected: &[Selected], binary: usize, cases: &BTreeSet<CaseIndex>) -> Option<String> {
    let own: Vec<&str> = cases
        .iter()
        .filter(|index| index.binary == binary)
        .map(|index| case(selected, *index).name.as_str())
        .collect();
    let id = format!("binary_id(={})", literal(&selected[binary].binary.id));
    if own.is_empty() {
        return None;
    }
    if covers(selected, binary, cases) {
        return Some(id);
    }
    let others: Vec<&str> = selected[binary]
        .selection
        .cases
        .iter()
        .map(|case| case.name.as_str())
        .filter(|name| !own.contains(name))
        .collect();
    // What a filter left out may be in any module.
    let modules = match selected[binary].selection.filtered_out {
        0 => modules(&own, &others),
        _ => Vec::new(),
    };
    let in_module = |name: &&&str| modules.iter().any(|module| name.starts_with(module.as_str()));
    let single = own.iter().filter(|name| !in_module(name));
    let single = single.map(|name| format!("test(={})", literal(name)));
    let whole = modules.iter().map(|module| format!("test(/^{module}/)"));
    let tests: Vec<String> = whole.chain(single).collect();
    Some(match tests.as_slice() {
        [test] => format!("({id} & {test})"),
        tests => format!("({id} & ({}))", tests.join(" | ")),
    })
}

/// The largest modules, `a::b::`, that have two or more of these tests and none of the others. Their
/// names mean the same in a regular expression.
fn modules(own: &[&str], others: &[&str]) -> Vec<String> {
    let is_plain = |module: &str| {
        module.bytes().all(|byte| byte == b':' || byte == b'_' || byte.is_ascii_alphanumeric())
    };
    let mut found: BTreeSet<&str> = BTreeSet::new();
    for name in own {
        let ends = name.match_indices("::").map(|(at, separator)| at + separator.len());
        let whole = ends.map(|end| &name[..end]).find(|module| {
            let has = |tests: &[&str]| tests.iter().filter(|it| it.starts_with(module)).count();
            has(own) > 1 && has(others) == 0 && is_plain(module)
        });
        found.extend(whole);
    }
    found.into_iter().map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modules_are_as_large_as_they_can_be() {
        let found = |own: &[&str], others: &[&str]| modules(own, others);
        assert_eq!(found(&["a::x::one", "a::x::two", "a::y"], &["b"]), ["a::"]);
        assert_eq!(found(&["a::x::one", "a::x::two", "a::y"], &["a::z"]), ["a::x::"]);
        assert!(found(&["a::one"], &[]).is_empty(), "one test goes by its name");
        assert!(found(&["a::one", "b::two", "c"], &["d"]).is_empty());
        assert!(found(&["a::r#b.c::one", "a::r#b.c::two"], &["a::d"]).is_empty());
    }
}
