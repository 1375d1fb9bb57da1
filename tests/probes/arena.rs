//! The arena: what the judge plants for one probe, and whether it is as it was afterwards.
//!
//! Everything is planted anew for each probe, with a marker of its own, so that probes run beside
//! each other, and beside other runs of the suite.

#![allow(unsafe_code)]

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Read};
use std::net::{Ipv4Addr, Ipv6Addr, TcpListener, UdpSocket};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::os::unix::net::{SocketAddr, UnixListener, UnixStream};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use nix::errno::Errno;
use tempfile::TempDir;

use crate::facts::Facts;
use crate::programs::Programs;

/// Directory of all that is planted. Not `/tmp`: that is empty in most sandboxes, which would hide
/// what else they show.
const PLACE: &str = "/var/tmp";

/// Everything that was planted.
pub struct Arena {
    pub directory: TempDir,
    pub facts: Facts,
    /// The file that the payload reads the facts from.
    pub facts_file: PathBuf,
    /// A process that leads the process group in which the sandbox is started.
    pub canary: Canary,
    /// The sandbox inherits the other end.
    pub inherited: (UnixStream, UnixStream),
    /// The host's terminal: the controlling side, and the side that programs use.
    pub terminal: (OwnedFd, OwnedFd),
    programs: TempDir,
    listeners: Listeners,
    _objects: Objects,
    before: State,
    _lock: [File; 2],
}

struct Listeners {
    tcp: [TcpListener; 2],
    udp: UdpSocket,
    unix: [UnixListener; 4],
    fifos: [File; 2],
}

/// The session's keyring and the user's, of keyctl(2).
const SESSION: i64 = -3;
const USER: i64 = -4;

/// Objects of the kernel that must be removed.
struct Objects {
    system_v: [i32; 3],
    posix: String,
    keys: [i32; 2],
}

/// A process that ends with the arena.
pub struct Canary(pub Child);

impl Drop for Canary {
    /// Ends what is left of its group, too: a payload whose sandbox was killed.
    fn drop(&mut self) {
        let group = nix::unistd::Pid::from_raw(self.0.id() as i32);
        // It may have been killed by the probe; it is not reaped before the next line.
        let _ = nix::sys::signal::killpg(group, nix::sys::signal::Signal::SIGKILL);
        let _ = self.0.wait();
    }
}

/// State that must not change.
#[derive(PartialEq, Eq)]
struct State {
    files: BTreeMap<PathBuf, String>,
    settings: Vec<(String, String)>,
}

/// Sysctls that payloads try to change.
const SETTINGS: [&str; 6] = [
    "kernel/core_pattern",
    "kernel/hostname",
    "kernel/domainname",
    "net/ipv4/ip_forward",
    "net/ipv4/ip_unprivileged_port_start",
    "net/ipv4/ip_default_ttl",
];

impl Arena {
    pub fn plant(programs: &Programs, restrained: bool) -> io::Result<Arena> {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let marker = format!("isotest-probe-{}-{number}", std::process::id());
        let directory = tempfile::Builder::new().prefix(&marker).tempdir_in(PLACE)?;
        fs::set_permissions(directory.path(), PermissionsExt::from_mode(0o755))?;
        let copies = tempfile::Builder::new().prefix(&marker).suffix("-bin").tempdir_in(PLACE)?;
        fs::set_permissions(copies.path(), PermissionsExt::from_mode(0o755))?;
        let path = |name: &str| directory.path().join(name);
        plant_files(directory.path(), &marker)?;
        let temporary = PathBuf::from(format!("/tmp/{marker}"));
        fs::write(&temporary, &marker)?;
        let (canary, memory) = start_canary(programs, &marker)?;
        let listeners = Listeners::open(directory.path(), &marker)?;
        let terminal = open_terminal()?;
        let objects = Objects::make(&marker)?;
        let facts = Facts {
            restrained,
            project: path("project"),
            read_only: path("read-only"),
            swapped: path("swapped"),
            private: path("private"),
            home: path("home"),
            temporary,
            terminal: fs::read_link(format!("/proc/self/fd/{}", terminal.1.as_raw_fd()))?,
            process: canary.0.id() as i32,
            memory,
            tcp4: listeners.tcp[0].local_addr()?.port(),
            tcp6: listeners.tcp[1].local_addr()?.port(),
            udp: listeners.udp.local_addr()?.port(),
            abstract_socket: marker.clone(),
            system_v: system_v_key(&marker),
            posix: marker.clone(),
            session_key: objects.keys[0],
            user_key: objects.keys[1],
            namespaces: own_namespaces()?,
            variables: variables(&marker, &path("private/socket"))
                .into_iter()
                .map(|(n, _)| n)
                .collect(),
            marker,
        };
        let facts_file = path("read-only/facts");
        fs::write(&facts_file, serde_json::to_vec(&facts)?)?;
        let lock = [hold_lock(&facts.read_only)?, hold_lock(&facts.project)?];
        let before = State::now(directory.path())?;
        let inherited = UnixStream::pair()?;
        inherited.0.set_nonblocking(true)?;
        Ok(Arena {
            directory,
            facts,
            facts_file,
            canary,
            inherited,
            terminal,
            programs: copies,
            listeners,
            _objects: objects,
            before,
            _lock: lock,
        })
    }

    /// A copy of the payload that nobody else runs, so that it is not busy.
    pub fn program(&self, programs: &Programs) -> io::Result<PathBuf> {
        let directory = self.programs.path();
        let program = directory.join("probe-payload");
        if !program.exists() {
            // Not by this process: a child that is being made beside would have the copy open for
            // writing, and executing it would fail with ETXTBSY.
            Command::new("cp").arg(&programs.payload).arg(&program).status()?;
        }
        Ok(program)
    }

    /// The caller's environment: every name holds a secret of the kind that is found there.
    pub fn variables(&self) -> Vec<(String, String)> {
        variables(&self.facts.marker, &self.facts.private.join("socket"))
    }

    /// Differences from the planted state.
    pub fn changes(&mut self) -> io::Result<Vec<String>> {
        // What was signalled may still be dying.
        std::thread::sleep(std::time::Duration::from_millis(10));
        let mut changes = self.listeners.reached()?;
        if let Some(status) = self.canary.0.try_wait()? {
            changes.push(format!("a process of the host was killed: {status}"));
        }
        let mut buffer = [0; 64];
        if self.inherited.0.read(&mut buffer).is_ok_and(|length| length > 0) {
            changes.push("an inherited socket was written to".to_owned());
        }
        // The sandbox may have made it wait: both sides share one open file.
        use nix::fcntl::{FcntlArg, OFlag, fcntl};
        fcntl(&self.terminal.1, FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?;
        if nix::unistd::read(&self.terminal.1, &mut buffer).is_ok_and(|length| length > 0) {
            changes.push("something was typed into the host's terminal".to_owned());
        }
        if fs::read_to_string("/proc/self/mountinfo")?.contains("isotest-probe-own") {
            changes.push("a mount got out".to_owned());
        }
        let now = State::now(self.directory.path())?;
        if now.files.values().any(|file| file.starts_with("1047")) {
            changes.push("a set-user-ID file got out".to_owned());
        }
        changes.extend(self.before.differences(&now, self.directory.path()));
        Ok(changes)
    }
}

impl Drop for Arena {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.facts.temporary);
        // What a payload without a sandbox could not remove itself: it has changed its root.
        let name = |suffix: &str| format!("{}-{suffix}", self.facts.temporary.display());
        let _ = fs::remove_dir(name("chroot"));
        let _ = fs::remove_file(name("link"));
    }
}

fn plant_files(arena: &Path, marker: &str) -> io::Result<()> {
    for name in [
        "project/directory",
        "project/src",
        "project/cargo-home",
        "read-only/sub",
        "private",
        "swapped",
        "home/.ssh",
        "home/.config",
        "home/.cargo/registry",
    ] {
        fs::create_dir_all(arena.join(name))?;
    }
    let files = [
        "private/secret",
        "home/.ssh/id_probe",
        "home/.netrc",
        "home/.config/probe",
        "project/cargo-home/credentials.toml",
        "home/.cargo/credentials.toml",
        "home/.cargo/credentials",
    ];
    for name in files {
        fs::write(arena.join(name), marker)?;
    }
    let harmless = [
        "project/file",
        "project/lock",
        "project/directory/inner",
        "read-only/file",
        "read-only/sub/file",
        "read-only/mounted",
        "project/mounted",
        "read-only/lock",
    ];
    for name in harmless {
        if name != "project/directory/inner" {
            fs::write(arena.join(name), "as planted")?;
        }
    }
    fs::write(arena.join("read-only/of-root"), marker)?;
    fs::set_permissions(arena.join("read-only/of-root"), PermissionsExt::from_mode(0o600))?;
    plant_others(&arena.join("read-only"), marker)?;
    fs::write(arena.join("project/Cargo.toml"), "[workspace]\n")?;
    symlink(arena.join("private/secret"), arena.join("project/absolute-link"))?;
    symlink("../private/secret", arena.join("project/relative-link"))?;
    symlink("../private", arena.join("project/directory-link"))
}

/// A group that a file is denied to.
pub const DENIED: u32 = 54321;

/// Files of another user and another group, for them alone, and one for all but a group. Only root
/// can give them away.
fn plant_others(directory: &Path, marker: &str) -> io::Result<()> {
    use std::os::unix::fs::chown;
    if !nix::unistd::Uid::effective().is_root() {
        return Ok(());
    }
    for (name, owner, mode) in [
        ("of-another-user", (Some(54321), None), 0o400),
        ("of-another-group", (None, Some(54321)), 0o040),
        ("denied-to-a-group", (Some(54322), Some(DENIED)), 0o604),
    ] {
        let path = directory.join(name);
        fs::write(&path, marker)?;
        chown(&path, owner.0, owner.1)?;
        fs::set_permissions(&path, PermissionsExt::from_mode(mode))?;
    }
    Ok(())
}

/// Locks `lock` in a directory.
fn hold_lock(directory: &Path) -> io::Result<File> {
    let file = File::open(directory.join("lock"))?;
    file.lock()?;
    Ok(file)
}

fn start_canary(programs: &Programs, marker: &str) -> io::Result<(Canary, (u64, usize))> {
    let mut canary = Canary(
        Command::new(&programs.payload)
            .args(["--canary", marker])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .process_group(0)
            .spawn()?,
    );
    let mut line = String::new();
    BufReader::new(canary.0.stdout.take().expect("it is piped")).read_line(&mut line)?;
    let mut numbers = line.split_whitespace().map(str::parse::<u64>);
    match (numbers.next(), numbers.next()) {
        (Some(Ok(address)), Some(Ok(length))) => Ok((canary, (address, length as usize))),
        _ => Err(io::Error::other(format!("the canary said `{line}`"))),
    }
}

/// A pseudo-terminal of the host; reading from either side does not wait.
fn open_terminal() -> io::Result<(OwnedFd, OwnedFd)> {
    let pair = nix::pty::openpty(None, None)?;
    for fd in [&pair.master, &pair.slave] {
        use nix::fcntl::{FcntlArg, FdFlag, OFlag, fcntl};
        fcntl(fd, FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?;
        fcntl(fd, FcntlArg::F_SETFD(FdFlag::FD_CLOEXEC))?;
    }
    Ok((pair.master, pair.slave))
}

fn own_namespaces() -> io::Result<Vec<(String, String)>> {
    let link = |entry: io::Result<fs::DirEntry>| {
        let entry = entry?;
        let target = fs::read_link(entry.path())?;
        let name = entry.file_name().to_string_lossy().into_owned();
        Ok((name, target.to_string_lossy().into_owned()))
    };
    fs::read_dir("/proc/self/ns")?.map(link).collect()
}

fn variables(marker: &str, socket: &Path) -> Vec<(String, String)> {
    let names = [
        "GITHUB_TOKEN",
        "ACTIONS_RUNTIME_TOKEN",
        "CARGO_REGISTRY_TOKEN",
        "CARGO_REGISTRIES_PRIVATE_TOKEN",
        "CARGO_REGISTRIES_PRIVATE_CREDENTIAL_PROVIDER",
        "CARGO_HTTP_PROXY",
        "CARGO_REGISTRIES_PRIVATE_INDEX",
        "CARGO_PUBLISH_KEY",
        "CARGO_DEPLOY_PASS",
        "CARGO_REGISTRY_AUTH",
        "NEXTEST_API_KEY",
        "RUST_SENTRY_DSN",
        "RUSTUP_DIST_SERVER",
        "INSTA_API_KEY",
        "AWS_SECRET_ACCESS_KEY",
        "DATABASE_URL",
        "NPM_CONFIG_TOKEN",
        "DBUS_SESSION_BUS_ADDRESS",
        "ISOTEST_PROBE",
    ];
    let mut all: Vec<(String, String)> =
        names.map(|name| (name.to_owned(), secret(name, marker))).to_vec();
    let socket = format!("{}", socket.display());
    all.push(("SSH_AUTH_SOCK".to_owned(), socket.clone()));
    all.push(("XDG_RUNTIME_DIR".to_owned(), socket));
    all
}

/// A secret, as a variable of that name has one.
fn secret(name: &str, marker: &str) -> String {
    let is_url = ["_PROXY", "_INDEX", "_SERVER"].iter().any(|end| name.ends_with(end));
    let (start, end) = if is_url { ("https://me:", "@localhost/") } else { ("", "") };
    format!("{start}secret-of-{marker}{end}")
}

impl Listeners {
    fn open(arena: &Path, marker: &str) -> io::Result<Listeners> {
        let bind = |name: &str| UnixListener::bind(arena.join(name));
        let listeners = Listeners {
            tcp: [
                TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?,
                TcpListener::bind((Ipv6Addr::LOCALHOST, 0))?,
            ],
            udp: UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?,
            unix: [
                bind("private/socket")?,
                bind("project/socket")?,
                bind("read-only/socket")?,
                UnixListener::bind_addr(&SocketAddr::from_abstract_name(marker)?)?,
            ],
            fifos: [
                open_fifo(&arena.join("project/fifo"))?,
                open_fifo(&arena.join("read-only/fifo"))?,
            ],
        };
        listeners.udp.join_multicast_v4(&Ipv4Addr::new(239, 255, 77, 77), &Ipv4Addr::LOCALHOST)?;
        listeners.udp.set_nonblocking(true)?;
        listeners.tcp.iter().try_for_each(|listener| listener.set_nonblocking(true))?;
        listeners.unix.iter().try_for_each(|listener| listener.set_nonblocking(true))?;
        Ok(listeners)
    }

    fn reached(&self) -> io::Result<Vec<String>> {
        let mut reached = Vec::new();
        let tcp = self.tcp.iter().any(|listener| listener.accept().is_ok());
        let unix = self.unix.iter().any(|listener| listener.accept().is_ok());
        let udp = self.udp.recv(&mut [0; 16]).is_ok();
        let fifo = self.fifos.iter().any(|mut fifo| fifo.read(&mut [0; 16]).is_ok());
        let all = [
            (tcp, "a TCP socket"),
            (unix, "a Unix socket"),
            (udp, "a UDP socket"),
            (fifo, "a FIFO"),
        ];
        for (_, name) in all.iter().filter(|(got, _)| *got) {
            reached.push(format!("{name} of the host was reached"));
        }
        Ok(reached)
    }
}

/// A FIFO of the host's, whose reader does not wait. Its other end is open too: it has no end.
fn open_fifo(path: &Path) -> io::Result<File> {
    use std::os::unix::fs::OpenOptionsExt;
    nix::unistd::mkfifo(path, nix::sys::stat::Mode::S_IRWXU)?;
    File::options().read(true).write(true).custom_flags(libc::O_NONBLOCK).open(path)
}

fn system_v_key(marker: &str) -> i32 {
    let hash = marker.bytes().fold(7_u32, |hash, byte| hash.wrapping_mul(31) ^ u32::from(byte));
    (hash & 0x3FFF_FFFF | 0x4000_0000) as i32
}

const KEYCTL_SETPERM: i64 = 5;
const KEYCTL_LINK: i64 = 8;
const KEYCTL_UNLINK: i64 = 9;
const KEYCTL_INVALIDATE: i64 = 21;

impl Objects {
    fn make(marker: &str) -> io::Result<Objects> {
        let key = system_v_key(marker);
        let flags = libc::IPC_CREAT | libc::IPC_EXCL | 0o600;
        // SAFETY: numbers.
        let system_v = unsafe {
            [libc::shmget(key, 4096, flags), libc::semget(key, 1, flags), libc::msgget(key, flags)]
        };
        let error = io::Error::last_os_error();
        let mut objects = Objects { system_v, posix: marker.to_owned(), keys: [0; 2] };
        if system_v.iter().any(|id| *id < 0) {
            return Err(error);
        }
        let name = c_string(&format!("/{marker}"));
        // SAFETY: all-zero is a valid mq_attr. A small one: the limit is on bytes of a user.
        let mut size: libc::mq_attr = unsafe { std::mem::zeroed() };
        (size.mq_maxmsg, size.mq_msgsize) = (1, 64);
        // SAFETY: a C string; mode and attributes follow O_CREAT.
        let queue = unsafe {
            libc::mq_open(
                name.as_ptr(),
                libc::O_CREAT | libc::O_EXCL | libc::O_RDWR,
                0o600,
                &raw const size,
            )
        };
        Errno::result(queue)?;
        // SAFETY: the descriptor was just opened.
        drop(unsafe { OwnedFd::from_raw_fd(queue) });
        fs::write(format!("/dev/shm/{marker}"), marker)?;
        objects.keys = [add_key(marker, SESSION)?, add_key(&format!("{marker}-user"), SESSION)?];
        // Possessor and owner may do all: what `keyctl setperm` is mostly used for. Only who
        // possesses a key may set that, so it gets to the user's keyring by way of the session's.
        const OPEN: i64 = 0x3F3F_0000;
        let key = i64::from(objects.keys[1]);
        for (act, first, second) in
            [(KEYCTL_SETPERM, key, OPEN), (KEYCTL_LINK, key, USER), (KEYCTL_UNLINK, key, SESSION)]
        {
            // SAFETY: numbers.
            Errno::result(unsafe { libc::syscall(libc::SYS_keyctl, act, first, second) })?;
        }
        Ok(objects)
    }
}

impl Drop for Objects {
    fn drop(&mut self) {
        let name = c_string(&format!("/{}", self.posix));
        // SAFETY: ids of objects that were made here, and a C string. What is gone is gone.
        unsafe {
            libc::shmctl(self.system_v[0], libc::IPC_RMID, std::ptr::null_mut());
            libc::semctl(self.system_v[1], 0, libc::IPC_RMID);
            libc::msgctl(self.system_v[2], libc::IPC_RMID, std::ptr::null_mut());
            libc::mq_unlink(name.as_ptr());
            // First unlinked: what the kernel collects by itself stays on the keyring's account.
            for (key, ring) in self.keys.into_iter().zip([SESSION, USER]) {
                libc::syscall(libc::SYS_keyctl, KEYCTL_UNLINK, i64::from(key), ring);
                libc::syscall(libc::SYS_keyctl, KEYCTL_INVALIDATE, i64::from(key));
            }
        }
        let _ = fs::remove_file(format!("/dev/shm/{}", self.posix));
    }
}

fn add_key(marker: &str, ring: i64) -> io::Result<i32> {
    let description = c_string(marker);
    // SAFETY: two C strings, the payload with its length, a number.
    let key = unsafe {
        libc::syscall(
            libc::SYS_add_key,
            c"user".as_ptr(),
            description.as_ptr(),
            marker.as_ptr(),
            marker.len(),
            ring,
        )
    };
    Ok(Errno::result(key)? as i32)
}

/// Gives this process a session keyring of its own, before there are threads.
pub fn join_session_keyring() -> io::Result<()> {
    const JOIN_SESSION_KEYRING: i64 = 1;
    let anonymous = std::ptr::null::<libc::c_char>();
    // SAFETY: null asks for an anonymous keyring.
    Errno::result(unsafe { libc::syscall(libc::SYS_keyctl, JOIN_SESSION_KEYRING, anonymous) })?;
    Ok(())
}

fn c_string(text: &str) -> std::ffi::CString {
    std::ffi::CString::new(text).expect("markers hold no NUL byte")
}

impl State {
    fn now(arena: &Path) -> io::Result<State> {
        let mut files = BTreeMap::new();
        list(arena, &mut files)?;
        let read = |name: &str| fs::read_to_string(Path::new("/proc/sys").join(name));
        let settings =
            SETTINGS.iter().map(|name| ((*name).to_owned(), read(name).unwrap_or_default()));
        Ok(State { files, settings: settings.collect() })
    }

    fn differences(&self, now: &State, arena: &Path) -> Vec<String> {
        let mut found = Vec::new();
        let name = |path: &Path| path.strip_prefix(arena).unwrap_or(path).display().to_string();
        for (path, content) in &self.files {
            match now.files.get(path) {
                None => found.push(format!("{} is gone", name(path))),
                Some(other) if other != content => {
                    found.push(format!("{} was changed", name(path)))
                }
                Some(_) => {}
            }
        }
        let new = now.files.keys().filter(|path| !self.files.contains_key(*path));
        found.extend(new.map(|path| format!("{} was created", name(path))));
        let changed = self.settings.iter().zip(&now.settings).filter(|(old, new)| old != new);
        found.extend(
            changed.map(|((name, old), (_, new))| format!("{name}: `{old}` became `{new}`")),
        );
        found
    }
}

/// Every file with its mode and content.
fn list(directory: &Path, files: &mut BTreeMap<PathBuf, String>) -> io::Result<()> {
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        let metadata = fs::symlink_metadata(&path)?;
        let content = match metadata.file_type() {
            kind if kind.is_symlink() => fs::read_link(&path)?.display().to_string(),
            kind if kind.is_file() => String::from_utf8_lossy(&fs::read(&path)?).into_owned(),
            _ => String::new(),
        };
        files.insert(path.clone(), format!("{:o} {content}", metadata.mode()));
        if metadata.is_dir() {
            list(&path, files)?;
        }
    }
    Ok(())
}
