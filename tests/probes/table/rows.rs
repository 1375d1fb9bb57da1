//! The rows, a constant a topic. Numbers in brackets are those of the attempts in the list that
//! the suite was made from.

use super::{Probe, Scene, Setting, Without, probe};

const WORKS: Without = Without::Holds("no attempt: it must work, with and without a sandbox");

/// CAP_SYS_RESOURCE of capability.h.
const SYS_RESOURCE: u8 = 24;
pub const FILES: &[Probe] = &[
    probe(
        "password_file",
        "read /etc/shadow and ~/.ssh/id_*",
        "not there",
        "bwrap test-run.sh: cannot read /etc/shadow",
    ),
    probe("home", "read files of the home directory", "not there", "flatpak: no home by default"),
    probe(
        "home_writes",
        "write to the home directory",
        "the host's is unchanged",
        "Bazel: hermetic home",
    ),
    probe(
        "cargo_credentials",
        "read cargo's credentials.toml",
        "empty or not there",
        "secrets of a CI job",
    ),
    probe(
        "late_credentials",
        "read cargo's credentials that come while it runs",
        "not there",
        "moby: masked paths are those that exist",
    )
    .scene(Scene::LateCredentials),
    probe(
        "private_file",
        "read a file that is not shown, by every path to it",
        "not there",
        "bwrap test-run.sh: cannot see outside",
    ),
    probe(
        "old_root",
        "read it below the names of old roots",
        "not there",
        "bwrap test-run.sh: /tmp/oldroot is not visible",
    ),
    probe(
        "chroot_and_climb",
        "chroot, climb up 100 times, chroot",
        "still the sandbox's root",
        "nsjail: no_pivotroot is escapable",
    ),
    probe(
        "chroot_and_climb_as_root",
        "the same with capabilities inside",
        "still the sandbox's root",
        "nsjail: no_pivotroot is escapable",
    )
    .payload("chroot_and_climb")
    .setting(Setting::Root),
    probe(
        "open_descriptors",
        "look for descriptors beside 0, 1, 2",
        "none",
        "CVE-2024-21626, CVE-2016-9962",
    )
    .scene(Scene::Descriptors),
    probe(
        "climb_from_descriptors",
        "openat from inherited directories",
        "none is open",
        "CVE-2024-21626",
    )
    .scene(Scene::Descriptors),
    probe("climb_from_input", "openat from standard input", "it is refused", "CVE-2024-21626")
        .scene(Scene::DirectoryAsInput),
    probe("climb_from_input_strict", "the same under strict", "it is refused", "CVE-2024-21626")
        .payload("climb_from_input")
        .setting(Setting::Strict)
        .scene(Scene::DirectoryAsInput),
    probe("climb_from_path", "the same, opened with O_PATH", "it is refused", "CVE-2024-21626")
        .payload("climb_from_input")
        .scene(Scene::PathAsInput),
    probe(
        "working_directory_by_descriptor",
        "chdir to /proc/self/fd/N",
        "refused",
        "CVE-2024-21626; runc verifyCwd",
    )
    .scene(Scene::Descriptors),
    probe(
        "own_program",
        "open its own program for writing, create beside it",
        "EROFS",
        "CVE-2019-5736; runc: /proc/self/exe",
    ),
    probe(
        "own_program_after_exec",
        "the same by a descriptor kept over exec",
        "EROFS",
        "CVE-2019-5736",
    ),
    probe(
        "read_only_tree",
        "write to what is shown read-only, and below",
        "EROFS",
        "runc mounts_recursive.bats; Bazel hermetic",
    ),
    probe(
        "read_only_submount",
        "the same where another filesystem is mounted below",
        "EROFS",
        "runc mounts_recursive.bats",
    )
    .payload("read_only_tree")
    .scene(Scene::Submount),
    probe("system_directories", "may it write to /usr, /etc, …", "EROFS", "bwrap --ro-bind")
        .as_root(),
    probe(
        "file_handles",
        "open_by_handle_at on a shown tree",
        "EPERM",
        "shocker.c; docker CAP_DAC_READ_SEARCH",
    )
    .as_root(),
    probe("file_handles_as_root", "the same with capabilities inside", "EPERM", "shocker.c")
        .payload("file_handles")
        .setting(Setting::Root)
        .as_root(),
    probe(
        "swapped_source",
        "the source of a bind is swapped for a link",
        "the link is not followed",
        "CVE-2021-30465, CVE-2024-45310",
    )
    .scene(Scene::Race),
    probe(
        "link_in_the_project",
        "read through links that lead out",
        "they lead nowhere",
        "minijail resolve_mount_destination",
    ),
    probe(
        "home_behind_a_link",
        "the home's name leads through a link in the project",
        "an empty home, nothing of the host",
        "minijail resolve_mount_destination; runc: symlinks",
    )
    .scene(Scene::LinkedHome),
    probe(
        "hard_link",
        "link a read-only file into a writable directory",
        "EXDEV or EROFS",
        "Bazel LinkFile",
    ),
    probe(
        "lock_in_the_project",
        "flock a file that the host has locked",
        "locked: another file",
        "tests that lock each other out",
    ),
    probe(
        "lock_in_a_read_only_tree",
        "flock a read-only file that the host has locked",
        "locked: another file",
        "tests that lock each other out",
    ),
    probe(
        "watch_the_project",
        "inotify on the project",
        "no event of the host",
        "leak between runs",
    )
    .scene(Scene::Touch),
    probe(
        "watch_a_read_only_tree",
        "inotify on a read-only tree",
        "no event of the host",
        "leak between runs",
    )
    .scene(Scene::Touch),
    probe(
        "lease_in_a_read_only_tree",
        "F_SETLEASE on a read-only file",
        "refused",
        "fcntl(2): stalls writers",
    ),
    probe("lease_strict", "the same under strict", "EPERM", "fcntl(2): stalls writers")
        .payload("lease_in_a_read_only_tree")
        .setting(Setting::Strict),
    probe("watch_a_filesystem", "fanotify on the host's filesystem", "EPERM", "fanotify_mark(2)")
        .as_root(),
    probe(
        "trusted_attributes",
        "set trusted.* and security.* attributes",
        "EPERM",
        "CVE-2021-3493, CVE-2023-2640",
    )
    .as_root(),
    probe(
        "overlay_attributes",
        "steer the overlay by user.overlay.*",
        "the host is unchanged",
        "CVE-2023-0386",
    ),
    probe(
        "set_user_id_file",
        "does set-user-ID work anywhere",
        "nosuid everywhere",
        "CVE-2023-0386",
    ),
    probe(
        "project_writes",
        "write, delete, rename in the project",
        "the host is unchanged",
        "bwrap --tmp-overlay tests",
    ),
    probe(
        "splice_into_page_cache",
        "splice over a read-only file",
        "the host is unchanged",
        "CVE-2022-0847",
    )
    .without(Without::Holds("the kernel is mended since 5.17")),
    probe(
        "temporary_files",
        "look for others' files in /tmp, /var/tmp, /run, /dev/shm",
        "empty",
        "Bazel --incompatible_sandbox_hermetic_tmp",
    ),
    probe("program_in_tmp", "run a program from /tmp", "works", "nsjail: noexec by choice")
        .without(WORKS),
    probe(
        "denied_to_a_group",
        "a file is denied to a group of the caller's: leave the group, then read it",
        "EACCES",
        "CVE-2014-8989",
    )
    .scene(Scene::Groups),
    probe(
        "write_back_links",
        "leave links behind where files are copied out",
        "nothing outside the project",
        "CVE-2024-45310; kubectl cp CVE-2019-11246",
    )
    .setting(Setting::WriteBack),
    probe(
        "write_back_race",
        "a directory becomes a link before files are copied out",
        "the link is not followed",
        "CVE-2018-15664 (docker cp)",
    )
    .setting(Setting::WriteBack)
    .scene(Scene::Swap),
    probe(
        "write_back_special_files",
        "leave a FIFO and a set-user-ID file behind",
        "no bit, no wait",
        "tar, cp",
    )
    .setting(Setting::WriteBack),
];

pub const MOUNTS: &[Probe] = &[
    probe(
        "remount_writable",
        "remount what is read-only, bind it anew",
        "EPERM",
        "mount_namespaces(7): locked",
    ),
    probe(
        "remount_writable_as_root",
        "the same with capabilities inside",
        "EPERM: the mounts are locked",
        "mount_namespaces(7): locked",
    )
    .payload("remount_writable")
    .setting(Setting::Root),
    probe(
        "unmount_everything",
        "unmount whatever is mounted",
        "EPERM; nothing uncovered",
        "CVE-2014-9717",
    ),
    probe(
        "unmount_everything_as_root",
        "the same with capabilities inside",
        "nothing uncovered",
        "CVE-2014-9717",
    )
    .payload("unmount_everything")
    .setting(Setting::Root),
    probe(
        "uncover_project",
        "unmount what lies on the project and on its cargo home, look at files and sockets there",
        "EPERM; nothing uncovered",
        "CVE-2014-9717",
    )
    .scene(Scene::CargoHomeInside),
    probe(
        "uncover_project_as_root",
        "the same with capabilities inside",
        "nothing uncovered",
        "CVE-2014-9717",
    )
    .payload("uncover_project")
    .setting(Setting::Root)
    .scene(Scene::CargoHomeInside),
    probe(
        "look_beneath",
        "copy single mounts to look beneath",
        "EPERM or EINVAL",
        "bwrap privileged_op",
    ),
    probe(
        "look_beneath_as_root",
        "the same with capabilities inside",
        "EINVAL: the mounts are locked",
        "bwrap privileged_op",
    )
    .payload("look_beneath")
    .setting(Setting::Root),
    probe(
        "mount_calls",
        "mount, fsopen, open_tree, move, pivot_root",
        "EPERM",
        "CVE-2022-0185, CVE-2021-41133",
    )
    .as_root(),
    probe("mount_proc", "mount a fresh proc", "EPERM", "runc no_pivot.bats").as_root(),
    probe(
        "mount_proc_as_root",
        "the same with capabilities inside",
        "its own processes; no writable sysctl",
        "runc no_pivot.bats",
    )
    .payload("mount_proc")
    .setting(Setting::Root)
    .as_root(),
    probe(
        "mount_sysfs_as_root",
        "mount sysfs with capabilities inside",
        "EPERM, or nothing writable",
        "crun sysfs fallback",
    )
    .payload("mount_sysfs")
    .setting(Setting::Root)
    .as_root(),
    probe(
        "mount_over_credentials_as_root",
        "move what covers credentials.toml",
        "locked",
        "CVE-2014-9717",
    )
    .payload("mount_over_credentials")
    .setting(Setting::Root),
    probe(
        "host_mounts",
        "wait for a mount of the host",
        "none arrives",
        "runc mounts_propagation.bats",
    )
    .scene(Scene::HostMount),
    probe(
        "own_mounts_as_root",
        "mount with capabilities inside",
        "the host does not see it",
        "minijail enter_pivot_root",
    )
    .payload("own_mounts")
    .setting(Setting::Root)
    .scene(Scene::LookAtMounts)
    .as_root(),
    probe(
        "other_mount_namespaces",
        "/proc/*/root, setns to others' namespaces",
        "only its own",
        "nsjail, runc",
    ),
    probe(
        "other_mount_namespaces_as_root",
        "the same with capabilities inside",
        "only its own",
        "nsjail, runc",
    )
    .payload("other_mount_namespaces")
    .setting(Setting::Root),
    probe("device_nodes", "mknod and open", "EPERM", "docker device tests").as_root(),
    probe(
        "device_nodes_as_root",
        "the same with capabilities inside",
        "EPERM",
        "docker device tests",
    )
    .payload("device_nodes")
    .setting(Setting::Root)
    .as_root(),
];

pub const KERNEL: &[Probe] = &[
    probe("sysrq", "open /proc/sysrq-trigger for writing", "refused", "bwrap cover_proc_dirs")
        .without(Without::Holds("a kernel may be without it")),
    probe("sysrq_as_root", "the same with capabilities inside", "refused", "bwrap cover_proc_dirs")
        .payload("sysrq")
        .setting(Setting::Root)
        .without(Without::Holds("a kernel may be without it")),
    probe(
        "core_pattern",
        "open kernel.core_pattern for writing",
        "EACCES or EROFS",
        "CVE-2025-52881; docker escapes",
    )
    .as_root(),
    probe(
        "core_pattern_as_root",
        "the same with capabilities inside",
        "EACCES or EROFS",
        "CVE-2025-52881; docker escapes",
    )
    .payload("core_pattern")
    .setting(Setting::Root)
    .as_root(),
    probe(
        "sysctls",
        "open modprobe, drop_caches, … for writing",
        "EACCES or EROFS",
        "CVE-2025-31133",
    )
    .as_root(),
    probe(
        "sysctls_as_root",
        "the same with capabilities inside",
        "EACCES or EROFS",
        "CVE-2025-31133",
    )
    .payload("sysctls")
    .setting(Setting::Root)
    .as_root(),
    probe(
        "network_sysctls",
        "write net.ipv4.*",
        "the host's are unchanged",
        "network_namespaces(7)",
    )
    .as_root(),
    probe(
        "network_sysctls_as_root",
        "the same with capabilities inside",
        "the host's are unchanged",
        "network_namespaces(7)",
    )
    .payload("network_sysctls")
    .setting(Setting::Root)
    .as_root(),
    probe(
        "host_name",
        "sethostname, kernel.hostname",
        "the host's is unchanged",
        "uts_namespaces(7)",
    )
    .as_root(),
    probe(
        "host_name_as_root",
        "the same with capabilities inside",
        "the host's is unchanged",
        "uts_namespaces(7)",
    )
    .payload("host_name")
    .setting(Setting::Root)
    .as_root(),
    probe(
        "kernel_memory",
        "read kcore, /dev/mem, kernel addresses",
        "nothing, or zeros",
        "docker masked paths",
    )
    .as_root(),
    probe("kernel_statistics", "read timer_list, slabinfo, …", "refused", "docker masked paths")
        .as_root(),
    probe("keys_in_proc", "read /proc/keys", "no key of the host", "docker masked paths"),
    probe("keys_in_proc_strict", "the same under strict", "empty", "docker masked paths")
        .payload("keys_in_proc")
        .setting(Setting::Strict),
    probe("kernel_log", "open /dev/kmsg, /proc/kmsg", "not there", "docker masked paths").as_root(),
    probe(
        "proc_files",
        "open irq, bus, mtrr, … for writing",
        "EACCES or EROFS",
        "docker read-only paths",
    )
    .as_root(),
    probe(
        "proc_files_as_root",
        "the same with capabilities inside",
        "EACCES or EROFS",
        "docker read-only paths",
    )
    .payload("proc_files")
    .setting(Setting::Root)
    .as_root(),
    probe(
        "host_devices",
        "look for devices of the machine",
        "none",
        "bwrap test-run.sh: expected devices",
    ),
    probe(
        "devices_work",
        "null, zero, full, random, urandom, ptmx, shm",
        "work",
        "bwrap test-run.sh: expected devices",
    )
    .without(WORKS),
    probe(
        "host_terminals",
        "open a terminal of the host by its number",
        "not there",
        "devpts newinstance",
    ),
    probe(
        "control_groups",
        "write cgroup.procs, release_agent",
        "not there or EROFS",
        "CVE-2022-0492",
    )
    .as_root(),
    probe(
        "own_control_group_as_root",
        "mount cgroup2 with capabilities inside",
        "nothing writable",
        "CVE-2022-0492",
    )
    .payload("own_control_group")
    .setting(Setting::Root)
    .as_root(),
    probe(
        "own_control_group_nested",
        "the same in a nested user namespace",
        "nothing writable",
        "CVE-2022-0492",
    )
    .as_root(),
    probe(
        "sysfs",
        "write /sys/power/state, /sys/kernel/*",
        "not there or EROFS",
        "crun sysfs fallback",
    )
    .as_root(),
    probe("environment", "secrets in the environment", "not set", "nsjail: clear by default"),
    probe("environment_in_proc", "secrets in /proc/*/environ", "none", "docker; 12-factor secrets"),
    probe(
        "environment_in_proc_of_the_reaper",
        "the same beside a reaping init",
        "none",
        "bwrap: PR_SET_DUMPABLE",
    )
    .payload("environment_in_proc")
    .setting(Setting::Reaper),
    probe("namespaces", "is a namespace the host's", "none of the six", "namespaces(7)"),
];

pub const PROCESSES: &[Probe] = &[
    probe(
        "see_processes",
        "look for others in /proc",
        "none",
        "bwrap test-run.sh: can mount /proc",
    ),
    probe(
        "see_processes_reaper",
        "the same beside a reaping init: the command line of isotest",
        "none",
        "proc_pid_cmdline(5)",
    )
    .payload("see_processes")
    .setting(Setting::Reaper),
    probe(
        "signal_group",
        "kill(0, SIGTERM)",
        "nobody outside is hit",
        "Bazel SetupSelfDestruction",
    ),
    probe(
        "signal_parent",
        "kill(getppid(), SIGKILL)",
        "nobody outside is hit",
        "pid_namespaces(7)",
    ),
    probe(
        "signal_parent_reaper",
        "the same beside a reaping init",
        "nobody is hit",
        "pid_namespaces(7)",
    )
    .payload("signal_parent")
    .setting(Setting::Reaper),
    probe("signal_everything", "kill(-1, SIGKILL)", "nobody outside is hit", "pid_namespaces(7)"),
    probe("signal_by_number", "kill 2 to 65535", "ESRCH", "pid_namespaces(7)"),
    probe("process_handle", "pidfd_open and pidfd_getfd", "ESRCH", "runc pidfd tests"),
    probe(
        "inherited_process_handle",
        "signal by an inherited handle",
        "none is open",
        "runc pidfd tests",
    )
    .scene(Scene::Descriptors),
    probe("read_memory", "process_vm_readv, /proc/PID/mem", "ESRCH", "runc"),
    probe("trace_process", "ptrace a process of the host", "ESRCH", "docker profile"),
    probe("trace_parent", "ptrace the parent", "none, or EPERM", "bwrap: PR_SET_DUMPABLE"),
    probe("trace_parent_reaper", "ptrace the reaping init", "EPERM", "bwrap: PR_SET_DUMPABLE")
        .payload("trace_parent")
        .setting(Setting::Reaper),
    probe(
        "descriptors_of_parent",
        "fd, mem, environ, pidfd_getfd of the parent",
        "none, or EPERM",
        "CVE-2016-9962",
    ),
    probe("descriptors_of_the_reaper", "the same of the reaping init", "EPERM", "CVE-2016-9962")
        .payload("descriptors_of_parent")
        .setting(Setting::Reaper),
    probe("descriptors_of_others", "/proc/*/fd", "only its own", "CVE-2016-9962"),
    probe(
        "trace_me",
        "PTRACE_TRACEME, then a signal",
        "the verdict is right",
        "waitid(2): CLD_TRAPPED",
    ),
    probe("stop_self", "raise(SIGSTOP)", "nobody hangs", "nsjail: SIGCONT before SIGKILL"),
    probe(
        "daemon",
        "leave a daemon behind: setsid, double fork",
        "gone with the case",
        "bwrap waits for daemons instead",
    ),
    probe(
        "stragglers",
        "leave a vfork child, a sibling by CLONE_PARENT, a CLONE_UNTRACED child behind",
        "gone with the case",
        "clone(2)",
    ),
    probe(
        "daemon_of_a_killed_runner",
        "the same, and the runner is killed",
        "gone within a second",
        "bwrap test-run.sh: die with parent",
    )
    .scene(Scene::Kill),
    probe(
        "state_at_start",
        "the caller ignores and blocks signals",
        "defaults, nothing blocked",
        "clone(2): CLONE_CLEAR_SIGHAND",
    )
    .scene(Scene::State),
    probe("umask_at_start", "the caller has umask 0", "022", "hermeticity").scene(Scene::State),
    probe(
        "priorities",
        "nice -20, SCHED_FIFO, raise a hard limit",
        "EPERM or EACCES",
        "runc scheduler.bats",
    )
    .as_root(),
    probe("out_of_memory_score", "oom_score_adj -1000", "EACCES", "youki contest")
        .without(Without::EscapesWith(SYS_RESOURCE)),
    probe("reboot", "reboot(2)", "EPERM", "docker profile").as_root(),
    probe("core_dump", "dump core, after raising the limit", "no file, no helper", "core(5)"),
    probe("undumpable", "PR_SET_DUMPABLE 0, then end", "the verdict is right", "bwrap")
        .without(WORKS),
];

pub const NETWORK: &[Probe] = &[
    probe(
        "host_listener_ipv4",
        "connect to a listener of the host on 127.0.0.1",
        "ECONNREFUSED",
        "bwrap --unshare-net",
    ),
    probe(
        "host_listener_ipv6",
        "connect to a listener of the host on ::1",
        "ECONNREFUSED",
        "bwrap --unshare-net",
    ),
    probe(
        "world",
        "connect to public, private and metadata addresses",
        "ENETUNREACH",
        "cloud metadata: 169.254.169.254",
    ),
    probe("world_as_root", "the same with capabilities inside", "ENETUNREACH", "cloud metadata")
        .payload("world")
        .setting(Setting::Root),
    probe("interfaces", "look for network interfaces", "only lo", "network_namespaces(7)"),
    probe("same_port", "bind a port that the host listens on", "works", "network_namespaces(7)"),
    probe(
        "loopback_works",
        "bind and connect on 127.0.0.1 and ::1",
        "works",
        "bwrap loopback_setup",
    )
    .without(WORKS),
    probe(
        "datagram_to_the_host",
        "send to a UDP socket of the host",
        "nothing arrives",
        "bwrap --unshare-net",
    ),
    probe(
        "multicast",
        "send to a multicast group that the host has joined",
        "nothing arrives",
        "bwrap --unshare-net",
    ),
    probe("raw_sockets", "SOCK_RAW", "EPERM", "docker CAP_NET_RAW").as_root(),
    probe("packet_sockets", "AF_PACKET", "EPERM", "CVE-2017-7308").as_root(),
    probe(
        "abstract_socket",
        "connect to an abstract socket of the host",
        "ECONNREFUSED",
        "CVE-2020-15257",
    ),
    probe(
        "path_socket",
        "connect to a socket by its path",
        "not there",
        "bwrap README: limitations",
    ),
    probe(
        "shown_sockets",
        "connect to sockets and write to FIFOs of the host in the project and a read-only tree",
        "ECONNREFUSED, ENXIO",
        "bwrap README: limitations",
    ),
    probe(
        "shown_sockets_strict",
        "the same under strict",
        "ECONNREFUSED, ENXIO",
        "bwrap README: limitations",
    )
    .payload("shown_sockets")
    .setting(Setting::Strict),
    probe(
        "sockets_beside_mounts",
        "the same where other filesystems are mounted below, and sockets on files",
        "not there",
        "docker -v /var/run/docker.sock:…",
    )
    .payload("shown_sockets")
    .scene(Scene::Submount),
    probe(
        "sockets_beside_mounts_strict",
        "the same under strict",
        "not there",
        "docker -v /var/run/docker.sock:…",
    )
    .payload("shown_sockets")
    .setting(Setting::Strict)
    .scene(Scene::Submount),
    probe(
        "sockets_beside_mounts_as_root",
        "the same with capabilities inside",
        "not there",
        "docker -v /var/run/docker.sock:…",
    )
    .payload("shown_sockets")
    .setting(Setting::Root)
    .scene(Scene::Submount),
    probe(
        "daemon_sockets",
        "D-Bus, docker.sock, ssh-agent, X11, systemd",
        "not there",
        "bwrap README: limitations",
    ),
    probe("inherited_socket", "write to inherited sockets", "none is open", "CVE-2016-9962")
        .scene(Scene::Descriptors),
    probe("vsock", "AF_VSOCK", "EAFNOSUPPORT", "no namespace covers it (systemd ssh over vsock)"),
    probe(
        "vsock_by_io_uring",
        "AF_VSOCK by IORING_OP_SOCKET",
        "ENOSYS",
        "seccomp does not see requests of io_uring",
    ),
    probe(
        "vsock_by_io_uring_as_root",
        "the same with capabilities inside",
        "ENOSYS",
        "seccomp does not see requests of io_uring",
    )
    .payload("vsock_by_io_uring")
    .setting(Setting::Root),
    probe(
        "vsock_foreign",
        "AF_VSOCK by int 0x80 and x32 numbers",
        "ENOSYS",
        "seccomp(2): check the architecture",
    )
    .without(Without::Holds("the kernel may know neither; see foreign_calls")),
    probe(
        "foreign_calls",
        "system calls by int 0x80 and x32 numbers",
        "ENOSYS",
        "seccomp(2): check the architecture",
    )
    .without(FOREIGN),
    probe(
        "crypto_sockets_strict",
        "AF_ALG under strict",
        "EAFNOSUPPORT",
        "CVE-2026-31431 (copy.fail); moby: deny network alg",
    )
    .payload("crypto_sockets")
    .setting(Setting::Strict)
    .without(Without::Holds("a kernel may be without it")),
    probe("other_families", "Bluetooth, TIPC, RDS, SMC, XDP, …", "refused", "moby default.json")
        .without(Without::Holds("most kernels have none of them")),
    probe("kernel_events", "hear device events by netlink", "not those of the host", "netlink(7)"),
    probe("audit", "ask the audit system", "EPERM", "moby default.json").as_root(),
    probe("netfilter", "ask nftables", "EPERM", "CVE-2023-32233, CVE-2024-1086").as_root(),
    probe("tunnel", "open /dev/net/tun", "not there", "docker devices").as_root(),
    probe("resolver", "resolve a name", "fails at once, nobody is asked", "practice: 5 s stalls"),
];

#[cfg(target_arch = "x86_64")]
const FOREIGN: Without = Without::Escapes;
#[cfg(not(target_arch = "x86_64"))]
const FOREIGN: Without = Without::Holds("the entries are those of x86-64");

pub const IPC: &[Probe] = &[
    probe("system_v_memory", "shmget with the host's key", "ENOENT", "ipc_namespaces(7)"),
    probe("system_v_semaphores", "semget with the host's key", "ENOENT", "ipc_namespaces(7)"),
    probe("system_v_queue", "msgget with the host's key", "ENOENT", "ipc_namespaces(7)"),
    probe("system_v_listing", "read /proc/sysvipc", "nothing of the host", "ipc_namespaces(7)"),
    probe("posix_queue", "mq_open the host's queue", "ENOENT", "ipc_namespaces(7)"),
    probe("shared_memory_file", "open a file in the host's /dev/shm", "not there", "shm_open(3)"),
    probe(
        "session_key",
        "search the caller's session keyring",
        "ENOKEY",
        "runc, minijail: new session keyring",
    ),
    probe("user_key", "search @u and @us", "ENOKEY", "moby default.json"),
    probe(
        "key_by_number",
        "read keys by their numbers",
        "EACCES or ENOKEY",
        "moby default.json: keyctl",
    ),
    probe("key_by_number_strict", "the same under strict", "EPERM", "moby default.json: keyctl")
        .payload("key_by_number")
        .setting(Setting::Strict),
    probe(
        "key_description",
        "describe a key by its number",
        "EACCES or ENOKEY",
        "moby default.json: keyctl",
    ),
    probe("key_description_strict", "the same under strict", "EPERM", "moby default.json: keyctl")
        .payload("key_description")
        .setting(Setting::Strict),
    probe("key_upcall", "request_key", "ENOKEY", "moby default.json: request_key"),
];

pub const PRIVILEGE: &[Probe] = &[
    probe(
        "capabilities",
        "look at the five capability sets",
        "all empty",
        "bwrap test-run.sh: no caps",
    ),
    probe("no_new_privileges", "look at NoNewPrivs", "1", "bwrap: always"),
    probe("no_new_privileges_as_root", "the same with capabilities inside", "1", "bwrap: always")
        .payload("no_new_privileges")
        .setting(Setting::Root),
    probe("set_user_id_program", "would su, mount, sudo run as root", "no", "bwrap: no_new_privs"),
    probe(
        "user_namespace_strict",
        "make a user namespace under strict",
        "ENOSPC or EPERM",
        "bwrap test-run.sh: --disable-userns",
    )
    .payload("user_namespace")
    .setting(Setting::Strict),
    probe(
        "user_namespace_limit_strict",
        "raise the limit again",
        "refused",
        "bwrap test-run.sh: --disable-userns",
    )
    .payload("user_namespace_limit")
    .setting(Setting::Strict)
    .without(Without::EscapesWith(SYS_RESOURCE)),
    probe("clone_into_namespaces", "clone3 with each CLONE_NEW*", "EPERM", "CVE-2021-41133")
        .as_root(),
    probe("become_another_user", "setuid, setgid", "EPERM or EINVAL", "CVE-2014-8989").as_root(),
    probe(
        "become_another_user_as_root",
        "the same with capabilities inside, then read what that user of the host owns",
        "EINVAL, or a user that the host has not",
        "user_namespaces(7)",
    )
    .payload("be_another_user")
    .setting(Setting::Root)
    .as_root(),
    probe("drop_groups", "setgroups", "EPERM", "CVE-2014-8989").as_root(),
    probe("give_away_files", "chown to another user", "EPERM", "chown(2)").as_root(),
    probe(
        "nested_capabilities",
        "all capabilities in a nested user namespace",
        "worth nothing outside",
        "CVE-2018-18955",
    ),
    probe(
        "nested_id_map_as_root",
        "a nested id map of more than five lines, then read a file of an id that it leaves out",
        "EACCES",
        "CVE-2018-18955",
    )
    .payload("nested_id_map")
    .setting(Setting::Root)
    .without(Without::Holds("the kernel is mended since 4.20")),
    probe("privileged_calls", "swapon, acct, kexec_load, syslog", "EPERM", "docker profile")
        .as_root(),
    probe(
        "privileged_calls_as_root",
        "the same with capabilities inside",
        "EPERM",
        "docker profile",
    )
    .payload("privileged_calls")
    .setting(Setting::Root)
    .as_root(),
    probe(
        "modules_as_root",
        "init_module, delete_module with capabilities inside",
        "EPERM",
        "docker profile",
    )
    .payload("modules")
    .setting(Setting::Root)
    .without(Without::Holds("a kernel may be without modules")),
    probe("bpf", "bpf(2)", "EPERM", "CVE-2021-3490").as_root(),
    probe("bpf_as_root", "the same with capabilities inside", "EPERM", "CVE-2021-3490")
        .payload("bpf")
        .setting(Setting::Root)
        .as_root(),
    probe("io_uring", "the three calls of io_uring", "ENOSYS", "docker profile since 2023"),
    probe(
        "io_uring_as_root",
        "the same with capabilities inside",
        "ENOSYS",
        "docker profile since 2023",
    )
    .payload("io_uring")
    .setting(Setting::Root),
    probe("io_uring_strict", "the same under strict", "ENOSYS", "docker profile since 2023")
        .payload("io_uring")
        .setting(Setting::Strict),
    probe("userfaultfd_strict", "userfaultfd under strict", "ENOSYS", "docker profile")
        .payload("userfaultfd")
        .setting(Setting::Strict),
    probe("performance_events_strict", "perf_event_open under strict", "ENOSYS", "docker profile")
        .payload("performance_events")
        .setting(Setting::Strict),
    probe("clock", "set the clock", "EPERM", "docker profile").as_root(),
    probe("clock_as_root", "the same with capabilities inside", "EPERM", "docker profile")
        .payload("clock")
        .setting(Setting::Root)
        .as_root(),
    probe("ports_of_the_machine", "iopl", "EPERM", "docker profile")
        .without(Without::Holds("a kernel may be without it")),
];

pub const TERMINAL: &[Probe] = &[
    probe(
        "type_into_terminal",
        "TIOCSTI on every terminal at hand",
        "nothing is typed",
        "CVE-2017-5226, CVE-2019-7303",
    )
    .scene(Scene::TerminalAsInput),
    probe("select_on_console", "TIOCLINUX", "refused", "CVE-2023-28100")
        .scene(Scene::TerminalAsInput)
        .without(Without::Holds("the judge has a pseudo-terminal, no console")),
    probe(
        "controlling_terminal",
        "open /dev/tty, /dev/console",
        "ENXIO or ENOENT",
        "bwrap --new-session",
    )
    .scene(Scene::Terminal),
    probe(
        "take_terminal",
        "open the caller's terminal by its number",
        "not there",
        "devpts newinstance",
    )
    .scene(Scene::Terminal),
];
