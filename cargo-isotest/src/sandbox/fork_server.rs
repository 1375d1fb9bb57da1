//! Test binaries that can be fork servers.
//!
//! ld.so(8) must be able to preload into such a binary: it is linked dynamically, by glibc's
//! loader, for this machine's architecture.

use std::path::Path;

use isotest_core::untrusted;
use object::elf::{self, FileHeader64};
use object::read::elf::{Dyn, FileHeader, ProgramHeader};
use object::read::{ReadCache, ReadRef};

/// Libraries that refuse to be loaded behind another one.
const FIRST: [&[u8]; 4] = [b"libasan.so", b"liblsan.so", b"libtsan.so", b"libclang_rt."];

#[cfg(target_arch = "x86_64")]
const MACHINE: u16 = elf::EM_X86_64;
#[cfg(target_arch = "aarch64")]
const MACHINE: u16 = elf::EM_AARCH64;

/// Reason why a program can be no fork server; `None` if it can.
pub fn unsuitable(program: &Path) -> Option<&'static str> {
    let Ok(file) = untrusted::file(program) else { return Some("it cannot be read") };
    examine(&ReadCache::new(file)).unwrap_or(Some("it is not an ELF file for this machine"))
}

fn examine<'a>(data: impl ReadRef<'a>) -> object::read::Result<Option<&'static str>> {
    let header = FileHeader64::<object::Endianness>::parse(data)?;
    let endian = header.endian()?;
    if header.e_machine(endian) != MACHINE {
        return Ok(Some("it was built for another machine"));
    }
    let segments = header.program_headers(endian, data)?;
    let mut interpreter = None;
    for segment in segments {
        interpreter = interpreter.or(segment.interpreter(endian, data)?);
    }
    let Some(interpreter) = interpreter else { return Ok(Some("it is linked statically")) };
    let name = interpreter.rsplit(|byte| *byte == b'/').next().unwrap_or_default();
    if !name.starts_with(b"ld-linux") {
        return Ok(Some("its dynamic loader is not from glibc"));
    }
    let sections = header.sections(endian, data)?;
    if let Some((entries, strings)) = sections.dynamic(endian, data)? {
        let strings = sections.strings(endian, data, strings)?;
        for entry in entries.iter().filter(|entry| entry.tag32(endian) == Some(elf::DT_NEEDED)) {
            let needed = entry.val32(endian).and_then(|name| strings.get(name).ok());
            let needed = needed.unwrap_or_default();
            if FIRST.iter().any(|first| needed.starts_with(first)) {
                return Ok(Some("its sanitizer must be loaded first"));
            }
        }
    }
    Ok(None)
}
