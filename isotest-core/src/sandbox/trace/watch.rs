//! What a tracer reads of each traced call, and writes to the log.

use std::collections::HashMap;
use std::os::fd::OwnedFd;
use std::path::PathBuf;

use super::calls::{Follow, Meaning, OpenFlags, PathAt, meaning};
use super::log::Log;
use super::memory::{self, Address};
use super::paths;
use crate::sandbox::dns::Question;
use crate::sandbox::guard::{Listener, Notification, SystemCall};
use crate::sandbox::interpose::settings::VariableUse;
use crate::sandbox::procfs::{stack_pointer, status_field};
use crate::trace::{
    Act, Change, Endpoint, Existence, Gap, OpenMode, PrintStream, ProcessProperty, Transport,
};

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

/// The event of a clone with these flags.
fn thread_started(flags: u64) -> Vec<Act> {
    let is_thread = flags & libc::CLONE_THREAD as u64 != 0;
    is_thread.then_some(Act::ThreadStarted).into_iter().collect()
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

/// Reader of the calls of a case.
pub struct Watch {
    /// PID 1 of the case.
    leader: i32,
    log: Log,
    /// What the test has before its program is executed.
    start: Option<Start>,
    /// By thread.
    processes: HashMap<i32, Process>,
}

impl Watch {
    /// A reader that has read nothing yet. `leader` is PID 1 of the case.
    pub fn new(leader: i32, log: Log) -> Watch {
        Watch { leader, log, start: None, processes: HashMap::new() }
    }

    /// The log.
    pub fn log(&mut self) -> &mut Log {
        &mut self.log
    }

    /// Writes an event of the guard to the log.
    pub fn note_guarded(
        &mut self,
        call: &SystemCall,
        notification: &Notification,
        listener: &Listener,
    ) {
        use crate::sandbox::guard::GuardEvent;
        match notification.act {
            GuardEvent::Exit { code } => {
                if let Some(process) = self.process(notification.thread) {
                    self.log.push(process.inside, Act::Exited { code });
                }
            }
            GuardEvent::Questions { .. } => self.note(call, listener),
            GuardEvent::Signal { .. } | GuardEvent::IoUring | GuardEvent::IpcObject => {}
        }
    }

    /// Writes a call to the log, while it waits.
    pub fn note(&mut self, call: &SystemCall, listener: &Listener) {
        let Some(meaning) = meaning(call.number) else { return };
        if let Meaning::Mount = meaning {
            return self.log.note(Gap::Mounts);
        }
        let Some(process) = self.process(call.thread) else { return };
        if self.start.is_none() {
            if matches!(meaning, Meaning::Clone | Meaning::CloneBy) {
                // An init clones the test.
                return;
            }
            let outputs = [1, 2].map(|number| output_of(call.thread, number));
            self.start = Some(Start { root: paths::root_of(call.thread), outputs });
        }
        let acts = self.acts(meaning, call, process);
        // What was read could be another process's.
        if !listener.is_valid(call.id) {
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
            Meaning::ProcessId => Act::ProcessId,
            Meaning::Processors => Act::Processors,
            Meaning::Clock => Act::Clock,
            Meaning::Wait => Act::Waited,
            // libtest waits for its tests in the first thread.
            Meaning::WaitForWord if call.thread == process.outside => return Some(Vec::new()),
            Meaning::WaitForWord => Act::Waited,
            Meaning::Clone => return Some(thread_started(call.word_at(0))),
            // The flags are the first member of `struct clone_args`.
            Meaning::CloneBy => {
                let [flags] = memory::words(call.thread, call.word_at(0))?;
                return Some(thread_started(flags));
            }
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
            Meaning::Variable => {
                let text = memory::path(call.thread, call.word_at(2))?;
                let name = text.split('=').next().unwrap_or_default().to_owned();
                match call.word_at(1) {
                    how if how == VariableUse::Change as u64 => {
                        Act::ProcessChanged(ProcessProperty::Variable(name))
                    }
                    how if how == VariableUse::Read as u64 => Act::VariableRead { name },
                    _ => return Some(Vec::new()),
                }
            }
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
