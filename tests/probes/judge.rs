//! The judge: sets the scene, runs one attempt in a sandbox, and tells whether it was held.
//!
//! It believes neither side alone: an attempt is held where the payload says that it tried
//! everything and nothing got through, and what the judge planted outside is untouched.

#![allow(unsafe_code)]

use std::ffi::OsStr;
use std::fs;
use std::io::{self, BufRead, BufReader, Read};
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::os::unix::fs::{OpenOptionsExt, symlink};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use nix::sched::{CloneFlags, setns, unshare};
use nix::sys::signal::Signal;
use nix::unistd::{Pid, Uid};

use crate::arena::{Arena, DENIED};
use crate::programs::{Programs, Sandbox};
use crate::table::{Probe, Scene};

/// Result of an attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// Nothing got through.
    Held,
    /// This did.
    Escaped(Vec<String>),
    /// It was not made: this is what was printed instead.
    NoAttempt(String),
}

/// After this long a sandbox that still runs has let itself be kept.
const LIMIT: Duration = Duration::from_secs(10);
/// Number of runs of a race.
const RACES: usize = 20;

pub fn judge(programs: &Programs, sandbox: Sandbox, probe: &Probe) -> io::Result<Verdict> {
    let rounds = if probe.scene == Scene::Race { RACES } else { 1 };
    let mut verdict = Verdict::Held;
    for _ in 0..rounds {
        verdict = judge_once(programs, sandbox, probe)?;
        if verdict != Verdict::Held {
            break;
        }
    }
    Ok(verdict)
}

fn judge_once(programs: &Programs, sandbox: Sandbox, probe: &Probe) -> io::Result<Verdict> {
    let mut arena = Arena::plant(programs, sandbox == Sandbox::None)?;
    let attempt = [OsStr::new(probe.payload), arena.facts_file.as_os_str()];
    let payload = arena.program(programs)?;
    let command = programs.command(sandbox, probe, &arena.facts, &payload, &attempt);
    let racer = (probe.scene == Scene::Race).then(|| Racer::start(&arena));
    let end = Run::start(command, probe.scene, &arena)?.finish(probe.scene, &arena)?;
    drop(racer);
    let mut escapes = end.escapes();
    escapes.extend(survivors(&arena, probe.scene == Scene::Kill));
    let changes = arena.changes()?;
    escapes.extend(changes.into_iter().filter(|change| !is_own_doing(probe, change)));
    let tried =
        end.stdout.lines().any(|line| line == "end") || probe.scene == Scene::Kill && end.met;
    let untried = escapes.iter().find(|escape| escape.contains("no attempt"));
    Ok(match untried {
        Some(why) => Verdict::NoAttempt(why.clone()),
        None if !escapes.is_empty() => Verdict::Escaped(escapes),
        None if tried => Verdict::Held,
        // A sandbox may notice what is amiss, and refuse.
        None if may_refuse(probe.scene) && sandbox != Sandbox::None => Verdict::Held,
        None => Verdict::NoAttempt(format!("{:?}: {}{}", end.status, end.stdout, end.stderr)),
    })
}

/// True if a sandbox may refuse to start: something moves, or the caller's descriptors lead out.
fn may_refuse(scene: Scene) -> bool {
    matches!(scene, Scene::Race | Scene::DirectoryAsInput | Scene::PathAsInput)
}

/// True if the judge itself made the change, or the payload was allowed to by the setting.
fn is_own_doing(probe: &Probe, change: &str) -> bool {
    use crate::table::Setting;
    let swapped = probe.scene == Scene::Race && change.starts_with("swapped");
    let touched = probe.scene == Scene::Touch && change.contains("touched");
    let mounted = probe.scene == Scene::HostMount && change.starts_with("project/directory");
    let replaced = probe.scene == Scene::Swap && change.starts_with("project/directory");
    // Copied out by leave; where it must not appear is outside.
    let copied = probe.setting == Setting::WriteBack && change.starts_with("project/");
    let scratch = change.starts_with("project/target");
    swapped || touched || mounted || replaced || copied || scratch
}

/// A sandbox that runs.
struct Run {
    child: Child,
    lines: mpsc::Receiver<String>,
    stderr: thread::JoinHandle<String>,
    started: Instant,
}

/// End of a process.
struct End {
    status: Option<ExitStatus>,
    stdout: String,
    stderr: String,
    met: bool,
    killed: bool,
}

impl Run {
    fn start(mut command: Command, scene: Scene, arena: &Arena) -> io::Result<Run> {
        let facts = &arena.facts;
        command.env_clear().envs(arena.variables());
        command.env("PATH", "/usr/bin:/bin:/usr/sbin:/sbin").env("HOME", &facts.home);
        command.env("CARGO_HOME", facts.home.join(".cargo"));
        command.current_dir(&facts.project);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        set_scene(&mut command, scene, arena)?;
        let mut child = command.spawn()?;
        let (sender, lines) = mpsc::channel();
        let terminal = scene == Scene::TerminalAsInput;
        match child.stdout.take() {
            Some(stdout) if !terminal => {
                thread::spawn(move || send_lines(BufReader::new(stdout), &sender));
            }
            _ => {
                let master = arena.terminal.0.try_clone()?;
                thread::spawn(move || send_terminal(&master, &sender));
            }
        }
        let mut stderr = child.stderr.take();
        let stderr = thread::spawn(move || {
            let mut text = String::new();
            // What is no text is no message either.
            let _ = stderr.as_mut().map(|pipe| pipe.read_to_string(&mut text));
            text
        });
        Ok(Run { child, lines, stderr, started: Instant::now() })
    }

    fn finish(mut self, scene: Scene, arena: &Arena) -> io::Result<End> {
        let mut end = End {
            status: None,
            stdout: String::new(),
            stderr: String::new(),
            met: false,
            killed: false,
        };
        let mut open = true;
        while open || end.status.is_none() {
            match self.lines.recv_timeout(Duration::from_millis(10)) {
                Ok(line) if line == "ready" => {
                    end.met = true;
                    self.meet(scene, arena)?;
                    end.killed |= scene == Scene::Kill;
                    drop(self.child.stdin.take());
                }
                Ok(line) => end.stdout.push_str(&(line + "\n")),
                Err(mpsc::RecvTimeoutError::Timeout) => {}
                Err(mpsc::RecvTimeoutError::Disconnected) => {
                    open = false;
                    if end.status.is_none() {
                        thread::sleep(Duration::from_millis(2));
                    }
                }
            }
            end.status = end.status.or(self.child.try_wait()?);
            // A terminal has no end; its last lines come at once.
            let quiet = scene == Scene::TerminalAsInput && end.stdout.lines().any(|l| l == "end");
            if end.status.is_some() && (quiet || end.killed) {
                break;
            }
            if self.started.elapsed() > LIMIT {
                self.kill(arena);
                break;
            }
        }
        if end.killed {
            return Ok(end);
        }
        if end.status.is_none() {
            end.stdout.push_str("escaped: it still runs, and was killed\n");
        } else {
            end.stderr = self.stderr.join().unwrap_or_default();
        }
        Ok(end)
    }

    /// Kills what the judge started: the sandbox and its process group.
    fn kill(&mut self, arena: &Arena) {
        let group = Pid::from_raw(arena.canary.0.id() as i32);
        let _ = nix::sys::signal::killpg(group, Signal::SIGKILL);
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// The judge's part while the payload waits.
    fn meet(&mut self, scene: Scene, arena: &Arena) -> io::Result<()> {
        let facts = &arena.facts;
        match scene {
            Scene::Touch => {
                for directory in [&facts.read_only, &facts.project] {
                    fs::write(directory.join("touched"), "by the judge")?;
                    fs::read(directory.join("lock"))?;
                }
            }
            Scene::Swap => {
                fs::rename(
                    facts.project.join("directory"),
                    arena.directory.path().join("project/directory-moved"),
                )?;
                symlink(&facts.private, facts.project.join("directory"))?;
            }
            Scene::Kill => {
                let _ =
                    nix::sys::signal::kill(Pid::from_raw(self.child.id() as i32), Signal::SIGKILL);
            }
            Scene::HostMount => self.mount(&facts.project.join("directory"))?,
            Scene::LookAtMounts => {
                let mounts = fs::read_to_string(format!("/proc/{}/mountinfo", self.child.id()))?;
                if mounts.contains("isotest-probe-own") {
                    fs::write(arena.directory.path().join("a mount got out"), "")?;
                }
            }
            Scene::LateCredentials => {
                fs::write(facts.home.join(".cargo/credentials"), &facts.marker)?;
            }
            Scene::Plain
            | Scene::CargoHomeInside
            | Scene::Descriptors
            | Scene::DirectoryAsInput
            | Scene::PathAsInput
            | Scene::State
            | Scene::Terminal
            | Scene::TerminalAsInput
            | Scene::Submount
            | Scene::Groups
            | Scene::LinkedHome
            | Scene::Race => {}
        }
        Ok(())
    }

    /// Mounts a filesystem in the namespace that the sandbox was started in.
    fn mount(&self, target: &Path) -> io::Result<()> {
        let namespace = fs::File::open(format!("/proc/{}/ns/mnt", self.child.id()))?;
        let mut command = Command::new("mount");
        command.args(["-t", "tmpfs", "isotest-probe-host"]).arg(target);
        // SAFETY: one system call.
        unsafe {
            command.pre_exec(move || Ok(setns(&namespace, CloneFlags::CLONE_NEWNS)?));
        }
        match command.status()? {
            status if status.success() => Ok(()),
            status => Err(io::Error::other(format!("mount: {status}"))),
        }
    }
}

impl End {
    fn escapes(&self) -> Vec<String> {
        let said = self.stdout.lines().filter_map(|line| line.strip_prefix("escaped: "));
        let mut escapes: Vec<String> = said.map(str::to_owned).collect();
        // Whoever has begun and not ended was taken for ended, or killed.
        let ended = self.stdout.lines().any(|line| line == "end" || line == "begun");
        // A terminal echoes what is typed into it.
        if self.stdout.lines().any(|line| line == "escaped") {
            escapes.push("something was typed into the terminal".to_owned());
        }
        match self.status {
            Some(status) if !self.killed && ended => {
                if let Some(signal) = status.signal() {
                    escapes.push(format!("the sandbox's own process died of signal {signal}"));
                } else if status.code() != Some(0) {
                    escapes.push(format!("the end was told wrong: {status}"));
                }
            }
            Some(status) if !self.killed && status.signal().is_some() => {
                escapes.push(format!("the sandbox's own process: {status}"));
            }
            Some(_) | None => {}
        }
        escapes
    }
}

fn send_lines(reader: impl BufRead, sender: &mpsc::Sender<String>) {
    for line in reader.lines().map_while(Result::ok) {
        if sender.send(line).is_err() {
            return;
        }
    }
}

/// Lines that arrive at the controlling side of a terminal, until nobody wants them any more.
fn send_terminal(master: &OwnedFd, sender: &mpsc::Sender<String>) {
    let mut text = String::new();
    let started = Instant::now();
    while started.elapsed() < LIMIT {
        let mut buffer = [0; 1024];
        match nix::unistd::read(master, &mut buffer) {
            Ok(length) if length > 0 => {
                text.push_str(&String::from_utf8_lossy(buffer.get(..length).unwrap_or_default()));
                while let Some(at) = text.find('\n') {
                    let line = text[..at].trim_end_matches('\r').to_owned();
                    text.drain(..=at);
                    if sender.send(line).is_err() {
                        return;
                    }
                }
            }
            _ => thread::sleep(Duration::from_millis(5)),
        }
    }
}

/// Prepares the start of the sandbox.
fn set_scene(command: &mut Command, scene: Scene, arena: &Arena) -> io::Result<()> {
    let group = arena.canary.0.id() as i32;
    let slave = arena.terminal.1.as_raw_fd();
    if scene == Scene::TerminalAsInput {
        let end = || arena.terminal.1.try_clone();
        command.stdin(end()?).stdout(end()?).stderr(end()?);
    }
    if scene == Scene::DirectoryAsInput {
        command.stdin(fs::File::open("/")?);
    }
    if scene == Scene::PathAsInput {
        command.stdin(fs::OpenOptions::new().read(true).custom_flags(libc::O_PATH).open("/")?);
    }
    if !matches!(scene, Scene::Terminal | Scene::TerminalAsInput) {
        command.process_group(group);
    }
    let descriptors = match scene {
        Scene::Descriptors => inherited(arena)?,
        _ => Vec::new(),
    };
    if scene == Scene::CargoHomeInside {
        command.env("CARGO_HOME", arena.facts.project.join("cargo-home"));
    }
    if scene == Scene::LateCredentials {
        fs::remove_file(arena.facts.home.join(".cargo/credentials"))?;
    }
    if scene == Scene::LinkedHome {
        command.env("HOME", arena.facts.project.join("directory-link/home"));
    }
    let place = arena.directory.path().to_owned();
    // SAFETY: system calls only; what is allocated was allocated before.
    unsafe {
        command.pre_exec(move || prepare(scene, slave, &descriptors, &place));
    }
    Ok(())
}

/// Descriptors that the sandbox is to find open: the root, a process, a socket.
fn inherited(arena: &Arena) -> io::Result<Vec<OwnedFd>> {
    let root = fs::File::open("/")?.into();
    // SAFETY: numbers; the descriptor that is returned is new.
    let handle = unsafe {
        let fd = libc::syscall(libc::SYS_pidfd_open, arena.canary.0.id(), 0);
        use std::os::fd::FromRawFd;
        OwnedFd::from_raw_fd(nix::errno::Errno::result(fd)? as RawFd)
    };
    Ok(vec![root, handle, arena.inherited.1.try_clone()?.into()])
}

fn prepare(scene: Scene, slave: RawFd, descriptors: &[OwnedFd], place: &Path) -> io::Result<()> {
    for fd in descriptors {
        // SAFETY: numbers. The copy is not close-on-exec.
        unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_DUPFD, 100) };
    }
    match scene {
        Scene::State => {
            // SAFETY: SIG_IGN runs no code; the set is a valid one.
            unsafe {
                libc::signal(libc::SIGUSR1, libc::SIG_IGN);
            }
            let mut blocked = nix::sys::signal::SigSet::empty();
            blocked.add(Signal::SIGUSR2);
            blocked.thread_block()?;
            nix::sys::stat::umask(nix::sys::stat::Mode::empty());
        }
        Scene::Terminal | Scene::TerminalAsInput => {
            nix::unistd::setsid()?;
            // SAFETY: TIOCSCTTY takes a number; the terminal is open.
            unsafe {
                libc::ioctl(slave, libc::TIOCSCTTY, 0);
                let terminal = BorrowedFd::borrow_raw(slave);
                let flags = nix::fcntl::OFlag::empty();
                if scene == Scene::TerminalAsInput {
                    nix::fcntl::fcntl(terminal, nix::fcntl::FcntlArg::F_SETFL(flags))?;
                }
            }
        }
        Scene::Groups => nix::unistd::setgroups(&[DENIED.into()])?,
        Scene::Submount => {
            use nix::mount::{MsFlags, mount};
            let none: Option<&str> = None;
            unshare(CloneFlags::CLONE_NEWNS)?;
            mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none)?;
            for below in [place.join("read-only/sub"), place.join("project/src")] {
                mount(Some("isotest-probe"), &below, Some("tmpfs"), MsFlags::empty(), none)?;
                fs::write(below.join("file"), "as planted")?;
            }
            // As containers have the socket of a daemon: on an empty file.
            for file in [place.join("read-only/mounted"), place.join("project/mounted")] {
                mount(Some(&place.join("private/socket")), &file, none, MsFlags::MS_BIND, none)?;
            }
        }
        Scene::HostMount | Scene::LookAtMounts if Uid::effective().is_root() => {
            use nix::mount::{MsFlags, mount};
            unshare(CloneFlags::CLONE_NEWNS)?;
            let none: Option<&str> = None;
            let flags = MsFlags::MS_REC | MsFlags::MS_PRIVATE;
            mount(none, "/", none, flags, none)?;
            mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_SHARED, none)?;
        }
        _ => {}
    }
    Ok(())
}

/// Daemons that outlived the sandbox. After a kill they have a second.
fn survivors(arena: &Arena, killed: bool) -> Vec<String> {
    let name = format!("{}-daemon", arena.facts.marker);
    let limit = Duration::from_secs(if killed { 2 } else { 1 });
    let started = Instant::now();
    loop {
        let alive = find(&name);
        if alive.is_empty() {
            return Vec::new();
        }
        if started.elapsed() > limit {
            for process in &alive {
                // The probe's own, by its marker.
                let _ = nix::sys::signal::kill(Pid::from_raw(*process), Signal::SIGKILL);
            }
            return vec!["a daemon outlived the sandbox".to_owned()];
        }
        thread::sleep(Duration::from_millis(20));
    }
}

fn find(name: &str) -> Vec<i32> {
    let entries = fs::read_dir("/proc").map(|all| all.flatten().collect::<Vec<_>>());
    let has_name = |entry: &fs::DirEntry| {
        let line = fs::read(entry.path().join("cmdline")).unwrap_or_default();
        String::from_utf8_lossy(&line).contains(name)
    };
    let found = entries.unwrap_or_default().into_iter().filter(has_name);
    found.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect()
}

/// Swaps a directory and a link to `private` until it is dropped.
struct Racer {
    stop: Arc<AtomicBool>,
    thread: Option<thread::JoinHandle<()>>,
}

impl Racer {
    fn start(arena: &Arena) -> Racer {
        let stop = Arc::new(AtomicBool::new(false));
        let place = arena.directory.path();
        let (directory, link) = (place.join("swapped"), place.join("swapped-link"));
        // A relative link: it leads to the same place below any root.
        let _ = symlink("private", &link);
        let seen = Arc::clone(&stop);
        let thread = thread::spawn(move || {
            while !seen.load(Ordering::Relaxed) {
                let _ = exchange(&directory, &link);
                thread::sleep(Duration::from_micros(300));
            }
        });
        Racer { stop, thread: Some(thread) }
    }
}

/// renameat2(2), RENAME_EXCHANGE.
fn exchange(one: &Path, other: &Path) -> io::Result<()> {
    use nix::fcntl::{AT_FDCWD, RenameFlags, renameat2};
    Ok(renameat2(AT_FDCWD, one, AT_FDCWD, other, RenameFlags::RENAME_EXCHANGE)?)
}

impl Drop for Racer {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        let _ = self.thread.take().map(thread::JoinHandle::join);
    }
}
