//! Completions in the shells themselves: what Tab makes of a line on which cargo is typed.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use isotest_tests::project::PASSING;
use isotest_tests::{Call, Project, missing, unavailable};

/// A line that is typed, with Tab where it is pressed, and what appears.
type Typed = (&'static str, &'static str);

/// Completions that hold with and without cargo's own. No completed text is typed.
const LINES: [Typed; 6] = [
    ("cargo isotest doc\t", "doctor"),
    ("cargo isotest --pro\t\t", "--propagation"),
    ("cargo isotest name --pro\t\t", "--propagation"),
    ("cargo +stable isotest --net l\t", "loopback"),
    ("cargo isotest show-config --sch\t", "--schema"),
    ("cargo-isotest exec --net l\t", "loopback"),
];

/// Cargo itself, as its own completions have it.
const OF_CARGO: Typed = ("cargo buil\t", "build");

/// Kills the line that is typed.
const KILL: &[u8] = b"\x15";

/// A directory with the completions for a shell.
fn project(shell: &str) -> Project {
    let project = Project::new(&[PASSING]);
    let run = project.isotest(&format!("completions {shell}")).run();
    run.check(0, &[]);
    let file = if shell == "zsh" { "_cargo-isotest" } else { "completions" };
    fs::write(project.directory().join(file), &run.stdout).expect("it is writable");
    project
}

/// A file of the toolchain, as rustup installs them; `None` is told of.
fn of_toolchain(path: &str) -> Option<PathBuf> {
    let sysroot = Command::new("rustc").args(["--print", "sysroot"]).output().expect("rustc runs");
    let sysroot = String::from_utf8(sysroot.stdout).expect("a path");
    let file = Path::new(sysroot.trim()).join(path);
    if !file.exists() {
        unavailable(&format!("the toolchain has no `{path}`"));
        return None;
    }
    Some(file)
}

/// Types lines at an interactive shell that has read `start`.
fn check(project: &Project, shell: &str, start: &str, lines: &[Typed]) {
    fs::write(project.directory().join("start"), start).expect("it is writable");
    for (typed, appears) in lines {
        let call = Call::new(shell.split(' ').next().expect("a word"), project.directory());
        let options = shell.split_once(' ').map_or("", |(_, options)| options);
        let shell = call.words(options).env("TERM", "dumb").typed_at().start();
        shell.press(b". ./start && printf 'rea%s\\n' dy\n");
        shell.wait_for("ready");
        shell.press(KILL);
        shell.press(typed.as_bytes());
        shell.wait_for(appears);
    }
}

const BASH: &str = "bash --norc --noprofile -i";
const BASH_COMPLETION: &str = "/usr/share/bash-completion/bash_completion";

#[test]
fn bash_completes_what_is_typed_behind_cargo_isotest() {
    if missing("bash") {
        return;
    }
    check(&project("bash"), BASH, ". ./completions", &LINES);
}

#[test]
fn bash_has_cargos_own_completions_besides() {
    if missing("bash") || missing(BASH_COMPLETION) {
        return;
    }
    let Some(cargos) = of_toolchain("etc/bash_completion.d/cargo") else { return };
    let project = project("bash");
    let lines = [&LINES[..], &[OF_CARGO]].concat();
    // Read before, and found by bash-completion once cargo is first completed.
    let cargos = cargos.display();
    check(&project, BASH, &format!(". {BASH_COMPLETION}\n. {cargos}\n. ./completions"), &lines);
    let found = project.directory().join("data/bash-completion/completions");
    fs::create_dir_all(&found).expect("it is writable");
    fs::write(found.join("cargo"), format!(". {cargos}\n")).expect("it is writable");
    let start = format!("XDG_DATA_HOME=$PWD/data\n. {BASH_COMPLETION}\n. ./completions");
    check(&project, BASH, &start, &lines);
}

const ZSH: &str = "zsh -f -i";
const COMPINIT: &str = "autoload -U compinit && compinit -u -D";

#[test]
fn zsh_completes_what_is_typed_behind_cargo_isotest() {
    if missing("zsh") {
        return;
    }
    let project = project("zsh");
    check(&project, ZSH, &format!("fpath=($PWD $fpath)\n{COMPINIT}"), &LINES);
    check(&project, ZSH, &format!("{COMPINIT}\n. ./_cargo-isotest"), &LINES[..2]);
}

#[test]
fn zsh_has_cargos_own_completions_besides() {
    if missing("zsh") {
        return;
    }
    let Some(cargos) = of_toolchain("share/zsh/site-functions") else { return };
    let lines = [&LINES[..], &[OF_CARGO]].concat();
    let start = format!("fpath=($PWD {} $fpath)\n{COMPINIT}", cargos.display());
    check(&project("zsh"), ZSH, &start, &lines);
}

/// Fish is asked for what Tab would show: it has a command for that.
#[test]
fn fish_completes_what_is_typed_behind_cargo_isotest() {
    if missing("fish") {
        return;
    }
    let project = project("fish");
    let installed = project.directory().join("config/fish/conf.d");
    fs::create_dir_all(&installed).expect("it is writable");
    let script = project.directory().join("completions");
    fs::rename(script, installed.join("cargo-isotest.fish")).expect("it is writable");
    // Its own completions of cargo are loaded when cargo is first completed.
    for (typed, appears) in [&LINES[..], &[OF_CARGO]].concat() {
        let call = Call::new("fish", project.directory()).arg("-c");
        let call = call.arg(format!("complete -C '{}'", typed.trim_end()));
        let call = call.env("XDG_CONFIG_HOME", project.directory().join("config"));
        let run = call.env("XDG_DATA_HOME", project.directory().join("data")).run();
        let found = run.stdout.lines().any(|line| line.split('\t').next() == Some(appears));
        assert!(found, "`{typed}`");
    }
}
