//! Data of the judge for the payload: the places of what it planted, and the processes outside.
//!
//! Shared by both programs. The payload finds it in a file beside itself, since the environment is
//! among the things that a sandbox takes away.

#![allow(missing_docs, reason = "each field says what was planted")]

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// Data about the outside.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Facts {
    /// There is no sandbox: nothing may be done that would harm or change the machine.
    pub restrained: bool,
    /// A text that occurs nowhere but in what was planted.
    pub marker: String,
    /// Shown, writes are thrown away: the working directory.
    pub project: PathBuf,
    /// Shown read-only; holds `file`, `sub/file`, `lock`.
    pub read_only: PathBuf,
    /// Shown read-only by a name that others replace by a link to `private` meanwhile.
    pub swapped: PathBuf,
    /// Not shown; holds `secret` and `socket`.
    pub private: PathBuf,
    /// The home directory; holds `.ssh/id_probe`, `.netrc`, `.cargo/credentials.toml`.
    pub home: PathBuf,
    /// A file in the host's `/tmp`.
    pub temporary: PathBuf,
    /// `/dev/pts/N` of a terminal of the host.
    pub terminal: PathBuf,
    /// A process of the same user.
    pub process: i32,
    /// Address and length of the marker in that process.
    pub memory: (u64, usize),
    /// Ports that are listened on at 127.0.0.1 and ::1, and one for UDP.
    pub tcp4: u16,
    pub tcp6: u16,
    pub udp: u16,
    /// The name of a socket in the abstract namespace, without its NUL.
    pub abstract_socket: String,
    /// The key of a System V shared memory segment, a semaphore set and a message queue.
    pub system_v: i32,
    /// The name of a POSIX message queue and of a file in `/dev/shm`, without the slash.
    pub posix: String,
    /// Serial numbers of keys in the session keyring and in the user's: readable by possessors.
    pub session_key: i32,
    pub user_key: i32,
    /// The links in `/proc/self/ns` of the host's namespaces: name and target.
    pub namespaces: Vec<(String, String)>,
    /// The name of a variable in the caller's environment that holds the marker.
    pub variables: Vec<String>,
}
