//! Programs that tests do not see: what has to be shown so that they work.
//!
//! A script may start another program that lies elsewhere, as the shims of pyenv and rbenv do: to
//! show it alone is not enough. Only the beginning of the file is read, and no link is followed but
//! that of the program itself.

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};

use isotest_core::plan::{Visible, normalised};
use isotest_core::untrusted;

use super::path_words::paths;

/// Maximum bytes of a script that are read.
const SCRIPT: u64 = 8 << 10;

/// What has to be shown for a program to work: the program, or the directory that it belongs to.
/// `None` where neither is enough, or that is not known.
pub fn enough(program: &Path, visible: &Visible) -> Option<PathBuf> {
    let real = program.canonicalize().ok()?;
    let Some(script) = script(&real)? else { return Some(program.to_owned()) };
    enough_for_script(program, &script, &|path| visible.hides(path))
}

/// The beginning of a script; `Some(None)` for another kind of program.
fn script(program: &Path) -> Option<Option<String>> {
    let mut bytes = Vec::new();
    untrusted::file(program).ok()?.take(SCRIPT).read_to_end(&mut bytes).ok()?;
    Some(bytes.starts_with(b"#!").then(|| String::from_utf8_lossy(&bytes).into_owned()))
}

/// The same for a script with this text.
fn enough_for_script(
    program: &Path,
    text: &str,
    is_hidden: &dyn Fn(&Path) -> bool,
) -> Option<PathBuf> {
    // `#!` stands before the first of them.
    let text = text.strip_prefix("#!").unwrap_or(text);
    let named: Vec<PathBuf> = paths(text)
        .filter_map(|path| normalised(Path::new(path)))
        .filter(|path| is_hidden(path) && fs::symlink_metadata(path).is_ok())
        .collect();
    if named.is_empty() {
        return Some(program.to_owned());
    }
    let is_root = |path: &&PathBuf| {
        path.is_dir() && program.starts_with(path) && named.iter().all(|it| it.starts_with(path))
    };
    named.iter().find(is_root).cloned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_script_needs_the_directory_that_holds_all_that_it_names() {
        let directory = tempfile::tempdir().expect("a directory");
        let at = |path: &str| directory.path().canonicalize().expect("it is there").join(path);
        for made in ["root/shims", "root/libexec", "elsewhere"] {
            fs::create_dir_all(at(made)).expect("made");
        }
        for made in ["root/shims/python", "root/libexec/pyenv", "elsewhere/tool"] {
            fs::write(at(made), "").expect("written");
        }
        let program = at("root/shims/python");
        let enough = |text: &str| {
            let text = text.replace('@', at("").to_str().expect("text").trim_end_matches('/'));
            enough_for_script(&program, &text, &|path| path.starts_with(at("")))
        };
        assert_eq!(enough("#!/bin/sh\nexec /usr/bin/python3\n"), Some(program.clone()));
        assert_eq!(enough("#!/bin/sh\nexec @/root/none\n"), Some(program.clone()));
        let shim = "#!/bin/sh\nexport ROOT=\"@/root\"\nexec \"@/root/libexec/pyenv\" exec\n";
        assert_eq!(enough(shim), Some(at("root")));
        // It names no directory that holds both.
        assert_eq!(enough("#!/bin/sh\nexec @/root/libexec/pyenv\n"), None);
        assert_eq!(enough("#!@/elsewhere/tool\n"), None);
        assert_eq!(enough("#!/bin/sh\nROOT=@/root\nexec @/elsewhere/tool\n"), None);
    }

    #[test]
    fn another_kind_of_program_is_enough_for_itself() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("program");
        fs::write(&path, b"\x7fELF").expect("written");
        assert_eq!(script(&path), Some(None));
        fs::write(&path, b"#!/bin/sh\n").expect("written");
        assert_eq!(script(&path), Some(Some("#!/bin/sh\n".to_owned())));
        assert_eq!(script(directory.path()), None);
    }
}
