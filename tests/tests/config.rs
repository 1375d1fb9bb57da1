//! Configuration: profiles, overrides, filter expressions, and where each value comes from.

use std::fs;

use isotest_tests::program::workspace;
use isotest_tests::{Call, Project, Run, refused};

/// Tests that tell what they were given by passing.
const TESTS: (&str, &str) = (
    "tests/it.rs",
    r#"
fn host_name() -> String {
    std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap().trim().to_owned()
}
#[test]
fn named_by_an_override() { assert_eq!(host_name(), "override"); }
#[test]
fn named_by_the_profile() { assert_eq!(host_name(), "profile"); }
#[test]
fn named_by_default() { assert_eq!(host_name(), "isotest"); }
#[test]
fn named_by_a_variable() { assert_eq!(host_name(), "variable"); }
#[test]
fn named_by_a_flag() { assert_eq!(host_name(), "flag"); }
#[test]
fn hangs() { loop { std::thread::park(); } }
"#,
);

const CONFIG: &str = r#"
[profile.default]
timeout = "50s"
default-filter = "not test(=hangs)"

[profile.named]
uts = "profile"

[[profile.named.override]]
filter = "test(=named_by_an_override)"
uts = "override"

[[profile.named.override]]
filter = "test(/^named_by_an/)"
uts = "second"
processes = 123

[profile.short]
[[profile.short.override]]
filter = "binary(it) & test(=hangs)"
timeout = "300ms"

[profile.granting]
[[profile.granting.override]]
filter = "test(=named_by_default)"
pass-env = ["SECRET_TOKEN"]
reason = "signs what it sends"
"#;

const UNIT: (&str, &str) = ("src/lib.rs", "#[test]\nfn unit() {}\n");

fn project(config: &str) -> Project {
    Project::new(&[UNIT, TESTS, (".config/isotest.toml", config)])
}

/// Runs isotest on the project with the usual configuration.
fn check(line: &str, code: i32, texts: &[&str]) {
    if !refused() {
        project(CONFIG).isotest(line).run().check(code, texts);
    }
}

/// Runs `list` with this configuration; nothing is built where it is wrong.
#[track_caller]
fn check_refused(config: &str, code: i32, texts: &[&str]) {
    let run = project(config).isotest("list").run();
    run.check(code, texts);
    assert!(!run.stderr.contains("Compiling"), "it was built");
}

/// Lines that end in `ok` or `FAILED`.
#[track_caller]
fn verdicts(run: &Run) -> Vec<String> {
    let lines = run.stdout.lines().filter_map(|line| line.strip_prefix("test named_by_"));
    let mut lines: Vec<String> = lines.map(str::to_owned).collect();
    lines.sort();
    lines
}

#[test]
fn values_come_from_flag_variable_override_profile_and_default_in_that_order() {
    if refused() {
        return;
    }
    let project = project(CONFIG);
    let passed = |call: Call| -> Vec<String> {
        let run = call.words("--no-fail-fast").run();
        let passed = verdicts(&run)
            .into_iter()
            .filter_map(|line| line.strip_suffix(" ... ok").map(str::to_owned));
        passed.collect()
    };
    assert_eq!(passed(project.isotest("")), ["default"]);
    assert_eq!(passed(project.isotest("-P named")), ["an_override", "the_profile"]);
    let by_variable = project.isotest("").env("ISOTEST_PROFILE", "named");
    assert_eq!(passed(by_variable), ["an_override", "the_profile"]);
    let variable = || project.isotest("-P named").env("ISOTEST_UTS", "variable");
    assert_eq!(passed(variable()), ["a_variable"]);
    assert_eq!(passed(variable().words("--uts flag")), ["a_flag"]);
}

#[test]
fn the_first_override_counts_for_each_value_and_explain_says_which() {
    check(
        "explain named_by_an_override -P named",
        0,
        &[
            "uts              new, `override`          override 1 of profile `named` (.config/isotest.toml:9)",
            "processes        123                      override 2 of profile `named` (.config/isotest.toml:13)",
            "timeout          50s                      profile `default` (.config/isotest.toml:2)",
            "net              loopback                 default",
        ],
    );
    check(
        "explain named_by_the_profile -P named --pid host",
        0,
        &[
            "uts              new, `profile`           profile `named` (.config/isotest.toml:6)",
            "pid              host                     flag",
        ],
    );
}

#[test]
fn a_shell_gets_what_its_case_gets() {
    if refused() {
        return;
    }
    let project = project(CONFIG);
    let call = project.isotest("shell named_by_an_override -P named -- cat");
    let run = call.arg("/proc/sys/kernel/hostname").run();
    run.check(0, &[]);
    assert_eq!(run.stdout, "override\n");
}

#[test]
fn a_time_out_of_an_override_ends_its_case_alone() {
    check(
        "-P short --ignore-default-filter hangs named_by_default",
        100,
        &[
            "test named_by_default ... ok",
            "timed out after 300ms",
            "cargo isotest -P short --ignore-default-filter --test it -- --exact hangs",
        ],
    );
}

#[test]
fn a_grant_is_told_with_its_reason() {
    check(
        "-P granting named_by_default",
        0,
        &[
            "note: the configuration gives tests access to the host",
            "pass-env: 1 test, by override 1 of profile `granting` (.config/isotest.toml:24): signs what it sends",
        ],
    );
}

#[test]
fn expressions_names_and_the_default_filter_must_all_select() {
    let listed = |line: &str| {
        let run = project(CONFIG).isotest("list").words(line).run();
        let names = run.stdout.lines().filter_map(|line| line.strip_prefix("    "));
        (run.code, names.map(str::to_owned).collect::<Vec<_>>())
    };
    if refused() {
        return;
    }
    let named = ["named_by_a_flag", "named_by_a_variable"].map(str::to_owned).to_vec();
    assert_eq!(listed("-E test(named_by_a_)"), (0, named));
    let (code, both) = listed("-E kind(lib) -E test(=hangs)+test(=named_by_default)");
    assert_eq!((code, both), (0, vec!["unit".to_owned(), "named_by_default".to_owned()]));
    assert_eq!(listed("-E test(named) flag -- --skip x"), (0, vec!["named_by_a_flag".to_owned()]));
    assert_eq!(listed("-E test(=hangs)"), (4, vec![]));
    assert_eq!(listed("-E test(=hangs) --ignore-default-filter"), (0, vec!["hangs".to_owned()]));
    assert_eq!(listed("-E kind(lib)&default()"), (0, vec!["unit".to_owned()]));
    assert_eq!(listed("-E rdeps(demo)&kind(lib)"), (0, vec!["unit".to_owned()]));
}

#[test]
fn expressions_select_what_runs_and_no_documentation_test() {
    let library = "/// ```\n/// ```\npub fn documented() {}\n#[test]\nfn unit() {}\n";
    if refused() {
        return;
    }
    let project = Project::new(&[("src/lib.rs", library), TESTS]);
    let run = project.isotest("-E kind(lib)").run();
    run.check(0, &["test unit ... ok", "1 passed; 0 failed", "6 filtered out"]);
    assert!(!run.stderr.contains("Doc-tests"), "they were run");
    project.isotest("--doc -E all()").run().check(2, &["cannot be used with"]);
}

#[test]
fn a_wrong_expression_is_an_error_of_its_own_and_is_pointed_at() {
    let flag = "-E test(a)&package(demoo)";
    check(
        flag,
        94,
        &[
            "error: cannot read the filter expression `test(a)&package(demoo)`: operator didn't match any packages\n",
            "--> --filterset:1:17\n",
            "| test(a)&package(demoo)\n  |                 ^^^^^",
            "hint: it must name a package",
        ],
    );
    check_refused(
        "[profile.default]\ndefault-filter = \"test(a\"\n",
        94,
        &[
            "cannot read a filter expression in `.config/isotest.toml`: expected close parenthesis",
            "--> .config/isotest.toml:2:25\n",
        ],
    );
    check_refused(
        "[[profile.default.override]]\nfilter = 'test(/[/)'\ntimeout = 1\n",
        94,
        &["invalid regex: unclosed character class", "--> .config/isotest.toml:2:17\n"],
    );
}

#[test]
fn a_wrong_file_is_a_usage_error_that_says_where_and_what_to_do() {
    check_refused(
        "[profile.default]\ntimout = \"5s\"\n",
        2,
        &[
            "error: cannot read `.config/isotest.toml`: unknown key `timout` in a profile\n",
            " --> .config/isotest.toml:2:1\n  |\n2 | timout = \"5s\"\n  | ^^^^^^\n",
            "hint: did you mean `timeout`?",
        ],
    );
    check_refused(
        "[profile.default]\nnet = \"host\"\n",
        2,
        &[
            "`net` gives tests access to the host, without a `reason`",
            "hint: add it to the same table: `reason = ",
        ],
    );
    check_refused("[profile.default\n", 2, &["unclosed table", "--> .config/isotest.toml:1:17"]);
}

#[test]
fn a_profile_that_is_not_there_is_a_usage_error() {
    check("list -P nmaed", 2, &["cannot find the profile `nmaed`", "did you mean `named`?"]);
    let project = Project::new(&[UNIT]);
    let texts = ["cannot find the profile `ci`: the workspace has no `.config/isotest.toml`"];
    project.isotest("list -P ci").run().check(2, &texts);
    project.isotest("list").run().check(0, &["unit"]);
}

#[test]
fn a_wrong_variable_is_a_usage_error() {
    let run = Project::new(&[UNIT]).isotest("").env("ISOTEST_NET", "internet").run();
    run.check(2, &["the environment variable `ISOTEST_NET`: invalid value `internet` (expected one of: `loopback`, `host`)"]);
}

/// From a member's directory too; of a workspace around it nothing is taken.
#[test]
fn the_file_is_that_of_the_workspace() {
    if refused() {
        return;
    }
    let member = "[package]\nname = \"member\"\nedition = \"2024\"\n";
    let project = Project::new(&[
        ("Cargo.toml", "[workspace]\nmembers = [\"member\"]\nresolver = \"3\"\n"),
        (".config/isotest.toml", "[profile.default]\nuts = \"around\"\n"),
        ("member/Cargo.toml", member),
        ("member/src/lib.rs", UNIT.1),
        ("other/Cargo.toml", &format!("{member}[workspace]\n")),
        ("other/src/lib.rs", UNIT.1),
    ]);
    let shown = |manifest: &str| {
        let run = project.isotest("show-config --manifest-path").arg(manifest).run();
        run.check(0, &[]);
        run.stdout.contains("new, `around`")
    };
    assert!(shown("member/Cargo.toml"));
    assert!(!shown("other/Cargo.toml"));
}

#[test]
fn documentation_tests_get_what_the_profile_says() {
    if refused() {
        return;
    }
    let library = "/// ```\n/// let name = std::fs::read_to_string(\"/proc/sys/kernel/hostname\").unwrap();\n/// assert_eq!(name, \"profile\\n\");\n/// ```\npub fn documented() {}\n";
    let project = Project::new(&[("src/lib.rs", library), (".config/isotest.toml", CONFIG)]);
    project.isotest("--doc -P named").run().check(0, &["1 passed; 0 failed"]);
}

#[test]
fn show_config_tells_where_each_value_comes_from() {
    if refused() {
        return;
    }
    let project = project(CONFIG);
    let call = project.isotest("show-config -P named --home host");
    call.env("ISOTEST_TMP_SIZE", "1M").run().check(
        0,
        &[
            "file            .config/isotest.toml",
            "profile         named",
            "default-filter  not test(=hangs)  .config/isotest.toml:4",
            "home             host                     flag",
            "tmp-size         1048576                  environment",
            "uts              new, `profile`           profile `named` (.config/isotest.toml:6)",
            "timeout          50s                      profile `default` (.config/isotest.toml:2)",
            "test(/^named_by_an/)  override 2 of profile `named` (.config/isotest.toml:13)",
        ],
    );
}

#[test]
fn the_schema_in_the_book_is_that_of_the_program() {
    let printed = Project::new(&[UNIT]).isotest("show-config --schema").run();
    printed.check(0, &[]);
    let kept = fs::read_to_string(workspace().join("docs/isotest.schema.json"));
    assert!(
        kept.expect("it is there") == printed.stdout,
        "run `cargo isotest show-config --schema > docs/isotest.schema.json`"
    );
}

#[test]
fn nextests_configuration_is_imported_and_what_is_left_out_is_named() {
    if refused() {
        return;
    }
    let nextest = r#"
[profile.default]
fail-fast = false
success-output = "final"
junit = { path = "junit.xml", store-success-output = true }
default-filter = "not test(hangs)"
slow-timeout = { period = "20s", terminate-after = 2 }

[[profile.default.overrides]]
filter = "test(=named_by_default)"
slow-timeout = { period = "300ms", terminate-after = 1 }
threads-required = 2
priority = 1
leak-timeout = "1s"
"#;
    let project = Project::new(&[UNIT, TESTS, (".config/nextest.toml", nextest)]);
    project.isotest("import-nextest").run().check(
        0,
        &[
            "Wrote .config/isotest.toml",
            "note: not converted:",
            "    profile.default: `success-output`: isotest prints",
            "    profile.default.junit: `store-success-output`: ",
            "    profile.default.overrides 1: `leak-timeout`: ",
        ],
    );
    project.isotest("show-config").run().check(
        0,
        &[
            "default-filter  not test(hangs)",
            "timeout          40s",
            "slow-timeout     20s",
            "max-fail         all                      profile `default` (.config/isotest.toml:",
            "test(=named_by_default)  override 1 of profile `default`",
            "timeout          300ms",
            "threads-required 2",
        ],
    );
    project.isotest("named_by_default hangs").run().check(0, &["1 passed; 0 failed"]);
    // What reads nextest's report finds isotest's, wherever in the workspace it was started.
    let report = project.directory().join("target/nextest/default/junit.xml");
    let report = fs::read_to_string(report).expect("a report");
    assert!(report.contains("<testsuites name=\"isotest-run\" tests=\"1\""), "{report}");
    let again = project.isotest("import-nextest").run();
    again.check(2, &["cannot write `.config/isotest.toml`: it exists already", "`--force`"]);
    project.isotest("import-nextest --force").run().check(0, &["Wrote"]);
}
