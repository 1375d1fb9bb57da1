//! Detection of machines that refuse namespaces to tests.
//!
//! The kernel is asked, not isotest: a fault of isotest must not look like a refusal.

#![allow(unsafe_code)]

use std::env;
use std::io::{self, Write};
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::sync::OnceLock;

use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};

/// True if the kernel refuses namespaces that isotest needs; the test then ends at once. The reason
/// goes to stderr, past the harness's capture; with `ISOTEST_NO_SKIP` the test fails.
#[must_use]
pub fn refused() -> bool {
    static WHY: OnceLock<Option<io::Error>> = OnceLock::new();
    let Some(why) = WHY.get_or_init(|| try_namespaces().err()) else { return false };
    unavailable(&format!("the kernel refuses namespaces: {why}"));
    true
}

/// Source of a program that tests need: a package of Debian, or a command of cargo.
const BROUGHT_BY: [(&str, &str); 23] = [
    ("/usr/include/openssl/sha.h", "Debian's package `libssl-dev`"),
    ("/usr/lib/postgresql", "Debian's package `postgresql`"),
    ("bash", "Debian's package `bash`"),
    ("busybox", "Debian's package `busybox-static`"),
    ("bwrap", "Debian's package `bubblewrap`"),
    ("c++", "Debian's package `g++`"),
    ("cargo-llvm-cov", "`cargo install cargo-llvm-cov`"),
    ("cargo-mutants", "`cargo install cargo-mutants`"),
    ("cargo-nextest", "`cargo install --locked cargo-nextest`"),
    ("cc", "Debian's package `gcc`"),
    ("debootstrap", "Debian's package `debootstrap`"),
    ("eu-stack", "Debian's package `elfutils`"),
    ("fish", "Debian's package `fish`"),
    ("gdb", "Debian's package `gdb`"),
    ("git", "Debian's package `git`"),
    ("psql", "Debian's package `postgresql-client`"),
    ("python3", "Debian's package `python3`"),
    ("redis-server", "Debian's package `redis-server`"),
    ("setpriv", "Debian's package `util-linux`"),
    ("strace", "Debian's package `strace`"),
    ("unshare", "Debian's package `util-linux`"),
    ("xmllint", "Debian's package `libxml2-utils`"),
    ("zsh", "Debian's package `zsh`"),
];

/// True if a program that a test needs, or a path, does not exist; as [`unavailable`], with the
/// package that has it.
#[must_use]
pub fn missing(program: &str) -> bool {
    let brought_by = BROUGHT_BY.iter().find(|(known, _)| *known == program);
    let package = brought_by.map_or("a package of that name", |(_, package)| package);
    let paths = env::var_os("PATH").unwrap_or_default();
    // An absolute path replaces the directory.
    let found = env::split_paths(&paths).any(|directory| directory.join(program).exists());
    if !found {
        unavailable(&format!("there is no `{program}`: {package} has it"));
    }
    !found
}

/// Says that a test cannot be done here, and why; fails where `ISOTEST_NO_SKIP` is set.
pub fn unavailable(why: &str) {
    assert!(env::var_os("ISOTEST_NO_SKIP").is_none(), "ISOTEST_NO_SKIP is set, but {why}");
    skipped(why);
}

/// Says that a test cannot be done here, and why, which few machines can: it is no failure anywhere.
pub fn skipped(why: &str) {
    let _ = writeln!(io::stderr(), "skipped: {why}");
}

/// Makes the namespaces of a case and changes a mount in them, which AppArmor refuses last.
fn try_namespaces() -> io::Result<()> {
    let mut command = Command::new("true");
    // SAFETY: unshare(2) and mount(2) are plain system calls; nothing is allocated.
    unsafe { command.pre_exec(enter_namespaces) };
    command.status().map(drop)
}

fn enter_namespaces() -> io::Result<()> {
    let private = MsFlags::MS_REC | MsFlags::MS_PRIVATE;
    unshare(
        CloneFlags::CLONE_NEWUSER
            | CloneFlags::CLONE_NEWNS
            | CloneFlags::CLONE_NEWPID
            | CloneFlags::CLONE_NEWNET
            | CloneFlags::CLONE_NEWIPC
            | CloneFlags::CLONE_NEWUTS,
    )?;
    mount(None::<&str>, "/", None::<&str>, private, None::<&str>)?;
    Ok(())
}
