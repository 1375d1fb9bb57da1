//! Names of cases, as a command line has them.

/// True if `name` is the whole name of a case, or the id of its binary and its name
/// (`demo::it tests::a`, as `list` prints them).
pub fn is_named(binary: &str, case: &str, name: &str) -> bool {
    let rest = name.strip_prefix(binary).map(|rest| rest.trim_start_matches([':', ' ', '$']));
    case == name || rest == Some(case)
}
