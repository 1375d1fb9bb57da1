//! The tracer of a case: reads each traced call, writes it to the log, lets the call go on.

use std::collections::HashMap;
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::time::TimeSpec;
use nix::sys::timerfd::{Expiration, TimerFd, TimerSetTimeFlags};
use serde::{Deserialize, Serialize};

use super::calls::{Follow, Meaning, OpenFlags, PathAt, meaning};
use super::log::Log;
use super::memory::{self, Address};
use super::paths;
use crate::sandbox::child::kernel;
use crate::sandbox::child::start::Slot;
use crate::sandbox::dns::Question;
use crate::sandbox::guard::{Listener, Notification, SystemCall};
use crate::sandbox::interpose::programs;
use crate::sandbox::procfs::{stack_pointer, status_field};
use crate::sandbox::protocol::Channel;
use crate::sandbox::sys;
use crate::trace::{
    Act, Change, Endpoint, Existence, Gap, OpenMode, PrintStream, ProcessProperty, Transport,
};

/// Time that a tracer has to read one call.
const PATIENCE: Duration = Duration::from_secs(2);
/// Maximum number of arguments of a program, and bytes of one, that are kept.
const ARGUMENTS: usize = 32;
const ARGUMENT: usize = 256;
/// Maximum bytes of one write that are kept.
const TEXT: usize = 512;
/// Maximum number of messages of one sendmmsg(2), and parts of one message, that are read.
const MESSAGES: usize = 4;
/// Bytes of a stack in which a question is looked for.
const STACK: usize = 32 << 10;
/// Port of name servers.
const DNS: u16 = 53;

/// From a tracer to the warden.
#[derive(Debug, Serialize, Deserialize)]
pub enum TracerMessage {
    /// The case has its filter. The descriptor beside it is the listener.
    Attached,
    /// A notification of the guard, which the warden answers.
    Heard(Notification),
}

/// All that a tracer needs.
pub struct Tracer<'a> {
    /// The slot of the case.
    pub slot: &'a Slot,
    /// Socket to the case, for the listener.
    pub case: OwnedFd,
    /// Channel for each [`TracerMessage`].
    pub channel: Channel,
    /// Timer by which the warden learns that a call was not read in time.
    pub timer: TimerFd,
    /// File of the log.
    pub log: OwnedFd,
    /// Start of the case.
    pub began: Instant,
    /// Programs before which no library can be loaded are refused.
    pub interposed: bool,
}

impl Tracer<'_> {
    /// The whole run of the process.
    pub fn serve(self) -> ! {
        let _ = nix::sys::prctl::set_name(c"isotest-tracer");
        let kept = [self.case.as_fd(), self.channel.as_fd(), self.timer.as_fd(), self.log.as_fd()];
        if sys::close_all_but(&kept).is_err() {
            kernel::exit(1);
        }
        let Some(listener) = self.attach() else { kernel::exit(0) };
        let leader = self.slot.pid.load(Ordering::Acquire);
        let Tracer { slot, channel, timer, log, began, interposed, .. } = self;
        let log = Log::new(log, began);
        let processes = HashMap::new();
        let watch = Watch { leader, listener, log, start: None, processes, interposed };
        watch.run(slot, &channel, &timer)
    }

    /// Takes the listener from the case, and shows it to the warden. `None`: there is none.
    fn attach(&self) -> Option<Listener> {
        let mut word = [0; 4];
        // The end of the file: the case was never set up.
        let length = nix::unistd::read(&self.case, &mut word).ok()?;
        let number = i32::from_le_bytes(word);
        if length < word.len() {
            return None;
        }
        if number < 0 {
            self.answer(0);
            return None;
        }
        let leader = self.slot.pid.load(Ordering::Acquire);
        let taken = memory::descriptor(leader, number);
        let shown = taken.and_then(|listener| {
            let sent = self.channel.send(&TracerMessage::Attached, &[listener.as_fd()]);
            sent.is_ok().then_some(listener)
        });
        self.answer(if shown.is_some() { 0 } else { Errno::EPERM as i32 });
        let listener = shown.map(Listener::from)?;
        listener.wake_in_place();
        Some(listener)
    }

    /// Tells the case to go on, or what keeps it from being traced.
    fn answer(&self, errno: i32) {
        // It may be dead.
        let _ = nix::unistd::write(&self.case, &errno.to_le_bytes());
    }
}

/// The file at a standard descriptor of a process, as proc(5) names it.
fn output_of(process: i32, number: i32) -> Option<PathBuf> {
    std::fs::read_link(format!("/proc/{process}/fd/{number}")).ok()
}

/// A process of the case.
#[derive(Debug, Clone, Copy)]
struct Process {
    /// Its id in the pid namespace of this process.
    outside: i32,
    /// Its id in that of the case.
    inside: i32,
}

/// What the test has before its program is executed, when nothing of it has run.
struct Start {
    root: Option<OwnedFd>,
    /// The files at descriptors 1 and 2.
    outputs: [Option<PathBuf>; 2],
}

/// A tracer at work.
struct Watch {
    /// PID 1 of the case.
    leader: i32,
    listener: Listener,
    log: Log,
    /// What the test has before its program is executed.
    start: Option<Start>,
    /// By thread.
    processes: HashMap<i32, Process>,
    interposed: bool,
}

impl Watch {
    fn run(mut self, slot: &Slot, channel: &Channel, timer: &TimerFd) -> ! {
        loop {
            let mut polled = [
                PollFd::new(self.listener.descriptor(), PollFlags::POLLIN),
                PollFd::new(channel.as_fd(), PollFlags::empty()),
            ];
            if poll(&mut polled, PollTimeout::NONE).is_err() {
                continue;
            }
            let [listener, channel_end] =
                polled.map(|one| one.revents().unwrap_or(PollFlags::empty()));
            let gone = PollFlags::POLLHUP | PollFlags::POLLERR;
            if channel_end.intersects(gone) {
                // The warden answers by itself, or is gone.
                kernel::exit(0);
            }
            if !listener.contains(PollFlags::POLLIN) {
                if listener.intersects(gone) {
                    // No process of the case is left.
                    kernel::exit(0);
                }
                continue;
            }
            let Some(call) = self.listener.receive() else { continue };
            slot.read.store(call.id, Ordering::Release);
            let _ = timer
                .set(Expiration::OneShot(TimeSpec::from(PATIENCE)), TimerSetTimeFlags::empty());
            match call.of_guard() {
                Some(notification) => {
                    self.note_guarded(&call, &notification);
                    if channel.send(&TracerMessage::Heard(notification), &[]).is_err() {
                        kernel::exit(0);
                    }
                }
                None => {
                    self.note(&call);
                    programs::answer(&self.listener, &call, self.interposed);
                }
            }
            slot.read.store(0, Ordering::Release);
            let _ = timer.unset();
        }
    }

    fn note_guarded(&mut self, call: &SystemCall, notification: &Notification) {
        use crate::sandbox::guard::GuardEvent;
        match notification.act {
            GuardEvent::Exit { code } => {
                if let Some(process) = self.process(notification.thread) {
                    self.log.push(process.inside, Act::Exited { code });
                }
            }
            GuardEvent::Questions { .. } => self.note(call),
            GuardEvent::Signal { .. } | GuardEvent::IoUring | GuardEvent::IpcObject => {}
        }
    }

    fn note(&mut self, call: &SystemCall) {
        let Some(meaning) = meaning(call.number) else { return };
        if let Meaning::Mount = meaning {
            return self.log.note(Gap::Mounts);
        }
        let Some(process) = self.process(call.thread) else { return };
        if self.start.is_none() {
            let outputs = [1, 2].map(|number| output_of(call.thread, number));
            self.start = Some(Start { root: paths::root_of(call.thread), outputs });
        }
        let acts = self.acts(meaning, call, process);
        // What was read could be another process's.
        if !self.listener.is_valid(call.id) {
            return;
        }
        match acts {
            Some(acts) => acts.into_iter().for_each(|act| self.log.push(process.inside, act)),
            None => self.log.note(Gap::Memory),
        }
    }

    /// The process of a thread. One that is seen for the first time is an event.
    fn process(&mut self, thread: i32) -> Option<Process> {
        if let Some(process) = self.processes.get(&thread) {
            return Some(*process);
        }
        let number = |thread: i32, field: &str| {
            status_field(thread, field)?.split_whitespace().last()?.parse::<i32>().ok()
        };
        let outside = number(thread, "Tgid:")?;
        let process = match self.processes.get(&outside) {
            Some(known) => *known,
            None => {
                let process = Process { outside, inside: number(outside, "NSpid:")? };
                self.processes.insert(outside, process);
                if outside != self.leader {
                    let parent = number(outside, "PPid:").and_then(|id| number(id, "NSpid:"));
                    let parent = parent.unwrap_or(0);
                    self.log.push(process.inside, Act::Spawned { parent });
                }
                process
            }
        };
        self.processes.insert(thread, process);
        Some(process)
    }

    /// The events of a call; `None` where its arguments cannot be read.
    fn acts(&mut self, meaning: Meaning, call: &SystemCall, process: Process) -> Option<Vec<Act>> {
        let act = match meaning {
            Meaning::Open(at, flags) => self.open(call, at, flags)?,
            Meaning::Look(at, follow) => {
                let Some(path) = self.path(call, at)? else { return Some(Vec::new()) };
                let follow = match follow {
                    Follow::Yes => true,
                    Follow::No => false,
                    Follow::Flags(flags) => call.number_at(flags) & libc::AT_SYMLINK_NOFOLLOW == 0,
                };
                Act::LookedUp { found: self.look_up(&path, follow), path }
            }
            Meaning::Change(change, at) => {
                let Some(path) = self.path(call, at)? else { return Some(Vec::new()) };
                // create_dir_all() of what is there changes nothing.
                let is_made = change == Change::MadeDirectory;
                match is_made.then(|| self.look_up(&path, false)) {
                    Some(Existence::Exists) => Act::LookedUp { path, found: Existence::Exists },
                    _ => Act::Changed { change, path, to: None },
                }
            }
            Meaning::Move(change, from, to) => {
                let (Some(path), to) = (self.path(call, from)?, self.path(call, to)?) else {
                    return Some(Vec::new());
                };
                Act::Changed { change, path, to }
            }
            Meaning::Link(target, at) => {
                let path = memory::path(call.thread, call.word_at(target))?;
                let to = self.path(call, at)?;
                Act::Changed { change: Change::LinkedSymbolically, path, to }
            }
            Meaning::Execute(at, arguments) => {
                let Some(program) = self.path(call, at)? else { return Some(Vec::new()) };
                let found = self.look_up(&program, true);
                let arguments = arguments_at(call.thread, call.word_at(arguments));
                Act::Executed { program, arguments, found }
            }
            Meaning::Connect => {
                let endpoint = self.endpoint_at(call, process, 1, 2)?;
                let question = endpoint.as_ref().and_then(|it| question_behind(call.thread, it));
                let question = question.map(|it| Act::Resolved { name: it.name, kind: it.kind });
                return Some(endpoint.map(Act::Connected).into_iter().chain(question).collect());
            }
            Meaning::Bind => {
                let endpoint = self.endpoint_at(call, process, 1, 2)?;
                return Some(endpoint.map(Act::Bound).into_iter().collect());
            }
            Meaning::Listen => {
                let socket = memory::descriptor(process.outside, call.number_at(0))?;
                let transport = memory::transport(&socket);
                let Some(address) = memory::bound_to(&socket) else { return Some(Vec::new()) };
                Act::Listened(address.over(transport))
            }
            Meaning::Send => {
                let address = (call.word_at(4), call.word_at(5));
                let part = (call.word_at(1), call.word_at(2));
                return self.sent(call, process, &[Message { address, part }]);
            }
            Meaning::SendMessage => {
                let message = Message::read(call.thread, call.word_at(1))?;
                return self.sent(call, process, &[message]);
            }
            Meaning::SendMessages => {
                // `struct mmsghdr`: a message of 56 bytes, and a length.
                let count = (call.word_at(2) as u32 as usize).min(MESSAGES) as u64;
                let at = |index: u64| Message::read(call.thread, call.word_at(1) + index * 64);
                let messages = (0..count).map(at).collect::<Option<Vec<Message>>>()?;
                return self.sent(call, process, &messages);
            }
            Meaning::Entropy => Act::Entropy { bytes: call.word_at(1) },
            Meaning::HostName => Act::HostName,
            Meaning::Processors => Act::Processors,
            Meaning::Clock => Act::Clock,
            Meaning::Enter(at) => {
                let Some(path) = self.path(call, at)? else { return Some(Vec::new()) };
                let found = self.look_up(&path, true);
                let changed = Act::ProcessChanged(ProcessProperty::WorkingDirectory);
                return Some(vec![Act::LookedUp { path, found }, changed]);
            }
            Meaning::Limit(at) => {
                Act::ProcessChanged(ProcessProperty::Limit(call.number_at(at) as u32))
            }
            Meaning::Umask => Act::ProcessChanged(ProcessProperty::Umask),
            Meaning::Print | Meaning::PrintVector => return self.printed(meaning, call),
            Meaning::Mount => return Some(Vec::new()),
        };
        Some(vec![act])
    }

    /// The path of a call; `Some(None)` where it names no path but a descriptor.
    fn path(&self, call: &SystemCall, at: PathAt) -> Option<Option<String>> {
        let address = call.word_at(at.path);
        if address == 0 {
            // utimensat(2) without a path changes what is open.
            return Some(None);
        }
        let path = memory::path(call.thread, address)?;
        if path.is_empty() {
            return Some(None);
        }
        let directory = at.directory.map(|index| call.number_at(index));
        Some(paths::absolute(call.thread, directory, &path))
    }

    fn look_up(&self, path: &str, follow: bool) -> Existence {
        if self.log.has(Gap::Mounts) {
            return Existence::Unknown;
        }
        match self.start.as_ref().and_then(|start| start.root.as_ref()) {
            Some(root) => paths::look_up(root, path, follow),
            None => Existence::Unknown,
        }
    }

    fn open(&mut self, call: &SystemCall, at: PathAt, flags: OpenFlags) -> Option<Act> {
        let path = self.path(call, at)?;
        let flags = match flags {
            OpenFlags::At(index) => call.number_at(index),
            OpenFlags::InStructure(index) => {
                memory::words::<1>(call.thread, call.word_at(index))?[0] as i32
            }
            OpenFlags::Create => libc::O_CREAT | libc::O_WRONLY | libc::O_TRUNC,
        };
        let path = path?;
        let found = self.look_up(&path, flags & libc::O_NOFOLLOW == 0);
        if flags & libc::O_PATH != 0 {
            return Some(Act::LookedUp { path, found });
        }
        let mode = match flags & libc::O_ACCMODE {
            _ if flags & libc::O_CREAT != 0 => OpenMode::Create,
            _ if flags & libc::O_TMPFILE == libc::O_TMPFILE => OpenMode::Write,
            libc::O_RDONLY if flags & libc::O_DIRECTORY != 0 => OpenMode::List,
            libc::O_RDONLY => OpenMode::Read,
            _ => OpenMode::Write,
        };
        Some(Act::Opened { path, mode, found })
    }

    /// The address in the arguments `address` and `length`; `Some(None)` where there is none.
    fn endpoint_at(
        &self,
        call: &SystemCall,
        process: Process,
        address: usize,
        length: usize,
    ) -> Option<Option<Endpoint>> {
        let length = call.number_at(length).max(0) as u64;
        let bytes = Address::bytes(call.thread, call.word_at(address), length)?;
        Some(Address::parse(&bytes).map(|it| self.endpoint(it, call, process)))
    }

    /// An address over the transport of the socket that is argument 0.
    fn endpoint(&self, address: Address, call: &SystemCall, process: Process) -> Endpoint {
        let address = match address {
            Address::Unix(path) => {
                Address::Unix(paths::absolute(call.thread, None, &path).unwrap_or(path))
            }
            other => other,
        };
        let transport = match address {
            Address::Ip(_) => memory::descriptor(process.outside, call.number_at(0))
                .map_or(Transport::Other, |socket| memory::transport(&socket)),
            _ => Transport::Other,
        };
        address.over(transport)
    }

    /// Messages that are sent: their addresses, and the names that a name server is asked for.
    fn sent(&self, call: &SystemCall, process: Process, messages: &[Message]) -> Option<Vec<Act>> {
        let mut acts = Vec::new();
        for Message { address, part } in messages {
            let address = match address {
                (0, _) | (_, 0) => None,
                (address, length) => Address::bytes(call.thread, *address, *length)
                    .and_then(|bytes| Address::parse(&bytes)),
            };
            let is_to_dns = match &address {
                Some(Address::Ip(address)) => address.port() == DNS,
                // The socket may be connected to a name server.
                None => is_connected_to_dns(process.outside, call.number_at(0)),
                Some(_) => false,
            };
            if is_to_dns {
                let length = usize::try_from(part.1).unwrap_or(0).min(Question::ENOUGH);
                let bytes = memory::bytes(call.thread, part.0, length);
                // Over TCP its length stands before it.
                let question = Question::parse(&bytes)
                    .or_else(|| Question::parse(bytes.get(2..).unwrap_or_default()));
                acts.extend(question.map(|it| Act::Resolved { name: it.name, kind: it.kind }));
            }
            acts.extend(address.map(|it| Act::Sent(self.endpoint(it, call, process))));
        }
        Some(acts)
    }

    /// A write to descriptor 1 or 2, where that is the one that the case was given.
    fn printed(&self, meaning: Meaning, call: &SystemCall) -> Option<Vec<Act>> {
        let number = call.number_at(0);
        let Some(Start { outputs: [stdout, stderr], .. }) = &self.start else {
            return Some(Vec::new());
        };
        let own = if number == 1 { stdout } else { stderr };
        let stream = if number == 1 { PrintStream::Stdout } else { PrintStream::Stderr };
        if own.is_none() || output_of(call.thread, number) != *own {
            return Some(Vec::new());
        }
        let part = |address, length: u64| {
            let length = usize::try_from(length).unwrap_or(TEXT).min(TEXT);
            memory::bytes(call.thread, address, length)
        };
        let text = match meaning {
            Meaning::PrintVector => {
                let count = call.number_at(2).clamp(0, MESSAGES as i32 * 4);
                let mut text = Vec::new();
                for index in 0..count as u64 {
                    let [address, length] =
                        memory::words::<2>(call.thread, call.word_at(1) + index * 16)?;
                    text.extend(part(address, length));
                }
                text.truncate(TEXT);
                text
            }
            _ => part(call.word_at(1), call.word_at(2)),
        };
        Some(vec![Act::Printed { stream, text: memory::lossy(text) }])
    }
}

/// A message that is sent: its address and its first part, each with its length.
struct Message {
    address: (u64, u64),
    part: (u64, u64),
}

impl Message {
    /// Reads `struct msghdr`, and the first `struct iovec` of it.
    fn read(thread: i32, address: u64) -> Option<Message> {
        let [name, length, parts, count] = memory::words::<4>(thread, address)?;
        let part = match count {
            0 => [0, 0],
            _ => memory::words::<2>(thread, parts)?,
        };
        Some(Message { address: (name, length & 0xFFFF_FFFF), part: (part[0], part[1]) })
    }
}

/// The name that a name server is about to be asked for, where that is what a thread connects to:
/// without a route the question is never sent. The resolvers of glibc and musl have it on the stack.
fn question_behind(thread: i32, endpoint: &Endpoint) -> Option<Question> {
    if !matches!(endpoint, Endpoint::Ip(_, address) if address.port() == DNS) {
        return None;
    }
    let stack = memory::bytes(thread, stack_pointer(thread)?, STACK);
    Question::find(&stack)
}

/// True if a socket is connected to a name server.
fn is_connected_to_dns(process: i32, number: i32) -> bool {
    let socket = memory::descriptor(process, number);
    let peer = socket.and_then(|socket| memory::connected_to(&socket));
    matches!(peer, Some(Address::Ip(address)) if address.port() == DNS)
}

/// The first arguments of a program.
fn arguments_at(thread: i32, address: u64) -> Vec<String> {
    let next = |index: usize| {
        let [argument] = memory::words::<1>(thread, address.checked_add(index as u64 * 8)?)?;
        if argument == 0 {
            return None;
        }
        let mut bytes = memory::bytes(thread, argument, ARGUMENT);
        let end = bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len());
        bytes.truncate(end);
        Some(memory::lossy(bytes))
    };
    (0..ARGUMENTS).map_while(next).collect()
}
