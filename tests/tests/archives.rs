//! Archives of tests: built in one place and run in another, by cargo-nextest and by isotest, and
//! what is said of those that cannot be used.

use std::fs;
use std::path::{Path, PathBuf};

use isotest_tests::project::PASSING;
use isotest_tests::{Call, Project, Run, missing, refused};
use serde_json::Value;
use tempfile::TempDir;

use super::roots::header;

/// A workspace whose tests need what a build leaves beside them: a binary, what a build script has
/// made and set, and the standard library, which a procedural macro's tests load.
const FILES: [(&str, &str); 8] = [
    (
        "Cargo.toml",
        "[workspace]\nmembers = ['macros']\n\
         [package]\nname = 'demo'\nversion = '0.1.0'\nedition = '2024'\n",
    ),
    (
        "build.rs",
        "fn main() {\n\
             let directory = std::env::var(\"OUT_DIR\").unwrap();\n\
             std::fs::write(format!(\"{directory}/made\"), \"by the build script\").unwrap();\n\
             println!(\"cargo::rustc-env=FROM_BUILD=yes\");\n\
         }\n",
    ),
    ("src/lib.rs", "/// ```\n/// panic!(\"not in an archive\");\n/// ```\n#[test]\nfn unit() {}\n"),
    ("src/main.rs", "fn main() { println!(\"started\"); }\n"),
    ("tests/it.rs", TESTS),
    (
        "macros/Cargo.toml",
        "[package]\nname = 'macros'\nversion = '0.1.0'\nedition = '2024'\n\
         [lib]\nproc-macro = true\n",
    ),
    ("macros/src/lib.rs", "#[test]\nfn of_a_macro() {}\n"),
    ("data", "of the project"),
];

const TESTS: &str = "\
use std::{env, fs, process::Command};

#[test]
fn is_alone() {
    if env::var_os(\"NEXTEST\").is_none() {
        assert_eq!(std::process::id(), 1);
    }
}

#[test]
fn finds_its_sources() {
    assert_eq!(fs::read_to_string(\"data\").unwrap(), \"of the project\");
    let directory = env::var(\"CARGO_MANIFEST_DIR\").unwrap();
    assert_eq!(directory, env::current_dir().unwrap().to_str().unwrap());
}

#[test]
fn finds_its_sources_by_their_old_name() {
    if env::var_os(\"NEXTEST\").is_none() {
        let manifest = concat!(env!(\"CARGO_MANIFEST_DIR\"), \"/Cargo.toml\");
        assert!(fs::read_to_string(manifest).unwrap().contains(\"demo\"));
    }
}

#[test]
fn finds_what_the_build_script_made() {
    let directory = env::var(\"OUT_DIR\").unwrap();
    let made = fs::read_to_string(format!(\"{directory}/made\")).unwrap();
    assert_eq!(made, \"by the build script\");
    assert_eq!(env::var(\"FROM_BUILD\").unwrap(), \"yes\");
}

#[test]
fn starts_the_binary() {
    let output = Command::new(env::var(\"CARGO_BIN_EXE_demo\").unwrap()).output().unwrap();
    assert_eq!(output.stdout, b\"started\\n\");
}
";

/// All tests of it, which pass.
const ALL: [&str; 7] = [
    "finds_its_sources",
    "finds_its_sources_by_their_old_name",
    "finds_what_the_build_script_made",
    "is_alone",
    "of_a_macro",
    "starts_the_binary",
    "unit",
];

/// A directory with an archive of the workspace, which is gone.
struct Archived {
    place: TempDir,
    /// Former place of the workspace.
    built: PathBuf,
}

impl Archived {
    /// Made by `cargo LINE --archive-file …`.
    fn by(line: &str) -> Archived {
        let project = Project::new(&FILES);
        let place = TempDir::with_prefix("isotest-tests-").expect("there is a temporary directory");
        let run = either(&project, line)
            .arg("--archive-file")
            .arg(place.path().join("tests.tar.zst"))
            .run();
        run.check(0, &["Archived"]);
        Archived { built: project.directory().to_owned(), place }
    }

    fn path(&self) -> PathBuf {
        self.place.path().join("tests.tar.zst")
    }

    /// `cargo-isotest isotest COMMAND --archive-file … LINE` on a machine without a toolchain.
    fn isotest(&self, command: &str, project: &Project, line: &str) -> Call {
        let call = project.isotest(command).arg("--archive-file").arg(self.path());
        bare(call.words(line), self.place.path())
    }

    /// Number of unpacked files that are left.
    fn left(&self) -> usize {
        let archives = self.place.path().join("home/.cache/isotest/archives");
        fs::read_dir(archives).map_or(0, |left| left.count())
    }
}

/// `cargo isotest …` or, by cargo itself, `cargo nextest …`.
fn either(project: &Project, line: &str) -> Call {
    match line.strip_prefix("isotest ") {
        Some(line) => project.isotest(line),
        None => project.cargo(line),
    }
}

/// Takes the toolchain away: nothing on `PATH`, an empty home.
fn bare(call: Call, place: &Path) -> Call {
    let home = place.join("home");
    fs::create_dir_all(&home).expect("it is writable");
    let named = ["CARGO", "CARGO_HOME", "RUSTUP_HOME", "RUSTUP_TOOLCHAIN", "RUSTC"];
    let call = named.into_iter().fold(call, Call::without);
    call.env("PATH", &home).env("HOME", &home)
}

/// The names of the tests that have passed.
fn passed(run: &Run) -> Vec<&str> {
    let lines = run.stdout.lines();
    let mut names: Vec<&str> =
        lines.filter_map(|line| line.strip_prefix("test ")?.strip_suffix(" ... ok")).collect();
    names.sort_unstable();
    names
}

#[test]
fn an_archive_runs_without_cargo() {
    if refused() {
        return;
    }
    let archived = Archived::by("isotest archive --workspace");
    assert!(!archived.built.exists(), "it runs elsewhere");
    let project = Project::new(&FILES);
    let run = archived.isotest("run", &project, "--workspace-remap .").run();
    run.check(0, &["Unpacking ", "7 passed"]);
    assert_eq!(passed(&run), ALL);
    assert_eq!(archived.left(), 0, "what was unpacked is removed");
    assert!(!project.directory().join("target").exists(), "nothing is written to the project");
}

#[test]
fn an_archive_of_nextest_runs_with_isotest() {
    if refused() || missing("cargo-nextest") {
        return;
    }
    let archived = Archived::by("nextest archive --workspace");
    let project = Project::new(&FILES);
    let run = archived.isotest("run", &project, "--workspace-remap .").run();
    run.check(0, &["7 passed"]);
    assert_eq!(passed(&run), ALL);
}

#[test]
fn an_archive_of_isotest_runs_with_nextest() {
    if missing("cargo-nextest") {
        return;
    }
    let archived = Archived::by("isotest archive --workspace");
    let project = Project::new(&FILES);
    let line = project.cargo("nextest run --workspace-remap . --archive-file").arg(archived.path());
    let run = line.run();
    run.check(0, &["7 tests run: 7 passed"]);
    for name in ALL {
        assert!(run.stderr.contains(name), "{name}");
    }
}

#[test]
fn both_describe_a_build_in_the_same_way() {
    if refused() || missing("cargo-nextest") {
        return;
    }
    let project = Project::new(&FILES);
    let [ours, theirs] = ["isotest", "nextest"].map(|by| {
        let to = project.directory().join(by);
        let file = project.directory().join(format!("{by}.tar.zst"));
        let made = project.isotest("archive --workspace --archive-file").arg(&file);
        let made = match by {
            "isotest" => made,
            _ => project.cargo("nextest archive --workspace --archive-file").arg(&file),
        };
        made.run().check(0, &[]);
        let unpack = project.isotest("--no-run --archive-file").arg(&file);
        unpack.arg("--extract-to").arg(&to).run().check(0, &[]);
        let text = fs::read_to_string(to.join("target/nextest/binaries-metadata.json"));
        let binaries: Value =
            serde_json::from_str(&text.expect("it is there")).expect("it is JSON");
        (binaries, files(&to))
    });
    assert_eq!(ours.0, theirs.0);
    assert_eq!(ours.1, theirs.1);
}

/// The paths of all files below a directory, sorted.
fn files(directory: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut rest = vec![directory.to_owned()];
    while let Some(next) = rest.pop() {
        for entry in fs::read_dir(next).expect("it is there").flatten() {
            match entry.path() {
                path if path.is_dir() => rest.push(path),
                path => found.push(path.strip_prefix(directory).expect("it is below").to_owned()),
            }
        }
    }
    found.sort();
    found
}

#[test]
fn what_is_unpacked_by_name_stays() {
    if refused() {
        return;
    }
    let archived = Archived::by("isotest archive --workspace");
    let project = Project::new(&FILES);
    let into = || archived.isotest("run", &project, "--workspace-remap . --extract-to out");
    into().run().check(0, &["7 passed"]);
    let target = project.directory().join("out/target");
    assert!(target.join("nextest/binaries-metadata.json").is_file());
    let again = into().run();
    again.check(2, &["out/target` exists already", "hint: `--extract-overwrite` replaces"]);
    fs::write(target.join("mine"), "").expect("it is writable");
    into().words("--extract-overwrite").run().check(0, &["7 passed"]);
    assert!(target.join("mine").exists(), "what is not in the archive is left alone");
    // The same without an archive, as cargo-nextest takes it.
    let described = "--binaries-metadata out/target/nextest/binaries-metadata.json \
                     --cargo-metadata out/target/nextest/cargo-metadata.json \
                     --target-dir-remap out/target --workspace-remap .";
    let run = bare(project.isotest(described), archived.place.path()).run();
    assert_eq!(passed(&run), ALL);
    let elsewhere = bare(project.isotest(described), archived.place.path());
    let elsewhere = elsewhere.words("--build-dir-remap nowhere").run();
    elsewhere.check(2, &["cannot use `nowhere` (`--build-dir-remap`): No such file"]);
}

/// Cargo makes it when it builds.
#[test]
fn tests_can_write_where_cargo_lets_them() {
    if refused() {
        return;
    }
    let test = "#[test]\nfn writes() {\n\
                    std::fs::write(concat!(env!(\"CARGO_TARGET_TMPDIR\"), \"/file\"), \"\").unwrap();\n\
                }\n";
    let project = Project::new(&[PASSING, ("tests/it.rs", test)]);
    project.isotest("archive --archive-file tests.tar.zst").run().check(0, &["Archived"]);
    fs::remove_dir_all(project.directory().join("target")).expect("it was built");
    let run = project.isotest("--archive-file tests.tar.zst --extract-to .").run();
    run.check(0, &["test writes ... ok", "2 passed"]);
}

#[test]
fn what_selects_and_configures_does_so_in_an_archive() {
    if refused() {
        return;
    }
    let archived = Archived::by("isotest archive --workspace");
    let project = Project::new(&FILES);
    let config = project.directory().join(".config");
    fs::create_dir(&config).expect("it is writable");
    let text = "[profile.default]\ndefault-filter = 'not test(unit)'\n";
    fs::write(config.join("isotest.toml"), text).expect("it is writable");
    let call =
        |command, line| archived.isotest(command, &project, "--workspace-remap .").words(line);
    let run = call("run", "-E package(macros) -E deps(demo)&test(/^is/)").run();
    assert_eq!(passed(&run), ["is_alone", "of_a_macro"]);
    call("run", "").run().check(0, &["6 passed"]);
    let list = call("list", "").run();
    list.check(0, &["demo::it:\n    finds_its_sources\n", "macros:\n    of_a_macro\n"]);
    call("explain", "is_alone").run().check(0, &["--exact", "is_alone"]);
    call("run", "-E nonsense(x)").run().check(94, &["cannot read the filter expression"]);
}

#[test]
fn what_failed_in_an_archive_is_run_again_by_the_command_that_is_told() {
    if refused() {
        return;
    }
    let archived = Archived::by("isotest archive");
    let project = Project::new(&FILES);
    fs::write(project.directory().join("data"), "other").expect("it is writable");
    let run = archived.isotest("run", &project, "--workspace-remap .").run();
    let path = archived.path().display().to_string();
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/.-_".contains(&byte);
    let path = if path.bytes().all(is_plain) { path } else { format!("'{path}'") };
    let select = format!("--archive-file {path} --workspace-remap . -E 'binary_id(=demo::it)'");
    run.check(
        100,
        &[
            &format!("error: test failed, to rerun pass `{select}`"),
            &format!("    cargo isotest {select} -- --exact finds_its_sources\n"),
        ],
    );
    let again = archived.isotest("run", &project, "--workspace-remap .");
    let again = again.words("-E binary_id(=demo::it) -- --exact finds_its_sources").run();
    again.check(100, &["running 1 test\n", "Summary 1 test in "]);
}

#[test]
fn an_archive_has_the_binaries_that_an_expression_selects() {
    if refused() {
        return;
    }
    let archived = Archived::by("isotest archive --workspace -E kind(test)");
    let project = Project::new(&FILES);
    let run = archived.isotest("run", &project, "--workspace-remap .").run();
    run.check(0, &["5 passed"]);
    let archive = |line| project.isotest("archive --archive-file x.tar.zst").words(line).run();
    archive("-E none()").check(4, &["the filter expressions select no test binary, among 3"]);
    archive("-E test(x)").check(94, &["cannot read the filter expression `test(x)`"]);
    archive("--test none").check(101, &["no test target named `none`"]);
    assert!(!project.directory().join("x.tar.zst").exists());
    archive("").check(0, &["Archived 3 test binaries, "]);
    let nowhere = project.isotest("archive --archive-file nowhere/x.tar.zst").run();
    nowhere.check(103, &["cannot write the archive `nowhere/x.tar.zst`: No such file"]);
}

const INCLUDED: &str = r#"[
    { path = "given", relative-to = "target", depth = 2 },
    { path = "given/deep/deeper/one", relative-to = "target", depth = 0 },
    { path = "given/deep", relative-to = "target", depth = 0 },
    { path = "nowhere", relative-to = "target" },
    { path = "nor here", relative-to = "target", on-missing = "ignore" },
]"#;

/// A project with a target directory in which something is to be archived, and with what is to be.
fn with_included(include: &str) -> Project {
    let ours = format!("[profile.default]\narchive.include = {include}\n[profile.ci]\n");
    let theirs = format!("[profile.default]\narchive.include = {include}\n");
    let files = [
        PASSING,
        (".config/isotest.toml", ours.as_str()),
        (".config/nextest.toml", theirs.as_str()),
        ("target/given/text", "1"),
        ("target/given/deep/text", "2"),
        ("target/given/deep/deeper/one", "3"),
        ("target/given/deep/deeper/other", "4"),
    ];
    let project = Project::new(&files);
    let link = project.directory().join("target/given/link");
    std::os::unix::fs::symlink("deep/deeper/other", link).expect("it is writable");
    project
}

/// Archives, and tells which files below `given` arrive when the archive is unpacked.
fn given(project: &Project, line: &str, texts: &[&str]) -> Vec<PathBuf> {
    let place = TempDir::with_prefix("isotest-tests-").expect("there is a temporary directory");
    let archive = place.path().join("tests.tar.zst");
    either(project, line).arg("--archive-file").arg(&archive).run().check(0, texts);
    let call = project.isotest("list --archive-file").arg(&archive);
    call.arg("--extract-to").arg(place.path()).run().check(0, &["passes"]);
    files(&place.path().join("target/given"))
}

#[test]
fn an_archive_has_what_the_configuration_names_as_with_nextest() {
    if refused() {
        return;
    }
    let project = with_included(INCLUDED);
    let path = |name: &str| project.directory().canonicalize().expect("it is there").join(name);
    let warning = |name: &str, why: &str| {
        format!(
            "warning: `{}`, which `archive.include` names, is not in the archive: {why}\n",
            path(name).display()
        )
    };
    let deep = "it is deeper than its `depth`";
    let told = [
        warning("target/nowhere", "it does not exist"),
        warning("target/given/deep/deeper", deep),
        warning("target/given/deep", deep),
    ];
    let told: Vec<&str> = told.iter().map(String::as_str).collect();
    let expected = ["deep/deeper/one", "deep/text", "link", "text"].map(PathBuf::from);
    assert_eq!(given(&project, "isotest archive", &told), expected);
    assert_eq!(given(&project, "isotest archive -P ci", &told), expected);
    if !missing("cargo-nextest") {
        assert_eq!(given(&project, "nextest archive", &[]), expected);
    }
    let shown = project.isotest("show-config").run();
    let row = "include          given given/deep/deeper/one given/deep nowhere nor here \
               .config/isotest.toml:1";
    shown.check(0, &["archives\n", row]);
}

#[test]
fn what_must_be_in_an_archive_and_is_not_there_is_an_error() {
    if refused() {
        return;
    }
    let project =
        with_included("[{ path = \"none\", relative-to = \"target\", on-missing = \"error\" }]");
    let run = project.isotest("archive --archive-file x.tar.zst").run();
    let texts = [
        "/target/none` to the archive: it does not exist\nhint: `archive.include` names it, with \
         `on-missing = \"error\"`, in .config/isotest.toml:1\n",
    ];
    run.check(103, &texts);
    assert!(!project.directory().join("x.tar.zst").exists());
    let loops = with_included("[{ path = \"given\", relative-to = \"target\" }]");
    let link = loops.directory().join("target/given/loop");
    std::os::unix::fs::symlink("../given", link).expect("it is writable");
    let run = loops.isotest("archive --archive-file x.tar.zst").run();
    run.check(0, &["target/given/loop`, which", "not in the archive: it is a link to a directory"]);
}

/// An archive with this content is refused with this message, and nothing is left of it.
fn check_refused(bytes: &[u8], message: &str) {
    let project = Project::new(&FILES);
    fs::write(project.directory().join("bad.tar.zst"), bytes).expect("it is writable");
    let before = files(project.directory());
    let cache = TempDir::with_prefix("isotest-tests-").expect("there is a temporary directory");
    let call = || {
        let call = project.isotest("--archive-file bad.tar.zst");
        call.env("XDG_CACHE_HOME", cache.path())
    };
    call().run().check(2, &["bad.tar.zst`", message]);
    call().words("--extract-to .").run().check(2, &["bad.tar.zst`", message]);
    assert_eq!(files(project.directory()), before, "nothing is written");
    assert_eq!(files(cache.path()), Vec::<PathBuf>::new());
}

fn compressed(bytes: &[u8]) -> Vec<u8> {
    zstd::encode_all(bytes, 0).expect("memory takes it")
}

/// Empty files of these names.
fn archive_of(names: &[&str]) -> Vec<u8> {
    let headers: Vec<u8> = names.iter().flat_map(|name| header(name)).collect();
    compressed(&[headers, vec![0; 1024]].concat())
}

#[test]
fn what_is_no_archive_is_refused() {
    let none = "it is not an archive of tests, which is a .tar.zst\nhint: make one with `cargo";
    check_refused(b"some text\n", none);
    check_refused(b"", none);
    check_refused(&compressed(&[7; 600]), "cannot unpack `");
    let foreign =
        "it is not an archive of tests: it has no `target/nextest/binaries-metadata.json`";
    check_refused(&archive_of(&[]), foreign);
    check_refused(&archive_of(&["target/nextest/cargo-metadata.json"]), foreign);
    let both = ["target/nextest/cargo-metadata.json", "target/nextest/binaries-metadata.json"];
    check_refused(&archive_of(&both), "cannot read the list of test binaries: EOF");
}

#[test]
fn an_archive_that_ends_early_is_refused() {
    let whole = archive_of(&["target/a", "target/b"]);
    check_refused(&whole[..whole.len() - 4], "incomplete");
}

#[test]
fn an_entry_that_leads_out_of_the_target_directory_is_refused() {
    check_refused(&archive_of(&["target/a", "../b"]), "its entry `../b` has `..` in its path");
    check_refused(&archive_of(&["target/../b"]), "its entry `target/../b` has `..` in its path");
    check_refused(&archive_of(&["/tmp/b"]), "its entry `/tmp/b` has an absolute path");
    check_refused(&archive_of(&["src/lib.rs"]), "its entry `src/lib.rs` is not in `target`");
}

#[test]
fn an_archive_that_is_not_there_is_said_to_be_missing() {
    let project = Project::new(&FILES);
    let run = project.isotest("--archive-file none.tar.zst").run();
    run.check(2, &["cannot read `", "none.tar.zst`: No such file or directory"]);
}

#[test]
fn sources_that_are_not_there_are_asked_for() {
    if refused() {
        return;
    }
    let archived = Archived::by("isotest archive");
    let project = Project::new(&FILES);
    let run = archived.isotest("run", &project, "").run();
    let none = format!("there is no `Cargo.toml` in `{}`", archived.built.display());
    run.check(2, &[&none, "hint: an archive contains no sources; `--workspace-remap DIR`"]);
}

/// Their configuration would run its setup commands, outside of every sandbox.
#[test]
fn sources_that_are_in_the_archive_itself_are_refused() {
    if refused() {
        return;
    }
    let command = "[setup.evil]\ncommand = \"touch made\"\n[profile.default]\nsetup = [\"evil\"]\n";
    let manifest = "[package]\nname = 'own'\nversion = '0.0.0'\nedition = '2024'\n[workspace]\n";
    let files = [
        ("target/own/Cargo.toml", manifest),
        ("target/own/src/lib.rs", "#[test]\nfn passes() {}\n"),
        ("target/own/.config/isotest.toml", command),
    ];
    let project = Project::new(&files);
    let own = project.directory().join("target/own");
    let archive = project.isotest("archive --manifest-path target/own/Cargo.toml");
    archive.words("--archive-file own.tar.zst").run().check(0, &["Archived"]);
    let run = |line: &str| {
        let call = project.isotest("--archive-file own.tar.zst --extract-to .");
        call.words("--extract-overwrite").words(line).run()
    };
    let refused = format!("its sources and configuration are in `{}`", own.display());
    run("").check(
        2,
        &[&refused, "hint: set the directory of the sources with `--workspace-remap DIR`"],
    );
    assert!(!own.join("made").exists());
    run("--workspace-remap target/own").check(0, &["1 passed"]);
    assert!(own.join("made").exists(), "by name they are what they are");
}

#[test]
fn what_is_about_building_does_not_go_with_an_archive() {
    let project = Project::new(&FILES);
    let call = |line| project.isotest("--archive-file x.tar.zst").words(line).run();
    for option in ["--release", "--package=demo", "--lib", "--features=x", "--offline"] {
        call(option)
            .check(2, &[&format!("`{option}` is an option for building"), "-E 'package(NAME)'"]);
    }
    call("--doc").check(2, &["cannot be used with"]);
    call("--extract-overwrite").check(2, &["--extract-to <DIR>"]);
    let alone = project.isotest("--workspace-remap .").run();
    alone.check(2, &["`--workspace-remap` needs an earlier build"]);
    project.isotest("--target-dir-remap .").run().check(2, &["--binaries-metadata <FILE>"]);
}
