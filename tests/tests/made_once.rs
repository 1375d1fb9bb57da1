//! Layers made once: how often their command runs, what tests see of them, and what goes wrong.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use isotest_tests::{Call, Project, missing, refused, until, word};
use nix::sys::signal::Signal;

/// Each test changes, deletes and replaces what it sees, which must be whole before.
const TESTS: &str = r#"
use std::fs::{self, read_to_string as read};
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
fn layer() -> &'static std::path::Path { std::path::Path::new("/srv/data") }
fn changes_all_of_it() {
    let own = || layer().metadata().unwrap();
    assert_eq!(own().permissions().mode() & 0o7777, 0o700);
    let user = fs::metadata("/proc/self").unwrap().uid();
    for path in ["", "id", "d", "d/file", "d/tool"] {
        assert_eq!(layer().join(path).symlink_metadata().unwrap().uid(), user, "{path}");
    }
    let mode = |path: &str| layer().join(path).metadata().unwrap().permissions().mode() & 0o777;
    assert_eq!((mode("d"), mode("d/file"), mode("d/tool")), (0o750, 0o600, 0o755));
    assert_eq!(read(layer().join("d/file")).unwrap(), "whole\n");
    println!("id {} of {}", read(layer().join("id")).unwrap().trim(), read(layer().join("in")).unwrap().trim());
    assert!(layer().join("fifo").metadata().unwrap().file_type().is_fifo());
    fs::write(layer().join("id"), "changed").unwrap();
    fs::remove_file(layer().join("d/file")).unwrap();
    assert!(!layer().join("d/file").exists());
    fs::remove_dir_all(layer().join("d")).unwrap();
    fs::create_dir(layer().join("d")).unwrap();
    assert_eq!(fs::read_dir(layer().join("d")).unwrap().count(), 0);
    fs::write(layer().join("d/file"), "another").unwrap();
    fs::rename(layer().join("in"), layer().join("moved")).unwrap();
    fs::write(layer().join("new"), "new").unwrap();
}
#[test] fn sees_1() { changes_all_of_it() }
#[test] fn sees_2() { changes_all_of_it() }
#[test] fn sees_3() { changes_all_of_it() }
#[test] fn sees_4() { changes_all_of_it() }
#[test] fn shown_nothing() { assert!(!layer().exists()); }
#[test] #[ignore] fn sees_and_is_ignored() { changes_all_of_it() }
"#;

const RUN: &str = r#"
cd $ISOTEST_LAYER
mkdir -m 750 d; echo whole >d/file; chmod 600 d/file; touch d/tool; chmod 755 d/tool
cat /proc/sys/kernel/random/uuid >id; cat $OLDPWD/in/* >in; mkfifo fifo; chmod 700 .
"#;

/// A layer with this command and further keys, for the tests that see it.
fn layer(run: &str, more: &str) -> String {
    format!(
        "[[profile.default.layer]]\nname = \"data\"\nrun = '''{run}'''\nat = \"/srv/data\"\n\
         filter = \"test(/^sees/)\"\n{more}\n"
    )
}

fn project(config: &str) -> Project {
    Project::new(&[
        ("src/lib.rs", ""),
        ("tests/it.rs", TESTS),
        ("in/a", "one\n"),
        ("in/b", "two\n"),
        (".config/isotest.toml", config),
    ])
}

fn whole() -> Project {
    project(&layer(RUN, "inputs = [\"in/**\"]"))
}

/// The stored layers of a project.
fn stored(project: &Project) -> Vec<PathBuf> {
    let layers = fs::read_dir(project.directory().join("target/isotest/layers"));
    let layers =
        layers.into_iter().flatten().flatten().map(|entry| entry.path().join("made/layer"));
    layers.filter(|layer| layer.is_dir()).collect()
}

/// The number that the command has given its layer, and the inputs in it.
fn told(run: &isotest_tests::Run) -> Vec<String> {
    let lines = run.stdout.lines().filter_map(|line| line.strip_prefix("id "));
    let mut told: Vec<String> = lines.map(str::to_owned).collect();
    told.sort();
    told.dedup();
    told
}

#[test]
fn each_test_has_its_own_view_of_what_is_made_once() {
    if refused() {
        return;
    }
    let project = whole();
    let lines = [
        "",
        "--no-fork-server",
        "--init reaper",
        "--init reaper --no-fork-server",
        "--scratch disk",
        "--scratch disk --no-fork-server",
        "--guard strict",
        "--workspace readonly",
        "-j 1",
    ];
    let mut ids = Vec::new();
    for (number, line) in lines.into_iter().enumerate() {
        let run = project.isotest(line).words("--test it -- --show-output").run();
        run.check(0, &["5 passed; 0 failed; 1 ignored"]);
        assert_eq!(run.stderr.contains("Making layer data\n"), number == 0, "{line}");
        assert!(!run.stderr.contains("writes-outside"), "{line}\n{}", run.stderr);
        ids.extend(told(&run));
    }
    ids.dedup();
    assert_eq!(ids.len(), 1, "it was made anew: {ids:?}");
    // A test that sees all of it reads what the command wrote.
    let stored = stored(&project);
    let [stored] = &stored[..] else { panic!("one: {stored:?}") };
    let text = |path: &str| fs::read_to_string(stored.join(path)).expect("it is there");
    assert_eq!((text("d/file").as_str(), text("in").as_str()), ("whole\n", "one\ntwo\n"));
    assert!(!stored.join("new").exists());
    let parent = project.directory().join("target/isotest/layers");
    assert_eq!(parent.metadata().expect("it is there").permissions().mode() & 0o777, 0o700);
}

/// Files belong to the user of the test, whoever that is inside.
#[test]
fn another_user_inside_has_a_layer_of_its_own() {
    if refused() {
        return;
    }
    let project = whole();
    for line in ["--user root", "--user nobody", "--user root --no-fork-server --scratch disk"] {
        project.isotest(line).words("--test it").run().check(0, &["5 passed; 0 failed; 1 ignored"]);
    }
    assert_eq!(stored(&project).len(), 2);
}

/// Tries to reach the stored layer below its view: by what an overlay covers, and by its own path.
const ATTACK: &str = r#"
umount /srv/data 2>/dev/null; umount -l /tmp 2>/dev/null
for layer in /tmp/.isotest/l* @/target/isotest/layers/*/made/layer; do
    mount -o remount,rw,bind $layer 2>/dev/null
    for file in id d/file new; do echo broken 2>/dev/null >$layer/$file; done
    rm -rf $layer/d 2>/dev/null
done
echo tried
"#;

#[test]
fn no_test_changes_what_is_stored() {
    if refused() {
        return;
    }
    let project = whole();
    for line in ["--user root", "", "--user root --scratch disk"] {
        let root = project.directory().canonicalize().expect("it is there");
        let attack = ATTACK.replace('@', root.to_str().expect("text"));
        let shell = project.isotest("shell").words(line).words("--test it sees_1 --");
        shell.arg("sh").arg("-c").arg(attack).run().check(0, &["tried\n"]);
        for stored in stored(&project) {
            let text = fs::read_to_string(stored.join("d/file")).expect("it is there");
            let id = fs::read_to_string(stored.join("id")).expect("it is there");
            assert_eq!((text.as_str(), id.contains("broken")), ("whole\n", false), "{line}");
            assert!(!stored.join("new").exists(), "{line}");
        }
        project.isotest(line).words("--test it").run().check(0, &["5 passed"]);
    }
}

#[test]
fn it_is_made_anew_when_an_input_changes_and_only_then() {
    if refused() {
        return;
    }
    let project = whole();
    let path = |name: &str| project.directory().join(name);
    let run = || project.isotest("--test it -- sees --show-output").run();
    let made = |run: &isotest_tests::Run| {
        run.check(0, &["4 passed"]);
        run.stderr.contains("Making layer data\n")
    };
    let first = run();
    assert!(made(&first));
    assert!(told(&first)[0].ends_with("of one\ntwo") || told(&first)[0].ends_with("of one"));
    fs::write(path("other"), "changed").expect("it is writable");
    fs::write(path("src/lib.rs"), "pub fn f() {}\n").expect("it is writable");
    let second = run();
    assert!(!made(&second));
    assert_eq!(told(&second), told(&first));
    fs::write(path("in/a"), "three\n").expect("it is writable");
    let third = run();
    assert!(made(&third));
    assert_ne!(told(&third), told(&first));
    fs::set_permissions(path("in/b"), fs::Permissions::from_mode(0o755)).expect("it is ours");
    assert!(made(&run()));
    fs::write(path("in/c"), "").expect("it is writable");
    assert!(made(&run()));
    symlink("a", path("in/d")).expect("a link");
    assert!(made(&run()));
    // All of them are kept.
    fs::remove_file(path("in/c"))
        .and_then(|()| fs::remove_file(path("in/d")))
        .expect("they are ours");
    fs::set_permissions(path("in/b"), fs::Permissions::from_mode(0o644)).expect("it is ours");
    fs::write(path("in/a"), "one\n").expect("it is writable");
    let last = run();
    assert!(!made(&last));
    assert_eq!(told(&last), told(&first));
    assert_eq!(stored(&project).len(), 5);
}

#[test]
fn only_a_test_that_runs_has_it_made() {
    if refused() {
        return;
    }
    let project = project(&layer("exit 7", "inputs = []"));
    for line in
        ["--test it -- shown_nothing", "list", "--no-run", "--test it -- sees_and_is_ignored"]
    {
        let run = project.isotest(line).run();
        run.check(0, &[]);
        assert!(!run.stderr.contains("Making"), "{line}");
    }
}

#[test]
fn a_command_that_fails_ends_the_run_with_its_output() {
    if refused() {
        return;
    }
    let config = layer("echo out; echo err >&2; touch $ISOTEST_LAYER/half; exit 3", "inputs = []");
    let project = project(&config);
    for _ in 0..2 {
        let run = project.isotest("--test it").run();
        let error = "error: cannot make the layer `data`: its command exited with 3\n\
                     ---- output of `data` ----\nout\nerr\n\
                     hint: no test was run; it is layer 1 of profile `default` \
                     (.config/isotest.toml:1)\n";
        run.check(105, &["Making layer data\n", error]);
        assert!(!run.stdout.contains("test sees_1"), "a test was run");
    }
    assert!(stored(&project).is_empty());
    let aside = fs::read_dir(project.directory().join("target/isotest/layers/aside"));
    assert_eq!(aside.expect("it is there").count(), 0);
}

#[test]
fn what_keeps_a_layer_from_being_made_is_told() {
    if refused() {
        return;
    }
    let inputs = "inputs = []";
    let table: [(String, i32, &[&str]); 8] = [
        (
            layer("echo begun; sleep 600", "inputs = []\ntimeout = \"700ms\""),
            105,
            &[
                "its command did not end within 700ms, and was killed\n---- output of `data` ----\nbegun\n",
                "hint: no test was run; `timeout` gives it more time; it is layer 1",
            ],
        ),
        (
            layer("", inputs).replace("''''''", "[\"nosuch\", \"-x\"]"),
            105,
            &["its command exited with 127\n", "nosuch", "a program is looked up on PATH there"],
        ),
        (
            layer("true", "inputs = [\"in/*\", \"nosuch/**\"]"),
            105,
            &[
                "cannot make the layer `data`: nothing in the workspace matches its input `nosuch/**`\n",
                "hint: globs are relative to the root of the workspace",
            ],
        ),
        (
            layer("true", inputs).replace("/srv/data", "/usr/lib/data"),
            2,
            &[
                "error: cannot show the layer `data` at `/usr/lib/data`: `/usr` is a directory of the \
               system\nhint: `at` may be a path of its own below `/srv`",
            ],
        ),
        (layer("true", inputs).replace("/srv/data", "/proc/data"), 2, &["`/proc` is a directory"]),
        (layer("true", inputs).replace("/srv/data", "/tmp"), 2, &["it would hide `/tmp`"]),
        (
            format!(
                "{}{}",
                layer("true", inputs),
                layer("true", inputs)
                    .replace("\"data\"", "\"inner\"")
                    .replace("/srv/data", "/srv/data/in")
            ),
            2,
            &[
                "the layer `inner` lies in `data`\n  --> .config/isotest.toml:10:6\n",
                "hint: `data` is at `/srv/data`",
            ],
        ),
        (
            layer("true", "inputs = []\n[profile.shared]\npid = \"host\"\nreason = \"test\""),
            2,
            &[
                "error: cannot make the layer `data` with `pid = \"host\"`\nhint: the end of its pid namespace",
            ],
        ),
    ];
    let project = project("");
    for (config, code, texts) in table {
        fs::write(project.directory().join(".config/isotest.toml"), &config).expect("writable");
        let profile = if config.contains("profile.shared") { "-P shared" } else { "" };
        let run = project.isotest(profile).words("--test it").run();
        run.check(code, texts);
        assert!(!run.stdout.contains("test sees_1"), "a test was run: {config}");
    }
    let own = project.directory().canonicalize().expect("it is there");
    let config = layer("true", inputs).replace("/srv/data", own.join("in").to_str().expect("text"));
    fs::write(project.directory().join(".config/isotest.toml"), config).expect("writable");
    let shown = format!("the sandbox shows `{}`", own.display());
    project.isotest("--test it").run().check(2, &[&shown]);
}

/// A command that waits until a file is there, and says in another that it has begun.
fn waiting(project: &Project) -> PathBuf {
    let gate = project.directory().join("gate");
    fs::create_dir_all(&gate).expect("it is writable");
    let path = gate.canonicalize().expect("it is there");
    let wait =
        "touch begun; n=0\nuntil test -e go; do n=$((n + 1)); test $n -lt 6000; sleep 0.01; done";
    let run = format!("set -e; cd '{}'; {wait}\ncd '{}/..'\n{RUN}", path.display(), path.display());
    let shown = format!("[profile.default]\nrw = [{path:?}]\nreason = \"test\"\n");
    let config = layer(&run, "inputs = [\"in/**\"]") + &shown;
    fs::write(project.directory().join(".config/isotest.toml"), config).expect("it is writable");
    gate
}

fn begun(gate: &Path) {
    until("the command", || gate.join("begun").exists().then_some(()));
}

#[test]
fn of_two_runs_at_once_one_makes_it_and_the_other_waits() {
    if refused() {
        return;
    }
    let project = project("");
    project.isotest("--no-run").run().check(0, &[]);
    let gate = waiting(&project);
    let run = || -> Call { project.isotest("--test it -- sees --show-output").merged() };
    let first = run().start();
    begun(&gate);
    let second = run().start();
    second.wait_for("Waiting for layer data, which another run makes\n");
    // Who waits can be interrupted.
    let third = run().start();
    third.wait_for("Waiting for layer data");
    third.signal(Signal::SIGINT);
    third.end().check(130, &[]);
    fs::write(gate.join("go"), "").expect("it is writable");
    let (first, second) = (first.end(), second.end());
    first.check(0, &["Making layer data\n", "4 passed"]);
    second.check(0, &["4 passed"]);
    assert!(!second.stdout.contains("Making"), "{}", second.stdout);
    assert_eq!(told(&first), told(&second));
}

#[test]
fn a_layer_whose_inputs_change_meanwhile_is_made_again() {
    if refused() {
        return;
    }
    let project = project("");
    project.isotest("--no-run").run().check(0, &[]);
    let gate = waiting(&project);
    let running = project.isotest("--test it -- sees --show-output").merged().start();
    begun(&gate);
    fs::write(project.directory().join("in/a"), "three\n").expect("it is writable");
    fs::write(gate.join("go"), "").expect("it is writable");
    let run = running.end();
    run.check(0, &["of three\ntwo", "4 passed"]);
    assert_eq!(run.stdout.matches("Making layer data\n").count(), 2, "{}", run.stdout);
    let own = stored(&project);
    assert_eq!(own.len(), 1, "{own:?}");
}

#[test]
fn an_interrupted_command_leaves_nothing() {
    if refused() {
        return;
    }
    let project = project("");
    project.isotest("--no-run").run().check(0, &[]);
    let gate = waiting(&project);
    for signal in [Signal::SIGINT, Signal::SIGKILL] {
        let running = project.isotest("--test it").start();
        begun(&gate);
        running.signal(signal);
        running.end().check(if signal == Signal::SIGINT { 130 } else { 137 }, &[]);
        assert!(stored(&project).is_empty());
        fs::remove_file(gate.join("begun")).expect("it is there");
    }
    fs::write(gate.join("go"), "").expect("it is writable");
    project.isotest("--test it").run().check(0, &["Making layer data\n", "5 passed"]);
    // What was left by the run that was killed is swept.
    let aside = fs::read_dir(project.directory().join("target/isotest/layers/aside"));
    assert_eq!(aside.expect("it is there").count(), 0);
}

/// Links, devices, programs of another user, trees deeper than any path.
const HOSTILE: &str = r#"
set -e
cd $ISOTEST_LAYER
ln -s @ link; ln -s / root; ln -s ../../../.. up; ln -s loop loop
if mknod device b 8 0 2>/dev/null; then exit 4; fi
if mknod device c 1 3 2>/dev/null; then exit 5; fi
cp /bin/true program; chmod 4755 program
mkdir -p closed/in; chmod 0 closed
name=$(printf %0200d 0); mkdir tree; echo deep >tree/file
for n in $(seq 30); do mkdir next; mv tree next/$name; mv next tree; done
"#;

const LOOKS: &str = r#"
#[test] fn sees_1() {
    use std::os::unix::fs::MetadataExt;
    let layer = std::path::Path::new("/srv/data");
    assert!(std::fs::read(layer.join("link/kept")).is_err(), "a link leads out");
    assert!(std::fs::read_dir(layer.join("root")).unwrap().count() > 3);
    assert_ne!(layer.join("program").metadata().unwrap().mode() & 0o4000, 0);
    std::fs::remove_file(layer.join("link")).unwrap();
}
"#;

#[test]
fn what_a_command_leaves_leads_nowhere_and_is_removed() {
    if refused() {
        return;
    }
    let project = project("");
    let outside = project.directory().parent().expect("it has one").join("outside");
    fs::create_dir_all(&outside).expect("it is writable");
    fs::write(outside.join("kept"), "kept").expect("it is writable");
    let run = HOSTILE.replace('@', outside.to_str().expect("text"));
    let config = layer(&run, "inputs = []");
    fs::write(project.directory().join(".config/isotest.toml"), config).expect("it is writable");
    fs::write(project.directory().join("tests/it.rs"), LOOKS).expect("it is writable");
    let cache = project.directory().join("cache");
    let prune = || project.isotest("prune").env("XDG_CACHE_HOME", &cache).run();
    for _ in 0..2 {
        project.isotest("--test it").run().check(0, &["Making layer data\n", "1 passed"]);
        assert_eq!(stored(&project).len(), 1);
        prune().check(0, &["     Removed 1 layer\n"]);
        let layers = fs::read_dir(project.directory().join("target/isotest/layers"));
        let left: Vec<_> =
            layers.expect("it is there").flatten().map(|it| it.file_name()).collect();
        assert_eq!(left, ["aside"]);
        let run = prune();
        assert!(!run.stderr.contains("layer"), "{}", run.stderr);
    }
    assert_eq!(fs::read_to_string(outside.join("kept")).expect("it is there"), "kept");
}

/// A link in the place of a stored layer, or of the directory of all, is not followed.
#[test]
fn a_link_in_the_place_of_a_layer_is_an_error() {
    if refused() {
        return;
    }
    let project = whole();
    project.isotest("--test it").run().check(0, &["5 passed"]);
    let [layer] = &stored(&project)[..] else { panic!("one") };
    fs::rename(layer, project.directory().join("moved")).expect("it is ours");
    symlink(project.directory().join("moved"), layer).expect("a link");
    let run = project.isotest("--test it").run();
    run.check(105, &["error: cannot make the layer `data`: it cannot be kept in `"]);
    assert!(!run.stdout.contains("test sees_1"));
}

#[test]
fn who_looks_at_a_case_sees_its_layer() {
    if refused() {
        return;
    }
    let project = whole();
    let shell = project.isotest("shell --test it sees_1 --").arg("sh").arg("-c");
    let run = shell.arg("cat /srv/data/in; rm -r /srv/data/d; ls /srv/data").run();
    run.check(0, &["Making layer data\n", "one\ntwo\n", "fifo\nid\nin\n"]);
    let explain = project.isotest("explain --test it sees_1").run();
    explain.check(
        0,
        &[
            "    layer            data at /srv/data        layer 1 of profile `default` (.config/isotest.toml:1)\n",
            "the layer `data`",
            "/srv/data                                overlay\n",
        ],
    );
    let run = project.isotest("explain --test it shown_nothing").run();
    assert!(!run.stdout.contains("/srv/data"));
    let diff = project.isotest("diff --test it sees_1").run();
    let changes = [
        "C          7 /srv/data/d/file\n",
        "D          0 /srv/data/d/tool\n",
        "C          7 /srv/data/id\n",
        "D          0 /srv/data/in\n",
        "A          8 /srv/data/moved\nA          3 /srv/data/new\n",
    ];
    diff.check(0, &changes);
    let shown = "data             at /srv/data for test(/^sees/) layer 1 of profile `default` (.config/isotest.toml:1)\n";
    project.isotest("show-config").run().check(0, &["\nlayers made once\n", shown]);
}

#[test]
fn as_cargo_s_runner_and_for_whole_binaries_tests_have_it_too() {
    if refused() {
        return;
    }
    let project = whole();
    let one = project.cargo_test("--test it -- --nocapture --exact sees_2").runner("").run();
    one.check(0, &["Making layer data\n", "test sees_2 ... ok"]);
    let all = project.cargo_test("--test it").runner("").run();
    all.check(0, &["5 passed; 0 failed; 1 ignored"]);
    assert!(!all.stderr.contains("Making"), "{}", all.stderr);
    // The tests of a binary share one sandbox.
    let whole = project.isotest("--unit binary --test it -E test(=sees_1)+test(=shown_nothing)");
    whole.run().check(0, &["2 passed"]);
}

#[test]
fn a_test_that_is_started_under_nextest_has_it() {
    if refused() || missing("cargo-nextest") {
        return;
    }
    let project = whole();
    let run = project.cargo("nextest run").runner("").run();
    run.check(0, &["5 tests run: 5 passed, 1 skipped"]);
    assert_eq!(stored(&project).len(), 1);
}

/// The path of a layer may be in a directory that each test has anew.
#[test]
fn a_layer_may_be_in_the_home_or_a_temporary_directory() {
    if refused() {
        return;
    }
    let project = whole();
    let home = std::env::var("HOME").expect("there is a home");
    for at in ["/tmp/x/data", "/var/tmp/data", "/run/data", &format!("{home}/x/data"), "/data"] {
        let set = |file: &str, text: String| {
            fs::write(project.directory().join(file), text).expect("it is writable");
        };
        set(".config/isotest.toml", layer(RUN, "inputs = [\"in/**\"]").replace("/srv/data", at));
        set("tests/it.rs", TESTS.replace("/srv/data", at));
        for line in ["", "--no-fork-server", "--scratch disk", "--user root"] {
            let run = project.isotest(line).words("--test it").run();
            run.check(0, &["5 passed; 0 failed; 1 ignored"]);
        }
    }
}

#[test]
fn a_layer_is_there_over_another_root_filesystem() {
    if refused() {
        return;
    }
    let project = whole();
    let run = project.isotest(&format!("--root {} --test it", word(Path::new("/")))).run();
    run.check(0, &["5 passed; 0 failed; 1 ignored"]);
}

#[test]
fn fifty_tests_have_a_migrated_postgresql_each() {
    if refused() || missing("psql") || missing("/usr/lib/postgresql") {
        return;
    }
    let project = Project::fixture("services");
    // An earlier run of this test has left its layer.
    for old in stored(&project) {
        let key = old.ancestors().nth(2).expect("it lies below its key");
        fs::remove_dir_all(key).expect("it is ours");
    }
    let run = |line: &str| project.isotest(line).words("-j 20 --test migrated").run();
    run("").check(0, &["Making layer database\n", "test result: ok. 50 passed; 0 failed"]);
    for line in ["", "--no-fork-server", "--scratch disk", "--init reaper"] {
        let again = run(line);
        again.check(0, &["test result: ok. 50 passed; 0 failed"]);
        assert!(!again.stderr.contains("Making"), "{line}");
    }
    let [stored] = &stored(&project)[..] else { panic!("one layer") };
    let data = stored.join("data").metadata().expect("it is there");
    assert_eq!(data.mode() & 0o777, 0o700);
}
