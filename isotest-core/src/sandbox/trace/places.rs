//! Places in the code of a thread that waits in a system call: where it has made it, and the return
//! addresses of its program that lie on its stack.

use std::fs;

use super::memory;
use crate::perturbation::CodePlace;
use crate::sandbox::procfs::{contents, stack_pointer};

/// Bytes of a stack in which return addresses are looked for.
const STACK: usize = 16 << 10;
/// Maximum number of return addresses.
const MOST: usize = 16;
/// Bytes before a return address in which the call ends.
const CALL: usize = 8;

/// A part of a file that is mapped as code.
struct Code {
    start: u64,
    end: u64,
    offset: u64,
    file: String,
}

impl Code {
    /// A line of `/proc/PID/maps` (proc_pid_maps(5)); `None` where it is no code of a file.
    fn parse(line: &str) -> Option<Code> {
        let mut words = line.splitn(6, ' ');
        let (start, end) = words.next()?.split_once('-')?;
        let is_code = words.next()?.as_bytes().get(2) == Some(&b'x');
        let number = |word| u64::from_str_radix(word, 16).ok();
        let offset = number(words.next()?)?;
        let file = words.nth(2)?.trim_start();
        let file = Some(file).filter(|file| is_code && file.starts_with('/'))?.to_owned();
        Some(Code { start: number(start)?, end: number(end)?, offset, file })
    }

    /// The place of an address in it.
    fn place(&self, address: u64) -> Option<CodePlace> {
        let offset = address.checked_sub(self.start).filter(|_| address < self.end)?;
        Some(CodePlace { file: self.file.clone(), offset: self.offset + offset })
    }
}

/// The places of a thread, which has made its call at this address.
pub fn places(thread: i32, instruction: u64) -> Vec<CodePlace> {
    let maps = contents(format!("/proc/{thread}/maps")).unwrap_or_default();
    let code: Vec<Code> = maps.lines().filter_map(Code::parse).collect();
    let program = fs::read_link(format!("/proc/{thread}/exe")).unwrap_or_default();
    let call = code.iter().find_map(|code| code.place(instruction));
    let own: Vec<&Code> = code.iter().filter(|it| *it.file == *program.as_os_str()).collect();
    let stack = stack_pointer(thread).map(|pointer| memory::bytes(thread, pointer, STACK));
    let stack = stack.unwrap_or_default();
    let words = stack.as_chunks::<8>().0.iter().map(|word| u64::from_le_bytes(*word));
    let found = words.filter_map(|address| {
        let place = own.iter().find_map(|code| code.place(address))?;
        let before = memory::bytes(thread, address.checked_sub(CALL as u64)?, CALL);
        follows_call(before.as_slice().try_into().ok()?).then_some(place)
    });
    call.into_iter().chain(found.take(MOST)).collect()
}

/// True if bytes of code end with a call, direct or indirect (Intel's manual, volume 2, CALL).
#[cfg(target_arch = "x86_64")]
fn follows_call(code: [u8; CALL]) -> bool {
    // CALL r/m64: opcode 0xFF with 2 in the middle of the byte that follows, and up to 5 more.
    let indirect = |length: usize| {
        let end = code.get(CALL - length..).unwrap_or_default();
        matches!(end, [0xFF, operand, ..] if operand >> 3 & 7 == 2)
    };
    code[CALL - 5] == 0xE8 || [2, 3, 4, 6, 7].into_iter().any(indirect)
}

/// True if bytes of code end with BL or BLR (Arm's manual, C6.2).
#[cfg(target_arch = "aarch64")]
fn follows_call(code: [u8; CALL]) -> bool {
    let [.., a, b, c, d] = code;
    let instruction = u32::from_le_bytes([a, b, c, d]);
    instruction >> 26 == 0b10_0101 || instruction & 0xFFFF_FC1F == 0xD63F_0000
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn code_is_what_is_mapped_from_a_file_to_be_executed() {
        let line = "7f0000001000-7f0000003000 r-xp 00002000 fe:00 1234        /lib/a b.so";
        let code = Code::parse(line).expect("it is code");
        let place = code.place(0x7f00_0000_1010).expect("it lies in it");
        assert_eq!((&*place.file, place.offset), ("/lib/a b.so", 0x2010));
        assert_eq!(code.place(0x7f00_0000_3000), None);
        assert!(Code::parse(&line.replace("r-xp", "rw-p")).is_none());
        assert!(Code::parse("7ff000000000-7ff000001000 r-xp 00000000 00:00 0    [vdso]").is_none());
        assert!(Code::parse("7f0000001000-7f0000003000 r-xp").is_none());
    }

    #[cfg(target_arch = "x86_64")]
    #[test]
    fn a_return_address_follows_a_call() {
        assert!(follows_call([0, 0, 0, 0xE8, 1, 2, 3, 4]));
        assert!(follows_call([0, 0, 0xFF, 0x15, 1, 2, 3, 4]));
        assert!(follows_call([0, 0, 0, 0, 0, 0, 0xFF, 0xD0]));
        assert!(!follows_call([0x90; 8]));
    }
}
