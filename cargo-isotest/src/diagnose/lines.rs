//! Lines of the sources from which places in a program come, by its debug information.

use std::fs::File;
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};

use addr2line::Loader;
use isotest_core::perturbation::CodePlace;
use isotest_core::untrusted;
use object::elf::FileHeader64;
use object::read::elf::{FileHeader, ProgramHeader};
use object::read::{ReadCache, ReadRef};

/// A part of a file that is loaded into memory: its place in the file, its length, its address.
type Segment = (u64, u64, u64);

/// The lines of one program.
pub struct Lines {
    program: String,
    loader: Loader,
    segments: Vec<Segment>,
    /// The directory below which the sources of the project lie.
    project: PathBuf,
}

impl Lines {
    /// Those of a program of a project; `None` if it cannot be read, or has no debug information.
    pub fn of(program: &Path, project: &Path) -> Option<Lines> {
        let file = untrusted::file(program).ok()?;
        let segments = segments(&ReadCache::new(file.try_clone().ok()?))?;
        // The library opens a file by its name; this is the one that is open.
        let loader = Loader::new(format!("/proc/self/fd/{}", File::as_raw_fd(&file))).ok()?;
        let program = program.to_str()?.to_owned();
        Some(Lines { program, loader, segments, project: project.to_owned() })
    }

    /// The innermost line of the project in a call chain, `tests/it.rs:12`. The first place is that of a
    /// system call, each other one follows a call.
    pub fn innermost(&self, code: &[CodePlace]) -> Option<String> {
        let places = code.iter().enumerate().filter(|(_, place)| place.file == self.program);
        let mut addresses = places.filter_map(|(number, place)| {
            let address = self.address(place.offset)?;
            Some(if number == 0 { address } else { address.checked_sub(1)? })
        });
        addresses.find_map(|address| self.line(address))
    }

    fn address(&self, offset: u64) -> Option<u64> {
        let within = |(start, length, _): &&Segment| (*start..start + length).contains(&offset);
        let (start, _, address) = self.segments.iter().find(within)?;
        Some(offset - start + address)
    }

    /// The line of the project at an address. Functions that were inlined there come first.
    fn line(&self, address: u64) -> Option<String> {
        let mut frames = self.loader.find_frames(address).ok()?;
        while let Ok(Some(frame)) = frames.next() {
            let Some(location) = frame.location else { continue };
            let (Some(file), Some(line)) = (location.file, location.line) else { continue };
            if let Ok(path) = Path::new(file).strip_prefix(&self.project) {
                return Some(format!("{}:{line}", path.display()));
            }
        }
        None
    }
}

fn segments<'a>(data: impl ReadRef<'a>) -> Option<Vec<Segment>> {
    let header = FileHeader64::<object::Endianness>::parse(data).ok()?;
    let endian = header.endian().ok()?;
    let segments = header.program_headers(endian, data).ok()?.iter();
    let loaded = segments.filter(|it| it.p_type(endian) == object::elf::PT_LOAD);
    Some(loaded.map(|it| (it.p_offset(endian), it.p_filesz(endian), it.p_vaddr(endian))).collect())
}

#[cfg(test)]
mod tests {
    use std::env;

    use super::*;

    fn marked() {}

    /// This test's own code, by the address of a function.
    #[test]
    fn a_place_in_a_program_of_the_project_has_its_line() {
        let program = env::current_exe().expect("it is known");
        let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("it is in one");
        let lines = Lines::of(&program, workspace).expect("it has debug information");
        let maps =
            isotest_core::untrusted::file(Path::new("/proc/self/maps")).expect("it is there");
        let maps = std::io::read_to_string(maps).expect("it is text");
        let function = marked as fn() as usize as u64;
        let (start, offset) = maps
            .lines()
            .find_map(|line| {
                let mut words = line.split_whitespace();
                let (start, end) = words.next()?.split_once('-')?;
                let number = |text| u64::from_str_radix(text, 16).ok();
                let (start, end) = (number(start)?, number(end)?);
                let offset = number(words.nth(1)?)?;
                (start..end).contains(&function).then_some((start, offset))
            })
            .expect("it is mapped");
        let offset = function - start + offset;
        let file = program.to_str().expect("text").to_owned();
        let line = lines.innermost(&[CodePlace { file, offset }]).expect("it is known");
        assert!(line.starts_with("cargo-isotest/src/diagnose/lines.rs:"), "{line}");
        let file = "/usr/bin/true".to_owned();
        assert_eq!(lines.innermost(&[CodePlace { file, offset }]), None);
    }
}
