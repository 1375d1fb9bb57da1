//! Programs before which the dynamic loader cannot load a library: those that are linked statically,
//! and those of another C library than glibc. An execve(2) of one is refused.

use std::fs::File;
use std::io::Read;
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileExt;
use std::path::Path;

use nix::errno::Errno;
use rustix::fs::{CWD, Mode, OFlags, ResolveFlags, openat, openat2};

use crate::plan::INTERPOSED_PATH;
use crate::sandbox::guard::{Listener, SystemCall};
use crate::sandbox::trace::{memory, paths};

/// The answer to an execve(2) that is refused: "Can not access a needed shared library".
pub const REFUSED: Errno = Errno::ELIBACC;

/// Maximum number of interpreters of scripts that are scripts: `BINPRM_MAX_RECURSION` of Linux.
const SCRIPTS: usize = 5;
/// Bytes of a file in which the kernel looks for an interpreter: `BINPRM_BUF_SIZE`.
const HEAD: usize = 256;
/// Maximum number of program headers that are read, and bytes of an interpreter's path.
const SEGMENTS: u16 = 256;
const INTERPRETER: usize = 4096;

/// Answers a call that is not the guard's: it goes on, unless cases are `interposed` and it is refused.
pub fn answer(listener: &Listener, call: &SystemCall, interposed: bool) {
    match interposed && is_refused(call) {
        true => listener.refuse(call.id, REFUSED),
        false => listener.go_on(call.id),
    }
}

/// True if the library cannot be loaded before the first program of a case, which is still the warden's
/// when it executes it, and whose memory nobody may read then.
pub fn is_unsuitable(root: &Path, program: &Path) -> bool {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let Ok(root) = openat(CWD, root, flags, Mode::empty()) else { return false };
    let file = program.to_str().and_then(|program| in_root(&root, program));
    file.is_some_and(|file| suits(&root, file, SCRIPTS) == Some(false))
}

/// True if a call executes a program before which the library cannot be loaded. What cannot be
/// opened is left to the kernel, which will refuse it for a better reason.
fn is_refused(call: &SystemCall) -> bool {
    let Some(file) = executed(call) else { return false };
    let Some(root) = paths::root_of(call.thread) else { return false };
    suits(&root, file, SCRIPTS) == Some(false) || in_root(&root, INTERPOSED_PATH).is_none()
}

/// The file that execve(2) or execveat(2) is asked for.
fn executed(call: &SystemCall) -> Option<File> {
    let (directory, path) = match call.number {
        libc::SYS_execve => (None, call.word_at(0)),
        libc::SYS_execveat => (Some(call.number_at(0)), call.word_at(1)),
        _ => return None,
    };
    let path = memory::path(call.thread, path)?;
    let of_descriptor = |number: &str| open(&format!("/proc/{}/fd/{number}", call.thread));
    if let Some(directory) = directory.filter(|_| path.is_empty()) {
        return of_descriptor(&directory.to_string());
    }
    // Links of `/proc` lead where no path does, and the case's are those of who looks.
    let itself = format!("/proc/{}/exe", call.thread);
    match path.as_str() {
        "/proc/self/exe" | "/proc/thread-self/exe" => return open(&itself),
        _ => {}
    }
    if let Some(number) = path.strip_prefix("/proc/self/fd/").or(path.strip_prefix("/dev/fd/")) {
        return of_descriptor(number);
    }
    let path = paths::absolute(call.thread, directory, &path)?;
    in_root(&paths::root_of(call.thread)?, &path)
}

/// The path is a case's: a terminal must not become that of the warden, which leads a session.
const FLAGS: OFlags =
    OFlags::RDONLY.union(OFlags::NONBLOCK).union(OFlags::NOCTTY).union(OFlags::CLOEXEC);

fn open(path: &str) -> Option<File> {
    let file = openat(CWD, path, FLAGS, Mode::empty()).ok().map(File::from)?;
    Some(file).filter(|file| file.metadata().is_ok_and(|file| file.is_file()))
}

/// A file as a process with this root finds it.
fn in_root(root: &OwnedFd, path: &str) -> Option<File> {
    let file = openat2(root, path, FLAGS, Mode::empty(), ResolveFlags::IN_ROOT).ok()?;
    Some(File::from(file)).filter(|file| file.metadata().is_ok_and(|file| file.is_file()))
}

/// True if the library can be loaded before a program, or before the interpreter of a script.
/// `None`: it is no program.
fn suits(root: &OwnedFd, mut file: File, scripts: usize) -> Option<bool> {
    let mut head = [0; HEAD];
    let length = file.read(&mut head).ok()?;
    let head = head.get(..length)?;
    if let Some(line) = head.strip_prefix(b"#!") {
        let interpreter = interpreter_of_script(line)?;
        let next = scripts.checked_sub(1)?;
        return suits(root, in_root(root, interpreter)?, next);
    }
    head.starts_with(b"\x7FELF").then(|| is_of_glibc(&file, head))
}

/// The path behind `#!`.
fn interpreter_of_script(line: &[u8]) -> Option<&str> {
    let line = line.split(|byte| *byte == b'\n').next()?;
    let mut words = line.split(|byte| matches!(byte, b' ' | b'\t')).filter(|it| !it.is_empty());
    str::from_utf8(words.next()?).ok()
}

/// True if an ELF file is linked by the dynamic loader of glibc, or is that loader.
fn is_of_glibc(file: &File, head: &[u8]) -> bool {
    let interpreter = interpreter(file, head);
    let of_loader = |path: &[u8]| {
        let name = path.rsplit(|byte| *byte == b'/').next().unwrap_or_default();
        name.starts_with(b"ld-linux")
    };
    interpreter.as_deref().is_some_and(of_loader) || is_loader(file, head)
}

/// Type of a program header that names an interpreter; that of the loader's list of segments.
const PT_DYNAMIC: u32 = 2;
const PT_INTERP: u32 = 3;
const DT_SONAME: u64 = 14;
const DT_STRTAB: u64 = 5;

/// One program header of a 64-bit file, elf(5): its type, its place in the file, its length there.
fn segments(file: &File, head: &[u8]) -> Option<Vec<(u32, u64, u64)>> {
    const CLASS_64: u8 = 2;
    const SIZE: usize = 56;
    if *head.get(4)? != CLASS_64 {
        return None;
    }
    let at = u64::from_le_bytes(head.get(32..40)?.try_into().ok()?);
    let count = u16::from_le_bytes(head.get(56..58)?.try_into().ok()?).min(SEGMENTS);
    let mut table = vec![0; SIZE * usize::from(count)];
    file.read_exact_at(&mut table, at).ok()?;
    let segment = |bytes: &[u8]| {
        let word = |at: usize| Some(u64::from_le_bytes(bytes.get(at..at + 8)?.try_into().ok()?));
        let kind = u32::from_le_bytes(bytes.get(..4)?.try_into().ok()?);
        Some((kind, word(8)?, word(32)?))
    };
    table.chunks_exact(SIZE).map(segment).collect()
}

/// The interpreter of an ELF file; `None` where it has none, or is for another machine.
fn interpreter(file: &File, head: &[u8]) -> Option<Vec<u8>> {
    let segments = segments(file, head)?;
    let (_, at, length) = segments.into_iter().find(|(kind, ..)| *kind == PT_INTERP)?;
    let mut path = vec![0; usize::try_from(length).ok()?.min(INTERPRETER)];
    file.read_exact_at(&mut path, at).ok()?;
    path.truncate(path.iter().position(|byte| *byte == 0).unwrap_or(path.len()));
    Some(path)
}

/// True if an ELF file is glibc's loader, which is linked statically and executes another program: by
/// the name that it has as a library.
fn is_loader(file: &File, head: &[u8]) -> bool {
    soname(file, head).is_some_and(|name| name.starts_with(b"ld-linux"))
}

/// The name that an ELF file has as a library. Its addresses are places in the file, as those of a
/// loader are.
fn soname(file: &File, head: &[u8]) -> Option<Vec<u8>> {
    let segments = segments(file, head)?;
    let (_, at, length) = segments.into_iter().find(|(kind, ..)| *kind == PT_DYNAMIC)?;
    let mut section = vec![0; usize::try_from(length).ok()?.min(INTERPRETER)];
    file.read_exact_at(&mut section, at).ok()?;
    let entry = |tag: u64| {
        let mut words = section.chunks_exact(16).map(|entry| {
            let word = |bytes: &[u8]| u64::from_le_bytes(bytes.try_into().unwrap_or_default());
            (word(&entry[..8]), word(&entry[8..]))
        });
        words.find_map(|(found, value)| (found == tag).then_some(value))
    };
    let mut name = vec![0; 64];
    let length = file.read_at(&mut name, entry(DT_STRTAB)?.checked_add(entry(DT_SONAME)?)?).ok()?;
    name.truncate(length);
    Some(name)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::process::Command;

    use super::*;

    fn root() -> OwnedFd {
        openat(CWD, "/", OFlags::PATH | OFlags::DIRECTORY, Mode::empty()).expect("opened")
    }

    fn of(path: &str) -> Option<bool> {
        suits(&root(), in_root(&root(), path).expect("opened"), SCRIPTS)
    }

    #[test]
    fn programs_of_glibc_suit_and_so_does_its_loader() {
        let own = std::env::current_exe().expect("known");
        let own = own.to_str().expect("text");
        if cfg!(target_env = "gnu") {
            assert_eq!(of(own), Some(true));
            let file = File::open(own).expect("opened");
            let mut head = [0; HEAD];
            file.read_exact_at(&mut head, 0).expect("read");
            let loader = interpreter(&file, &head).expect("it has one");
            assert_eq!(of(str::from_utf8(&loader).expect("text")), Some(true), "the loader");
        }
    }

    #[test]
    fn scripts_are_as_their_interpreter_and_no_program_is_none() {
        let directory = tempfile::tempdir().expect("a directory");
        let at = |name: &str| directory.path().join(name).to_str().expect("text").to_owned();
        fs::write(at("script"), "#! /bin/sh -e\nexit\n").expect("written");
        fs::write(at("nested"), format!("#!{}\n", at("script"))).expect("written");
        fs::write(at("endless"), format!("#!{}\n", at("endless"))).expect("written");
        fs::write(at("text"), "exit 0\n").expect("written");
        fs::write(at("broken"), b"\x7FELF\x02").expect("written");
        for (name, found) in [
            ("script", Some(true)),
            ("nested", Some(true)),
            ("endless", None),
            ("text", None),
            ("broken", Some(false)),
        ] {
            assert_eq!(of(&at(name)), found, "{name}");
        }
    }

    #[test]
    fn a_static_program_does_not_suit() {
        let directory = tempfile::tempdir().expect("a directory");
        let at = |name: &str| directory.path().join(name).to_str().expect("text").to_owned();
        fs::write(at("main.c"), "int main(void) { return 0; }\n").expect("written");
        for (flag, is_made) in [("-static", true), ("-static-pie", true), ("-no-pie", false)] {
            let mut cc = Command::new("cc");
            let built = cc.args([flag, "-o", &at("main"), &at("main.c")]).output();
            // A machine without a compiler, or without a static C library, has no such program.
            if built.is_ok_and(|built| built.status.success()) {
                assert_eq!(of(&at("main")), Some(!is_made), "{flag}");
            }
        }
    }
}
