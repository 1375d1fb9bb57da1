//! Labs: what the cases of a warden share with each other and not with the host.

use std::ffi::{CString, OsStr};
use std::io::{PipeReader, PipeWriter, Read, pipe};
use std::os::fd::AsFd;
use std::path::Path;
use std::sync::Arc;

use isotest_core::host::Host;
use isotest_core::plan::{
    self, Access, CommandSpec, Exposure, Plan, Project, SandboxSpec, StartBy,
};
use isotest_core::policy::{Directory, Namespace, Net, Policy, User, Workspace};
use isotest_core::sandbox::{End, Notice, Start, Warden};
use isotest_tests::refused;
use tempfile::TempDir;

const COMPANION: &str = env!("CARGO_BIN_EXE_companion");

/// A layer that may be a lab's, and the things that companions have in common then.
struct Shared {
    things: &'static [&'static str],
    share: fn(&mut Policy),
}

const SHARED: [Shared; 6] = [
    Shared { things: &["port", "abstract-socket"], share: |policy| policy.net = Net::Lab },
    Shared {
        things: &["shm", "queue", "shared-memory"],
        share: |policy| policy.ipc = Namespace::Lab,
    },
    Shared { things: &["process"], share: |policy| policy.pid = Namespace::Lab },
    Shared { things: &["tmp", "var-tmp", "run"], share: |policy| policy.tmp = Directory::Lab },
    Shared { things: &["home"], share: |policy| policy.home = Directory::Lab },
    Shared { things: &["workspace"], share: |policy| policy.workspace = Workspace::Lab },
];

/// A policy with the lab's value in all layers but those of this place among [`SHARED`].
fn sharing_all_but(private: Option<usize>) -> Policy {
    let mut policy = Policy::default();
    for (_, shared) in SHARED.iter().enumerate().filter(|(place, _)| Some(*place) != private) {
        (shared.share)(&mut policy);
    }
    policy
}

/// Directories of a host that cases see.
struct Places {
    home: TempDir,
    workspace: TempDir,
}

impl Places {
    fn new() -> Places {
        // Not below the sandbox's own /tmp.
        let make = || TempDir::new_in(env!("CARGO_TARGET_TMPDIR")).expect("it is writable");
        Places { home: make(), workspace: make() }
    }

    fn project(&self) -> Project {
        let exposure = |path: &Path, directory, access| Exposure {
            path: path.canonicalize().expect("it is there"),
            directory,
            access,
            what: "for the test".to_owned(),
            propagation: Default::default(),
        };
        Project {
            exposures: vec![
                exposure(self.workspace.path(), true, Access::Workspace),
                exposure(Path::new(COMPANION), false, Access::ReadOnly),
            ],
            home: Some(self.home.path().canonicalize().expect("it is there")),
            ..Project::default()
        }
    }
}

/// A warden with a lab.
struct Lab {
    host: Host,
    project: Project,
    policy: Policy,
    warden: Warden,
    started: u64,
}

/// A case in flight.
struct Running {
    case: u64,
    stdin: Option<PipeWriter>,
    stdout: PipeReader,
}

impl Lab {
    fn new(places: &Places, policy: Policy) -> Lab {
        let host = Host::read(Path::new("/")).expect("the machine can be looked at");
        let project = places.project();
        let mut warden = Warden::start(&host, &policy).expect("a warden starts");
        let template = plan::template(&host, &project, &policy);
        warden.build(&template, None).expect("the template and the lab are made");
        Lab { host, project, policy, warden, started: 0 }
    }

    fn spec(&self, words: &[&str], start_by: StartBy) -> Arc<SandboxSpec> {
        let text = |text: &OsStr| CString::new(text.as_encoded_bytes()).expect("no NUL byte");
        let [workspace, program] = self.project.exposures.as_slice() else { panic!("two are") };
        let home = self.project.home.as_ref().expect("it is set");
        let words = words.iter().map(|word| text(word.as_ref()));
        let command = CommandSpec {
            program: text(program.path.as_os_str()),
            arguments: [text(program.path.as_os_str())].into_iter().chain(words).collect(),
            environment: vec![text(format!("HOME={}", home.display()).as_ref())],
            directory: text(workspace.path.as_os_str()),
            start_by,
        };
        Arc::new(plan::sandbox_spec(&self.host, &self.project, &self.policy, command))
    }

    fn start(&mut self, spec: &Arc<SandboxSpec>) -> Running {
        let (stdin, ours) = pipe().expect("a pipe can be made");
        let (stdout, theirs) = pipe().expect("a pipe can be made");
        self.started += 1;
        let start = Start::of(&Plan::of(Arc::clone(spec)), self.started);
        let stderr = std::io::stderr();
        let stdio = [stdin.as_fd(), theirs.as_fd(), stderr.as_fd()];
        self.warden.spawn(spec, start, &stdio).expect("the warden listens");
        Running { case: self.started, stdin: Some(ours), stdout }
    }

    /// The end of a case, and what is left of its output.
    fn end(&mut self, mut running: Running) -> (End, String) {
        drop(running.stdin.take());
        let mut text = String::new();
        running.stdout.read_to_string(&mut text).expect("it is text");
        loop {
            match self.warden.notice(true) {
                Some(Notice::Ended(end, _)) if end.case == running.case => return (end, text),
                Some(Notice::Ended(..)) => {}
                other => panic!("the warden has ended: {other:?}"),
            }
        }
    }

    #[track_caller]
    fn run(&mut self, words: &[&str]) -> String {
        let spec = self.spec(words, StartBy::Exec("one command"));
        let running = self.start(&spec);
        let (end, text) = self.end(running);
        assert!(end.fault.is_none() && end.status == 0, "{words:?}: {end:?}");
        text
    }

    /// A case that has made a thing, and keeps it.
    #[track_caller]
    fn make(&mut self, thing: &str) -> Running {
        let spec = self.spec(&["make", thing], StartBy::Exec("one command"));
        let mut running = self.start(&spec);
        let mut text = [0; 5];
        let read = running.stdout.read_exact(&mut text);
        if read.is_err() {
            panic!("no {thing} is made: {:?}", self.end(running));
        }
        assert_eq!(&text, b"made\n");
        running
    }

    /// True if a case finds a thing while another one has it.
    #[track_caller]
    fn meets(&mut self, thing: &str) -> bool {
        let maker = self.make(thing);
        let found = self.run(&["find", thing]);
        let (end, _) = self.end(maker);
        assert!(end.fault.is_none() && end.status == 0, "{thing}: {end:?}");
        found == "met\n"
    }
}

#[test]
fn companions_share_what_a_layer_of_a_lab_holds_and_nothing_else() {
    if refused() {
        return;
    }
    let places = Places::new();
    for user in [User::Same, User::Root, User::Nobody] {
        for (place, shared) in SHARED.iter().enumerate() {
            let mut alone = Policy { user, ..Policy::default() };
            (shared.share)(&mut alone);
            let mut lab = Lab::new(&places, alone);
            let mut others = Lab::new(&places, Policy { user, ..sharing_all_but(Some(place)) });
            for thing in shared.things {
                assert!(lab.meets(thing), "{user:?}: companions do not share `{thing}`");
                assert!(!others.meets(thing), "{user:?}: `{thing}` is shared without its layer");
            }
        }
    }
}
