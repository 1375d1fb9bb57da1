//! `ISOTEST_*`: every key as a variable of the environment.

use super::error::ConfigError;
use crate::cli::{self, Shape, Threads, Values};
use crate::config::machine::Variable;

/// Values of `ISOTEST_*`: `ISOTEST_TMP_SIZE` is the key `tmp-size`. Commas separate the values of a
/// list. Other variables are ignored.
pub fn read(variables: &[Variable]) -> Result<Values, ConfigError> {
    let mut values = Values::default();
    // They tell some tests from others, and no variable names tests.
    let of_some = ["test-group", "priority"];
    for key in cli::keys().into_iter().filter(|key| !of_some.contains(&key.name.as_str())) {
        let name = format!("ISOTEST_{}", key.name.to_uppercase().replace('-', "_"));
        let found = variables.iter().find(|(known, _)| *known == *name);
        let Some((_, value)) = found.filter(|(_, value)| !value.is_empty()) else { continue };
        if key.name == "max-fail" && values.run_options.fail_fast.is_some() {
            let message = "cannot use the variables `ISOTEST_FAIL_FAST` and `ISOTEST_MAX_FAIL` of \
                           the environment: they exclude each other";
            return Err(ConfigError::new(message).hint(Some("unset one of them")));
        }
        let value = value.to_string_lossy();
        let given = match (key.shape, value.as_ref()) {
            (Shape::Single | Shape::Bool, value) => vec![value.to_owned()],
            (Shape::List, value) => value.split(',').map(str::to_owned).collect(),
            (Shape::Switch, "1" | "true") => Vec::new(),
            (Shape::Switch, "0" | "false") => continue,
            (Shape::Switch, value) => {
                let message = format!("cannot use `{name}={value}`: expected `1` or `0`");
                return Err(ConfigError::new(message));
            }
        };
        let read = cli::read_key(&key.name, &given).map_err(|cause| {
            let message = format!("cannot use the environment variable `{name}`: {cause}");
            ConfigError::new(message)
        })?;
        values = read.over(values);
    }
    if values.run_options.test_threads.is_none() {
        values.run_options.test_threads = libtests(variables);
    }
    Ok(values)
}

/// Value of libtest's own variable. As with libtest, a value that is no number is a panic.
fn libtests(variables: &[Variable]) -> Option<Threads> {
    let (_, value) = variables.iter().find(|(known, _)| known == "RUST_TEST_THREADS")?;
    value.to_str()?.parse().ok().map(Threads::Count)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_are_keys_and_a_wrong_value_is_an_error() {
        let variables = |name: &str, value: &str| vec![(name.into(), value.into())];
        let read = |name, value| super::read(&variables(name, value));
        let passed = read("ISOTEST_PASS_ENV", "A,B").expect("names").layers;
        assert_eq!(passed.values("pass-env"), ["A", "B"]);
        assert_eq!(read("ISOTEST_NO_SKIP", "1").expect("no key"), Values::default());
        assert!(
            read("ISOTEST_NO_FORK_SERVER", "1").expect("a switch").layers.has("no-fork-server")
        );
        let threads = |name, value| read(name, value).expect("a number").run_options.test_threads;
        assert_eq!(threads("ISOTEST_TEST_THREADS", "-1"), Some(Threads::LessThanProcessors(1)));
        assert_eq!(threads("RUST_TEST_THREADS", "3").map(|threads| threads.count(8)), Some(3));
        assert_eq!(threads("RUST_TEST_THREADS", "0"), None);
        let retries = read("ISOTEST_RETRIES", "2").expect("a number").run_options.retries;
        assert_eq!(retries.map(|retries| retries.count), Some(2));
        let error = read("ISOTEST_NET", "internet").expect_err("no value").to_string();
        assert!(error.contains("`ISOTEST_NET`") && error.contains("`loopback`, `host`"), "{error}");
    }
}
