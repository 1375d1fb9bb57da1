//! Evidence of why a test fails here: what the trace of a failing run looked for in vain that is
//! there outside, and the change that gives it.
//!
//! Pure: what is outside is asked of [`Outside`], with the few paths that the case has named. A path
//! that may be that of a secret is no evidence.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use isotest_core::trace::{Act, Endpoint, Existence, Surrounding, Trace};

use super::variants::Change;

/// Maximum number of paths of one case that are asked for outside.
pub const ASKED: usize = 512;
/// Maximum number of paths of one case that are evidence.
const NAMED: usize = 6;
/// Maximum number of sockets of one case that are evidence.
const SOCKETS: usize = 3;
/// Port of name servers.
const DNS: u16 = 53;

/// Something that a case looked for and does not have.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Need {
    /// The change that gives it.
    pub change: Change,
    /// It, for the report.
    pub what: String,
    /// What the case asked for of it.
    pub asked: Vec<String>,
    /// Whether it is given to a failed test unasked.
    pub given: Given,
}

impl Need {
    fn of(change: Change, what: &str, given: Given) -> Need {
        Need { change, what: what.to_owned(), asked: Vec::new(), given }
    }
}

/// Whether something is given to failed tests that are run once more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Given {
    /// It can only be read, and everybody may.
    Unasked,
    /// With `--explain-failures always`.
    IfAsked,
}

/// Something outside, at a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Found {
    /// A regular file.
    File {
        /// Everybody may read it.
        is_public: bool,
        /// Somebody may execute it.
        is_program: bool,
    },
    /// A directory.
    Directory,
    /// A device.
    Device,
    /// A socket.
    Socket,
    /// Something that is not named: it may be a secret, or nobody may look.
    Withheld,
}

/// What a case looked for in vain and has outside.
#[derive(Debug, Default)]
pub struct Evidence {
    /// It, the safest first.
    pub needs: Vec<Need>,
    /// True if it is all: nothing is withheld, and the trace has no gaps.
    pub is_whole: bool,
}

/// Directories of sysfs(5) that the standard library and allocators look for in every test.
const OF_EVERY_TEST: [&str; 3] =
    ["/sys/devices/system/cpu", "/sys/fs/cgroup", "/sys/kernel/mm/transparent_hugepage"];

impl Evidence {
    /// Without what these changes give.
    pub fn without(mut self, changes: &BTreeSet<Change>) -> Evidence {
        self.needs.retain(|need| !changes.contains(&need.change));
        self
    }

    /// Adds what a later run shows, in which the case has what it needed before.
    pub fn add(&mut self, later: Evidence) {
        self.needs.extend(later.needs);
        self.needs.sort_by_key(|need| need.given);
        self.is_whole = later.is_whole;
    }
}

/// What is outside.
pub trait Outside {
    /// What is at a path, through links; `None` where nothing is.
    fn find(&self, path: &Path) -> Option<Found>;

    /// What has to be shown for a program to work: its file or the directory that it belongs to;
    /// `None` where that is not known.
    fn enough_for(&self, program: &Path) -> Option<PathBuf>;

    /// True if this is a directory of `PATH`.
    fn is_of_path(&self, directory: &Path) -> bool;
}

/// What the case looked for in vain and has outside.
pub fn evidence(trace: &Trace, outside: &dyn Outside) -> Evidence {
    let Evidence { mut needs, is_whole } = of_paths(trace, outside);
    needs.extend(of_sockets(trace, outside));
    needs.extend(of_network(trace));
    needs.extend(of_processes(trace, outside));
    let footprint = trace.footprint();
    if footprint.surroundings.contains(&Surrounding::HostName) {
        needs.push(Need::of(Change::Uts, "the host name", Given::IfAsked));
    }
    let mut seen = BTreeSet::new();
    needs.retain(|need| seen.insert(need.change.clone()));
    needs.sort_by_key(|need| need.given);
    Evidence { needs, is_whole: is_whole && trace.gaps.is_empty() && trace.dropped == 0 }
}

/// Paths that were missing, those first that were looked up last.
fn of_paths(trace: &Trace, outside: &dyn Outside) -> Evidence {
    let footprint = trace.footprint();
    // A program that was found in another directory is not missed.
    let found_programs: BTreeSet<&str> = trace
        .events
        .iter()
        .filter_map(|event| match &event.act {
            Act::Executed { program, found: Existence::Exists, .. } => name(program),
            _ => None,
        })
        .collect();
    let mut seen = BTreeSet::new();
    let missing = trace.events.iter().rev().filter_map(|event| match &event.act {
        Act::Executed { program: path, found: Existence::Missing, .. }
        | Act::LookedUp { path, found: Existence::Missing }
        | Act::Opened { path, found: Existence::Missing, .. } => Some(path.as_str()),
        _ => None,
    });
    // What the case makes itself it did not miss.
    let mut missing = missing
        .filter(|path| footprint.missing.contains(*path) && !footprint.writes.contains(*path))
        .filter(|path| seen.insert(*path));
    let mut evidence = Evidence { needs: Vec::new(), is_whole: true };
    for path in missing.by_ref().take(ASKED) {
        match of_path(path, &found_programs, outside) {
            Lacks::Nothing => {}
            Lacks::Need(need) if evidence.needs.len() < NAMED => evidence.needs.push(need),
            Lacks::Need(_) | Lacks::Unnamed => evidence.is_whole = false,
        }
    }
    evidence.is_whole &= missing.next().is_none();
    evidence
}

/// What a case lacks at a path.
enum Lacks {
    Nothing,
    Need(Need),
    /// Something that is not offered.
    Unnamed,
}

fn name(path: &str) -> Option<&str> {
    Path::new(path).file_name()?.to_str()
}

fn of_path(path: &str, found_programs: &BTreeSet<&str>, outside: &dyn Outside) -> Lacks {
    let named = Path::new(path);
    if named.starts_with("/proc") {
        // It belongs to a process.
        return Lacks::Nothing;
    }
    let Some(found) = outside.find(named) else { return Lacks::Nothing };
    if named.starts_with("/sys") {
        let sys = || Need::of(Change::Show("/sys".into()), "`/sys`", Given::Unasked);
        let is_usual = OF_EVERY_TEST.iter().any(|top| named.starts_with(top));
        return if is_usual { Lacks::Nothing } else { Lacks::Need(sys()) };
    }
    let shown = || Change::Show(named.into());
    let (change, what, given) = match found {
        Found::Withheld => return Lacks::Unnamed,
        Found::Directory => (shown(), format!("the directory `{path}`"), Given::IfAsked),
        Found::Device => {
            (Change::Open(named.into()), format!("the device `{path}`"), Given::IfAsked)
        }
        Found::Socket => {
            (Change::Open(named.into()), format!("the socket `{path}`"), Given::IfAsked)
        }
        Found::File { is_program: true, is_public }
            if named.parent().is_some_and(|parent| outside.is_of_path(parent)) =>
        {
            let name = name(path).unwrap_or(path);
            if found_programs.contains(name) {
                return Lacks::Nothing;
            }
            let what = format!("the program `{name}`");
            let Some(enough) = outside.enough_for(named) else { return Lacks::Unnamed };
            // A directory may hold sockets.
            let given = if enough == named { given(is_public) } else { Given::IfAsked };
            (Change::Show(enough), what, given)
        }
        Found::File { is_public, .. } => (shown(), format!("the file `{path}`"), given(is_public)),
    };
    Lacks::Need(Need::of(change, &what, given))
}

/// A file that its owner alone may read may be a secret.
fn given(is_public: bool) -> Given {
    match is_public {
        true => Given::Unasked,
        false => Given::IfAsked,
    }
}

/// Sockets in the filesystem that it connected to and that are not its own.
fn of_sockets(trace: &Trace, outside: &dyn Outside) -> Vec<Need> {
    let footprint = trace.footprint();
    let dialled = footprint.dials.iter().filter_map(|endpoint| match endpoint {
        Endpoint::Unix(path) if !footprint.binds.contains(endpoint) => Some(path),
        _ => None,
    });
    dialled
        .filter(|path| outside.find(Path::new(path)) == Some(Found::Socket))
        .take(SOCKETS)
        .map(|path| {
            let what = format!("the socket `{path}`");
            Need::of(Change::Open(path.into()), &what, Given::IfAsked)
        })
        .collect()
}

/// Addresses that it dialled and on which it did not listen itself, and names that it asked for.
fn of_network(trace: &Trace) -> Option<Need> {
    let footprint = trace.footprint();
    let own_ports: BTreeSet<u16> = footprint.binds.iter().filter_map(port).collect();
    // A port of the kernel's choice is in no set of what it binds.
    let has_chosen_port = trace.events.iter().any(|event| match &event.act {
        Act::Bound(endpoint) | Act::Listened(endpoint) => port(endpoint) == Some(0),
        _ => false,
    });
    let is_own = |address: &SocketAddr| {
        address.ip().is_loopback() && (own_ports.contains(&address.port()) || has_chosen_port)
    };
    let addresses = footprint.dials.iter().filter_map(|endpoint| match endpoint {
        Endpoint::Ip(_, address) if address.port() != DNS && !is_own(address) => {
            Some(endpoint.to_string())
        }
        _ => None,
    });
    let names = footprint.names.iter().map(|name| format!("`{name}`"));
    let asked: Vec<String> = names.chain(addresses).collect();
    let need = Need::of(Change::Net, "the network", Given::IfAsked);
    (!asked.is_empty()).then_some(Need { asked, ..need })
}

fn port(endpoint: &Endpoint) -> Option<u16> {
    match endpoint {
        Endpoint::Ip(_, address) => Some(address.port()),
        Endpoint::Unix(_) | Endpoint::Abstract(_) | Endpoint::Other(_) => None,
    }
}

/// A process that is none of its own and runs outside.
fn of_processes(trace: &Trace, outside: &dyn Outside) -> Option<Need> {
    let own: BTreeSet<i32> = trace.events.iter().map(|event| event.process).collect();
    let missed = trace.events.iter().find_map(|event| match &event.act {
        Act::LookedUp { path, found: Existence::Missing }
        | Act::Opened { path, found: Existence::Missing, .. } => {
            let process: i32 = path.strip_prefix("/proc/")?.split('/').next()?.parse().ok()?;
            let is_outside =
                || outside.find(Path::new(&format!("/proc/{process}"))) == Some(Found::Directory);
            (!own.contains(&process) && is_outside()).then_some(process)
        }
        _ => None,
    })?;
    let need = Need::of(Change::Pid, "processes of this machine", Given::IfAsked);
    Some(Need { asked: vec![format!("`/proc/{missed}`")], ..need })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::time::Duration;

    use isotest_core::trace::{Change as FileChange, OpenMode, TraceEvent, Transport};

    use super::*;

    struct Machine(BTreeMap<&'static str, Found>);

    impl Outside for Machine {
        fn find(&self, path: &Path) -> Option<Found> {
            self.0.get(path.to_str()?).cloned()
        }

        fn enough_for(&self, program: &Path) -> Option<PathBuf> {
            match program.to_str() {
                Some("/home/me/.pyenv/shims/python") => Some("/home/me/.pyenv".into()),
                Some("/home/me/bin/odd") => None,
                _ => Some(program.to_owned()),
            }
        }

        fn is_of_path(&self, directory: &Path) -> bool {
            directory.ends_with("bin") || directory.ends_with("shims")
        }
    }

    fn file(is_public: bool, is_program: bool) -> Found {
        Found::File { is_public, is_program }
    }

    fn machine() -> Machine {
        Machine(BTreeMap::from([
            ("/home/me/.gitconfig", file(true, false)),
            ("/home/me/.private", file(false, false)),
            ("/home/me/.ssh/id_rsa", Found::Withheld),
            ("/home/me/bin/tool", file(true, true)),
            ("/home/me/bin/odd", file(true, true)),
            ("/home/me/.pyenv/shims/python", file(true, true)),
            ("/srv/data", Found::Directory),
            ("/srv/tool", file(true, true)),
            ("/dev/kvm", Found::Device),
            ("/run/docker.sock", Found::Socket),
            ("/sys/class/net", Found::Directory),
            ("/sys/fs/cgroup/cpu.max", file(true, false)),
            ("/sys/devices/system/cpu/online", file(true, false)),
            ("/proc/4711", Found::Directory),
        ]))
    }

    fn trace(acts: Vec<Act>) -> Trace {
        let event = |act| TraceEvent { at: Duration::ZERO, process: 1, act };
        Trace { events: acts.into_iter().map(event).collect(), ..Trace::default() }
    }

    fn looked_up(path: &str) -> Act {
        Act::LookedUp { path: path.to_owned(), found: Existence::Missing }
    }

    fn executed(program: &str, found: Existence) -> Act {
        Act::Executed { program: program.to_owned(), arguments: Vec::new(), found }
    }

    fn dialled(address: &str) -> Act {
        Act::Connected(Endpoint::Ip(Transport::Tcp, address.parse().expect("an address")))
    }

    /// The flags of what is found, and `?` where it is given if asked alone.
    fn flags(acts: Vec<Act>) -> Vec<String> {
        let ask = |given| if given == Given::Unasked { "" } else { "?" };
        let evidence = evidence(&trace(acts), &machine());
        evidence
            .needs
            .iter()
            .map(|need| format!("{}{}", need.change.flag(), ask(need.given)))
            .collect()
    }

    #[test]
    fn what_is_missing_here_and_there_outside_is_evidence() {
        for (path, flag) in [
            ("/home/me/.gitconfig", "--ro /home/me/.gitconfig"),
            ("/home/me/.private", "--ro /home/me/.private?"),
            ("/srv/data", "--ro /srv/data?"),
            ("/srv/tool", "--ro /srv/tool"),
            ("/dev/kvm", "--rw /dev/kvm?"),
            ("/run/docker.sock", "--rw /run/docker.sock?"),
            ("/sys/class/net", "--ro /sys"),
            ("/proc/4711", "--pid host?"),
            ("/proc/4711/stat", "--pid host?"),
        ] {
            assert_eq!(flags(vec![looked_up(path)]), [flag], "{path}");
        }
    }

    #[test]
    fn what_is_nowhere_or_here_or_made_by_the_test_is_none() {
        let mode = OpenMode::Create;
        let created =
            Act::Opened { path: "/home/me/.gitconfig".to_owned(), mode, found: Existence::Missing };
        let found = |path: &str| Act::LookedUp { path: path.to_owned(), found: Existence::Exists };
        let made = Act::Changed {
            change: FileChange::MadeDirectory,
            path: "/srv/data".to_owned(),
            to: None,
        };
        for acts in [
            vec![looked_up("/nowhere")],
            vec![found("/home/me/.gitconfig")],
            vec![looked_up("/home/me/.gitconfig"), created],
            vec![looked_up("/srv/data"), made],
            vec![looked_up("/proc/12")],
            vec![looked_up("/sys/fs/cgroup/cpu.max"), looked_up("/sys/devices/system/cpu/online")],
        ] {
            assert_eq!(flags(acts.clone()), [""; 0], "{acts:?}");
        }
    }

    #[test]
    fn a_program_is_named_with_what_it_belongs_to_unless_it_was_found_elsewhere() {
        let tool = executed("/home/me/bin/tool", Existence::Missing);
        assert_eq!(flags(vec![tool.clone()]), ["--ro /home/me/bin/tool"]);
        let shim = executed("/home/me/.pyenv/shims/python", Existence::Missing);
        assert_eq!(flags(vec![shim]), ["--ro /home/me/.pyenv?"]);
        assert_eq!(flags(vec![executed("/home/me/bin/odd", Existence::Missing)]), [""; 0]);
        assert_eq!(flags(vec![tool, executed("/usr/bin/tool", Existence::Exists)]), [""; 0]);
    }

    #[test]
    fn the_network_is_named_by_names_and_addresses() {
        let name = Act::Resolved { name: "db.example".to_owned(), kind: "A".to_owned() };
        let server =
            Act::Sent(Endpoint::Ip(Transport::Udp, "[::1]:53".parse().expect("an address")));
        let acts = vec![name, server, dialled("192.0.2.1:80")];
        let Evidence { needs, .. } = evidence(&trace(acts), &machine());
        let [Need { what, asked, given: Given::IfAsked, .. }] = needs.as_slice() else {
            panic!("{needs:?}");
        };
        assert_eq!(
            (what.as_str(), asked.join(", ")),
            ("the network", "`db.example`, tcp 192.0.2.1:80".to_owned())
        );
    }

    #[test]
    fn a_server_of_the_test_itself_is_no_network() {
        let listens = |address: &str| {
            Act::Bound(Endpoint::Ip(Transport::Tcp, address.parse().expect("an address")))
        };
        let own = vec![listens("127.0.0.1:5432"), dialled("127.0.0.1:5432")];
        assert_eq!(flags(own), [""; 0]);
        assert_eq!(flags(vec![listens("127.0.0.1:0"), dialled("127.0.0.1:40000")]), [""; 0]);
        assert_eq!(flags(vec![dialled("127.0.0.1:5432")]), ["--net host?"]);
    }

    #[test]
    fn a_socket_of_its_own_is_none() {
        let socket = Endpoint::Unix("/run/docker.sock".to_owned());
        let dialled = Act::Connected(socket.clone());
        assert_eq!(flags(vec![dialled.clone()]), ["--rw /run/docker.sock?"]);
        assert_eq!(flags(vec![Act::Bound(socket), dialled]), [""; 0]);
    }

    #[test]
    fn evidence_is_whole_where_nothing_is_withheld_and_the_trace_has_no_gaps() {
        let is_whole = |path| evidence(&trace(vec![looked_up(path)]), &machine()).is_whole;
        assert!(is_whole("/home/me/.gitconfig") && is_whole("/nowhere"));
        for path in ["/home/me/.ssh/id_rsa", "/home/me/bin/odd"] {
            assert!(!is_whole(path), "{path}");
            assert_eq!(flags(vec![looked_up(path)]), [""; 0]);
        }
        let mut cut = trace(Vec::new());
        cut.dropped = 1;
        assert!(!evidence(&cut, &machine()).is_whole);
        let gaps = vec![isotest_core::trace::Gap::Mounts];
        assert!(!evidence(&Trace { gaps, ..Trace::default() }, &machine()).is_whole);
        let many = (0..=ASKED).map(|number| looked_up(&format!("/nowhere/{number}")));
        assert!(!evidence(&trace(many.collect()), &machine()).is_whole);
    }

    #[test]
    fn the_safest_come_first_and_there_are_few() {
        let mut acts = vec![dialled("192.0.2.1:80"), Act::HostName];
        acts.extend((0..20).map(|_| looked_up("/dev/kvm")));
        acts.push(looked_up("/home/me/.gitconfig"));
        assert_eq!(
            flags(acts),
            ["--ro /home/me/.gitconfig", "--rw /dev/kvm?", "--net host?", "--uts host?"]
        );
    }
}
