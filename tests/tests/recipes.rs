//! Recipes of the book, run as they stand there.

use std::fs;
use std::path::Path;
use std::process::Command;

use isotest_tests::program::{isotest, workspace};
use isotest_tests::{Project, missing, refused};

/// The commands of a section, which stand in its first block.
fn recipe(heading: &str) -> String {
    let page = fs::read_to_string(workspace().join("docs/recipes.md")).expect("it is there");
    let (_, section) = page.split_once(&format!("\n## {heading}\n")).expect("it has this section");
    let (_, block) = section.split_once("```sh\n").expect("it has a block");
    block.split("```").next().unwrap_or_default().to_owned()
}

/// Runs lines as a shell would, with this isotest.
#[track_caller]
fn sh(lines: &str, directory: &Path) {
    let program = isotest();
    let own = program.parent().expect("it lies in a directory");
    let path = std::env::var("PATH").expect("there is a PATH");
    let output = Command::new("sh")
        .args(["-ec", lines])
        .current_dir(directory)
        .env("PATH", format!("{}:{path}", own.display()))
        .env("CARGO_NET_OFFLINE", "true")
        .env_remove("GIT_DIR")
        .output()
        .expect("sh can be run");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let (out, err) = (text(&output.stdout), text(&output.stderr));
    assert!(output.status.success(), "{lines}\n{out}\n{err}");
}

const ASKS_GIT: &str = r#"
#[test]
fn asks_git() {
    let asked = std::process::Command::new("git").args(["rev-parse", "HEAD"]).output().unwrap();
    assert!(asked.status.success(), "{}", String::from_utf8_lossy(&asked.stderr));
}
"#;

#[test]
fn a_repository_above_the_workspace_and_a_worktree_of_it_are_seen() {
    if refused() || missing("git") {
        return;
    }
    let project = Project::new(&[("src/lib.rs", ASKS_GIT)]);
    let above = project.directory().parent().expect("it lies in a temporary directory");
    let identity = "git config user.email a@example.org && git config user.name a";
    let commit = "echo target > .gitignore && git add -A && git commit -qm first";
    sh(&format!("git init -q . && {identity} && {commit} && git worktree add -q other"), above);
    let recipe = recipe("A test that asks git");
    for workspace in [above.join("project"), above.join("other/project")] {
        sh(&recipe, &workspace);
    }
}
