//! Environment variables that reach a test.
//!
//! Pure: from the caller's variables, the policy and what cargo sets. An allow-list, so that no
//! secret of a CI job reaches a test under an unexpected name.

use std::ffi::{CString, OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};

use isotest_core::policy::{Env, Policy};

use crate::config::machine::{Variable, is_variable_name};

/// Names that pass; one `*` stands for anything. What people call their own variables begins with
/// `CARGO_` and `RUST_`, too, so that cargo's, rustup's and nextest's pass by name. Those of test crates are what
/// these read by their sources on crates.io.
const ALLOWED: &[&str] = &[
    // Programs and languages.
    "PATH",
    "LANG",
    "LANGUAGE",
    "LC_ALL",
    "LC_ADDRESS",
    "LC_COLLATE",
    "LC_CTYPE",
    "LC_IDENTIFICATION",
    "LC_MEASUREMENT",
    "LC_MESSAGES",
    "LC_MONETARY",
    "LC_NAME",
    "LC_NUMERIC",
    "LC_PAPER",
    "LC_TELEPHONE",
    "LC_TIME",
    "USER",
    "LOGNAME",
    "HOME",
    "LD_LIBRARY_PATH",
    "SOURCE_DATE_EPOCH",
    // Terminals and CI.
    "TERM",
    "COLORTERM",
    "NO_COLOR",
    "CLICOLOR",
    "CLICOLOR_FORCE",
    "FORCE_COLOR",
    "CI",
    "TF_BUILD",
    // Rust.
    "RUST_BACKTRACE",
    "RUST_LIB_BACKTRACE",
    "RUST_SPANTRACE",
    "RUST_LOG",
    "RUST_LOG_STYLE",
    "RUST_LOG_FORMAT",
    "RUST_LOG_SPAN_EVENTS",
    "RUST_MIN_STACK",
    "RUST_TEST_NOCAPTURE",
    "RUST_TEST_SHUFFLE",
    "RUST_TEST_SHUFFLE_SEED",
    "RUST_TEST_THREADS",
    "RUST_TEST_TIME_DOCTEST",
    "RUST_TEST_TIME_INTEGRATION",
    "RUST_TEST_TIME_UNIT",
    "RUST_SRC_PATH",
    "RUST_TARGET_PATH",
    "RUSTC",
    "RUSTC_BOOTSTRAP",
    "RUSTC_ICE",
    "RUSTC_LOG",
    "RUSTC_WRAPPER",
    "RUSTC_WORKSPACE_WRAPPER",
    "RUSTDOC",
    "RUSTDOCFLAGS",
    "RUSTDOC_LOG",
    "RUSTFLAGS",
    "MIRIFLAGS",
    "RUSTUP_AUTO_INSTALL",
    "RUSTUP_DIST_SERVER",
    "RUSTUP_HOME",
    "RUSTUP_TERM_COLOR",
    "RUSTUP_TOOLCHAIN",
    "RUSTUP_TOOLCHAIN_SOURCE",
    "RUSTUP_UPDATE_ROOT",
    // What cargo sets for a test.
    "CARGO",
    "CARGO_BIN_EXE_*",
    "CARGO_BIN_NAME",
    "CARGO_CRATE_NAME",
    "CARGO_MANIFEST_DIR",
    "CARGO_MANIFEST_LINKS",
    "CARGO_MANIFEST_PATH",
    "CARGO_PKG_*",
    "CARGO_PRIMARY_PACKAGE",
    "CARGO_TARGET_TMPDIR",
    "OUT_DIR",
    // What a test's own cargo reads, and what it builds with.
    "CARGO_BUILD_BUILD_DIR",
    "CARGO_BUILD_DEP_INFO_BASEDIR",
    "CARGO_BUILD_INCREMENTAL",
    "CARGO_BUILD_JOBS",
    "CARGO_BUILD_RUSTC",
    "CARGO_BUILD_RUSTC_WORKSPACE_WRAPPER",
    "CARGO_BUILD_RUSTC_WRAPPER",
    "CARGO_BUILD_RUSTDOC",
    "CARGO_BUILD_RUSTDOCFLAGS",
    "CARGO_BUILD_RUSTFLAGS",
    "CARGO_BUILD_TARGET",
    "CARGO_BUILD_TARGET_DIR",
    "CARGO_BUILD_WARNINGS",
    "CARGO_CACHE_RUSTC_INFO",
    "CARGO_ENCODED_RUSTDOCFLAGS",
    "CARGO_ENCODED_RUSTFLAGS",
    "CARGO_HOME",
    "CARGO_HTTP_CAINFO",
    "CARGO_HTTP_CHECK_REVOKE",
    "CARGO_HTTP_DEBUG",
    "CARGO_HTTP_LOW_SPEED_LIMIT",
    "CARGO_HTTP_MULTIPLEXING",
    "CARGO_HTTP_PROXY",
    "CARGO_HTTP_SSL_VERSION",
    "CARGO_HTTP_TIMEOUT",
    "CARGO_HTTP_USER_AGENT",
    "CARGO_INCREMENTAL",
    "CARGO_INSTALL_ROOT",
    "CARGO_LLVM_COV",
    "CARGO_LLVM_COV_BUILD_DIR",
    "CARGO_LLVM_COV_TARGET_DIR",
    "CARGO_LOG",
    "CARGO_NET_GIT_FETCH_WITH_CLI",
    "CARGO_NET_OFFLINE",
    "CARGO_NET_RETRY",
    "CARGO_PROFILE_*_CODEGEN_UNITS",
    "CARGO_PROFILE_*_DEBUG",
    "CARGO_PROFILE_*_DEBUG_ASSERTIONS",
    "CARGO_PROFILE_*_INCREMENTAL",
    "CARGO_PROFILE_*_LTO",
    "CARGO_PROFILE_*_OPT_LEVEL",
    "CARGO_PROFILE_*_OVERFLOW_CHECKS",
    "CARGO_PROFILE_*_PANIC",
    "CARGO_PROFILE_*_RPATH",
    "CARGO_PROFILE_*_SPLIT_DEBUGINFO",
    "CARGO_PROFILE_*_STRIP",
    "CARGO_REGISTRIES_*_INDEX",
    "CARGO_REGISTRIES_*_PROTOCOL",
    "CARGO_REGISTRY_DEFAULT",
    "CARGO_RESOLVER_INCOMPATIBLE_RUST_VERSIONS",
    "CARGO_TARGET_*_LINKER",
    "CARGO_TARGET_*_RUSTDOCFLAGS",
    "CARGO_TARGET_*_RUSTFLAGS",
    "CARGO_TARGET_DIR",
    "CARGO_TERM_COLOR",
    "CARGO_TERM_HYPERLINKS",
    "CARGO_TERM_PROGRESS_TERM_INTEGRATION",
    "CARGO_TERM_PROGRESS_WHEN",
    "CARGO_TERM_PROGRESS_WIDTH",
    "CARGO_TERM_QUIET",
    "CARGO_TERM_UNICODE",
    "CARGO_TERM_VERBOSE",
    "CARGO_UNSTABLE_*",
    "CC",
    "CXX",
    "AR",
    "CFLAGS",
    "CXXFLAGS",
    "PKG_CONFIG",
    "PKG_CONFIG_ALLOW_CROSS",
    "PKG_CONFIG_ALLOW_SYSTEM_CFLAGS",
    "PKG_CONFIG_ALLOW_SYSTEM_LIBS",
    "PKG_CONFIG_ALL_DYNAMIC",
    "PKG_CONFIG_ALL_STATIC",
    "PKG_CONFIG_LIBDIR",
    "PKG_CONFIG_PATH",
    "PKG_CONFIG_SYSROOT_DIR",
    // What measures tests, and runs them.
    "LLVM_PROFILE_FILE",
    "ASAN_OPTIONS",
    "LSAN_OPTIONS",
    "MSAN_OPTIONS",
    "TSAN_OPTIONS",
    "UBSAN_OPTIONS",
    "NEXTEST",
    "NEXTEST_ATTEMPT",
    "NEXTEST_ATTEMPT_ID",
    "NEXTEST_BINARY_ID",
    "NEXTEST_BIN_EXE_*",
    "NEXTEST_EXECUTION_MODE",
    "NEXTEST_LD_LIBRARY_PATH",
    "NEXTEST_PROFILE",
    "NEXTEST_RECOMMENDED_VERSION",
    "NEXTEST_REQUIRED_VERSION",
    "NEXTEST_RUN_ID",
    "NEXTEST_RUN_MODE",
    "NEXTEST_STRESS_CURRENT",
    "NEXTEST_STRESS_TOTAL",
    "NEXTEST_TEST_GLOBAL_SLOT",
    "NEXTEST_TEST_GROUP",
    "NEXTEST_TEST_GROUP_SLOT",
    "NEXTEST_TEST_NAME",
    "NEXTEST_TEST_PHASE",
    "NEXTEST_TEST_THREADS",
    "NEXTEST_TOTAL_ATTEMPTS",
    "NEXTEST_VERSION",
    "NEXTEST_WORKSPACE_ROOT",
    "RAYON_NUM_THREADS",
    "TOKIO_WORKER_THREADS",
    // Crates that compare with files: expected values, snapshots.
    "INSTA_*",
    "INSTA_FORCE_PASS",
    "UPDATE_EXPECT",
    "TRYBUILD",
    "TRYCMD",
    "SNAPSHOTS",
    "MACROTEST",
    "TRYEXPAND",
    "TRYEXPAND_*",
    "EXPECTORATE",
    "UPDATE_GOLDENFILES",
    "REGENERATE_GOLDENFILES",
    "GOLDIE_UPDATE",
    "K9_*",
    "BLESS",
    "SIMILAR_ASSERTS_*",
    "COLORBT_SHOW_HIDDEN",
    // Crates that try many values or schedules.
    "PROPTEST_*",
    "QUICKCHECK_*",
    "ARBTEST_*",
    "BOLERO_*",
    "LOOM_*",
    "SHUTTLE_*",
    "MADSIM_*",
    "FAILPOINTS",
    // Harnesses, fixtures and benchmarks.
    "RSTEST_*",
    "GTEST_*",
    "CUCUMBER_*",
    "TEST_FUZZ",
    "TEST_FUZZ_*",
    "TEST_PERSIST_FILES",
    "HTTPMOCK_*",
    "WIREMOCK_*",
    "TESTCONTAINERS_*",
    "CRITERION_*",
    "DIVAN_*",
    "IAI_CALLGRIND_*",
    "GUNGRAUN_*",
];

/// Parts of names that hold secrets, or that would run a test's own cargo through a runner.
const SECRET: [&str; 6] = ["TOKEN", "SECRET", "PASSWORD", "PASSWD", "CREDENTIAL", "_RUNNER"];

/// Words of names that hold secrets: what stands between `_`.
const SECRET_WORDS: [&str; 14] = [
    "APIKEY",
    "AUTH",
    "BEARER",
    "COOKIE",
    "CRED",
    "CREDS",
    "DSN",
    "JWT",
    "KEY",
    "KEYS",
    "PASS",
    "PASSPHRASE",
    "PAT",
    "PWD",
];

/// The caller's variables that pass, with the fixed ones. Where nobody has named one to be passed, a
/// URL in it is without the name and the password of who is to use it.
pub fn clean(caller: &[Variable], policy: &Policy) -> Vec<Variable> {
    let passing = caller.iter().filter(|(name, _)| passes(name, policy));
    let mut passed: Vec<Variable> = match policy.env {
        Env::Host => passing.cloned().collect(),
        Env::Clean => passing
            .map(|(name, value)| match named(name, &policy.pass_env) {
                true => (name.clone(), value.clone()),
                false => (name.clone(), without_user_info(name, value)),
            })
            .collect(),
    };
    if policy.env == Env::Clean && !named(OsStr::new("TZ"), &policy.pass_env) {
        set(&mut passed, "TZ".into(), "UTC".into());
    }
    passed
}

/// Variables that the command of a stored layer is given: the layer depends on each, and is made anew
/// where one changes.
const OF_LAYERS: [&str; 16] = [
    "PATH",
    "HOME",
    "USER",
    "LOGNAME",
    "LANG",
    "LANGUAGE",
    "LC_ALL",
    "LC_COLLATE",
    "LC_CTYPE",
    "LC_MESSAGES",
    "LC_NUMERIC",
    "LC_TIME",
    "TZ",
    "CARGO_HOME",
    "RUSTUP_HOME",
    "RUSTUP_TOOLCHAIN",
];

/// The caller's variables that reach the command of a stored layer: few, and those that are passed by
/// name.
pub fn of_layer(caller: &[Variable], policy: &Policy) -> Vec<Variable> {
    let policy = Policy { env: Env::Clean, ..policy.clone() };
    let mut passed = clean(caller, &policy);
    passed.retain(|(name, _)| {
        OF_LAYERS.iter().any(|given| name == *given) || named(name, &policy.pass_env)
    });
    passed
}

fn passes(name: &OsStr, policy: &Policy) -> bool {
    match policy.env {
        // Not even then: a test that runs cargo must not come back here.
        Env::Host => !is_runner(name),
        Env::Clean => named(name, &policy.pass_env) || is_allowed(name),
    }
}

/// True if the list has the very name, or a part of it that names no secret.
fn is_allowed(name: &OsStr) -> bool {
    let is_exact = ALLOWED.iter().any(|allowed| name == *allowed);
    is_exact || (named(name, ALLOWED) && !has_secret(&name.to_string_lossy()))
}

/// True if a variable of this name may hold a secret.
pub fn has_secret(name: &str) -> bool {
    let upper = name.to_ascii_uppercase();
    is_secret(name) || upper.split('_').any(|word| SECRET_WORDS.contains(&word))
}

/// True if something of this name may be secret.
pub fn is_secret(name: &str) -> bool {
    let upper = name.to_ascii_uppercase();
    SECRET.iter().any(|part| upper.contains(part))
}

/// Variables that a program sets for a test unless the caller has: for one of `presets`, the
/// caller's value wins if it is passed.
pub fn unless_passed(set: &[Variable], presets: &[OsString], passed: &[Variable]) -> Vec<Variable> {
    let stands = |name: &OsString| {
        presets.contains(name) && passed.iter().any(|(passing, _)| passing == name)
    };
    set.iter().filter(|(name, _)| !stands(name)).cloned().collect()
}

/// The value without the user information of URLs (`user:password@`, RFC 3986). ssh needs its user's
/// name, which is no secret; a proxy may stand without a scheme (curl(1)).
fn without_user_info(name: &OsStr, value: &OsStr) -> OsString {
    let bytes = value.as_bytes();
    let is_proxy = name.as_bytes().ends_with(b"_PROXY");
    let mut kept = Vec::with_capacity(bytes.len());
    let mut rest = bytes;
    while let Some(at) = rest.windows(3).position(|three| three == b"://") {
        let (before, authority) = rest.split_at(at + 3);
        kept.extend_from_slice(before);
        let (user, host) = authority.split_at(user_info(authority));
        if before.ends_with(b"ssh://") && user.ends_with(b"@") {
            kept.extend(user.iter().take_while(|byte| !b":@".contains(byte)));
            kept.push(b'@');
        }
        rest = host;
    }
    if is_proxy && rest.len() == bytes.len() {
        rest = &rest[user_info(rest)..];
    }
    kept.extend_from_slice(rest);
    OsString::from_vec(kept)
}

/// Number of bytes of user information in an authority, the `@` included.
fn user_info(authority: &[u8]) -> usize {
    let ends = |byte: &u8| b"/?#\"'<> \t\n".contains(byte);
    let length = authority.iter().position(ends).unwrap_or(authority.len());
    authority[..length].iter().rposition(|byte| *byte == b'@').map_or(0, |at| at + 1)
}

/// Names that programs set for themselves, for a login or for a desktop: that they do not reach a
/// test needs no word.
const USUAL: [&str; 56] = [
    "_",
    "BASH*",
    "BROWSER",
    "COLUMNS",
    "DBUS_*",
    "DEBIAN_FRONTEND",
    "DESKTOP_SESSION",
    "DIRENV_*",
    "DISPLAY",
    "EDITOR",
    "GDMSESSION",
    "GNOME_*",
    "GPG_*",
    "GTK_*",
    "HIST*",
    "HOSTNAME",
    "INVOCATION_ID",
    "ISOTEST_*",
    "JOURNAL_STREAM",
    "KDE_*",
    "KONSOLE_*",
    "LESS*",
    "LINES",
    "LS_COLORS",
    "MAIL",
    "MANPATH",
    "MEMORY_PRESSURE_*",
    "OLDPWD",
    "PAGER",
    "PS1",
    "PWD",
    "QT_*",
    "SESSION_MANAGER",
    "SHELL",
    "SHLVL",
    "SSH_*",
    "STARSHIP_*",
    "STY",
    "SUDO_*",
    "SYSTEMD_*",
    "TEMP",
    "TERM_*",
    "TMP",
    "TMPDIR",
    "TMUX*",
    "TZ",
    "VISUAL",
    "VSCODE_*",
    "VTE_*",
    "WAYLAND_*",
    "WINDOW*",
    "WSL*",
    "XAUTHORITY",
    "XDG_*",
    "ZDOTDIR",
    "ZSH*",
];

/// The caller's variables that are set and do not pass, by name: without [`USUAL`] ones.
pub fn withheld<'a>(caller: &'a [Variable], policy: &Policy) -> Vec<&'a str> {
    let is_withheld =
        |(name, _): &&Variable| !passes(name, policy) && !named(name, &USUAL) && !is_runner(name);
    let names = caller.iter().filter(is_withheld).filter_map(|(name, _)| name.to_str());
    let mut names: Vec<&str> = names.filter(|name| is_variable_name(name)).collect();
    names.sort_unstable();
    names
}

/// True if it is a variable of cargo's that starts a program.
pub fn is_runner(name: &OsStr) -> bool {
    name.as_bytes().starts_with(b"CARGO_TARGET_") && name.as_bytes().ends_with(b"_RUNNER")
}

/// True if a list has the name; a name of the list may have one `*`.
fn named(name: &OsStr, list: &[impl AsRef<str>]) -> bool {
    list.iter().any(|entry| match entry.as_ref().split_once('*') {
        Some((start, end)) => {
            let rest = name.as_bytes().strip_prefix(start.as_bytes());
            rest.is_some_and(|rest| rest.ends_with(end.as_bytes()))
        }
        None => name == entry.as_ref(),
    })
}

/// Sets a variable, in its old place where it has one.
pub fn set(variables: &mut Vec<Variable>, name: OsString, value: OsString) {
    match variables.iter_mut().find(|(known, _)| *known == name) {
        Some((_, old)) => *old = value,
        None => variables.push((name, value)),
    }
}

/// Names where LLVM's coverage profile goes.
pub const PROFILE: &str = "LLVM_PROFILE_FILE";

/// Takes [`PROFILE`] out, where its value differs from case to case.
pub fn take_profile(variables: &mut Vec<Variable>) -> Option<OsString> {
    let is_pattern = |(name, value): &Variable| name == PROFILE && value.as_bytes().contains(&b'%');
    let at = variables.iter().position(is_pattern)?;
    Some(variables.remove(at).1)
}

/// [`PROFILE`] for one case: `unique` in the place of `%p`, which stands for the process id, 1 in
/// every sandbox. Where there is none, before what stands there: a file that several processes merge
/// into (`%m`) is one for each case.
pub fn profile(pattern: &OsStr, unique: &str) -> CString {
    let pattern = pattern.to_string_lossy();
    let value = match pattern.contains("%p") {
        true => pattern.replace("%p", unique),
        false => pattern.replacen('%', &format!("{unique}-%"), 1),
    };
    CString::new(format!("{PROFILE}={value}")).expect("variables hold no NUL byte")
}

/// `NAME=VALUE`, as execve(2) takes them. A variable with a NUL byte cannot exist.
pub fn block(variables: &[Variable]) -> Vec<CString> {
    let joined =
        variables.iter().map(|(name, value)| [name.as_bytes(), b"=", value.as_bytes()].concat());
    joined.filter_map(|bytes| CString::new(bytes).ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn passed(names: &[&str], policy: &Policy) -> Vec<String> {
        let caller: Vec<Variable> =
            names.iter().map(|name| (OsString::from(name), OsString::from("x"))).collect();
        clean(&caller, policy).iter().map(|(name, _)| name.to_string_lossy().into_owned()).collect()
    }

    #[test]
    fn tools_pass_and_secrets_do_not() {
        let names = [
            "PATH",
            "RUST_BACKTRACE",
            "CARGO_HOME",
            "CARGO_REGISTRY_TOKEN",
            "GITHUB_TOKEN",
            "AWS_SECRET_ACCESS_KEY",
            "SSH_AUTH_SOCK",
            "CARGO_TARGET_X86_64_UNKNOWN_LINUX_GNU_RUNNER",
        ];
        let kept = passed(&names, &Policy::default());
        assert_eq!(kept, ["PATH", "RUST_BACKTRACE", "CARGO_HOME", "TZ"]);
    }

    #[test]
    fn what_is_called_as_cargos_variables_are_passes_by_name_alone() {
        let names = [
            "CARGO_PUBLISH_KEY",
            "CARGO_DEPLOY_PASS",
            "CARGO_REGISTRY_AUTH",
            "CARGO_REGISTRIES_MINE_TOKEN",
            "CARGO_SERVER",
            "CARGO_HTTP_PROXY_COMMAND",
            "NEXTEST_API_KEY",
            "NEXTEST_SERVER",
            "RUST_SENTRY_DSN",
            "RUST_DATABASE",
            "RUSTUP_MIRROR",
            "RUSTC_SERVER",
            "INSTA_API_KEY",
            "INSTA_SESSION_COOKIE",
            "WIREMOCK_AUTH",
            "LC_PASS",
        ];
        assert_eq!(passed(&names, &Policy::default()), ["TZ"]);
        let needed = [
            "RUST_LOG",
            "RUST_BACKTRACE",
            "CARGO_PKG_AUTHORS",
            "CARGO_BIN_EXE_demo",
            "CARGO_MANIFEST_DIR",
            "CARGO_TARGET_X86_64_UNKNOWN_LINUX_GNU_LINKER",
            "CARGO_PROFILE_DEV_OPT_LEVEL",
            "NEXTEST_ATTEMPT_ID",
            "INSTA_FORCE_PASS",
        ];
        assert_eq!(passed(&needed, &Policy::default())[..needed.len()], needed);
    }

    #[test]
    fn urls_are_passed_without_who_is_to_use_them() {
        let of = |name: &str, value: &str| {
            let caller = [(OsString::from(name), OsString::from(value))];
            let passed = clean(&caller, &Policy::default());
            passed.first().expect("it passes").1.clone().into_string().expect("it is text")
        };
        let proxy = |value| of("CARGO_HTTP_PROXY", value);
        assert_eq!(proxy("http://me:pw@proxy:3128/"), "http://proxy:3128/");
        assert_eq!(proxy("me:pw@proxy:3128"), "proxy:3128");
        assert_eq!(proxy("socks5h://t0ken@proxy"), "socks5h://proxy");
        assert_eq!(proxy("proxy:3128"), "proxy:3128");
        let index = |value| of("CARGO_REGISTRIES_MINE_INDEX", value);
        assert_eq!(index("sparse+https://u:p%40@@host/x@y"), "sparse+https://host/x@y");
        assert_eq!(index("ssh://git:pw@host/index"), "ssh://git@host/index");
        assert_eq!(index("ssh://git@host/index"), "ssh://git@host/index");
        assert_eq!(of("RUSTUP_DIST_SERVER", "https://u:p@host"), "https://host");
        assert_eq!(of("RUST_LOG", "a://u@b, c://d:e@f g@h"), "a://b, c://f g@h");
        assert_eq!(of("CARGO_PKG_AUTHORS", "Me <me@host>"), "Me <me@host>");
        let caller = [("RUSTUP_DIST_SERVER".into(), "https://u:p@host".into())];
        let policy = Policy { pass_env: vec!["RUSTUP_*".into()], ..Policy::default() };
        assert_eq!(clean(&caller, &policy)[0].1, "https://u:p@host");
        let policy = Policy { env: Env::Host, ..Policy::default() };
        assert_eq!(clean(&caller, &policy)[0].1, "https://u:p@host");
    }

    #[test]
    fn the_book_has_the_whole_list() {
        let page = include_str!("../../../docs/environment.md");
        let missing = ALLOWED.iter().filter(|name| !page.contains(&format!("`{name}`")));
        assert_eq!(missing.collect::<Vec<_>>(), [&""; 0]);
        let words = SECRET_WORDS.iter().chain(&SECRET);
        assert!(words.clone().all(|word| page.contains(&format!("`{word}`"))));
    }

    #[test]
    fn a_preset_stands_only_where_the_caller_has_nothing_that_passes() {
        let variable = |name: &str, value: &str| (OsString::from(name), OsString::from(value));
        let set = [variable("A", "table"), variable("B", "table"), variable("C", "table")];
        let passed = [variable("A", "mine"), variable("C", "mine")];
        let presets = ["A".into(), "B".into()];
        assert_eq!(unless_passed(&set, &presets, &passed), set[1..]);
    }

    #[test]
    fn what_test_crates_read_passes() {
        let names = [
            "RUSTFLAGS",
            "RUSTDOCFLAGS",
            "SNAPSHOTS",
            "TRYCMD",
            "QUICKCHECK_TESTS",
            "LOOM_MAX_PREEMPTIONS",
            "PROPTEST_CASES",
            "RSTEST_TIMEOUT",
        ];
        let kept = passed(&names, &Policy::default());
        assert_eq!(kept[..names.len()], names);
        assert_eq!(passed(&["SHELL", "LOOM_SECRET", "RUST"], &Policy::default()), ["TZ"]);
    }

    #[test]
    fn what_is_withheld_is_named_but_for_what_is_always_set() {
        let names = ["PWD", "SHLVL", "_", "ZED", "PATH", "API_TOKEN", "BASH_FUNC_x%%", "A B"];
        let caller: Vec<Variable> =
            names.iter().map(|name| (OsString::from(name), OsString::from("x"))).collect();
        assert_eq!(withheld(&caller, &Policy::default()), ["API_TOKEN", "ZED"]);
        let policy = Policy { pass_env: vec!["ZED".into()], ..Policy::default() };
        assert_eq!(withheld(&caller, &policy), ["API_TOKEN"]);
        let policy = Policy { env: Env::Host, ..Policy::default() };
        assert!(withheld(&caller, &policy).is_empty());
    }

    #[test]
    fn each_case_has_a_profile_of_its_own() {
        let name = |pattern: &str| profile(OsStr::new(pattern), "7-1").into_string().expect("text");
        assert_eq!(name("/d/x-%p-%2m.profraw"), "LLVM_PROFILE_FILE=/d/x-7-1-%2m.profraw");
        assert_eq!(name("/d/x-%2m.profraw"), "LLVM_PROFILE_FILE=/d/x-7-1-%2m.profraw");
        let mut fixed = vec![(PROFILE.into(), "/d/x.profraw".into())];
        assert_eq!(take_profile(&mut fixed), None);
    }

    #[test]
    fn what_is_passed_by_name_passes() {
        let policy = Policy { pass_env: vec!["API_*".into(), "TZ".into()], ..Policy::default() };
        assert_eq!(passed(&["API_TOKEN", "OTHER", "TZ"], &policy), ["API_TOKEN", "TZ"]);
    }

    #[test]
    fn the_host_environment_passes_whole_but_for_the_runner() {
        let policy = Policy { env: Env::Host, ..Policy::default() };
        let names = ["SSH_AUTH_SOCK", "CARGO_TARGET_X86_64_UNKNOWN_LINUX_GNU_RUNNER"];
        assert_eq!(passed(&names, &policy), ["SSH_AUTH_SOCK"]);
    }
}
