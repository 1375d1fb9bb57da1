//! The commit that is checked out.

use std::path::{Component, Path};

use isotest_core::untrusted;

/// More than any of git's small files has.
const MOST: u64 = 4 << 20;

/// The id of the commit that is checked out where `directory` lies; none where that is no
/// repository, or has no commit (gitrepository-layout(5)).
///
/// Tests can read the record, so no other text of the host becomes an id, wherever `HEAD` leads.
pub fn commit(directory: &Path) -> Option<String> {
    head(directory).filter(|text| {
        [40, 64].contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_hexdigit())
    })
}

fn head(directory: &Path) -> Option<String> {
    let git = directory.ancestors().map(|above| above.join(".git")).find(|git| git.exists())?;
    let git = match read(&git) {
        // A worktree, or a submodule.
        Some(text) => directory.join(git.parent()?.join(text.strip_prefix("gitdir: ")?)),
        None => git,
    };
    let head = read(&git.join("HEAD"))?;
    let Some(name) = head.strip_prefix("ref: ") else {
        return Some(head);
    };
    let is_plain = |part| matches!(part, Component::Normal(_));
    if !name.starts_with("refs/") || !Path::new(name).components().all(is_plain) {
        return None;
    }
    let common = read(&git.join("commondir")).map(|common| git.join(common));
    let places = [Some(git), common];
    let mut places = places.iter().flatten();
    places.find_map(|place| read(&place.join(name)).or_else(|| packed(place, name)))
}

/// The commit of a reference among the packed ones.
fn packed(git: &Path, name: &str) -> Option<String> {
    let packed = read(&git.join("packed-refs"))?;
    let mut pairs = packed.lines().filter_map(|line| line.split_once(' '));
    pairs.find(|(_, packed)| *packed == name).map(|(commit, _)| commit.to_owned())
}

/// The text of a small file, without white space around it.
fn read(path: &Path) -> Option<String> {
    let bytes = untrusted::bounded(untrusted::file(path).ok()?, MOST).ok()?;
    Some(String::from_utf8(bytes).ok()?.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::process::Command;

    use super::*;

    #[test]
    fn the_commit_is_that_of_git_also_in_a_worktree_and_packed() {
        let place = tempfile::tempdir().expect("a directory");
        let git = |directory: &Path, arguments: &[&str]| {
            let mut git = Command::new("git");
            git.current_dir(directory).env_clear().env("PATH", std::env::var_os("PATH").unwrap());
            git.args(["-c", "user.name=a", "-c", "user.email=a@b"]).args(arguments);
            let output = git.output().expect("there is git");
            assert!(output.status.success(), "{output:?}");
            String::from_utf8(output.stdout).expect("text").trim().to_owned()
        };
        let main = place.path().join("main");
        fs::create_dir_all(main.join("a/b")).expect("it is writable");
        assert_eq!(commit(&main), None);
        git(&main, &["init", "-q"]);
        assert_eq!(commit(&main), None);
        git(&main, &["commit", "-q", "--allow-empty", "-m", "one"]);
        let one = git(&main, &["rev-parse", "HEAD"]);
        assert_eq!(commit(&main.join("a/b")), Some(one.clone()));
        git(&main, &["worktree", "add", "-q", "../other"]);
        assert_eq!(commit(&place.path().join("other")), Some(one.clone()));
        git(&main, &["pack-refs", "--all"]);
        assert_eq!(commit(&main), Some(one.clone()));
        assert_eq!(commit(&place.path().join("other")), Some(one.clone()));
        let secret = place.path().join("secret");
        fs::write(&secret, "a token").expect("it is writable");
        for text in
            [format!("ref: {}", secret.display()), "ref: refs/../../../secret".into(), "x".into()]
        {
            fs::write(main.join(".git/HEAD"), text).expect("it is writable");
            assert_eq!(commit(&main), None);
        }
        fs::write(main.join(".git/HEAD"), &one).expect("it is writable");
        assert_eq!(commit(&main), Some(one));
    }
}
