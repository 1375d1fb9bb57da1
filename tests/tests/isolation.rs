//! Limits of a sandbox in both directions, seen by small commands through `cargo isotest exec`.

use std::env;
use std::fs::{self, Permissions};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use isotest_tests::project::PASSING;
use isotest_tests::{Call, Project, refused, word};
use nix::sys::stat::{Mode, umask};
use nix::unistd::geteuid;

/// Runs a script of sh in a sandbox around a new project, and checks what it prints.
fn check(options: &str, script: &str, expected: &str) {
    if refused() {
        return;
    }
    check_in(&Project::new(&[PASSING]), options, script, expected);
}

fn check_in(project: &Project, options: &str, script: &str, expected: &str) {
    let run = call(project, options, script).run();
    assert_eq!(run.stdout.trim_end(), expected, "what the script printed");
    run.check(0, &[]);
}

fn call(project: &Project, options: &str, script: &str) -> Call {
    project.isotest("exec").words(options).words("-- sh -c").arg(script)
}

#[test]
fn a_command_is_process_1() {
    check("", "echo $$", "1");
}

#[test]
fn under_an_init_a_command_is_process_2() {
    check("--init reaper", "echo $$", "2");
}

#[test]
fn no_process_of_the_host_is_seen() {
    check("", "cd /proc; echo [0-9]*", "1");
}

#[test]
fn only_the_loopback_interface_is_there() {
    check("", "tail -n +3 /proc/net/dev | cut -d: -f1 | tr -d ' '", "lo");
}

/// 127.0.0.1 is local, which it is only on an interface that is up.
#[test]
fn the_loopback_interface_is_up() {
    let script =
        "grep -c '127.0.0.1$' /proc/net/fib_trie; grep -c '^0*1 .* lo$' /proc/net/if_inet6";
    check("", script, "2\n1");
}

/// Fails where a directory has anything in a sandbox but what leads to what is shown. A checkout
/// may lie anywhere, and so may toolchains.
fn check_empty(directory: &Path) {
    if refused() {
        return;
    }
    let project = Project::new(&[PASSING]);
    let home = env::var_os("HOME").map(PathBuf::from).expect("there is a home directory");
    let of = |name, directory: &str| env::var_os(name).map_or(home.join(directory), PathBuf::from);
    let (cargo, rustup) = (of("CARGO_HOME", ".cargo"), of("RUSTUP_HOME", ".rustup"));
    let sysroot = Call::new("rustc", project.directory()).words("--print sysroot").run();
    let shown = [project.directory().to_owned(), cargo, rustup, sysroot.stdout.trim_end().into()];
    let shown = shown.map(|path| path.canonicalize().unwrap_or(path));
    let script = "cd -- \"$0\" && touch file && rm file && find . -xdev -mindepth 1 -print0";
    let run = call(&project, "", script).arg(directory).run();
    run.check(0, &[]);
    for name in run.stdout.split_terminator('\0') {
        let path = directory.join(name.trim_start_matches("./"));
        let leads = shown.iter().chain([&home]).any(|shown| shown.starts_with(&path));
        let is_shown = shown.iter().any(|shown| path.starts_with(shown));
        assert!(leads || is_shown, "`{}` is there", path.display());
    }
}

#[test]
fn tmp_is_empty() {
    for directory in ["/tmp", "/var/tmp", "/run"] {
        check_empty(Path::new(directory));
    }
}

#[test]
fn home_is_empty_but_for_the_toolchain() {
    let home = env::var_os("HOME").expect("there is a home directory");
    check_empty(Path::new(&home));
}

#[test]
fn there_is_no_capability() {
    check("", "grep Cap /proc/self/status | cut -f 2 | sort -u", "0000000000000000");
}

#[test]
fn no_privilege_can_be_gained() {
    check("", "grep NoNewPrivs /proc/self/status | cut -f 2", "1");
}

#[test]
fn the_host_has_a_fixed_name() {
    check("", "cat /proc/sys/kernel/hostname /etc/hostname", "isotest\nisotest");
}

#[test]
fn a_sandbox_may_have_a_name_of_its_own() {
    check("--uts db.example", "cat /proc/sys/kernel/hostname", "db.example");
}

#[test]
fn a_sandbox_may_have_the_hosts_name() {
    let name = fs::read_to_string("/proc/sys/kernel/hostname").expect("/proc is mounted");
    check("--uts host", "cat /proc/sys/kernel/hostname", name.trim_end());
}

/// By getaddrinfo(3) with AI_ADDRCONFIG, which getent(1) sets.
#[test]
fn names_of_the_machine_have_addresses_of_both_kinds() {
    let script = "for name in localhost $(cat /proc/sys/kernel/hostname); do
        getent ahostsv4 $name | cut -d ' ' -f 1 | sort -u
        getent ahostsv6 $name | cut -d ' ' -f 1 | sort -u
    done";
    let both = "127.0.0.1\n::1\n127.0.0.1\n::1";
    for options in ["", "--uts db.example", "--uts host"] {
        check(options, script, both);
    }
}

#[test]
fn the_host_name_resolves_in_the_hosts_network() {
    let script = "getent hosts $(cat /proc/sys/kernel/hostname) | cut -d ' ' -f 1
        grep -vc isotest /etc/hosts";
    let hosts = fs::read_to_string("/etc/hosts").unwrap_or_default();
    check("--net host", script, &format!("::1\n{}", hosts.lines().count()));
}

#[test]
fn no_secret_comes_in_by_the_environment() {
    if refused() {
        return;
    }
    let project = Project::new(&[PASSING]);
    let script = "env | grep -c secret";
    let call =
        call(&project, "", script).env("API_KEY", "secret").env("CARGO_REGISTRY_TOKEN", "secret");
    let run = call.env("RUST_SECRET_KEY", "secret").run();
    assert_eq!(run.stdout, "0\n");
    run.check(1, &[]);
}

#[test]
fn what_is_called_as_cargos_variables_does_not_come_in_and_urls_come_without_passwords() {
    if refused() {
        return;
    }
    let text = r#"
fn of(name: &str) -> String { std::env::var(name).unwrap_or_default() }
fn check() {
    let all: Vec<String> = std::env::vars().map(|(name, value)| format!("{name}={value}")).collect();
    assert!(!all.iter().any(|line| line.contains("hidden")), "{all:?}");
    assert_eq!(of("CARGO_REGISTRIES_MINE_INDEX"), "sparse+https://host/index/");
    assert_eq!((of("CARGO_HTTP_PROXY"), of("RUST_LOG")), ("proxy:3128".into(), "debug".into()));
    assert_eq!(of("CARGO_PKG_NAME"), env!("CARGO_PKG_NAME"));
}
#[test]
fn one() { check() }
#[test]
fn two() { check() }
#[test]
fn three() { check() }
"#;
    let project = Project::new(&[("src/lib.rs", text)]);
    for line in ["--lib", "--lib --no-fork-server", "--lib --unit binary"] {
        let mut call = project.isotest(line).env("RUST_LOG", "debug");
        for name in ["CARGO_PUBLISH_KEY", "CARGO_DEPLOY_PASS", "CARGO_REGISTRY_AUTH"] {
            call = call.env(name, "hidden");
        }
        for name in ["NEXTEST_API_KEY", "RUST_SENTRY_DSN", "RUST_OTHER", "INSTA_API_KEY"] {
            call = call.env(name, "hidden");
        }
        let call = call
            .env("CARGO_HTTP_PROXY", "me:hidden@proxy:3128")
            .env("CARGO_REGISTRIES_MINE_INDEX", "sparse+https://me:hidden@host/index/");
        call.run().check(0, &["test result: ok. 3 passed"]);
    }
}

#[test]
fn a_variable_of_cargos_env_table_is_the_callers_only_where_it_passes() {
    if refused() {
        return;
    }
    let text = "#[test]\nfn tells() { panic!(\"it is {}\", std::env::var(\"A_URL\").unwrap()) }\n";
    let table = (".cargo/config.toml", "[env]\nA_URL = 'table'\n");
    let project = Project::new(&[("src/lib.rs", text), table]);
    project.isotest("--lib").run().check(100, &["it is table"]);
    for (line, found) in [
        ("--lib", "it is table"),
        ("--lib --no-fork-server", "it is table"),
        ("--lib --pass-env A_URL", "it is mine"),
        ("--lib --env host", "it is mine"),
    ] {
        project.isotest(line).env("A_URL", "mine").run().check(100, &[found]);
    }
    let told = project.isotest("--lib").env("A_URL", "mine").run();
    told.check(100, &["named in the program of a failed test: A_URL"]);
}

/// The kernel counts inotify instances for each user of the machine.
#[test]
fn tests_leave_the_user_some_of_what_is_counted_for_each_user() {
    if refused() {
        return;
    }
    let text = r#"
unsafe extern "C" { fn inotify_init1(flags: i32) -> i32; }
fn take() {
    let limit = std::fs::read_to_string("/proc/sys/fs/inotify/max_user_instances").unwrap();
    let limit: usize = limit.trim().parse().unwrap();
    let made = (0..limit).take_while(|_| unsafe { inotify_init1(0) } >= 0).count();
    assert!(made <= limit - limit / 4, "{made} of {limit}");
}
#[test]
fn one() { take() }
#[test]
fn two() { take() }
#[test]
fn three() { take() }
"#;
    let project = Project::new(&[("src/lib.rs", text)]);
    for line in ["--lib", "--lib --no-fork-server", "--lib --user root", "--lib --guard strict"] {
        project.isotest(line).run().check(0, &["test result: ok. 3 passed"]);
    }
}

#[test]
fn a_variable_comes_in_where_it_is_named() {
    if refused() {
        return;
    }
    let project = Project::new(&[PASSING]);
    let script = "echo \"$API_KEY-$API_TOKEN-$OTHER\"";
    let call = call(&project, "--pass-env API_*", script).env("API_KEY", "a");
    let run = call.env("API_TOKEN", "b").env("OTHER", "c").run();
    assert_eq!(run.stdout, "a-b-\n");
    run.check(0, &[]);
}

#[test]
fn what_not_everybody_may_read_in_etc_is_hidden() {
    check(
        "",
        "wc -c /etc/shadow /etc/gshadow /etc/sudoers 2>/dev/null | awk '{ n += $1 } END { print n + 0 }'",
        "0",
    );
}

#[test]
fn system_directories_are_read_only() {
    check(
        "",
        "for d in / /usr /etc /bin /dev; do touch $d/file 2>/dev/null && echo $d; done; true",
        "",
    );
}

#[test]
fn what_is_written_to_the_project_is_thrown_away() {
    if refused() {
        return;
    }
    let project = Project::new(&[PASSING]);
    check_in(
        &project,
        "",
        "echo text >> src/lib.rs && echo text > file && rm Cargo.toml && ls",
        "file\nsrc",
    );
    let names = |path: &Path| fs::read_dir(path).expect("it is there").count();
    assert_eq!(names(project.directory()), 2, "Cargo.toml and src");
    let source = fs::read_to_string(project.directory().join("src/lib.rs")).expect("it is there");
    assert_eq!(source, PASSING.1);
}

#[test]
fn what_is_written_to_a_shared_workspace_stays() {
    if refused() {
        return;
    }
    let project = Project::new(&[PASSING]);
    check_in(&project, "--workspace shared", "echo text > file && ls", "Cargo.toml\nfile\nsrc");
    let text = fs::read_to_string(project.directory().join("file"));
    assert_eq!(text.expect("it was written"), "text\n");
}

#[test]
fn a_readonly_workspace_cannot_be_written_to() {
    check("--workspace readonly", "touch file 2>&1 | grep -c 'Read-only file system'", "1");
}

#[test]
fn a_strict_guard_makes_the_project_read_only() {
    check("--guard strict", "touch file 2>&1 | grep -c 'Read-only file system'", "1");
}

#[test]
fn what_is_written_to_scratch_on_disk_is_thrown_away() {
    if refused() {
        return;
    }
    let project = Project::new(&[PASSING]);
    check_in(
        &project,
        "--scratch disk",
        "echo text > file; echo text > /tmp/file; cat file /tmp/file",
        "text\ntext",
    );
    assert!(!project.directory().join("file").exists());
    let scratch = fs::read_dir(project.directory().join("target/isotest/scratch"));
    assert_eq!(scratch.map_or(0, Iterator::count), 0, "directories in the scratch");
}

/// A port that is taken on the host.
fn check_port(options: &str, listening: &str) {
    if refused() {
        return;
    }
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let port = listener.local_addr().expect("it is bound").port();
    let script = format!("awk '{{ print $2 }}' /proc/net/tcp | grep -c :{port:04X} || true");
    check(options, &script, listening);
}

#[test]
fn the_hosts_network_is_not_seen() {
    check_port("", "0");
}

#[test]
fn the_hosts_network_is_shared_where_that_is_asked_for() {
    check_port("--net host", "1");
}

#[test]
fn root_inside_may_mount_and_owns_what_it_writes() {
    let script =
        "id -u; mkdir /tmp/m && mount -t tmpfs none /tmp/m && touch file && stat -c %u file";
    check("--user root", script, "0\n0");
}

#[test]
fn by_default_a_command_is_who_started_isotest() {
    check("", "id -u", &geteuid().to_string());
}

#[test]
fn nobody_inside_is_65534() {
    check("--user nobody", "id -u; touch file && stat -c %u file", "65534\n65534");
}

/// A directory of the host with a file in it, beside a project that is not around it.
fn elsewhere() -> (Project, Project) {
    let project = Project::below(&env::temp_dir(), "project", &[PASSING]);
    (Project::new(&[("file", "text\n")]), project)
}

/// `OPTIONS` and the script may speak of the directory as `PATH`.
fn check_elsewhere(options: &str, script: &str, expected: &str) -> Option<Project> {
    if refused() {
        return None;
    }
    let (elsewhere, project) = elsewhere();
    let options = options.replace("PATH", &word(elsewhere.directory()));
    let script = script.replace("PATH", &format!("'{}'", elsewhere.directory().display()));
    check_in(&project, &options, &script, expected);
    Some(elsewhere)
}

#[test]
fn what_is_not_of_the_project_is_not_seen() {
    check_elsewhere("", "cat PATH/file 2>/dev/null || echo hidden", "hidden");
}

#[test]
fn a_path_may_be_shown_read_only() {
    let script = "cat PATH/file; touch PATH/new 2>/dev/null || echo read-only";
    check_elsewhere("--ro PATH", script, "text\nread-only");
}

#[test]
fn a_path_may_be_shown_writable() {
    let elsewhere = check_elsewhere("--rw PATH", "cat PATH/file; echo new > PATH/new", "text");
    let written = elsewhere.map(|elsewhere| fs::read_to_string(elsewhere.directory().join("new")));
    assert!(written.is_none_or(|text| text.is_ok_and(|text| text == "new\n")));
}

/// Counts files of `HOME`, which is set to `home`.
fn check_home(project: &Project, home: &Path, options: &str, expected: &str) {
    let default = |name: &str, default: &str| {
        let in_home = || Path::new(&env::var_os("HOME").unwrap_or_default()).join(default).into();
        env::var_os(name).unwrap_or_else(in_home)
    };
    let call = call(project, options, "ls ~ | grep -c file; touch ~/new").env("HOME", home);
    let call = call.env("CARGO_HOME", default("CARGO_HOME", ".cargo"));
    let run = call.env("RUSTUP_HOME", default("RUSTUP_HOME", ".rustup")).run();
    assert_eq!(run.stdout.trim_end(), expected);
    run.check(0, &[]);
    assert_eq!(home.join("new").exists(), options == "--home host");
}

#[test]
fn the_hosts_home_is_seen_where_that_is_asked_for() {
    if refused() {
        return;
    }
    let (home, project) = elsewhere();
    check_home(&project, home.directory(), "", "0");
    check_home(&project, home.directory(), "--home host", "1");
}

/// Takes pseudo-terminals until there are no more, and says how many there were.
const TERMINALS: &str = "\
#[test]
fn takes_terminals() {
    let taken: Vec<_> = std::iter::from_fn(|| std::fs::File::open(\"/dev/ptmx\").ok()).collect();
    assert_eq!(taken.len(), 256);
}
";

#[test]
fn a_test_cannot_take_all_terminals_of_the_machine() {
    if refused() {
        return;
    }
    let project = Project::new(&[("src/lib.rs", TERMINALS)]);
    project.isotest("--lib").run().check(0, &["1 passed"]);
}

#[test]
fn home_may_lie_in_the_project() {
    if refused() {
        return;
    }
    let project = Project::new(&[PASSING, ("home/file", "")]);
    check_home(&project, &project.directory().join("home"), "", "0");
}

#[test]
fn new_files_are_not_writable_for_others() {
    // Not of the caller: its mask would make a test pass here and fail there.
    umask(Mode::from_bits_truncate(0o022));
    check("", "umask; touch file; stat -c %a file", "0022\n644");
}

#[test]
fn the_exit_code_is_the_commands() {
    if refused() {
        return;
    }
    let project = Project::new(&[PASSING]);
    call(&project, "", "exit 7").run().check(7, &[]);
    call(&project, "--init reaper", "kill -TERM $$").run().check(143, &[]);
}

#[test]
fn a_program_or_an_interpreter_that_does_not_exist_is_no_fault_of_a_build() {
    if refused() {
        return;
    }
    let project = Project::new(&[PASSING, ("script", "#!/no/such/interpreter\n")]);
    let script = project.directory().join("script");
    fs::set_permissions(&script, Permissions::from_mode(0o755)).expect("it is the user's");
    let hint = "hint: the file, or the interpreter that it names, does not exist or is not visible in the \
                sandbox; `--ro PATH` makes a path visible\n";
    for program in ["/no/such/program", "./script"] {
        let run = project.isotest(&format!("exec -- {program}")).run();
        run.check(96, &["cannot execute `", "No such file or directory (ENOENT)", hint]);
    }
}

#[test]
fn what_a_failed_test_writes_of_and_has_not_is_named() {
    if refused() {
        return;
    }
    let text = r#"
use std::{env, fs, path::Path};

fn read(path: impl AsRef<Path>) {
    let path = path.as_ref();
    fs::read(path).unwrap_or_else(|error| panic!("cannot read {}: {error}", path.display()));
}

#[test]
fn reads_above() {
    read("../above.txt");
}

#[test]
fn reads_by_a_long_way() {
    read(concat!(env!("CARGO_MANIFEST_DIR"), "/src/../../above.txt"));
}

#[test]
fn reads_a_secret() {
    read("../api-token.txt");
}

#[test]
fn reads_what_nobody_has() {
    read("../nowhere.txt");
    println!("/etc/shadow /proc/kcore src/lib.rs");
}

#[test]
fn wants_a_variable() {
    let name = "DEMO_DATABASE_URL";
    env::var(name).unwrap_or_else(|_| panic!("{name} must be set"));
}

#[test]
fn passes() {
    println!("../above.txt DEMO_DATABASE_URL");
}
"#;
    let project = Project::new(&[("src/lib.rs", text)]);
    let above = project.directory().with_file_name("above.txt");
    let token = project.directory().with_file_name("api-token.txt");
    for file in [&above, &token] {
        std::fs::write(file, "").unwrap();
    }
    let run = project.isotest("--lib").env("DEMO_DATABASE_URL", "db://secret").run();
    let path = format!(
        "demo::reads_above: named {}: exists here, but tests do not see it",
        above.display()
    );
    let by_a_long_way = path.replace("reads_above", "reads_by_a_long_way");
    run.check(
        100,
        &[
            "2 tests failed and named a path that tests do not see; `--ro PATH` may help",
            &path,
            &by_a_long_way,
            "1 test failed and named a variable that does not reach tests; `--pass-env NAME` may",
            "demo::wants_a_variable: named DEMO_DATABASE_URL: set, but not passed to tests",
        ],
    );
    let (_, closing) = run.stderr.split_once("Summary").expect("a closing block");
    for other in ["token", "nowhere", "shadow", "kcore", "db://", "demo::passes"] {
        assert!(!closing.contains(other), "{other} in {closing}");
    }
    assert!(!closing.contains("named in the program"), "told already: {closing}");
    let shown = format!("--lib --ro {} --pass-env DEMO_DATABASE_URL", above.display());
    let run = project.isotest(&shown).env("DEMO_DATABASE_URL", "db://secret").run();
    run.check(100, &["4 passed, 2 failed"]);
    assert!(!run.stderr.contains(": named "), "nothing is missed: {}", run.stderr);
}

#[test]
fn a_failed_test_that_wants_the_network_is_told_of() {
    if refused() {
        return;
    }
    let text = r#"
use std::{net::UdpSocket, time::Duration};

#[test]
fn sends_to_a_group() {
    let socket = UdpSocket::bind("0.0.0.0:0").unwrap();
    socket.send_to(b"hello", "224.0.0.251:5353").unwrap();
    socket.set_read_timeout(Some(Duration::from_millis(10))).unwrap();
    socket.recv(&mut [0; 9]).expect("an answer");
}

#[test]
fn has_no_address() {
    UdpSocket::bind("192.0.2.7:0").unwrap();
}

#[test]
fn sends_to_itself() {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.send_to(b"hello", socket.local_addr().unwrap()).unwrap();
    panic!("for another reason");
}
"#;
    let run = Project::new(&[("src/lib.rs", text)]).isotest("--lib").run();
    run.check(
        100,
        &[
            "1 test sent packets that stay on the loopback interface",
            "demo::sends_to_a_group: sent 1 multicast or broadcast packet",
            "1 test failed and may need the network; `--net host` may help",
            "demo::has_no_address: wrote \"Cannot assign requested address\"",
        ],
    );
    assert!(!run.stderr.contains("demo::sends_to_itself:"), "{}", run.stderr);
}

#[test]
fn what_the_program_of_a_failed_test_names_is_told_of() {
    if refused() {
        return;
    }
    let text = r#"
#[test]
fn looks_for_interfaces() {
    assert!(std::fs::read_dir("/sys/class/net/").is_ok_and(|all| all.count() > 0));
}

#[test]
fn starts_a_tool() {
    std::process::Command::new("demo-tool").status().unwrap();
}
"#;
    let project = Project::new(&[("src/lib.rs", text)]);
    let tools = project.directory().with_file_name("tools");
    std::fs::create_dir(&tools).unwrap();
    let tool = tools.join("demo-tool");
    std::fs::write(&tool, "#!/bin/sh\n").unwrap();
    std::fs::set_permissions(&tool, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let path = format!("{}:{}", tools.display(), std::env::var("PATH").unwrap());
    let call = || project.isotest("--lib").env("PATH", &path);
    // Run once more with them the tests pass, and no more is to be said.
    let explained = call().run();
    let file = format!("passes with `--ro {}`", tools.join("demo-tool").display());
    explained.check(100, &["it passes with `--ro /sys`", &file]);
    assert!(!explained.stderr.contains("what their programs name"), "{}", explained.stderr);
    let run = call().words("--explain-failures never").run();
    let tool = format!("tests do not see: `--ro {}` (demo)", tools.display());
    let help = "help: failed tests may need what their programs name\n";
    run.check(
        100,
        &[help, "`/sys`, which tests do not have: `--ro /sys` (demo)", "`demo-tool`", &tool],
    );
}

#[test]
fn variables_that_a_failed_test_may_miss_are_named() {
    if refused() {
        return;
    }
    let text = "#[test]\nfn reads() {\n    let is_set = std::env::var(\"A_SETTING\").is_ok();\n    assert!(is_set);\n}\n";
    let project = Project::new(&[("src/lib.rs", text)]);
    let call = || {
        let call = project.isotest("--lib").env("A_SETTING", "secret").env("B_SETTING", "2");
        call.env("SHLVL", "1").env("PWD", project.directory()).env("SHELL", "/usr/bin/fish")
    };
    let run = call().run();
    let named = "    named in the program of a failed test: A_SETTING\n    also set: ";
    run.check(100, &["do not reach tests; `--pass-env NAME`", named, "B_SETTING"]);
    for usual in ["secret", "SHLVL", "PWD", "SHELL"] {
        assert!(!run.stderr.contains(usual), "{usual}");
    }
    let run = call().words("--pass-env A_SETTING").run();
    run.check(0, &["1 passed"]);
    assert!(!run.stderr.contains("B_SETTING"), "nothing is missed");
}
