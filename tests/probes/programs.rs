//! The programs that take part, and the command lines of the sandboxes.

use std::env;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

use crate::facts::Facts;
use crate::table::{Probe, Scene, Setting};

/// Whom the suite runs against.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sandbox {
    Isotest,
    Bwrap,
    None,
}

impl Sandbox {
    pub fn parse(name: &str) -> Option<Sandbox> {
        match name {
            "isotest" => Some(Sandbox::Isotest),
            "bwrap" => Some(Sandbox::Bwrap),
            "none" => Some(Sandbox::None),
            _ => None,
        }
    }

    pub fn name(self) -> &'static str {
        match self {
            Sandbox::Isotest => "isotest",
            Sandbox::Bwrap => "bwrap",
            Sandbox::None => "none",
        }
    }
}

/// Programs under test.
pub struct Programs {
    pub isotest: PathBuf,
    /// A copy where every user can execute it, and nobody else is.
    pub payload: PathBuf,
    _directory: TempDir,
}

impl Programs {
    pub fn prepare() -> io::Result<Programs> {
        let directory =
            tempfile::Builder::new().prefix("isotest-probes-").tempdir_in("/var/tmp")?;
        fs::set_permissions(directory.path(), PermissionsExt::from_mode(0o755))?;
        let payload = directory.path().join("probe-payload");
        // For a user who cannot build: where both programs are.
        let (isotest, source) = match env::var_os("ISOTEST_PROBES_PROGRAMS").map(PathBuf::from) {
            Some(built) => (built.join("cargo-isotest"), built.join("probe-payload")),
            None => {
                let payload = PathBuf::from(env!("CARGO_BIN_EXE_probe-payload"));
                (isotest_tests::program::isotest().to_owned(), payload)
            }
        };
        fs::copy(source, &payload)?;
        Ok(Programs { isotest, payload, _directory: directory })
    }

    /// The command that runs an attempt in a sandbox.
    pub fn command(
        &self,
        sandbox: Sandbox,
        probe: &Probe,
        facts: &Facts,
        payload: &Path,
        attempt: &[&OsStr],
    ) -> Command {
        let Probe { setting, scene, .. } = *probe;
        let mut words: Vec<OsString> = match sandbox {
            Sandbox::Isotest => self.isotest_words(setting, scene, facts),
            Sandbox::Bwrap => bwrap_words(setting, scene, facts),
            Sandbox::None => [self.payload.as_os_str(), OsStr::new("--run")].map(Into::into).into(),
        };
        words.push(payload.into());
        words.extend(attempt.iter().map(OsString::from));
        let mut command = Command::new(&words[0]);
        command.args(&words[1..]);
        command
    }

    fn isotest_words(&self, setting: Setting, scene: Scene, facts: &Facts) -> Vec<OsString> {
        let mut words: Vec<OsString> = vec![self.isotest.clone().into(), "exec".into()];
        let flags: &[&str] = match setting {
            Setting::Default => &[],
            Setting::Strict => &["--guard=strict"],
            Setting::Root => &["--user=root"],
            Setting::Reaper => &["--init=reaper"],
            Setting::WriteBack => &["--write-back=**"],
        };
        words.extend(flags.iter().map(Into::into));
        let swapped = (scene == Scene::Race).then_some(&facts.swapped);
        for path in [Some(&facts.read_only), swapped].into_iter().flatten() {
            words.extend([OsString::from("--ro"), path.clone().into()]);
        }
        words.push("--".into());
        words
    }
}

/// The line that the comparison of speed uses, hardened by every flag that costs nothing.
fn bwrap_words(setting: Setting, scene: Scene, facts: &Facts) -> Vec<OsString> {
    let mut words: Vec<OsString> = [
        "bwrap",
        "--unshare-all",
        "--unshare-user",
        "--ro-bind",
        "/",
        "/",
        "--proc",
        "/proc",
        "--dev",
        "/dev",
        "--tmpfs",
        "/tmp",
        "--die-with-parent",
        "--new-session",
        "--hostname",
        "probe",
        "--clearenv",
        "--setenv",
        "PATH",
        "/usr/bin:/bin",
    ]
    .map(Into::into)
    .into();
    let flags: &[&str] = match setting {
        Setting::Root => &["--uid", "0", "--gid", "0", "--cap-add", "ALL"],
        Setting::Default | Setting::Strict | Setting::Reaper | Setting::WriteBack => {
            &["--disable-userns", "--cap-drop", "ALL"]
        }
    };
    words.extend(flags.iter().map(Into::into));
    let mut bind = |flag: &str, path: &Path| {
        words.extend([OsString::from(flag), path.into(), path.into()]);
    };
    if setting == Setting::WriteBack {
        bind("--bind", &facts.project);
    }
    if scene == Scene::Race {
        bind("--ro-bind", &facts.swapped);
    }
    words.extend([OsString::from("--chdir"), facts.project.clone().into(), "--".into()]);
    words
}

/// True if `PATH` has a program.
pub fn is_installed(name: &str) -> bool {
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path).any(|directory| directory.join(name).is_file())
}
