//! Objects of interprocess communication in the IPC namespace that the calling thread is in
//! (ipc_namespaces(7)).

use rustix::fs::{Mode, OFlags, RawDir, openat};
use rustix::mount::{FsMountFlags, FsOpenFlags, MountAttrFlags, fsconfig_create, fsmount, fsopen};

use super::procfs::contents;
use crate::finding::IpcObject;

/// Maximum number of objects of a kind that are named.
const MOST: usize = 100;

/// The objects that are there: those of System V, sysvipc(7), and POSIX message queues,
/// mq_overview(7).
pub fn objects() -> Vec<IpcObject> {
    const SYSTEM_V: [(&str, &str); 3] =
        [("shm", "shared memory segment"), ("sem", "semaphore set"), ("msg", "message queue")];
    let of_file = |(file, kind): (&str, &'static str)| {
        let text = contents(format!("/proc/sysvipc/{file}")).unwrap_or_default();
        let names: Vec<String> = text.lines().skip(1).filter_map(name).take(MOST).collect();
        names.into_iter().map(|name| IpcObject { kind: kind.into(), name }).collect::<Vec<_>>()
    };
    let queues = queues().unwrap_or_default().into_iter();
    let queues = queues.map(|name| IpcObject { kind: "POSIX message queue".into(), name });
    SYSTEM_V.into_iter().flat_map(of_file).chain(queues).collect()
}

/// The name of the object of a line of `/proc/sysvipc`; `None` for a segment that is removed already
/// and lasts as long as it is attached.
fn name(line: &str) -> Option<String> {
    /// `SHM_DEST` of linux/shm.h, among the permissions.
    const REMOVED: u32 = 0o1000;
    let mut words = line.split_whitespace();
    let key: i32 = words.next()?.parse().ok()?;
    let permissions = u32::from_str_radix(words.nth(1)?, 8).ok()?;
    (permissions & REMOVED == 0).then(|| match key {
        libc::IPC_PRIVATE => "without a key".to_owned(),
        key => format!("key {key:#x}"),
    })
}

/// The names of POSIX message queues. Their filesystem is mounted anew, and nowhere: no path of a
/// case is looked up.
fn queues() -> rustix::io::Result<Vec<String>> {
    let context = fsopen("mqueue", FsOpenFlags::FSOPEN_CLOEXEC)?;
    fsconfig_create(&context)?;
    let attributes = MountAttrFlags::MOUNT_ATTR_NOSUID | MountAttrFlags::MOUNT_ATTR_NOEXEC;
    let mount = fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, attributes)?;
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let directory = openat(&mount, ".", flags, Mode::empty())?;
    let mut buffer = Vec::with_capacity(8 << 10);
    let mut entries = RawDir::new(&directory, buffer.spare_capacity_mut());
    let mut names = Vec::new();
    while let Some(entry) = entries.next().filter(|_| names.len() < MOST) {
        match entry?.file_name().to_bytes() {
            b"." | b".." => {}
            name => names.push(format!("/{}", String::from_utf8_lossy(name))),
        }
    }
    Ok(names)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_object_of_system_v_has_a_key_or_none() {
        assert_eq!(name("  42  7   600  4096 1 1 0").as_deref(), Some("key 0x2a"));
        assert_eq!(name(" -1 7 600 4096").as_deref(), Some("key 0xffffffff"));
        assert_eq!(name("  0 32768  1666 4096"), None, "it is removed already");
        assert_eq!(name("  0 32768   666 4096").as_deref(), Some("without a key"));
        assert_eq!(name("key shmid perms"), None);
        assert_eq!(name("1 2"), None);
    }
}
