//! Detection of programs that read no arguments.
//!
//! Asked for its list, such a program does what it always does, and a harness without tests prints
//! nothing: only this tells one from the other.

use std::path::Path;

use isotest_core::untrusted;
use object::elf::FileHeader64;
use object::read::elf::{FileHeader, Sym};
use object::read::{ReadCache, ReadRef};

/// Parts of the names of `std::env::args` and `args_os`, in either of Rust's manglings.
const READERS: [&[u8]; 2] = [b"3std3env4args", b"3std3env7args_os"];

/// True if a Rust program certainly reads its arguments: it has the function of the standard
/// library that does. One without symbols, or linked with fat LTO, may read them all the same.
pub fn reads_arguments(program: &Path) -> bool {
    let Ok(file) = untrusted::file(program) else { return false };
    examine(&ReadCache::new(file)).unwrap_or(false)
}

fn examine<'a>(data: impl ReadRef<'a>) -> object::read::Result<bool> {
    let header = FileHeader64::<object::Endianness>::parse(data)?;
    let endian = header.endian()?;
    let sections = header.sections(endian, data)?;
    let symbols = sections.symbols(endian, data, object::elf::SHT_SYMTAB)?;
    let reads = |symbol: &object::elf::Sym64<object::Endianness>| {
        let name = symbols.strings().get(symbol.st_name(endian)).unwrap_or_default();
        READERS.iter().any(|reader| memchr::memmem::find(name, reader).is_some())
    };
    Ok(symbols.iter().any(reads))
}
