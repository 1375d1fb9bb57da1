//! Living processes, by `/proc`.

use std::fs;
use std::path::PathBuf;

/// A variable that isotest lets through to tests. A run with a value of its own can be told from
/// all others by it, down to the last child of a test.
pub const MARK: &str = "PROPTEST_MARK_OF_ISOTEST";

/// A living process of a marked run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Process {
    /// Its id.
    pub pid: i32,
    /// Its name, `comm` of proc(5).
    pub name: String,
    /// Its state, `S` or `T` for example.
    pub state: char,
}

/// The living processes whose environment has [`MARK`] with this value. Zombies have none.
pub fn marked(value: &str) -> Vec<Process> {
    let wanted = format!("{MARK}={value}");
    let has_mark = |directory: &PathBuf| {
        let environment = fs::read(directory.join("environ")).unwrap_or_default();
        environment.split(|byte| *byte == 0).any(|variable| variable == wanted.as_bytes())
    };
    let entries = fs::read_dir("/proc").expect("/proc is mounted").flatten();
    entries.map(|entry| entry.path()).filter(has_mark).filter_map(read).collect()
}

/// One number of `/proc/PID/status`, proc_pid_status(5), in kB where it is memory. `None` where the
/// process has ended.
pub fn status(pid: i32, field: &str) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'))?;
    line.split_whitespace().next()?.parse().ok()
}

/// In how many pid namespaces a process is, `NSpid` of proc_pid_status(5). `None` where it has
/// ended.
pub fn pid_namespaces(pid: i32) -> Option<usize> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let ids = status.lines().find_map(|line| line.strip_prefix("NSpid:"))?;
    Some(ids.split_whitespace().count())
}

/// The process of a directory of `/proc`. `None` where it has ended.
pub fn read(directory: PathBuf) -> Option<Process> {
    let pid = directory.file_name()?.to_str()?.parse().ok()?;
    // `PID (NAME) STATE …`; the name may hold anything.
    let stat = fs::read_to_string(directory.join("stat")).ok()?;
    let (before, after) = stat.rsplit_once(") ")?;
    let name = before.split_once('(')?.1.to_owned();
    Some(Process { pid, name, state: after.chars().next()? })
}
