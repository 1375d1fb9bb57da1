//! Start of a case by the warden: by the fork server of its set-up, or by cloning itself and
//! executing the program.

#![allow(unsafe_code)]

use std::ffi::{CStr, CString, c_char};
use std::fs;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::ptr;
use std::rc::Rc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use nix::errno::Errno;
use nix::sys::signal::Signal;
use nix::sys::socket::{AddressFamily, SockFlag, SockType, socketpair};

use super::competitor::Competitor;
use super::cycle::Cycle;
use super::signals::signal_case;
use super::slots::Slots;
use super::state::{Prepared, RunningCase, WardenState};
use super::tracing::Tracing;
use crate::errno;
use crate::outcome::Usage;
use crate::perturbation::Stdin;
use crate::plan::{LIBRARY_PATH, ScratchMount};
use crate::policy::Guard;
use crate::sandbox::child::bytecode::{Bytecode, header};
use crate::sandbox::child::kernel::{self, Cloning};
use crate::sandbox::child::order::Answer;
use crate::sandbox::child::start::ChildSetup;
use crate::sandbox::fault::{
    Fault, STEP_CGROUP, STEP_CLONE, STEP_DESCRIPTORS, STEP_EXEC, STEP_SCRATCH, STEP_TRACE,
};
use crate::sandbox::interpose::{programs, written};
use crate::sandbox::protocol::{End, GuardRecord, Response, Start};
use crate::sandbox::servers::{Server, ServerSpec};
use crate::sandbox::sys;
use crate::sandbox::trace::HoldChooser;

impl WardenState {
    pub fn start(&mut self, start: Start, descriptors: Vec<OwnedFd>) {
        let case = start.case;
        if let Err((step, errno)) = self.try_start(start, descriptors) {
            let fault = Some(Fault { step, errno: errno as i32 });
            let (usage, seen) = (Usage::default(), Box::new(GuardRecord::default()));
            let (group, traced, trace, holds) = (None, false, None, Vec::new());
            let end = End { case, status: 0, usage, fault, seen, group, traced, trace, holds };
            self.send(&Response::Ended(end));
        }
    }

    fn try_start(
        &mut self,
        start: Start,
        mut descriptors: Vec<OwnedFd>,
    ) -> Result<(), (u32, Errno)> {
        let refused = |errno| (STEP_CLONE, errno);
        let slot = *self.free.last().ok_or(refused(Errno::EAGAIN))?;
        let set_up = self.setups.get(&start.setup).ok_or(refused(Errno::EINVAL))?;
        if set_up.setup.unsuitable {
            return Err((STEP_EXEC, programs::REFUSED));
        }
        // One more is where a service supervisor tells of services.
        let without_stdin = 2 + usize::from(set_up.setup.services.is_some());
        let has_stdin = descriptors.len() > without_stdin;
        let served = set_up.served && !has_stdin && !start.terminal;
        let served = if served { self.serves(&start) } else { None };
        let running = self.running_case(&start, slot, served.as_ref())?;
        if let Some(cell) = running.slots.get(slot) {
            cell.reset();
        }
        self.free.pop();
        self.running.insert(slot, running);
        if served.is_some() {
            self.order(start, slot, descriptors);
            return Ok(());
        }
        if !has_stdin {
            let null = self.null.try_clone().map_err(|_| refused(Errno::EMFILE))?;
            descriptors.insert(0, null);
        }
        self.clone_case(&start, slot, &descriptors).map_err(|errno| {
            let group = self.running.remove(&slot).and_then(|running| running.group);
            if let (Some(base), Some(group)) = (&self.base, group) {
                base.remove(group);
            }
            self.free.push(slot);
            refused(errno)
        })?;
        self.supervise(&start, slot, descriptors.get(3));
        Ok(())
    }

    /// A case about to start, with its scratch and its control group.
    fn running_case(
        &mut self,
        start: &Start,
        slot: usize,
        served: Option<&Rc<Slots>>,
    ) -> Result<RunningCase, (u32, Errno)> {
        let set_up = self.setups.get(&start.setup).ok_or((STEP_CLONE, Errno::EINVAL))?;
        let word = |index| Bytecode(&set_up.setup.bytecode).header(index).unwrap_or(0);
        let scratch = match (set_up.setup.scratch, &mut self.disk) {
            (ScratchMount::Memory { size }, _) => sys::make_tmpfs(size),
            (ScratchMount::Disk, Some(disk)) => disk.make(&start.case.to_string()),
            (ScratchMount::Disk, None) => Err(Errno::ENODEV),
        };
        let scratch = scratch.map_err(|errno| (STEP_SCRATCH, errno))?;
        let perturbations = &set_up.setup.perturbations;
        let cannot = |errno| (STEP_CLONE, errno);
        let is_held = perturbations.holds.is_some() && self.guard != Guard::NoListener;
        if is_held && set_up.filter.is_none() {
            return Err((STEP_TRACE, Errno::EOPNOTSUPP));
        }
        let competitor = Competitor::of(perturbations, slot).map_err(cannot)?;
        let cycle = perturbations.duty_cycle.map(Cycle::begin).transpose().map_err(cannot)?;
        let terminal = match perturbations.stdin {
            Stdin::Null => None,
            Stdin::Terminal => Some(keeper().map_err(|errno| (STEP_DESCRIPTORS, errno))?),
        };
        if let Some(interposed) = &set_up.setup.interposed {
            written::write(&scratch, interposed, start.seed)
                .map_err(|errno| (STEP_SCRATCH, errno))?;
        }
        let group = self.base.as_mut().map(|base| base.make(&set_up.setup.group)).transpose();
        let group = group.map_err(|errno| (STEP_CGROUP, errno))?;
        Ok(RunningCase {
            case: start.case,
            setup: start.setup,
            slots: Rc::clone(served.unwrap_or(&self.slots)),
            arguments: start.arguments.clone(),
            scratch,
            terminal,
            competitor,
            cycle,
            group,
            reaper: word(header::REAPER) == 1,
            own_network: word(header::NAMESPACES) & libc::CLONE_NEWNET as u64 != 0,
            own_ipc: word(header::NAMESPACES) & libc::CLONE_NEWIPC as u64 != 0,
            own_pids: word(header::NAMESPACES) & libc::CLONE_NEWPID as u64 != 0,
            has_holds: perturbations.holds.is_some(),
            used_ipc: false,
            doomed: None,
            seen: GuardRecord::default(),
            supervisor: None,
            tracer: None,
            ended: None,
        })
    }

    /// The slots of the server that can start a case; one is started for the first. `None` where
    /// its set-up has none.
    fn serves(&mut self, start: &Start) -> Option<Rc<Slots>> {
        let set_up = self.setups.get(&start.setup)?;
        let suits = |server: &Server| server.suits(&start.arguments, &start.environment);
        if let Some((server, slots)) = &set_up.server {
            return suits(server).then(|| Rc::clone(slots));
        }
        let started = self.start_server(set_up, start).ok().filter(|(server, _)| suits(server));
        let set_up = self.setups.get_mut(&start.setup)?;
        let Some((server, slots)) = started else {
            set_up.served = false;
            return None;
        };
        set_up.server = Some((server, Rc::clone(&slots)));
        Some(slots)
    }

    fn start_server(&self, set_up: &Prepared, start: &Start) -> Result<(Server, Rc<Slots>), Errno> {
        let (slots, file) = Slots::new()?;
        let (restriction, _) = set_up.setup.server.as_ref().ok_or(Errno::EINVAL)?;
        let bytecode = Bytecode(&set_up.setup.bytecode);
        let mut arguments = strings(&bytecode, header::ARGUMENTS, header::ARGUMENTS_AT)?;
        let mut environment = strings(&bytecode, header::ENVIRONMENT, header::ENVIRONMENT_AT)?;
        arguments.extend(start.arguments.iter().map(CString::as_c_str));
        environment.extend(start.environment.iter().map(CString::as_c_str));
        let own_kinds =
            libc::CLONE_NEWNS | libc::CLONE_NEWNET | libc::CLONE_NEWIPC | libc::CLONE_NEWUTS;
        let namespaces = bytecode.header(header::NAMESPACES).unwrap_or(0) & own_kinds as u64;
        let server = Server::start(&ServerSpec {
            program: &set_up.setup.program,
            library: LIBRARY_PATH,
            arguments: &arguments,
            environment: &environment,
            strings: [start.arguments.len(), start.environment.len()],
            setup: &set_up.setup.bytecode,
            restriction,
            slots: file.as_fd(),
            namespaces,
        })?;
        Ok((server, Rc::new(slots)))
    }

    /// Hands a case to the server of its set-up, at once or when that is ready.
    fn order(&mut self, start: Start, slot: usize, descriptors: Vec<OwnedFd>) {
        let Some(set_up) = self.setups.get_mut(&start.setup) else { return };
        let Some((server, _)) = set_up.server.as_ref() else { return };
        if !server.is_ready() {
            return set_up.waiting.push((start, slot, descriptors));
        }
        let running = self.running.get(&slot);
        let (scratch, keeper) =
            (running.map(|running| &running.scratch), running.and_then(RunningCase::keeper));
        let given = descriptors.iter().take(2).chain(scratch).chain(keeper);
        let given: Vec<BorrowedFd<'_>> = given.map(AsFd::as_fd).collect();
        let own = [start.arguments.as_slice(), start.environment.as_slice()];
        // Where it has ended, `on_server` finds the case not cloned.
        let ordered = server.order(slot, own, &given);
        set_up.expected = set_up.expected.saturating_sub(1);
        if ordered == Err(Errno::EAGAIN) {
            // It takes no orders.
            return self.end_server(start.setup);
        }
        self.supervise(&start, slot, descriptors.get(2));
    }

    /// Lets the server of a set-up go with the last case. Not before: its mounts go with it, and
    /// the kernel finds the path of a case's program (`/proc/self/exe`) by them.
    pub fn dismiss_server(&mut self, number: u32) {
        let set_up = self.setups.get_mut(&number).filter(|set_up| set_up.expected == 0);
        let in_flight = self.running.values().any(|running| running.setup == number);
        if let Some(set_up) = set_up.filter(|_| !in_flight) {
            // It ends when nobody can give it orders.
            set_up.server = None;
        }
    }

    pub fn on_server(&mut self, number: u32) {
        loop {
            let set_up = self.setups.get_mut(&number);
            let server = set_up.and_then(|set_up| set_up.server.as_mut());
            let Some((server, _)) = server else { return };
            match server.answer() {
                Ok(None) => return,
                Ok(Some(Answer::Ready)) => self.go_on_with_server(number),
                Ok(Some(Answer::Cloned(slot))) if self.is_in_flight(slot, number) => {
                    self.write_maps(slot as usize);
                }
                Ok(Some(Answer::Refused(slot)))
                    if self.is_in_flight(slot, number) && self.pid(slot as usize).is_none() =>
                {
                    self.report_not_started(slot as usize);
                }
                // An answer for a case that is none of its: whoever gives that is no server.
                Ok(Some(Answer::Cloned(_) | Answer::Refused(_))) | Err(_) => {
                    return self.lose_server(number);
                }
            }
        }
    }

    /// True if a slot has a case that the server of this set-up was asked for.
    fn is_in_flight(&self, slot: u32, setup: u32) -> bool {
        let server = self.setups.get(&setup).and_then(|set_up| set_up.server.as_ref());
        let running = self.running.get(&(slot as usize));
        running.zip(server).is_some_and(|(case, (_, slots))| Rc::ptr_eq(&case.slots, slots))
    }

    /// The server of a set-up has done all that it was asked for.
    fn go_on_with_server(&mut self, number: u32) {
        let Some(set_up) = self.setups.get_mut(&number) else { return };
        for (start, slot, descriptors) in std::mem::take(&mut set_up.waiting) {
            self.order(start, slot, descriptors);
        }
        if self.signal_doomed(number)
            && let Some((server, _)) =
                self.setups.get(&number).and_then(|set_up| set_up.server.as_ref())
        {
            server.ping();
        }
    }

    /// Signals the cases of a set-up for which a signal came before they were cloned. Returns
    /// whether one still is not.
    fn signal_doomed(&mut self, setup: u32) -> bool {
        let mut left = false;
        for (slot, running) in &mut self.running {
            let cell = running.slots.get(*slot);
            let pid = cell.map_or(0, |cell| cell.pid.load(Ordering::Acquire));
            match running.doomed.filter(|_| running.setup == setup) {
                Some(_) if pid == 0 => left = true,
                Some(signal) => {
                    if sys::is_child(pid) {
                        signal_case(pid, signal, running.own_pids);
                    }
                    running.doomed = None;
                }
                None => {}
            }
        }
        left
    }

    /// Time at which the first server is ended that does not start a case that is to be killed.
    pub fn next_overdue(&self) -> Option<Instant> {
        self.setups.values().filter_map(|set_up| set_up.overdue).min()
    }

    /// Ends the servers that had long enough: one that does nothing, or that says it has done what
    /// it has not, would keep its cases for ever.
    pub fn end_overdue(&mut self) {
        let now = Instant::now();
        let mut due = Vec::new();
        for (number, set_up) in &mut self.setups {
            if set_up.overdue.take_if(|overdue| *overdue <= now).is_some() {
                due.push(*number);
            }
        }
        for number in due {
            if self.signal_doomed(number) {
                self.end_server(number);
            }
        }
    }

    /// Kills a server that does not do its work.
    fn end_server(&mut self, number: u32) {
        let server = self.setups.get(&number).and_then(|set_up| set_up.server.as_ref());
        if let Some(process) =
            server.map(|(server, _)| server.process()).filter(|id| sys::is_child(*id))
        {
            kernel::kill(process, libc::SIGKILL);
        }
        self.lose_server(number);
    }

    /// Without its server the cases of a set-up are executed. What it had been asked for and had
    /// not cloned is lost.
    fn lose_server(&mut self, number: u32) {
        let Some(set_up) = self.setups.get_mut(&number) else { return };
        set_up.server = None;
        set_up.served = false;
        set_up.overdue = None;
        for (start, slot, descriptors) in std::mem::take(&mut set_up.waiting) {
            if self.running.get(&slot).is_some_and(|running| running.doomed.is_some()) {
                self.report_not_started(slot);
                continue;
            }
            self.running.remove(&slot);
            self.free.push(slot);
            self.start(start, descriptors);
        }
        let lost = |(slot, running): (&usize, &RunningCase)| {
            let waited_for = running.setup == number && running.ended.is_none();
            (waited_for && self.pid(*slot).is_none()).then_some(*slot)
        };
        let lost: Vec<usize> = self.running.iter().filter_map(lost).collect();
        for slot in lost {
            self.report_not_started(slot);
        }
        self.signal_doomed(number);
    }

    /// Clones a case from this process, which is its template, and executes its program.
    fn clone_case(
        &mut self,
        start: &Start,
        slot: usize,
        descriptors: &[OwnedFd],
    ) -> Result<(), Errno> {
        let set_up = self.setups.get(&start.setup).ok_or(Errno::EINVAL)?;
        let cell = self.cell(slot).ok_or(Errno::EINVAL)?;
        let bytecode = Bytecode(&set_up.setup.bytecode);
        let arguments = strings(&bytecode, header::ARGUMENTS, header::ARGUMENTS_AT)?;
        let environment = strings(&bytecode, header::ENVIRONMENT, header::ENVIRONMENT_AT)?;
        let arguments = pointers(&arguments, &start.arguments);
        let environment = pointers(&environment, &start.environment);
        let scratch = self.running.get(&slot).map(|running| &running.scratch);
        let keeper = self.running.get(&slot).and_then(RunningCase::keeper);
        let late = bytecode.header(header::LATE).ok_or(Errno::EINVAL)?;
        let user = match &set_up.setup.id_maps {
            Some(maps) if late != 0 => Some(make_user_namespace(maps)?),
            Some(_) | None => None,
        };
        let group = self.running.get(&slot).and_then(|running| running.group.as_ref());
        let [input, output, error, ..] = descriptors else { return Err(Errno::EINVAL) };
        let holds = set_up.setup.perturbations.holds.clone();
        let tracing = set_up.filter.as_ref().map(Tracing::prepare).transpose()?;
        let child = ChildSetup {
            bytecode,
            stdio: [input.as_raw_fd(), output.as_raw_fd(), error.as_raw_fd()],
            terminal: start.terminal,
            scratch: scratch.map_or(-1, AsRawFd::as_raw_fd),
            user: user.as_ref().map_or(-1, AsRawFd::as_raw_fd),
            execs: true,
            thread_id: 0,
            slot: cell,
            slot_number: slot as u32,
            keeper: keeper.map_or(-1, AsRawFd::as_raw_fd),
            trace: tracing.as_ref().map(|tracing| tracing.of_child(holds.is_some())),
        };
        let cloning = Cloning {
            flags: bytecode.early_namespaces().ok_or(Errno::EINVAL)?,
            parent_tid: cell.pid.as_ptr() as usize,
            exit_signal: libc::SIGCHLD as u64,
            cgroup: group.map_or(0, |group| group.case().as_raw_fd() as u64),
            ..Cloning::default()
        };
        let chooser = holds.map(|holds| HoldChooser::new(holds, start.seed));
        // SAFETY: the warden has one thread, and the child does nothing but what follows. Both
        // arrays were made null-terminated, of C strings that live in this process.
        unsafe {
            if cloning.perform().map_err(sys::errno)?.is_none() {
                child.enter();
                let errno = kernel::execute(
                    &set_up.setup.program,
                    arguments.as_ptr(),
                    environment.as_ptr(),
                );
                child.fail(STEP_EXEC, errno)
            }
        }
        if let Some(Err(errno)) = tracing.map(|tracing| self.start_tracer(slot, tracing, chooser)) {
            // Its slot will be another case's.
            if let Some(pid) = self.pid(slot) {
                kernel::kill(pid, libc::SIGKILL);
                let _ = sys::wait_any(pid);
            }
            return Err(errno);
        }
        self.write_maps(slot);
        Ok(())
    }

    /// Writes the id maps of a case, where that is for the warden to do.
    fn write_maps(&self, slot: usize) {
        let set_up = self.running.get(&slot).and_then(|case| self.setups.get(&case.setup));
        let waits =
            |set_up: &&Prepared| Bytecode(&set_up.setup.bytecode).header(header::MAPS) == Some(1);
        let maps = set_up.filter(waits).and_then(|set_up| set_up.setup.id_maps.as_ref());
        if let (Some(maps), Some(pid), Some(cell)) = (maps, self.pid(slot), self.cell(slot)) {
            // Where this fails the child's next step does, with the errno of an unmapped id.
            let _ = write_id_maps(pid, maps);
            sys::store_and_wake(&cell.mapped, 1);
        }
    }
}

/// A pair of sockets, one end of which takes the outer end of a terminal. What lies in a socket stays
/// open, and nobody reads it.
fn keeper() -> Result<(OwnedFd, OwnedFd), Errno> {
    socketpair(AddressFamily::Unix, SockType::Datagram, None, SockFlag::SOCK_CLOEXEC)
}

fn write_id_maps(process: i32, (uids, gids): &(Vec<u8>, Vec<u8>)) -> std::io::Result<()> {
    fs::write(format!("/proc/{process}/uid_map"), uids)?;
    fs::write(format!("/proc/{process}/gid_map"), gids)
}

/// Makes a user namespace with these id maps and nobody in it. It takes a process: none other than
/// a member can make one, and only its parent's may write the maps.
fn make_user_namespace(maps: &(Vec<u8>, Vec<u8>)) -> Result<OwnedFd, Errno> {
    let cloning = Cloning {
        flags: libc::CLONE_NEWUSER as u64,
        exit_signal: libc::SIGCHLD as u64,
        ..Cloning::default()
    };
    // SAFETY: the warden has one thread, and the child only waits for its end.
    let Some(member) = unsafe { cloning.perform() }.map_err(sys::errno)? else {
        let _ = nix::sys::prctl::set_pdeathsig(Signal::SIGKILL);
        loop {
            nix::unistd::pause();
        }
    };
    let made = write_id_maps(member, maps)
        .and_then(|()| fs::File::open(format!("/proc/{member}/ns/user")));
    let member = nix::unistd::Pid::from_raw(member);
    nix::sys::signal::kill(member, Signal::SIGKILL)?;
    nix::sys::wait::waitpid(member, None)?;
    made.map(OwnedFd::from).map_err(errno::of_io)
}

/// The strings of a set-up: those of its arguments or of its environment.
pub fn strings<'a>(
    bytecode: &Bytecode<'a>,
    count: usize,
    at: usize,
) -> Result<Vec<&'a CStr>, Errno> {
    let count = bytecode.header(count).ok_or(Errno::EINVAL)?;
    let mut bytes = bytecode.header(at).and_then(|at| bytecode.data(at)).ok_or(Errno::EINVAL)?;
    let mut next = || {
        let text = CStr::from_bytes_until_nul(bytes).map_err(|_| Errno::EINVAL)?;
        bytes = bytes.get(text.to_bytes_with_nul().len()..).unwrap_or_default();
        Ok(text)
    };
    (0..count).map(|_| next()).collect()
}

/// A null-terminated array of pointers to C strings.
fn pointers(shared: &[&CStr], own: &[CString]) -> Vec<*const c_char> {
    let shared = shared.iter().map(|text| text.as_ptr());
    shared.chain(own.iter().map(|text| text.as_ptr())).chain([ptr::null()]).collect()
}
