//! From operations to system calls: a list of [`Op`]s becomes the bytes that are walked between
//! clone and the program. Done once per set-up, by isotest.

#![allow(unsafe_code)]

mod loopback;

use std::ffi::{CStr, CString, c_long};
use std::os::unix::ffi::OsStrExt;

use super::child::bytecode::{CALL_WORDS, NONE, header, kind};
use super::child::start::STEP_DIRECTORY;
use super::service_supervisor::handshake;
use super::sys;
use crate::host::{Content, Original, Piece, SOURCE};
use crate::plan::{Op, SandboxSpec, Step};

const AT_FDCWD: Argument = Argument(kind::VALUE, libc::AT_FDCWD as u64);
/// An argument that is 0, or not there.
const ZERO: Argument = Argument(kind::VALUE, 0);
const FIRST: Argument = Argument(kind::KEPT, 0);
const SECOND: Argument = Argument(kind::KEPT, 1);

/// An argument of a call: its kind and its value.
#[derive(Clone, Copy)]
struct Argument(u64, u64);

fn value(value: impl Into<i64>) -> Argument {
    Argument(kind::VALUE, value.into() as u64)
}

/// File mode creation mask of a case.
const UMASK: u32 = 0o022;

/// The set-up of a case and what is executed in it.
pub fn spec(spec: &SandboxSpec) -> Vec<u8> {
    let mut list = List::of(spec.steps.iter().map(|step| &step.op));
    list.step = STEP_DIRECTORY;
    list.path_call(libc::SYS_chdir, &spec.directory);
    let arguments_at = list.strings(&spec.arguments);
    let environment_at = list.strings(&spec.environment);
    // Of a sealed case: all but the mount namespace, of which it gets two, and the pid namespace.
    let early = (libc::CLONE_NEWPID | libc::CLONE_NEWNS) as u64;
    let late = if spec.sealed { spec.namespaces & !early } else { 0 };
    let words = [
        (header::NAMESPACES, spec.namespaces),
        (header::REAPER, u64::from(spec.reaper)),
        (header::LATE, late),
        (header::MAPS, u64::from(spec.id_maps.is_some() && !spec.sealed)),
        (header::ARGUMENTS, spec.arguments.len() as u64),
        (header::ARGUMENTS_AT, arguments_at),
        (header::ENVIRONMENT, spec.environment.len() as u64),
        (header::ENVIRONMENT_AT, environment_at),
        (header::UNDUMPABLE, u64::from(!spec.services.is_empty())),
        (header::UMASK, u64::from(spec.perturbations.umask.unwrap_or(UMASK))),
    ];
    list.bytes(&words)
}

/// Operations that are done to the warden itself, or to a fork server.
pub fn steps(steps: &[Step]) -> Vec<u8> {
    List::of(steps.iter().map(|step| &step.op)).bytes(&[])
}

/// A list of calls in the making.
#[derive(Default)]
struct List {
    step: u32,
    calls: Vec<Call>,
    data: Vec<u8>,
}

/// So many open files fewer than isotest itself may a case have. The kernel counts descriptors in
/// flight (unix(7)) per user, and compares them with the limit of who sends: cases that have filled
/// theirs leave isotest what it needs to start others.
const SHARE: libc::rlim_t = 1024;

impl List {
    fn of<'a>(ops: impl Iterator<Item = &'a Op>) -> List {
        let mut list = List::default();
        for (index, op) in ops.enumerate() {
            list.step = index as u32;
            list.add(op);
        }
        list
    }

    /// All of it as bytes, with these words in the header.
    fn bytes(self, words: &[(usize, u64)]) -> Vec<u8> {
        let mut head = [0; header::WORDS];
        for (index, word) in [(header::CALLS, self.calls.len() as u64)].iter().chain(words) {
            if let Some(slot) = head.get_mut(*index) {
                *slot = *word;
            }
        }
        let words = head.into_iter().chain(self.calls.iter().flat_map(Call::words));
        let mut all: Vec<u8> = words.flat_map(u64::to_le_bytes).collect();
        all.extend_from_slice(&self.data);
        all
    }

    fn call<const N: usize>(&mut self, number: c_long, given: [Argument; N]) -> &mut Call {
        let mut arguments = [ZERO; 6];
        for (slot, argument) in arguments.iter_mut().zip(given) {
            *slot = argument;
        }
        let step = self.step;
        let call = Call { step, number, tolerated: 0, kept: NONE, expected: NONE, arguments };
        self.calls.push(call);
        self.calls.last_mut().expect("it was just pushed")
    }

    /// A call whose only argument is a path.
    fn path_call(&mut self, number: c_long, path: &CStr) {
        let path = self.text(path);
        self.call(number, [path]);
    }

    fn close(&mut self, descriptor: Argument) {
        self.call(libc::SYS_close, [descriptor]);
    }

    /// Puts bytes among the data, where any structure may lie.
    fn data(&mut self, bytes: &[u8]) -> Argument {
        while !self.data.len().is_multiple_of(8) {
            self.data.push(0);
        }
        let offset = self.data.len() as u64;
        self.data.extend_from_slice(bytes);
        Argument(kind::DATA, offset)
    }

    fn text(&mut self, text: &CStr) -> Argument {
        self.data(text.to_bytes_with_nul())
    }

    /// Puts strings among the data, one behind the other, and returns where.
    fn strings(&mut self, strings: &[CString]) -> u64 {
        let all: Vec<u8> =
            strings.iter().flat_map(|text| text.as_bytes_with_nul()).copied().collect();
        self.data(&all).1
    }

    /// Puts a structure of the kernel's among the data.
    fn structure<T: Plain>(&mut self, structure: &T) -> Argument {
        self.data(bytes_of(structure))
    }

    fn add(&mut self, op: &Op) {
        match op {
            Op::AwaitIdMaps => {
                let word = Argument(kind::MAPPED, 0);
                let wait = [word, value(libc::FUTEX_WAIT), ZERO, ZERO];
                // EAGAIN: they were written before anybody waited.
                self.call(libc::SYS_futex, wait).tolerate(libc::EAGAIN);
            }
            Op::Write { path, data } => self.write(path, data, None),
            Op::CreateFile { path, data, mode } => self.write(path, data, Some(*mode)),
            Op::MakeDirectory { path, mode } => {
                let path = self.text(path);
                self.call(libc::SYS_mkdirat, [AT_FDCWD, path, value(*mode)]).tolerate(libc::EEXIST);
            }
            Op::MakeSymlink { target, path } => {
                let (target, path) = (self.text(target), self.text(path));
                self.call(libc::SYS_symlinkat, [target, AT_FDCWD, path]);
            }
            Op::Fill { source, path, pieces } => {
                pieces.iter().for_each(|piece| self.make_piece(source, path, piece));
            }
            Op::Whiteout { path } => {
                // The character device 0:0, which overlayfs takes for a deleted file.
                let path = self.text(path);
                self.call(libc::SYS_mknodat, [AT_FDCWD, path, value(libc::S_IFCHR), ZERO]);
            }
            Op::Mount { fstype, target, flags, options } => {
                let (fstype, target) = (self.text(fstype), self.text(target));
                let options = options.as_ref().map_or(ZERO, |options| self.text(options));
                let flags = Argument(kind::VALUE, *flags);
                let source = self.text(SOURCE);
                self.call(libc::SYS_mount, [source, target, fstype, flags, options]);
            }
            Op::FilesystemIds { id } => self.filesystem_ids(*id),
            Op::Bind { source, target, recursive } => {
                let (source, target) = (self.text(source), self.text(target));
                self.bind(source, target, *recursive);
            }
            Op::BindExact { source, target, recursive } => {
                self.bind_exact(source, target, *recursive);
            }
            Op::AttachScratch { target } => self.attach(Argument(kind::SCRATCH, 0), target),
            Op::Attributes { path, recursive, set, propagation } => {
                let path = self.text(path);
                let attributes = libc::mount_attr {
                    attr_set: *set,
                    attr_clr: 0,
                    propagation: *propagation,
                    userns_fd: 0,
                };
                let attributes = self.structure(&attributes);
                let flags = if *recursive { libc::AT_RECURSIVE } else { 0 };
                let size = value(size_of::<libc::mount_attr>() as i64);
                let arguments = [AT_FDCWD, path, value(flags), attributes, size];
                self.call(libc::SYS_mount_setattr, arguments);
            }
            Op::PivotRoot { new_root, put_old } => {
                let (new_root, put_old) = (self.text(new_root), self.text(put_old));
                self.call(libc::SYS_pivot_root, [new_root, put_old]);
            }
            Op::Detach { path } => {
                let path = self.text(path);
                self.call(libc::SYS_umount2, [path, value(libc::MNT_DETACH)]);
            }
            Op::ChangeDirectory { path } => self.path_call(libc::SYS_chdir, path),
            Op::NewSession => {
                self.call(libc::SYS_setsid, []);
            }
            Op::NewKeyring => {
                const KEYCTL_JOIN_SESSION_KEYRING: i32 = 1;
                self.call(libc::SYS_keyctl, [value(KEYCTL_JOIN_SESSION_KEYRING), ZERO]);
            }
            Op::EnterUserNamespace { namespaces } => {
                let user = Argument(kind::USER, 0);
                self.call(libc::SYS_setns, [user, value(libc::CLONE_NEWUSER)]);
                self.call(libc::SYS_unshare, [Argument(kind::VALUE, *namespaces)]);
            }
            Op::EnterNamespaces { namespaces } => {
                self.call(libc::SYS_unshare, [Argument(kind::VALUE, *namespaces)]);
            }
            Op::HostName { name } => {
                let (text, length) = (self.data(name), value(name.len() as i64));
                self.call(libc::SYS_sethostname, [text, length]);
            }
            Op::LoopbackUp => self.loopback_up(),
            Op::LoopbackIpv6 => self.loopback_ipv6(),
            Op::Limit { resource, soft, hard } => self.limit(*resource, *soft, *hard),
            Op::DropCapabilities => self.keep_capabilities(0),
            Op::KeepCapabilities { kept } => {
                let none = value(libc::PR_SET_NO_NEW_PRIVS);
                self.call(libc::SYS_prctl, [none, value(1), ZERO, ZERO, ZERO]);
                self.keep_capabilities(*kept);
            }
            Op::OneProcessor => self.one_processor(),
            Op::FixedAddresses => self.fixed_addresses(),
            Op::LaterClocks { offsets } => self.later_clocks(offsets),
            Op::Unsupported { .. } => {
                // No option has this number: EINVAL.
                self.call(libc::SYS_prctl, [value(-1)]);
            }
            Op::AwaitServices => self.await_services(),
        }
    }

    /// openat(2), write(2) in one go, close(2). `create` is the mode of a new file; without it the
    /// file must exist.
    fn write(&mut self, path: &CStr, data: &[u8], create: Option<u32>) {
        let flags = libc::O_WRONLY | libc::O_CLOEXEC;
        let new = if create.is_some() { libc::O_CREAT | libc::O_EXCL } else { 0 };
        let path = self.text(path);
        let open = [AT_FDCWD, path, value(flags | new), value(create.unwrap_or(0))];
        self.call(libc::SYS_openat, open).keep(FIRST);
        if !data.is_empty() {
            let (bytes, length) = (self.data(data), value(data.len() as i64));
            self.call(libc::SYS_write, [FIRST, bytes, length]).expect(data.len());
        }
        self.close(FIRST);
    }

    /// A copy of something, in a directory. Of a large file, only the place for it.
    fn make_piece(&mut self, source: &CStr, directory: &CStr, piece: &Piece) {
        let below = |directory: &CStr| {
            let whole = [directory.to_bytes(), b"/", piece.path.as_os_str().as_bytes()].concat();
            CString::new(whole).expect("paths hold no NUL byte")
        };
        let path = below(directory);
        match &piece.content {
            Content::Directory(mode) => self.add(&Op::MakeDirectory { path, mode: *mode }),
            Content::File(mode, data) => self.write(&path, data, Some(*mode)),
            Content::Copy(original) => self.copy(&below(source), &path, original),
            Content::LargeFile => self.write(&path, &[], Some(0o444)),
            Content::Link(target) => {
                let target = CString::new(target.as_os_str().as_bytes());
                let target = target.expect("paths hold no NUL byte");
                self.add(&Op::MakeSymlink { target, path });
            }
        }
    }

    /// A copy of a file, as long as the original was: sendfile(2), utimensat(2). What is no file
    /// any more gives EINVAL.
    fn copy(&mut self, source: &CStr, target: &CStr, original: &Original) {
        let flags = libc::O_RDONLY | libc::O_NONBLOCK;
        self.open_exact(source, flags);
        let target = self.text(target);
        let flags = value(libc::O_WRONLY | libc::O_CREAT | libc::O_EXCL | libc::O_CLOEXEC);
        self.call(libc::SYS_openat, [AT_FDCWD, target, flags, value(original.mode)]).keep(SECOND);
        if original.size > 0 {
            let size = Argument(kind::VALUE, original.size);
            self.call(libc::SYS_sendfile, [SECOND, FIRST, ZERO, size]);
        }
        let (seconds, nanoseconds) = original.modified;
        let times = [0, libc::UTIME_OMIT, seconds, nanoseconds].map(i64::to_le_bytes).concat();
        let times = self.data(&times);
        self.call(libc::SYS_utimensat, [AT_FDCWD, target, times, ZERO]);
        self.close(FIRST);
        self.close(SECOND);
    }

    /// setfsgid(2) and setfsuid(2), for the warden. With its ids the kernel takes the signal from a
    /// process that it has asked for its parent's death, and its own `/proc` (commit_creds,
    /// kernel/cred.c).
    fn filesystem_ids(&mut self, id: u32) {
        for number in [libc::SYS_setfsgid, libc::SYS_setfsuid] {
            self.call(number, [value(id)]);
            // They return the id before, also where it stays; -1 is no id, and changes none.
            self.call(number, [value(u32::MAX)]).expect(id as usize);
        }
        self.call(libc::SYS_prctl, [value(libc::PR_SET_DUMPABLE), value(1)]);
        self.call(libc::SYS_prctl, [value(libc::PR_SET_PDEATHSIG), value(libc::SIGKILL)]);
    }

    /// mount(2) with MS_BIND, and MS_REC where `recursive`.
    fn bind(&mut self, source: Argument, target: Argument, recursive: bool) {
        let flags = libc::MS_BIND | if recursive { libc::MS_REC } else { 0 };
        let flags = Argument(kind::VALUE, flags);
        self.call(libc::SYS_mount, [source, target, ZERO, flags, ZERO]);
    }

    /// open_tree(2) of what openat2(2) finds without following any symbolic link, then
    /// move_mount(2): whoever can write to a directory on the way cannot make it lead elsewhere
    /// meanwhile.
    fn bind_exact(&mut self, source: &CStr, target: &CStr, recursive: bool) {
        const OPEN_TREE_CLONE: i32 = 1;
        self.open_exact(source, libc::O_PATH);
        let below = if recursive { libc::AT_RECURSIVE } else { 0 };
        let flags = OPEN_TREE_CLONE | libc::O_CLOEXEC | libc::AT_EMPTY_PATH | below;
        let nothing = self.text(c"");
        self.call(libc::SYS_open_tree, [FIRST, nothing, value(flags)]).keep(SECOND);
        self.attach(SECOND, target);
        self.close(FIRST);
        self.close(SECOND);
    }

    /// openat2(2), without following any symbolic link; the descriptor is the first one kept.
    fn open_exact(&mut self, path: &CStr, flags: i32) {
        // SAFETY: an all-zero open_how is valid.
        let mut how: libc::open_how = unsafe { std::mem::zeroed() };
        how.flags = (flags | libc::O_CLOEXEC) as u64;
        how.resolve = libc::RESOLVE_NO_SYMLINKS | libc::RESOLVE_NO_MAGICLINKS;
        let (path, how) = (self.text(path), self.structure(&how));
        let size = value(size_of::<libc::open_how>() as i64);
        self.call(libc::SYS_openat2, [AT_FDCWD, path, how, size]).keep(FIRST);
    }

    /// move_mount(2): attaches the detached mount `tree` at `target`.
    fn attach(&mut self, tree: Argument, target: &CStr) {
        const MOVE_MOUNT_F_EMPTY_PATH: i32 = 0x4;
        let (nothing, target) = (self.text(c""), self.text(target));
        let arguments = [tree, nothing, AT_FDCWD, target, value(MOVE_MOUNT_F_EMPTY_PATH)];
        self.call(libc::SYS_move_mount, arguments);
    }

    /// sched_setaffinity(2) to one of the processors of this process, which every process on the way
    /// to a case inherits.
    fn one_processor(&mut self) {
        let masks = sys::single_processors();
        let size = masks.first().map_or(0, |mask| 8 * mask.len());
        let words =
            [masks.len() as u64, size as u64].into_iter().chain(masks.into_iter().flatten());
        let bytes: Vec<u8> = words.flat_map(u64::to_le_bytes).collect();
        let Argument(_, at) = self.data(&bytes);
        let mask = Argument(kind::BY_SLOT, at);
        self.call(libc::SYS_sched_setaffinity, [ZERO, value(size as i64), mask]);
    }

    /// unshare(2), then setns(2): a process that executes nothing would stay where it is.
    fn later_clocks(&mut self, offsets: &[u8]) {
        const CLONE_NEWTIME: i32 = 0x80;
        self.call(libc::SYS_unshare, [value(CLONE_NEWTIME)]);
        self.write(c"/proc/self/timens_offsets", offsets, None);
        let path = self.text(c"/proc/self/ns/time_for_children");
        let flags = value(libc::O_RDONLY | libc::O_CLOEXEC);
        self.call(libc::SYS_openat, [AT_FDCWD, path, flags]).keep(FIRST);
        self.call(libc::SYS_setns, [FIRST, value(CLONE_NEWTIME)]);
        self.close(FIRST);
    }

    /// personality(2): that of this process, with ADDR_NO_RANDOMIZE.
    fn fixed_addresses(&mut self) {
        /// linux/personality.h.
        const ADDR_NO_RANDOMIZE: i64 = 0x4_0000;
        self.call(libc::SYS_personality, [value(sys::personality() | ADDR_NO_RANDOMIZE)]);
    }

    /// Meets the supervisor twice: when the sandbox stands, and when nobody can read this process
    /// any more, which may still be a copy of isotest. Exec, or [`header::UNDUMPABLE`], ends that.
    fn await_services(&mut self) {
        self.meet(handshake::SANDBOX_READY);
        self.call(libc::SYS_prctl, [value(libc::PR_SET_DUMPABLE), ZERO, ZERO, ZERO, ZERO]);
        self.meet(handshake::UNDUMPABLE);
    }

    /// Sets the word where the supervisor waits, and waits until it is set again: futex(2)
    /// FUTEX_WAKE_OP and FUTEX_WAIT.
    fn meet(&mut self, at: u32) {
        const FUTEX_OP_SET: i64 = 0;
        let word = Argument(kind::MAPPED, 0);
        // What is compared, with 0, decides of waiters that are none.
        let set = value(FUTEX_OP_SET << 28 | i64::from(at) << 12);
        let all = value(i32::MAX);
        self.call(libc::SYS_futex, [word, value(libc::FUTEX_WAKE_OP), all, ZERO, word, set]);
        // EAGAIN: it was set before anybody waited.
        let wait = [word, value(libc::FUTEX_WAIT), value(at), ZERO];
        self.call(libc::SYS_futex, wait).tolerate(libc::EAGAIN);
    }

    /// prlimit(2), soft and hard limit; a hard limit above the present one is brought down to it,
    /// since only a privileged process may raise it. isotest's own are inherited by every process
    /// on the way to a case.
    fn limit(&mut self, resource: u32, soft: u64, hard: u64) {
        let mut present = libc::rlimit { rlim_cur: 0, rlim_max: libc::RLIM_INFINITY };
        // SAFETY: `present` is a valid rlimit to write to. Where it stays as it is the case fails.
        unsafe { libc::getrlimit(resource, &raw mut present) };
        let is_shared = resource == libc::RLIMIT_NOFILE;
        let own = if is_shared { SHARE.min(present.rlim_max / 2) } else { 0 };
        let hard = hard.min(present.rlim_max - own);
        let limit = self.structure(&libc::rlimit { rlim_cur: soft.min(hard), rlim_max: hard });
        self.call(libc::SYS_prlimit64, [ZERO, value(resource), limit, ZERO]);
    }

    /// Gives up every capability but these for good: the bounding set by prctl(2) PR_CAPBSET_DROP, the
    /// other sets by capset(2). With `no_new_privs` set, execve(2) as uid 0 gains none either. What is
    /// kept is made ambient, so that another uid keeps it as well.
    fn keep_capabilities(&mut self, kept: u64) {
        #[repr(C)]
        struct Header {
            version: u32,
            pid: i32,
        }
        impl Plain for Header {}
        const VERSION_3: u32 = 0x2008_0522;
        // Where it cannot be read: EINVAL past the last one that this kernel knows.
        let last = std::fs::read_to_string("/proc/sys/kernel/cap_last_cap");
        let last = last.ok().and_then(|text| text.trim().parse().ok()).unwrap_or(63);
        let is_kept = |capability: &i32| kept >> capability & 1 != 0;
        for capability in (0..=last).filter(|capability| !is_kept(capability)) {
            let drop = [value(libc::PR_CAPBSET_DROP), value(capability), ZERO, ZERO, ZERO];
            self.call(libc::SYS_prctl, drop).tolerate(libc::EINVAL);
        }
        // Effective, permitted and inheritable, for version 3 twice.
        let sets = [kept as u32, (kept >> 32) as u32].map(|half| [half; 3].map(u32::to_ne_bytes));
        let head = self.structure(&Header { version: VERSION_3, pid: 0 });
        let sets = self.data(sets.as_flattened().as_flattened());
        self.call(libc::SYS_capset, [head, sets]);
        for capability in (0..=last).filter(is_kept) {
            let raise = value(libc::PR_CAP_AMBIENT_RAISE);
            let raise = [value(libc::PR_CAP_AMBIENT), raise, value(capability), ZERO, ZERO];
            self.call(libc::SYS_prctl, raise);
        }
    }
}

/// A call with its arguments; see [`CALL_WORDS`].
struct Call {
    step: u32,
    number: c_long,
    tolerated: i32,
    kept: u64,
    expected: u64,
    arguments: [Argument; 6],
}

impl Call {
    /// This errno is no failure.
    fn tolerate(&mut self, errno: i32) {
        self.tolerated = errno;
    }

    /// Its result is used by later calls.
    fn keep(&mut self, Argument(_, number): Argument) {
        self.kept = number;
    }

    /// Its result must be this.
    fn expect(&mut self, result: usize) {
        self.expected = result as u64;
    }

    fn words(&self) -> [u64; CALL_WORDS] {
        let [a, b, c, d, e, f] = self.arguments;
        let (step, number, tolerated) =
            (u64::from(self.step), self.number as u64, self.tolerated as u64);
        [
            step,
            number,
            tolerated,
            self.kept,
            self.expected,
            a.0,
            a.1,
            b.0,
            b.1,
            c.0,
            c.1,
            d.0,
            d.1,
            e.0,
            e.1,
            f.0,
            f.1,
        ]
    }
}

/// A structure of the kernel's without padding that matters.
trait Plain {}
impl Plain for libc::mount_attr {}
impl Plain for libc::open_how {}
impl Plain for libc::rlimit {}

fn bytes_of<T: Plain>(structure: &T) -> &[u8] {
    // SAFETY: the structures were zeroed or have no padding, and live as long as the slice.
    unsafe { std::slice::from_raw_parts((&raw const *structure).cast(), size_of::<T>()) }
}
