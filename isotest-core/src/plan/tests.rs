//! Plans for machines that are not there: the steps are walked on paper, each must find what it
//! needs, and what a test would see in the end is asked of the result.

use std::collections::BTreeSet;
use std::ffi::{CStr, CString, OsStr};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use super::steps::{Op, Step};
use super::{
    Access, CommandSpec, Exposure, Project, SandboxSpec, ScratchMount, StartBy, Template,
    sandbox_spec, upper_layers, watched,
};
use crate::host::{Content, Host, Piece, TopLevel};
use crate::policy::{
    Directory, Guard, LayerWrites, Namespace, Net, Policy, Propagation, Root, Scratch, StoredLayer,
    User, Uts, Weakened, Workspace,
};

fn template(host: &Host, project: &Project, policy: &Policy) -> Vec<Step> {
    super::template(host, project, policy).steps
}

/// View of a path from inside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Seen {
    /// It is not there.
    Nothing,
    /// In a filesystem of the case's own.
    Fresh,
    /// The host's, and writes are thrown away.
    Overlay,
    /// The host's, and writes fail.
    ReadOnly,
    /// The host's, and writes reach it.
    Writable,
    /// Of a kernel filesystem.
    Kernel,
}

/// Content of a filesystem on paper.
#[derive(Debug, Clone)]
enum Filesystem {
    /// Every path that a test of this file speaks of.
    Host,
    /// Only files that were made in it.
    Tmpfs,
    /// Files that were made in it, and the content of these places.
    Overlay(Vec<Place>),
    /// Anything.
    Kernel,
}

/// A path in a filesystem.
type Place = (usize, PathBuf);

#[derive(Debug, Clone)]
struct Mount {
    target: PathBuf,
    shows: Place,
    read_only: bool,
}

/// A machine on paper.
#[derive(Debug, Clone)]
struct Paper {
    filesystems: Vec<Filesystem>,
    /// In the order of mounting: of those that lead to a path the last one counts.
    mounts: Vec<Mount>,
    made: BTreeSet<Place>,
    host: BTreeSet<PathBuf>,
    /// Root of the paths in the steps.
    root: PathBuf,
}

fn path_of(text: &CStr) -> PathBuf {
    PathBuf::from(OsStr::from_bytes(text.to_bytes()))
}

impl Paper {
    /// A host with these paths and all that leads to them.
    fn new(host: &[&str]) -> Paper {
        let all = host.iter().flat_map(|path| Path::new(path).ancestors().map(Path::to_owned));
        let root = Mount { target: "/old".into(), shows: (0, "/".into()), read_only: false };
        Paper {
            filesystems: vec![Filesystem::Host],
            mounts: vec![root],
            made: BTreeSet::new(),
            host: all.collect(),
            root: "/".into(),
        }
    }

    fn at(&self, path: &CStr) -> PathBuf {
        self.root.join(path_of(path).strip_prefix("/").expect("paths are absolute"))
    }

    fn mount_of(&self, path: &Path) -> Option<&Mount> {
        self.mounts.iter().rev().find(|mount| path.starts_with(&mount.target))
    }

    fn place(&self, path: &Path) -> Option<Place> {
        let mount = self.mount_of(path)?;
        let rest = path.strip_prefix(&mount.target).expect("the mount leads to it");
        let (filesystem, base) = &mount.shows;
        // Joining nothing would add a slash.
        let inner = if rest.as_os_str().is_empty() { base.clone() } else { base.join(rest) };
        Some((*filesystem, inner))
    }

    fn holds(&self, place: &Place) -> bool {
        let (filesystem, path) = place;
        let made = path == Path::new("/") || self.made.contains(place);
        match &self.filesystems[*filesystem] {
            Filesystem::Host => self.host.contains(path),
            Filesystem::Tmpfs => made,
            Filesystem::Kernel => true,
            Filesystem::Overlay(layers) => {
                let rest = path.strip_prefix("/").expect("places are absolute");
                made || layers.iter().any(|(lower, base)| self.holds(&(*lower, base.join(rest))))
            }
        }
    }

    fn exists(&self, path: &Path) -> bool {
        self.place(path).is_some_and(|place| self.holds(&place))
    }

    fn make(&mut self, path: &Path) -> Result<(), String> {
        if self.exists(path) {
            return Ok(());
        }
        let parent = path.parent().ok_or("no parent")?;
        if !self.exists(parent) {
            return Err(format!("`{}` is not there", parent.display()));
        }
        let place = self.place(path).ok_or("it is in no filesystem")?;
        let read_only = self.mount_of(path).is_some_and(|mount| mount.read_only);
        match self.filesystems[place.0] {
            Filesystem::Host => return Err("it would be made on the host".to_owned()),
            _ if read_only => return Err("it is read-only there".to_owned()),
            _ => self.made.insert(place),
        };
        Ok(())
    }

    fn make_new(&mut self, path: &Path) -> Result<(), String> {
        let exists = self.exists(path);
        if exists { Err("it exists".to_owned()) } else { self.make(path) }
    }

    fn mount(
        &mut self,
        target: &Path,
        filesystem: Filesystem,
        read_only: bool,
    ) -> Result<(), String> {
        self.must_exist(target)?;
        self.filesystems.push(filesystem);
        let shows = (self.filesystems.len() - 1, PathBuf::from("/"));
        self.mounts.push(Mount { target: target.to_owned(), shows, read_only });
        Ok(())
    }

    fn bind(&mut self, source: &Path, target: &Path, recursive: bool) -> Result<(), String> {
        self.must_exist(source)?;
        self.must_exist(target)?;
        let shows = self.place(source).ok_or("it is in no filesystem")?;
        let read_only = self.mount_of(source).is_some_and(|mount| mount.read_only);
        let mut new = vec![Mount { target: target.to_owned(), shows, read_only }];
        let below =
            self.mounts.iter().filter(|mount| recursive && mount.target.starts_with(source));
        new.extend(below.filter(|mount| mount.target != source).map(|mount| {
            let rest = mount.target.strip_prefix(source).expect("it is below");
            Mount { target: target.join(rest), ..mount.clone() }
        }));
        self.mounts.extend(new);
        Ok(())
    }

    fn must_exist(&self, path: &Path) -> Result<(), String> {
        self.exists(path).then_some(()).ok_or_else(|| format!("`{}` is not there", path.display()))
    }

    fn perform(&mut self, op: &Op) -> Result<(), String> {
        match op {
            Op::MakeDirectory { path, .. } | Op::Whiteout { path } => self.make(&self.at(path)),
            Op::CreateFile { path, .. } | Op::MakeSymlink { path, .. } => {
                self.make_new(&self.at(path))
            }
            Op::Fill { path, pieces, .. } => {
                let at = self.at(path);
                pieces.iter().try_for_each(|piece| self.make_new(&at.join(&piece.path)))
            }
            Op::Write { path, .. } => self.must_exist(&self.at(path)),
            Op::ChangeDirectory { path } if path.as_bytes() != b"/" => {
                self.must_exist(&self.at(path))
            }
            Op::Mount { fstype, target, flags, options } => {
                let layers =
                    |list: &str| list.split(':').map(|lower| self.root.join(&lower[1..])).collect();
                let lower = options.as_ref().and_then(|options| {
                    let text = options.to_str().expect("options are text");
                    text.split(',').find_map(|option| option.strip_prefix("lowerdir=")).map(layers)
                });
                let filesystem = match (fstype.to_bytes(), lower) {
                    (b"tmpfs", None) => Filesystem::Tmpfs,
                    (b"overlay", Some(lower)) => self.overlay(lower)?,
                    _ => Filesystem::Kernel,
                };
                let read_only = flags & libc::MS_RDONLY != 0;
                self.mount(&self.at(target), filesystem, read_only)
            }
            Op::AttachScratch { target } => self.mount(&self.at(target), Filesystem::Tmpfs, false),
            Op::Bind { source, target, recursive }
            | Op::BindExact { source, target, recursive } => {
                self.bind(&self.at(source), &self.at(target), *recursive)
            }
            Op::Attributes { path, recursive, set, .. } => {
                let path = self.at(path);
                let mount = |mount: &&mut Mount| {
                    mount.target == path || (*recursive && mount.target.starts_with(&path))
                };
                let read_only = set & libc::MOUNT_ATTR_RDONLY != 0;
                let mut found = self.mounts.iter_mut().filter(mount).peekable();
                found.peek().ok_or("nothing is mounted there")?;
                found.for_each(|mount| mount.read_only |= read_only);
                Ok(())
            }
            Op::Detach { path } => {
                let path = self.at(path);
                self.mounts.retain(|mount| !mount.target.starts_with(&path));
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn overlay(&self, lower: Vec<PathBuf>) -> Result<Filesystem, String> {
        let places = lower.iter().map(|path| {
            self.must_exist(path)?;
            self.place(path).ok_or_else(|| "it is in no filesystem".to_owned())
        });
        Ok(Filesystem::Overlay(places.collect::<Result<_, _>>()?))
    }

    fn walk(&mut self, steps: &[Step]) {
        for (index, step) in steps.iter().enumerate() {
            if let Err(cause) = self.perform(&step.op) {
                panic!("step {index}, {}: {cause}", step.op);
            }
        }
    }

    fn seen(&self, path: &str) -> Seen {
        let path = Path::new("/new").join(&path[1..]);
        let (Some(place), Some(mount)) = (self.place(&path), self.mount_of(&path)) else {
            return Seen::Nothing;
        };
        match &self.filesystems[place.0] {
            _ if !self.holds(&place) => Seen::Nothing,
            Filesystem::Host if mount.read_only => Seen::ReadOnly,
            Filesystem::Host => Seen::Writable,
            Filesystem::Overlay(_) if mount.read_only => Seen::ReadOnly,
            Filesystem::Overlay(_) => Seen::Overlay,
            Filesystem::Tmpfs if mount.read_only => Seen::ReadOnly,
            Filesystem::Tmpfs => Seen::Fresh,
            Filesystem::Kernel => Seen::Kernel,
        }
    }
}

/// A machine like many, and a project of it.
struct Scene {
    host: Host,
    project: Project,
    policy: Policy,
    /// Paths that exist on the host.
    paths: Vec<&'static str>,
}

impl Scene {
    fn new(home: &str, project: &'static str, target: &'static str) -> Scene {
        let directory = |path: &str, access, what: &str| Exposure {
            path: path.into(),
            directory: true,
            access,
            what: what.to_owned(),
            propagation: Propagation::Private,
        };
        let host = Host {
            uid: 1000,
            gid: 1000,
            uid_map: "1000 1000 1\n".to_owned(),
            gid_map: "1000 1000 1\n".to_owned(),
            top_level: vec![
                TopLevel::Directory("usr".to_owned()),
                TopLevel::Link("bin".to_owned(), "usr/bin".into()),
            ],
            hidden_etc: vec!["shadow".into(), "ssh/key".into()],
            devices: vec!["null".to_owned()],
            ..Host::default()
        };
        let project = Project {
            exposures: vec![
                directory(project, Access::Workspace, "the project"),
                directory(target, Access::Workspace, "the target directory"),
            ],
            home: Some(home.into()),
            ..Project::default()
        };
        let paths = vec![
            "/usr/bin",
            "/etc/ssh/key",
            "/etc/shadow",
            "/etc/hosts",
            "/etc/hostname",
            "/etc/machine-id",
            "/etc/resolv.conf",
            "/etc/localtime",
            "/dev/null",
            "/proc",
            "/tmp",
            "/var/tmp",
            "/run",
        ];
        Scene { host, project, policy: Policy::default(), paths }
    }

    fn expose(mut self, path: &'static str, access: Access) -> Scene {
        self.project.exposures.push(Exposure {
            path: path.into(),
            directory: true,
            access,
            what: "asked for".to_owned(),
            propagation: self.policy.propagation,
        });
        self
    }

    fn policy(mut self, change: impl FnOnce(&mut Policy)) -> Scene {
        change(&mut self.policy);
        self
    }

    /// Paths that exist, beside the exposed ones.
    fn with(mut self, paths: &[&'static str]) -> Scene {
        self.paths.extend(paths);
        self
    }

    fn spec(&self) -> SandboxSpec {
        self.setup_of(c"/bin/true")
    }

    fn setup_of(&self, program: &CStr) -> SandboxSpec {
        let command = CommandSpec {
            program: program.to_owned(),
            arguments: Vec::new(),
            environment: Vec::new(),
            start_by: StartBy::ForkServer,
            directory: c"/".to_owned(),
        };
        sandbox_spec(&self.host, &self.project, &self.policy, command)
    }

    /// Walks all steps of a case that the warden starts; what it would see then.
    fn walk(&self) -> Paper {
        let mut paper = self.walk_template();
        paper.walk(&self.spec().steps);
        paper
    }

    /// The same of a case that a fork server starts, behind the server's own.
    fn walk_served(&self) -> Paper {
        let mut paper = self.walk_template();
        paper.walk(&self.spec().server);
        paper.walk(&self.spec().steps);
        paper
    }

    fn walk_template(&self) -> Paper {
        let mut paper = Paper::new(&self.paths);
        let exposed = self.project.exposures.iter().map(|exposure| exposure.path.as_path());
        let known = exposed.chain(self.project.home.as_deref());
        let known = known.chain(self.project.scratch.as_deref());
        paper.host.extend(known.flat_map(Path::ancestors).map(Path::to_owned));
        let template = template(&self.host, &self.project, &self.policy);
        // Until both roots are in reach there is nothing to find.
        let pivot = template.iter().position(|step| matches!(step.op, Op::PivotRoot { .. }));
        let pivot = pivot.expect("the root is left");
        paper.filesystems.push(Filesystem::Tmpfs);
        paper.made.insert((1, "/new".into()));
        paper
            .mounts
            .insert(0, Mount { target: "/".into(), shows: (1, "/".into()), read_only: false });
        let end = template.iter().rposition(|step| matches!(step.op, Op::PivotRoot { .. }));
        let (inside, entered) = (end.expect("the root is entered"), template.len());
        paper.walk(&template[pivot + 1..inside - 1]);
        paper.root = "/new".into();
        let root = template[inside..entered]
            .iter()
            .filter(|step| matches!(step.op, Op::Attributes { .. }));
        paper.walk(&root.cloned().collect::<Vec<_>>());
        paper.walk(&self.template().lab);
        paper
    }

    fn template(&self) -> Template {
        super::template(&self.host, &self.project, &self.policy)
    }

    fn walk_lab_again(&self) -> Paper {
        let mut lab = self.walk_template();
        lab.walk(&self.template().lab_again);
        lab
    }

    /// Walks the steps of two cases of a warden, one after the other, in a lab that has been made anew.
    fn walk_twice(&self) -> [Paper; 2] {
        let lab = self.walk_lab_again();
        let mut first = lab.clone();
        first.walk(&self.spec().steps);
        // What is in the scratch of the first is not in that of the second.
        let of_lab = |place: &&Place| place.0 < lab.filesystems.len();
        let mut second = lab.clone();
        second.made.extend(first.made.iter().filter(of_lab).cloned());
        second.walk(&self.spec().steps);
        [first, second]
    }

    /// Walks all steps and compares what a test would see.
    #[track_caller]
    fn check(&self, expected: &[(&str, Seen)]) {
        for paper in [self.walk(), self.walk_served()] {
            let found: Vec<_> =
                expected.iter().map(|(path, _)| (*path, paper.seen(path))).collect();
            assert_eq!(found, expected);
        }
    }
}

const HOME: &str = "/home/u";

/// A project in the home directory, with its target directory in it.
fn usual() -> Scene {
    Scene::new(HOME, "/home/u/p", "/home/u/p/target").with(&[
        "/home/u/p/src",
        "/home/u/.ssh",
        "/srv/other",
    ])
}

#[test]
fn a_project_in_the_home_directory_is_all_that_is_seen_of_it() {
    usual().check(&[
        ("/home/u/p/src", Seen::Overlay),
        ("/home/u/p/target", Seen::Overlay),
        ("/home/u", Seen::Fresh),
        ("/home/u/.ssh", Seen::Nothing),
        ("/srv/other", Seen::Nothing),
        ("/usr/bin", Seen::ReadOnly),
        ("/etc/hosts", Seen::ReadOnly),
        ("/tmp", Seen::Fresh),
        ("/var/tmp", Seen::Fresh),
        ("/run", Seen::Fresh),
        ("/dev/shm", Seen::Fresh),
        ("/dev/null", Seen::Writable),
        ("/proc/self", Seen::Kernel),
    ]);
}

#[test]
fn a_project_outside_of_the_home_directory_is_seen_at_its_path() {
    let scene = Scene::new(HOME, "/repos/a/p", "/repos/a/p/target").with(&["/repos/a/other"]);
    scene.check(&[
        ("/repos/a/p", Seen::Overlay),
        ("/repos/a/other", Seen::Nothing),
        ("/home/u", Seen::Fresh),
    ]);
}

#[test]
fn a_project_below_tmp_is_all_that_is_seen_of_it() {
    let scene =
        Scene::new(HOME, "/tmp/x/p", "/tmp/x/p/target").with(&["/tmp/other", "/tmp/x/p/src"]);
    scene.check(&[
        ("/tmp/x/p/src", Seen::Overlay),
        ("/tmp/x", Seen::Fresh),
        ("/tmp", Seen::Fresh),
        ("/tmp/other", Seen::Nothing),
        ("/tmp/.isotest", Seen::Nothing),
        ("/tmp/.isotest/empty", Seen::Nothing),
        ("/tmp/.isotest/l0", Seen::Nothing),
    ]);
}

/// Its own mounts lie beside the staging directory, which its cases need.
#[test]
fn a_fork_server_has_its_program_below_tmp() {
    let served = |project: &'static str, tmp| {
        let program = CString::new(format!("{project}/target/it")).expect("no NUL");
        let scene = Scene::new(HOME, project, project).policy(|policy| policy.tmp = tmp);
        let mut paper = scene.walk_template();
        let spec = scene.setup_of(&program);
        paper.walk(&spec.server);
        paper.host.insert(path_of(&program));
        let sees = paper.exists(&paper.at(&program));
        assert_eq!(sees, spec.start_by == StartBy::ForkServer, "{project}: {:?}", spec.start_by);
        sees
    };
    for tmp in [Directory::Fresh, Directory::Host] {
        for project in ["/tmp/p", "/tmp/s", "/tmp/l0", "/tmp/home/u/p", "/var/tmp/p", "/run/p"] {
            assert!(served(project, tmp), "{project}");
        }
        for project in ["/tmp", "/tmp/.isotest", "/tmp/.isotest/p"] {
            assert!(!served(project, tmp), "{project}");
        }
    }
}

#[test]
fn a_target_directory_may_lie_elsewhere() {
    let scene = Scene::new(HOME, "/home/u/p", "/var/cache/target");
    scene.check(&[
        ("/home/u/p", Seen::Overlay),
        ("/var/cache/target", Seen::Overlay),
        ("/var/cache", Seen::ReadOnly),
    ]);
}

#[test]
fn a_target_directory_may_lie_below_tmp_and_the_project_not() {
    let scene = Scene::new(HOME, "/home/u/p", "/tmp/target");
    scene.check(&[
        ("/home/u/p", Seen::Overlay),
        ("/tmp/target", Seen::Overlay),
        ("/tmp", Seen::Fresh),
    ]);
}

#[test]
fn cargos_home_in_the_project_is_read_only_there() {
    let scene = usual().expose("/home/u/p/.cargo", Access::ReadOnly);
    scene.check(&[("/home/u/p/.cargo", Seen::ReadOnly), ("/home/u/p/src", Seen::Overlay)]);
}

#[test]
fn cargos_home_in_the_home_directory_is_read_only() {
    let scene = usual().expose("/home/u/.cargo", Access::ReadOnly);
    scene.check(&[("/home/u/.cargo", Seen::ReadOnly), ("/home/u", Seen::Fresh)]);
}

/// The project is what it is, so nothing of a home directory that is the project is hidden.
#[test]
fn the_project_may_be_the_home_directory() {
    let scene = Scene::new(HOME, HOME, "/home/u/target").with(&["/home/u/src"]);
    scene.check(&[
        ("/home/u/src", Seen::Overlay),
        ("/home/u", Seen::Overlay),
        ("/home", Seen::ReadOnly),
    ]);
}

#[test]
fn the_home_directory_may_lie_in_the_project() {
    let scene = Scene::new("/p/home", "/p", "/p/target").with(&["/p/home/file", "/p/src"]);
    scene.check(&[
        ("/p/home", Seen::Fresh),
        ("/p/home/file", Seen::Nothing),
        ("/p/src", Seen::Overlay),
    ]);
}

#[test]
fn the_home_directory_may_lie_in_a_project_below_tmp() {
    let scene = Scene::new("/tmp/p/home", "/tmp/p", "/tmp/p/target")
        .with(&["/tmp/p/home/file", "/tmp/p/src"]);
    let scene = scene.expose("/tmp/p/home/.cargo", Access::ReadOnly);
    scene.check(&[
        ("/tmp/p/home", Seen::Fresh),
        ("/tmp/p/home/file", Seen::Nothing),
        ("/tmp/p/home/.cargo", Seen::ReadOnly),
        ("/tmp/p/src", Seen::Overlay),
        ("/tmp", Seen::Fresh),
    ]);
}

#[test]
fn the_home_directory_may_lie_below_tmp() {
    let scene =
        Scene::new("/tmp/home", "/tmp/home/p", "/tmp/home/p/target").with(&["/tmp/home/file"]);
    scene.check(&[
        ("/tmp/home", Seen::Fresh),
        ("/tmp/home/file", Seen::Nothing),
        ("/tmp/home/p", Seen::Overlay),
    ]);
}

#[test]
fn the_hosts_tmp_is_shown_where_that_is_asked_for() {
    let scene =
        usual().policy(|policy| policy.tmp = Directory::Host).with(&["/tmp/file", "/run/file"]);
    scene.check(&[
        ("/tmp/file", Seen::Writable),
        ("/run/file", Seen::Writable),
        ("/var/tmp", Seen::Writable),
        ("/home/u", Seen::Fresh),
    ]);
}

#[test]
fn a_project_below_the_hosts_tmp_is_an_overlay_all_the_same() {
    let scene = Scene::new(HOME, "/tmp/p", "/tmp/p/target").with(&["/tmp/file"]);
    let scene = scene.policy(|policy| policy.tmp = Directory::Host);
    scene.check(&[("/tmp/p", Seen::Overlay), ("/tmp/file", Seen::Writable)]);
}

#[test]
fn the_hosts_home_is_shown_where_that_is_asked_for() {
    let scene = usual().policy(|policy| policy.home = Directory::Host);
    scene.check(&[("/home/u/.ssh", Seen::Writable), ("/home/u/p/src", Seen::Overlay)]);
}

#[test]
fn a_read_only_workspace_is_read_only() {
    for change in [
        |policy: &mut Policy| policy.workspace = Workspace::Readonly,
        |policy: &mut Policy| policy.guard = Guard::Strict,
    ] {
        let scene = usual().policy(change);
        scene.check(&[("/home/u/p/src", Seen::ReadOnly), ("/home/u/p/target", Seen::ReadOnly)]);
    }
}

#[test]
fn a_shared_workspace_is_writable() {
    let scene = usual().policy(|policy| policy.workspace = Workspace::Shared);
    scene.check(&[("/home/u/p/src", Seen::Writable), ("/home/u", Seen::Fresh)]);
}

#[test]
fn paths_that_are_asked_for_are_shown() {
    let scene =
        usual().expose("/srv/data", Access::ReadOnly).expose("/srv/other", Access::ReadWrite);
    scene.check(&[
        ("/srv/data", Seen::ReadOnly),
        ("/srv/other", Seen::Writable),
        ("/srv", Seen::ReadOnly),
    ]);
}

/// Two flags: the template has a layer that hides this file; it covers one.
fn hidden(scene: &Scene, file: &str) -> (bool, bool) {
    let template = template(&scene.host, &scene.project, &scene.policy);
    let hides = |op: &Op| match op {
        Op::Whiteout { path } => path.to_string_lossy().ends_with(file),
        _ => false,
    };
    let covers = |op: &Op| match op {
        Op::Bind { source, target, .. } => {
            source.to_string_lossy().ends_with("/empty") && target.to_string_lossy().ends_with(file)
        }
        _ => false,
    };
    let any = |is: &dyn Fn(&Op) -> bool| template.iter().any(|step| is(&step.op));
    (any(&hides), any(&covers))
}

#[test]
fn a_secret_is_absent_where_a_layer_can_hide_it_and_covered_elsewhere() {
    const FILE: &str = ".cargo/credentials.toml";
    let mut scene = usual().expose("/home/u/.cargo", Access::ReadOnly);
    scene.project.secrets = vec!["/home/u/.cargo/credentials.toml".into()];
    assert_eq!(hidden(&scene, "/credentials.toml"), (true, false), "also one that is not there");
    scene.project.masked = scene.project.secrets.clone();
    assert_eq!(hidden(&scene, "/credentials.toml"), (true, false));
    scene.host.mount_points = vec!["/home/u/.cargo".into()];
    scene.host.no_layers = scene.host.mount_points.clone();
    scene = scene.with(&["/home/u/.cargo/credentials.toml"]);
    assert_eq!(hidden(&scene, "/credentials.toml"), (false, true));
    let mut system = usual();
    system.project.secrets = vec![Path::new("/usr/local").join(FILE)];
    system.project.masked = system.project.secrets.clone();
    assert_eq!(hidden(&system, FILE), (true, false));
}

#[test]
fn what_lies_beneath_the_project_is_an_overlay_where_a_case_could_look_there() {
    let lower = |scene: &Scene| {
        let template = template(&scene.host, &scene.project, &scene.policy);
        let is = |op: &Op| match op {
            Op::Mount { fstype, target, .. } => {
                fstype.as_c_str() == c"overlay" && target.as_c_str() == c"/new/tmp/.isotest/l0"
            }
            _ => false,
        };
        template.iter().any(|step| is(&step.op))
    };
    let mut root = usual().policy(|policy| policy.user = User::Root);
    assert!(!lower(&root), "an ordinary user's may have a sandbox in it, with one more overlay");
    root.host.settings = vec!["/proc/sys".into()];
    assert!(lower(&root) && !lower(&usual()));
    root.host.mount_points = vec!["/home".into()];
    root.host.overlays = root.host.mount_points.clone();
    assert!(!lower(&root), "no third overlay lies on two");
    let mut inside = usual();
    inside.project.secrets = vec!["/home/u/p/.cargo/credentials.toml".into()];
    assert!(lower(&inside));
}

#[test]
fn with_mounts_below_etc_it_is_made_of_what_everybody_may_read() {
    let mut scene = usual();
    scene.host.mount_points = vec!["/etc/hosts".into(), "/etc/resolv.conf".into()];
    let piece = |path: &str, content| Piece { path: path.into(), content };
    let readable = [
        piece("hosts", Content::File(0o644, b"127.0.0.1 localhost".to_vec())),
        piece("large", Content::LargeFile),
        piece("ssh", Content::Directory(0o755)),
        piece("ssh/config", Content::File(0o644, b"Host *".to_vec())),
    ];
    scene.host.etc = Some(readable.into());
    let scene = scene.with(&["/etc/large", "/etc/redis/redis.conf"]);
    scene.check(&[
        ("/etc/hosts", Seen::ReadOnly),
        ("/etc/hostname", Seen::ReadOnly),
        ("/etc/large", Seen::ReadOnly),
        ("/etc/ssh/config", Seen::ReadOnly),
        ("/etc/ssh/key", Seen::Nothing),
        ("/etc/shadow", Seen::Nothing),
        ("/etc/redis", Seen::Nothing),
    ]);
    let paper = scene.walk();
    let of_host = |file: &str| {
        let shown = paper.place(Path::new(file)).expect("it is in a filesystem");
        matches!(paper.filesystems[shown.0], Filesystem::Host)
    };
    assert!(of_host("/new/etc/large") && !of_host("/new/etc/ssh") && !of_host("/new/etc/hosts"));
}

#[test]
fn a_mount_below_the_project_is_an_overlay_of_its_own() {
    let mut scene = usual().expose("/home/u/p/data", Access::Workspace);
    scene.host.mount_points = vec!["/home/u/p/data".into()];
    scene.check(&[("/home/u/p/data", Seen::Overlay), ("/home/u/p/src", Seen::Overlay)]);
}

#[test]
fn scratch_may_lie_on_disk() {
    let mut scene = usual().policy(|policy| policy.scratch = Scratch::Disk);
    scene.project.scratch = Some("/home/u/p/target/isotest/scratch/1".into());
    scene.check(&[("/tmp", Seen::Fresh), ("/home/u/p/src", Seen::Overlay)]);
    let spec = scene.spec();
    assert_eq!(spec.scratch, ScratchMount::Disk);
    assert!(spec.steps.iter().any(|step| matches!(step.op, Op::AttachScratch { .. })));
    let template = template(&scene.host, &scene.project, &scene.policy);
    let scratch = c"/old/home/u/p/target/isotest/scratch/1";
    let shows = |op: &Op| matches!(op, Op::Bind { source, .. } if source.as_c_str() == scratch);
    assert!(!template.iter().any(|step| shows(&step.op)), "the parent is never shown");
}

/// A layer that is stored in the target directory, at a path of its own.
fn stored(at: &str, writes: LayerWrites) -> Scene {
    let layer = "/home/u/p/target/isotest/layers/k/layer";
    let stored = StoredLayer {
        name: "data".to_owned(),
        source: layer.into(),
        at: at.into(),
        mode: 0o700,
        writes,
    };
    let scene = usual().policy(|policy| policy.stored = vec![stored]);
    scene.with(&["/home/u/p/target/isotest/layers/k/layer/file"])
}

#[test]
fn a_stored_layer_is_below_a_throwaway_one_with_its_mode() {
    for at in ["/srv/data", "/tmp/a/data", "/home/u/data", "/var/lib/data", "/data"] {
        let file = format!("{at}/file");
        let scene = stored(at, LayerWrites::Discarded);
        scene.check(&[(&file, Seen::Overlay), ("/home/u/p/src", Seen::Overlay)]);
        stored(at, LayerWrites::Kept).check(&[(&file, Seen::Writable)]);
        let modes = scene.spec().steps.into_iter().filter_map(|step| match step.op {
            Op::MakeDirectory { path, mode } => Some((path, mode)),
            _ => None,
        });
        let mut upper = modes.filter(|(path, _)| path.to_bytes().starts_with(b"/tmp/.isotest/s/u"));
        assert!(upper.any(|(_, mode)| mode == 0o700), "{at}");
    }
}

#[test]
fn what_a_case_writes_to_a_stored_layer_is_a_change_and_no_finding() {
    let Scene { host, project, policy, .. } = stored("/srv/data", LayerWrites::Discarded);
    let watched = watched(&host, &project, &policy);
    let covers = |layers: &[(PathBuf, PathBuf)]| {
        layers.iter().any(|(_, covered)| covered == Path::new("/srv/data"))
    };
    assert!(covers(&watched.layers) && watched.ordinary.contains(&"/srv/data".into()));
    let source = watched.sources[Path::new("/srv/data")].as_path();
    assert_eq!(source, Path::new("/home/u/p/target/isotest/layers/k/layer"));
    assert!(!covers(&upper_layers(&host, &project, &policy)), "nothing of it is written back");
}

/// Every scene, for rules that hold in all of them.
fn scenes() -> Vec<Scene> {
    let with = |change: fn(&mut Policy)| usual().policy(change);
    vec![
        usual(),
        Scene::new(HOME, "/tmp/x/p", "/tmp/x/p/target"),
        Scene::new(HOME, HOME, "/home/u/target"),
        Scene::new(HOME, "/repos/p", "/tmp/target"),
        with(|policy| policy.user = User::Nobody),
        with(|policy| policy.net = Net::Host),
        with(|policy| policy.guard = Guard::Strict),
        with(|policy| policy.home = Directory::Host),
    ]
}

/// Position of the first step of a kind.
fn position(steps: &[Step], fits: impl Fn(&Op) -> bool) -> Option<usize> {
    steps.iter().position(|step| fits(&step.op))
}

#[test]
fn capabilities_go_last() {
    for scene in scenes() {
        let steps = scene.spec().steps;
        assert_eq!(steps.last().map(|step| &step.op), Some(&Op::DropCapabilities));
    }
}

#[test]
fn ids_are_mapped_first() {
    for scene in scenes() {
        let steps = scene.spec().steps;
        let mapped = position(
            &steps,
            |op| matches!(op, Op::Write { path, .. } if path.as_c_str() == c"/proc/self/gid_map"),
        );
        let other = position(&steps, |op| !matches!(op, Op::Write { .. } | Op::AwaitIdMaps));
        assert!(mapped < other, "{steps:#?}");
    }
}

#[test]
fn the_stage_is_covered_by_the_last_mount() {
    for scene in scenes() {
        let steps = scene.spec().steps;
        let last = steps.iter().rev().find(|step| {
            matches!(step.op, Op::Mount { .. } | Op::Bind { .. } | Op::AttachScratch { .. })
        });
        let covers =
            |op: &Op| matches!(op, Op::Bind { target, .. } if target.as_c_str() == c"/tmp");
        assert!(last.is_some_and(|step| covers(&step.op)), "{last:?}");
    }
}

#[test]
fn mounts_are_private_before_anything_else() {
    for scene in scenes() {
        let template = template(&scene.host, &scene.project, &scene.policy);
        let first = &template.first().expect("there are steps").op;
        let Op::Attributes { path, recursive: true, propagation, .. } = first else {
            panic!("{first:?}")
        };
        assert_eq!((path.as_c_str(), *propagation), (c"/", libc::MS_PRIVATE));
    }
}

/// Exposures with this propagation: one path that stays where it is, one that waits in the stage,
/// and one of a system directory.
fn added(propagation: Propagation) -> Scene {
    let scene = usual().policy(|policy| policy.propagation = propagation);
    let scene = scene.expose("/srv/other", Access::ReadOnly).expose("/tmp/a", Access::ReadWrite);
    scene.expose("/usr/share", Access::ReadOnly)
}

/// The propagation that steps give to a path, the last one.
fn propagation_of(steps: &[Step], wanted: &CStr) -> Option<u64> {
    let mut given = steps.iter().filter_map(|step| match &step.op {
        Op::Attributes { path, propagation, .. } if path.as_c_str() == wanted => Some(*propagation),
        _ => None,
    });
    given.next_back()
}

#[test]
fn a_path_that_receives_mounts_keeps_its_master() {
    let scene = added(Propagation::Slave);
    let template = template(&scene.host, &scene.project, &scene.policy);
    let Op::Attributes { path, propagation, .. } = &template[0].op else { panic!("{template:?}") };
    assert_eq!((path.as_c_str(), *propagation), (c"/", libc::MS_SLAVE));
    for path in [c"/new/srv/other", c"/new/usr/share"] {
        assert_eq!(propagation_of(&template, path), Some(libc::MS_SLAVE), "{path:?}");
    }
    assert_eq!(propagation_of(&template, c"/new"), Some(libc::MS_PRIVATE));
    let private = position(
        &template,
        |op| matches!(op, Op::Attributes { path, .. } if path.as_c_str() == c"/new"),
    );
    let asked_for =
        |op: &Op| matches!(op, Op::BindExact { target, .. } if **target == *c"/new/srv/other");
    let exact = position(&template, asked_for);
    assert!(private < exact, "what is bound later is left alone");
}

#[test]
fn an_unbindable_path_is_made_so_behind_the_last_bind() {
    let scene = added(Propagation::Unbindable);
    let steps = scene.spec().steps;
    let last = steps.iter().rposition(|step| matches!(step.op, Op::Bind { .. }));
    let rest = &steps[last.expect("there are binds")..];
    for path in [c"/srv/other", c"/tmp/a", c"/usr/share"] {
        assert_eq!(propagation_of(rest, path), Some(libc::MS_UNBINDABLE), "{path:?}");
    }
    let template = template(&scene.host, &scene.project, &scene.policy);
    assert_ne!(propagation_of(&template, c"/new/srv/other"), Some(libc::MS_UNBINDABLE));
    let free = position(&steps, |op| matches!(op, Op::DropCapabilities));
    assert_eq!(free, Some(steps.len() - 1));
}

#[test]
fn what_is_asked_for_is_seen_with_every_propagation() {
    for propagation in [Propagation::Private, Propagation::Slave, Propagation::Unbindable] {
        added(propagation).check(&[
            ("/srv/other", Seen::ReadOnly),
            ("/tmp/a", Seen::Writable),
            ("/usr/share", Seen::ReadOnly),
            ("/usr/bin", Seen::ReadOnly),
        ]);
    }
}

#[test]
fn loopback_has_ipv6_where_the_kernel_has() {
    let has_step = |has_ipv6| {
        let mut scene = usual();
        scene.host.has_ipv6 = has_ipv6;
        position(&scene.spec().steps, |op| *op == Op::LoopbackIpv6).is_some()
    };
    assert!(has_step(true) && !has_step(false));
}

#[test]
fn the_host_name_stands_in_every_hosts_file() {
    let hosts = |net, uts: Uts, hosts: Option<&str>| {
        let mut scene = usual().policy(|policy| {
            policy.net = net;
            policy.uts = uts;
        });
        scene.host.name = "machine".to_owned();
        scene.host.hosts = hosts.map(str::to_owned);
        let steps = template(&scene.host, &scene.project, &scene.policy);
        let text = steps.iter().find_map(|step| match &step.op {
            Op::CreateFile { path, data, .. } if path.to_bytes().ends_with(b"/etc/hosts") => {
                Some(String::from_utf8(data.clone()).unwrap())
            }
            _ => None,
        });
        text.unwrap_or_default()
    };
    let named = || Uts::Name("isotest".to_owned());
    assert!(hosts(Net::Loopback, named(), None).contains("127.0.0.1 localhost isotest\n"));
    assert!(hosts(Net::Loopback, Uts::Host, None).contains("127.0.0.1 localhost machine\n"));
    let added = "192.0.2.7 db\n127.0.0.1 isotest\n::1 isotest\n";
    assert_eq!(hosts(Net::Host, named(), Some("192.0.2.7 db")), added);
    assert_eq!(hosts(Net::Host, named(), Some("192.0.2.7 db\n")), added);
    assert_eq!(hosts(Net::Host, named(), None), "");
    assert_eq!(hosts(Net::Host, Uts::Host, Some("192.0.2.7 db\n")), "");
}

/// With the `/proc` of the host, sysctls may be read-only, and a test may not miss more than it has
/// to: it has a network of its own all the same.
#[test]
fn without_a_proc_of_its_own_a_case_writes_no_sysctl() {
    let shared = |policy: &mut Policy| {
        policy.pid = Namespace::Host;
        policy.weakened.push(Weakened::Pid);
    };
    let steps = usual().policy(shared).spec().steps;
    assert!(position(&steps, |op| matches!(op, Op::LoopbackUp)).is_some());
    let sysctl = |op: &Op| match op {
        Op::Write { path, .. } => path.to_bytes().starts_with(b"/proc/sys/"),
        _ => false,
    };
    assert!(position(&steps, sysctl).is_none(), "{steps:#?}");
    assert!(position(&usual().spec().steps, sysctl).is_some());
}

#[test]
fn the_hosts_root_is_detached_before_a_case_exists() {
    for scene in scenes() {
        let template = template(&scene.host, &scene.project, &scene.policy);
        let pivot = template.iter().rposition(|step| matches!(step.op, Op::PivotRoot { .. }));
        let rest = &template[pivot.expect("the root is entered")..];
        assert!(position(rest, |op| matches!(op, Op::Detach { .. })).is_some());
        assert!(
            position(rest, |op| matches!(op, Op::Bind { .. })).is_none(),
            "nothing is bound then"
        );
    }
}

#[test]
fn every_lower_layer_waits_in_the_staging_directory() {
    for scene in scenes() {
        for step in scene.spec().steps {
            let Op::Mount { fstype, options: Some(options), .. } = step.op else { continue };
            if fstype.as_c_str() == c"overlay" {
                let text = options.to_str().expect("options are text");
                assert!(text.starts_with("lowerdir=/tmp/"), "{text}");
                assert!(text.contains(",userxattr"), "without it rmdir and mkdir fail: {text}");
            }
        }
    }
}

#[test]
fn every_step_has_a_reason() {
    for scene in scenes() {
        let template = template(&scene.host, &scene.project, &scene.policy);
        let all = template.into_iter().chain(scene.spec().steps);
        assert!(all.into_iter().all(|step| !step.reason.is_empty()));
    }
}

/// The steps that write id maps, and the maps that the warden writes.
fn maps(host_uid: u32, ranges: bool, user: User) -> (Vec<String>, Option<String>) {
    let mut scene = usual().policy(|policy| policy.user = user);
    scene.host.uid = host_uid;
    scene.host.gid = host_uid;
    scene.host.maps_ranges = ranges;
    if ranges {
        scene.host.uid_map = "0 0 4294967295\n".to_owned();
        scene.host.gid_map = scene.host.uid_map.clone();
    }
    let spec = scene.spec();
    let written = spec.steps.iter().filter_map(|step| match &step.op {
        Op::Write { path, data } if path.to_bytes().ends_with(b"_map") => {
            Some(String::from_utf8_lossy(data).trim_end().to_owned())
        }
        _ => None,
    });
    let of_warden = spec.id_maps.map(|(uids, _)| String::from_utf8_lossy(&uids).into_owned());
    (written.collect(), of_warden)
}

#[test]
fn an_ordinary_users_ids_are_mapped_by_the_case_itself() {
    let map = |line: &str| (vec![line.to_owned(); 2], None);
    assert_eq!(maps(1000, false, User::Same), map("1000 1000 1"));
    assert_eq!(maps(1000, false, User::Root), map("0 1000 1"));
    assert_eq!(maps(1000, false, User::Nobody), map("65534 1000 1"));
}

#[test]
fn roots_ranges_are_mapped_by_the_warden() {
    let ranges = (Vec::new(), Some("0 0 4294967295\n".to_owned()));
    assert_eq!(maps(0, true, User::Same), ranges);
    assert_eq!(maps(0, true, User::Root), ranges);
    // A fork server has not the capability that a map of uid 0 takes.
    assert_eq!(maps(0, true, User::Nobody), (Vec::new(), Some("65534 0 1\n".to_owned())));
}

#[test]
fn root_inside_keeps_its_capabilities() {
    let scene = usual().policy(|policy| policy.user = User::Root);
    assert_eq!(position(&scene.spec().steps, |op| *op == Op::DropCapabilities), None);
}

/// True if the inodes that a case sees at a path are an overlay's.
fn is_overlay(scene: &Scene, path: &str) -> bool {
    let paper = scene.walk();
    let place = paper.place(&Path::new("/new").join(&path[1..])).expect("it is there");
    matches!(paper.filesystems[place.0], Filesystem::Overlay(_))
}

#[test]
fn what_is_read_only_is_an_overlay_where_there_can_be_one() {
    let mut scene = usual().expose("/srv/data", Access::ReadOnly);
    assert!(is_overlay(&scene, "/usr/bin") && is_overlay(&scene, "/srv/data"));
    scene.host.mount_points = vec!["/".into(), "/srv".into(), "/usr/local".into()];
    scene.host.no_layers = vec!["/srv".into()];
    assert!(!is_overlay(&scene, "/usr/bin"), "an overlay would not show what is mounted below");
    assert!(!is_overlay(&scene, "/srv/data"), "the kernel would refuse it");
}

/// Two flags: the list of keys is covered; a whole proc is there for nested sandboxes.
fn keys(scene: &Scene) -> (bool, bool) {
    let covers = |op: &Op| matches!(op, Op::Bind { target, .. } if **target == *c"/proc/keys");
    let shows =
        |op: &Op| matches!(op, Op::Bind { target, .. } if **target == *c"/new/tmp/.isotest/proc");
    let template = template(&scene.host, &scene.project, &scene.policy);
    let covered = position(&scene.spec().steps, covers).is_some();
    (covered, position(&template, shows).is_some())
}

#[test]
fn keys_are_covered_and_nested_sandboxes_mount_proc_all_the_same() {
    let mut scene = usual();
    scene.host.keys = vec!["/proc/keys".into()];
    assert_eq!(keys(&scene), (true, true));
    scene.host.settings = vec!["/proc/irq".into()];
    assert_eq!(keys(&scene), (true, false), "the superuser's would be writable");
    scene.host.settings.clear();
    scene.policy.user = User::Root;
    assert_eq!(keys(&scene), (false, false), "with capabilities it could take the cover away");
}

#[test]
fn a_case_with_the_superusers_id_and_capabilities_is_sealed_after_the_covers() {
    let mut scene = usual().policy(|policy| policy.user = User::Root);
    let enters = |op: &Op| matches!(op, Op::EnterUserNamespace { .. });
    assert!(!scene.spec().sealed && position(&scene.spec().steps, enters).is_none());
    (scene.host.uid, scene.host.gid) = (0, 0);
    scene.host.settings = vec!["/proc/irq".into()];
    let spec = scene.spec();
    let covers = |op: &Op| matches!(op, Op::Bind { target, .. } if **target == *c"/proc/irq");
    assert!(spec.sealed && spec.id_maps.is_some());
    assert!(position(&spec.steps, covers) < position(&spec.steps, enters));
    assert_eq!(position(&spec.steps, |op| *op == Op::AwaitIdMaps), None);
}

#[test]
fn namespaces_are_those_of_the_policy() {
    let flags = |change: fn(&mut Policy)| usual().policy(change).spec().namespaces;
    let all = flags(|_| {});
    let kinds = [
        libc::CLONE_NEWUSER,
        libc::CLONE_NEWPID,
        libc::CLONE_NEWNS,
        libc::CLONE_NEWNET,
        libc::CLONE_NEWIPC,
        libc::CLONE_NEWUTS,
    ];
    assert_eq!(all, kinds.iter().fold(0, |all, kind| all | *kind as u64));
    let without = |kind: i32| all & !(kind as u64);
    assert_eq!(flags(|policy| policy.net = Net::Host), without(libc::CLONE_NEWNET));
    assert_eq!(flags(|policy| policy.pid = Namespace::Host), without(libc::CLONE_NEWPID));
    assert_eq!(flags(|policy| policy.ipc = Namespace::Host), without(libc::CLONE_NEWIPC));
}

/// The usual project in another root filesystem, of which the machine on paper knows a little.
fn elsewhere() -> Scene {
    let mut scene = usual().policy(|policy| policy.root = Root::Directory("/srv/other".into()));
    scene.host.top_level.clear();
    scene.host.hidden_dev = vec!["disk".into(), "null".into(), "pts".into()];
    scene.with(&[
        "/srv/other/bin/sh",
        "/srv/other/var/lib/dpkg",
        "/srv/other/etc/release",
        "/srv/other/etc/shadow",
        "/srv/other/dev/disk",
    ])
}

#[test]
fn another_root_filesystem_is_seen_as_a_whole() {
    elsewhere().check(&[
        ("/bin/sh", Seen::ReadOnly),
        ("/var/lib/dpkg", Seen::ReadOnly),
        ("/etc/release", Seen::ReadOnly),
        ("/usr/bin", Seen::Nothing),
        ("/srv/other", Seen::Nothing),
        ("/home/u/p/src", Seen::Overlay),
        ("/home/u/p/target", Seen::Overlay),
        ("/home/u", Seen::Fresh),
        ("/tmp", Seen::Fresh),
        ("/var/tmp", Seen::Fresh),
        ("/run", Seen::Fresh),
        ("/dev/null", Seen::Writable),
        ("/dev/shm", Seen::Fresh),
        ("/proc/self", Seen::Kernel),
    ]);
}

#[test]
fn a_toolchain_below_a_system_directory_is_seen_in_another_root_filesystem() {
    let scene = elsewhere().expose("/usr/lib/rust", Access::ReadOnly);
    scene
        .with(&["/usr/lib/rust/rustc", "/usr/lib/libc.so"])
        .check(&[("/usr/lib/rust/rustc", Seen::ReadOnly), ("/usr/lib/libc.so", Seen::Nothing)]);
}

/// Later files would have to be made in the overlay.
#[test]
fn everything_is_made_before_another_root_filesystem_is_laid_below() {
    let scene = elsewhere();
    let steps = template(&scene.host, &scene.project, &scene.policy);
    let is_overlay = |step: &Step| {
        matches!(&step.op, Op::Mount { fstype, target, .. }
            if fstype.as_bytes() == b"overlay" && target.as_bytes() == b"/new")
    };
    let overlay = steps.iter().position(is_overlay).expect("it is mounted");
    assert!(steps[overlay..].iter().all(|step| !step.op.makes()));
    let hidden = |path: &CStr| {
        let whiteout = |step: &Step| matches!(&step.op, Op::Whiteout { path: p } if **p == *path);
        steps[..overlay].iter().any(whiteout)
    };
    assert!(hidden(c"/new/etc/shadow") && hidden(c"/new/dev/disk"));
    assert!(!hidden(c"/new/dev/null") && !hidden(c"/new/dev/pts"));
}

/// The lab's value of a directory, or not.
const FRESH_OR_LAB: [Directory; 2] = [Directory::Fresh, Directory::Lab];

/// A scene with the lab's values of `/tmp`, the home and the workspace, or without.
fn with_lab(scene: Scene, tmp: Directory, home: Directory, workspace: Workspace) -> Scene {
    scene.policy(|policy| {
        (policy.tmp, policy.home, policy.workspace) = (tmp, home, workspace);
    })
}

#[test]
fn cases_of_a_lab_see_one_place_and_others_one_each() {
    for tmp in FRESH_OR_LAB {
        for home in FRESH_OR_LAB {
            for workspace in [Workspace::Overlay, Workspace::Lab] {
                let scene = with_lab(usual(), tmp, home, workspace);
                let places = scene.walk_twice().map(|paper| {
                    let written = ["/tmp/a", "/var/tmp/a", "/run/a", "/home/u/a", "/home/u/p/a"];
                    let at = |path: &str| paper.place(&Path::new("/new").join(&path[1..]));
                    written.map(|path| at(path).expect("it is somewhere"))
                });
                let is_own = |place: &Place| place.1.starts_with("/lab") || place.0 > 0;
                assert!(places.iter().flatten().all(is_own), "{places:?}");
                let lab = scene.walk_lab_again().filesystems.len();
                let is_shared = places[0].clone().map(|(filesystem, _)| filesystem < lab);
                let (tmp, home) = (tmp == Directory::Lab, home == Directory::Lab);
                assert_eq!(is_shared, [tmp, tmp, tmp, home, workspace == Workspace::Lab]);
            }
        }
    }
}

#[test]
fn a_lab_has_mount_points_for_what_lies_in_its_directories() {
    for tmp in FRESH_OR_LAB {
        for home in FRESH_OR_LAB {
            for workspace in [Workspace::Overlay, Workspace::Lab] {
                let scene = Scene::new("/tmp/x/h", "/tmp/x/h/p", "/tmp/x/t")
                    .with(&["/tmp/x/h/p/src", "/tmp/x/h/.cargo", "/tmp/tool"])
                    .expose("/tmp/x/h/.cargo", Access::ReadOnly);
                let mut scene = with_lab(scene, tmp, home, workspace);
                scene.project.exposures.push(Exposure {
                    directory: false,
                    path: "/tmp/tool".into(),
                    ..scene.project.exposures[2].clone()
                });
                scene.project.links.push(("/tmp/x/l".into(), "/tmp/x/t".into()));
                for paper in scene.walk_twice() {
                    let expected = [
                        ("/tmp", Seen::Fresh),
                        ("/tmp/x/h", Seen::Fresh),
                        ("/tmp/x/h/p/src", Seen::Overlay),
                        ("/tmp/x/t", Seen::Overlay),
                        ("/tmp/x/l", Seen::Fresh),
                        ("/tmp/x/h/.cargo", Seen::ReadOnly),
                        ("/tmp/tool", Seen::ReadOnly),
                        ("/tmp/.isotest", Seen::Nothing),
                    ];
                    let found = expected.map(|(path, _)| (path, paper.seen(path)));
                    assert_eq!(found, expected, "{tmp:?}, {home:?}, {workspace:?}");
                }
            }
        }
    }
}

#[test]
fn what_is_left_in_a_lab_is_no_change_of_a_case_and_is_not_written_back() {
    let scene = usual().policy(|policy| policy.write_back.push("*".to_owned()));
    let all = |scene: &Scene| {
        let watched = watched(&scene.host, &scene.project, &scene.policy);
        let layers = upper_layers(&scene.host, &scene.project, &scene.policy);
        (watched.layers.len(), watched.fresh.len(), layers.len())
    };
    assert_eq!(all(&scene), (1, 5, 1));
    let scene = scene.policy(|policy| policy.ipc = Namespace::Lab);
    let scene = with_lab(scene, Directory::Lab, Directory::Lab, Workspace::Lab);
    assert_eq!(all(&scene), (0, 0, 0));
}

#[test]
fn namespaces_of_a_lab_are_entered_by_the_warden_and_by_no_case() {
    let scene = usual().policy(|policy| {
        (policy.pid, policy.ipc) = (Namespace::Lab, Namespace::Lab);
        (policy.net, policy.uts) = (Net::Lab, Uts::Lab("name".to_owned()));
    });
    let kinds = (libc::CLONE_NEWNET | libc::CLONE_NEWIPC | libc::CLONE_NEWUTS) as u64;
    let entered = Op::EnterNamespaces { namespaces: kinds };
    let words = "enter a new network namespace and a new IPC namespace and a new UTS namespace";
    assert_eq!(entered.to_string(), words);
    assert!(scene.template().lab.iter().any(|step| step.op == entered));
    let spec = scene.spec();
    assert_eq!(spec.namespaces & (kinds | libc::CLONE_NEWPID as u64), 0);
    assert_eq!(spec.shared_namespaces, kinds | libc::CLONE_NEWPID as u64);
    assert_eq!(spec.namespaces_of_sandbox(), usual().spec().namespaces);
    let is_of_lab = |op: &Op| matches!(op, Op::LoopbackUp | Op::HostName { .. });
    assert!(!spec.steps.iter().any(|step| is_of_lab(&step.op)));
    assert_eq!(usual().template().lab, []);
    assert_eq!(usual().template().lab_again, []);
}
