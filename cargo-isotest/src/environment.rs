//! Which environment variables reach a test.
//!
//! Pure: from the caller's variables, the policy and what cargo sets. An allow-list, so that no
//! secret of a CI job reaches a test by a name that nobody thought of.

use std::ffi::{CString, OsStr, OsString};
use std::os::unix::ffi::OsStrExt;

use isotest_core::policy::{Env, Policy};

/// A variable and its value.
pub type Variable = (OsString, OsString);

/// Names that pass; `*` at the end stands for anything. Those of test crates are what these read by
/// their sources on crates.io.
const ALLOWED: [&str; 80] = [
    // Programs and languages.
    "PATH",
    "LANG",
    "LANGUAGE",
    "LC_*",
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
    // Rust, and what a test's own cargo reads.
    "RUST_*",
    "RUSTC*",
    "RUSTUP_*",
    "RUSTDOC*",
    "RUSTFLAGS",
    "MIRIFLAGS",
    "CARGO",
    "CARGO_*",
    "OUT_DIR",
    "CC",
    "CXX",
    "AR",
    "CFLAGS",
    "CXXFLAGS",
    "PKG_CONFIG",
    "PKG_CONFIG_*",
    // What measures tests, and runs them.
    "LLVM_PROFILE_FILE",
    "ASAN_OPTIONS",
    "LSAN_OPTIONS",
    "MSAN_OPTIONS",
    "TSAN_OPTIONS",
    "UBSAN_OPTIONS",
    "NEXTEST",
    "NEXTEST_*",
    "RAYON_NUM_THREADS",
    "TOKIO_WORKER_THREADS",
    // Crates that compare with files: expected values, snapshots.
    "INSTA_*",
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

/// The caller's variables that pass, with the fixed ones.
pub fn clean(caller: &[Variable], policy: &Policy) -> Vec<Variable> {
    let mut passed: Vec<Variable> =
        caller.iter().filter(|(name, _)| passes(name, policy)).cloned().collect();
    if policy.env == Env::Clean && !named(OsStr::new("TZ"), &policy.pass_env) {
        set(&mut passed, "TZ".into(), "UTC".into());
    }
    passed
}

fn passes(name: &OsStr, policy: &Policy) -> bool {
    let secret = || is_secret(&name.to_string_lossy());
    match policy.env {
        // Not even then: a test that runs cargo must not come back here.
        Env::Host => !is_runner(name),
        Env::Clean => named(name, &policy.pass_env) || (named(name, &ALLOWED) && !secret()),
    }
}

/// Whether something of this name may be secret.
pub fn is_secret(name: &str) -> bool {
    let upper = name.to_ascii_uppercase();
    SECRET.iter().any(|part| upper.contains(part))
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
    let mut names: Vec<&str> = names.filter(|name| is_name(name)).collect();
    names.sort_unstable();
    names
}

/// Whether cargo reads from it what starts a program.
pub fn is_runner(name: &OsStr) -> bool {
    name.as_bytes().starts_with(b"CARGO_TARGET_") && name.as_bytes().ends_with(b"_RUNNER")
}

/// Whether a list names it, where a name may end in `*`.
fn named(name: &OsStr, list: &[impl AsRef<str>]) -> bool {
    list.iter().any(|entry| match entry.as_ref().strip_suffix('*') {
        Some(prefix) => name.as_bytes().starts_with(prefix.as_bytes()),
        None => name == entry.as_ref(),
    })
}

/// Whether a shell could set a variable of this name.
pub fn is_name(name: &str) -> bool {
    let is_part = |c: char| c == '_' || c.is_ascii_alphanumeric();
    name.chars().all(is_part) && name.chars().next().is_some_and(|first| !first.is_ascii_digit())
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
