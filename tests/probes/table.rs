//! The table: one row of data a probe.
//!
//! A row says what is attempted, what must happen, and from which test or advisory of a peer it
//! comes. `payload` names the attempt of the payload program; the rest says how the judge sets the
//! scene.

#![allow(missing_docs, reason = "the fields are the columns")]

mod rows;

pub use rows::{FILES, IPC, KERNEL, MOUNTS, NETWORK, PRIVILEGE, PROCESSES, TERMINAL};

/// Sandbox and options of an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Setting {
    /// The defaults of the sandbox.
    Default,
    /// isotest `--guard strict`; bwrap has no such choice.
    Strict,
    /// The payload is uid 0 with all capabilities inside: isotest `--user root`, bwrap `--uid 0
    /// --cap-add ALL`.
    Root,
    /// isotest `--init reaper`; bwrap always has one.
    Reaper,
    /// Files written to the project leave the sandbox: isotest `--write-back '**'`, bwrap `--bind`.
    WriteBack,
}

/// Acts of the judge beside planting.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scene {
    /// Nothing.
    Plain,
    /// The sandbox is started with descriptors open: `/`, a socket, a handle of a process.
    Descriptors,
    /// The sandbox is started with `/` as its standard input.
    DirectoryAsInput,
    /// … which is opened with O_PATH.
    PathAsInput,
    /// The sandbox is started with a signal ignored, another blocked, umask 0.
    State,
    /// The sandbox is started with a controlling terminal.
    Terminal,
    /// … which is its standard input, output and error, too.
    TerminalAsInput,
    /// A name that is shown is replaced all the while by a link to what is not.
    Race,
    /// Once the payload is ready, the judge opens files that it may watch.
    Touch,
    /// Once the payload is ready, a directory of the project becomes a link to a path that is not
    /// shown.
    Swap,
    /// Once the payload is ready, the sandbox's own process is killed.
    Kill,
    /// Once the payload is ready, a filesystem is mounted below the project. Takes root.
    HostMount,
    /// Before the sandbox starts filesystems are mounted below the read-only tree and the project,
    /// and a socket on a file in each. Takes root.
    Submount,
    /// The sandbox is started as a member of a group that a file is denied to. Takes root.
    Groups,
    /// The home directory's name leads through a link in the project to what is not shown.
    LinkedHome,
    /// Once the payload is ready, the host's mounts are read.
    LookAtMounts,
    /// Once the payload is ready, cargo's credentials appear.
    LateCredentials,
    /// Cargo's home lies in the project.
    CargoHomeInside,
}

/// Required result without a sandbox.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Without {
    /// It gets through: else the probe is none.
    Escapes,
    /// It gets through as root; an ordinary user is refused, or may be.
    EscapesAsRoot,
    /// It gets through with this capability, of capability.h.
    EscapesWith(u8),
    /// It does not get through, for this reason.
    Holds(&'static str),
}

/// One row.
#[derive(Debug, Clone, Copy)]
pub struct Probe {
    pub name: &'static str,
    pub payload: &'static str,
    pub attempt: &'static str,
    pub must: &'static str,
    pub source: &'static str,
    pub setting: Setting,
    pub scene: Scene,
    pub without: Without,
}

/// A row under default settings, in the order of the columns. The payload's name is the row's
/// where it is not said otherwise.
const fn probe(
    name: &'static str,
    attempt: &'static str,
    must: &'static str,
    source: &'static str,
) -> Probe {
    Probe {
        name,
        payload: name,
        attempt,
        must,
        source,
        setting: Setting::Default,
        scene: Scene::Plain,
        without: Without::Escapes,
    }
}

impl Probe {
    const fn payload(self, payload: &'static str) -> Probe {
        Probe { payload, ..self }
    }

    const fn setting(self, setting: Setting) -> Probe {
        Probe { setting, ..self }
    }

    const fn scene(self, scene: Scene) -> Probe {
        Probe { scene, ..self }
    }

    const fn without(self, without: Without) -> Probe {
        Probe { without, ..self }
    }

    const fn as_root(self) -> Probe {
        self.without(Without::EscapesAsRoot)
    }

    /// True if only root can prepare the scene.
    pub fn takes_root(&self) -> bool {
        matches!(self.scene, Scene::HostMount | Scene::Submount | Scene::Groups)
    }
}

/// Every topic with its rows.
pub const TOPICS: [(&str, &[Probe]); 8] = [
    ("files", FILES),
    ("mounts", MOUNTS),
    ("kernel", KERNEL),
    ("processes", PROCESSES),
    ("network", NETWORK),
    ("ipc", IPC),
    ("privilege", PRIVILEGE),
    ("terminal", TERMINAL),
];
