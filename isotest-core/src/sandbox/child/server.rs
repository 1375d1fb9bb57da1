//! The fork server: waits for orders, and clones a case for each.
//!
//! It is a test binary that was executed and linked, and whose initialisers have not run. It holds
//! no capability and has nothing open but its socket.

use core::ffi::c_char;

use super::bytecode::{Bytecode, header};
use super::image::Image;
use super::kernel::{self, Cloning, EINTR, EINVAL, Errno, number};
use super::linked;
use super::order::{Answer, LARGEST, Order, PING, SETUP, SLOTS, SOCKET};
use super::start::{ChildSetup, STEP_CLONE, STEP_EXEC, Slot};

const CLONE_PARENT: u64 = 0x8000;

/// A mapping of a whole file.
struct Mapping {
    address: usize,
    length: usize,
}

impl Mapping {
    /// Maps a descriptor and closes it: shared and writable, or to be read.
    fn of(file: usize, shared: bool) -> Result<Mapping, Errno> {
        const SEEK_END: usize = 2;
        const PROT_READ: usize = 1;
        const PROT_WRITE: usize = 2;
        const MAP_SHARED: usize = 1;
        let protection = PROT_READ | if shared { PROT_WRITE } else { 0 };
        let length = kernel::plain(number::LSEEK, [file, 0, SEEK_END, 0, 0])?;
        // SAFETY: a new mapping, at an address of the kernel's choice.
        let address =
            unsafe { kernel::call(number::MMAP, [0, length, protection, MAP_SHARED, file, 0]) }?;
        kernel::plain(number::CLOSE, [file, 0, 0, 0, 0])?;
        Ok(Mapping { address, length })
    }

    /// Its bytes, as long as it stands.
    ///
    /// # Safety
    /// It stands as long as they are used, and nobody writes to it.
    unsafe fn bytes<'a>(&self) -> &'a [u8] {
        // SAFETY: by this function's contract; a mapping is readable over its whole length.
        unsafe { core::slice::from_raw_parts(self.address as *const u8, self.length) }
    }

    /// # Safety
    /// Nothing in it is used afterwards.
    unsafe fn unmap(self) {
        // SAFETY: by this function's contract.
        let _ = unsafe { kernel::call(number::MUNMAP, [self.address, self.length, 0, 0, 0, 0]) };
    }
}

/// A packet and the descriptors beside it.
struct Packet {
    length: usize,
    descriptors: [i32; 4],
}

/// Serves until the warden closes the socket, which ends this process. Returns in each case, once
/// its sandbox stands, with what the program's own start needs in place.
///
/// # Safety
/// The arguments are those that the dynamic loader gives to initialisers, and none has run.
pub unsafe fn serve(argc: usize, argv: *mut *const c_char, envp: *mut *const c_char) {
    // Of several libraries that are to be initialised first the dynamic loader takes one, and the
    // initialisers of all others would have to wait for the program.
    // SAFETY: by this function's contract.
    if unsafe { linked::all(envp) }.filter(|library| library.is_first()).count() != 1 {
        kernel::exit(1)
    }
    // SAFETY: as above.
    unsafe { look_at_processor(envp) };
    // SAFETY: as above.
    let begun = unsafe { Image::read(argc, argv, envp) }
        .and_then(|image| Ok((image, Mapping::of(SLOTS, true)?, Mapping::of(SETUP, false)?)));
    let Ok((image, slots, setup)) = begun else { kernel::exit(1) };
    // SAFETY: the warden does not write to a set-up that it has handed over.
    let bytecode = Bytecode(unsafe { setup.bytes() });
    // SAFETY: slots are made of atomics, of which any bytes are valid.
    let shared = unsafe {
        let count = slots.length / size_of::<Slot>();
        core::slice::from_raw_parts(slots.address as *const Slot, count)
    };
    answer(Answer::Ready);
    let mut buffer = [0_u8; LARGEST];
    loop {
        let packet = next_packet(&mut buffer);
        let order = buffer.get(..packet.length).and_then(Order::read);
        let found = order.and_then(|order| Some((order, shared.get(order.slot as usize)?)));
        let Some((order, slot)) = found else { kernel::exit(1) };
        let namespaces = bytecode.header(header::NAMESPACES).map_or(0, |flags| flags);
        let cloning = Cloning {
            flags: namespaces | CLONE_PARENT,
            parent_tid: slot.pid.as_ptr() as usize,
            child_tid: image.thread_id,
            ..Cloning::default()
        };
        // SAFETY: this process has one thread.
        let cloned = unsafe { cloning.perform() };
        if let Ok(None) = cloned {
            // SAFETY: this process is the case; the mappings are not used afterwards.
            unsafe {
                become_case(&image, bytecode, &order, slot, packet.descriptors);
                slots.unmap();
                setup.unmap();
            }
            return;
        }
        for descriptor in packet.descriptors.into_iter().filter(|descriptor| *descriptor >= 0) {
            let _ = kernel::plain(number::CLOSE, [descriptor as usize, 0, 0, 0, 0]);
        }
        if let Err(errno) = cloned {
            slot.refuse(STEP_CLONE, errno);
            answer(Answer::Refused(order.slot));
        } else if bytecode.header(header::MAPS) == Some(1) {
            answer(Answer::Cloned(order.slot));
        }
    }
}

/// The next packet that is no ping; pings are answered. Ends this process where the warden has closed
/// the socket.
fn next_packet(buffer: &mut [u8]) -> Packet {
    loop {
        let Ok(packet) = receive(buffer) else { kernel::exit(1) };
        if packet.length == 0 {
            kernel::exit(0);
        }
        if buffer.get(..packet.length) != Some(&PING) {
            return packet;
        }
        answer(Answer::Ready);
    }
}

/// Enters the sandbox of a case, with its arguments and its environment.
///
/// # Safety
/// This process is the case. What the loader remembers of the strings is in the arrays of `image`.
unsafe fn become_case(
    image: &Image,
    bytecode: Bytecode<'_>,
    order: &Order<'_>,
    slot: &Slot,
    [output, error, scratch, keeper]: [i32; 4],
) {
    let child = ChildSetup {
        bytecode,
        stdio: [0, output, error],
        terminal: false,
        scratch,
        user: -1,
        execs: false,
        thread_id: image.thread_id,
        slot,
        slot_number: order.slot,
        keeper,
        // A traced case is executed.
        trace: None,
    };
    // SAFETY: by this function's contract.
    unsafe {
        child.enter();
        if let Err(errno) = image.assume(&bytecode, order) {
            child.fail(STEP_EXEC, errno);
        }
    }
}

/// Has libgcc read the processor's model. Its initialiser does so in every case, unless it is read:
/// some twenty CPUID instructions, each of which leaves a virtual machine.
///
/// # Safety
/// As for [`serve`].
unsafe fn look_at_processor(envp: *mut *const c_char) {
    // SAFETY: by this function's contract. The function may be called before any initialiser: that
    // is what resolvers of indirect functions do (GCC's manual, `__builtin_cpu_init`).
    unsafe {
        let library = linked::all(envp).find(|library| library.is_called(b"libgcc_s.so.1"));
        if let Some(address) = library.and_then(|it| it.function(c"__cpu_indicator_init")) {
            let initialise: extern "C" fn() -> i32 = core::mem::transmute(address);
            initialise();
        }
    }
}

/// Sends an answer. Where the warden is gone the next order never comes.
fn answer(answer: Answer) {
    const MSG_NOSIGNAL: usize = 0x4000;
    let bytes = answer.bytes();
    let address = (&raw const bytes) as usize;
    // SAFETY: the address and the length are those of `bytes`; a null address means the peer.
    let _ =
        unsafe { kernel::call(number::SENDTO, [SOCKET, address, bytes.len(), MSG_NOSIGNAL, 0, 0]) };
}

/// `struct msghdr` of linux/socket.h, on 64-bit machines.
#[repr(C)]
struct MessageHeader {
    name: usize,
    name_length: usize,
    parts: usize,
    part_count: usize,
    control: usize,
    control_length: usize,
    flags: usize,
}

/// A `struct cmsghdr` with its data: SCM_RIGHTS of unix(7).
#[repr(C)]
struct Rights {
    length: usize,
    level: i32,
    kind: i32,
    descriptors: [i32; 4],
}

/// recvmsg(2) of one packet with up to four descriptors beside it; those that are not there are
/// -1.
fn receive(buffer: &mut [u8]) -> Result<Packet, Errno> {
    const HEADER: usize = 16;
    let mut rights = Rights { length: 0, level: 0, kind: 0, descriptors: [-1; 4] };
    let part = [buffer.as_mut_ptr() as usize, buffer.len()];
    let mut message = MessageHeader {
        name: 0,
        name_length: 0,
        parts: (&raw const part) as usize,
        part_count: 1,
        control: (&raw mut rights) as usize,
        control_length: size_of::<Rights>(),
        flags: 0,
    };
    let length = loop {
        let address = (&raw mut message) as usize;
        // SAFETY: every pointer in `message` is to what its length says.
        match unsafe { kernel::call(number::RECVMSG, [SOCKET, address, 0, 0, 0, 0]) } {
            Err(EINTR) => {}
            other => break other?,
        }
    };
    let given = match rights.length {
        0 => 0,
        length => (length.checked_sub(HEADER).ok_or(EINVAL)? / size_of::<i32>()).min(4),
    };
    let mut descriptors = [-1; 4];
    for (to, from) in descriptors.iter_mut().zip(rights.descriptors).take(given) {
        *to = from;
    }
    Ok(Packet { length, descriptors })
}

#[cfg(test)]
mod tests {
    use std::mem::offset_of;

    use super::*;

    #[test]
    fn messages_are_those_of_libc() {
        assert_eq!(size_of::<MessageHeader>(), size_of::<libc::msghdr>());
        assert_eq!(offset_of!(MessageHeader, parts), offset_of!(libc::msghdr, msg_iov));
        assert_eq!(offset_of!(MessageHeader, control), offset_of!(libc::msghdr, msg_control));
        assert_eq!(
            offset_of!(MessageHeader, control_length),
            offset_of!(libc::msghdr, msg_controllen)
        );
        assert_eq!(offset_of!(MessageHeader, flags), offset_of!(libc::msghdr, msg_flags));
        assert_eq!(offset_of!(Rights, level), offset_of!(libc::cmsghdr, cmsg_level));
        assert_eq!(offset_of!(Rights, kind), offset_of!(libc::cmsghdr, cmsg_type));
        assert_eq!(offset_of!(Rights, descriptors), size_of::<libc::cmsghdr>());
        // SAFETY: arithmetic.
        assert_eq!(size_of::<Rights>(), unsafe { libc::CMSG_SPACE(16) } as usize);
    }
}
