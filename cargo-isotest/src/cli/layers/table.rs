//! The table of layers and limits. A row is all that the command has to know of one of them.

use isotest_core::policy::{
    Directory, Env, Guard, Init, Namespace, Net, Propagation, Scratch, User, Uts, Workspace,
};

use super::super::quantity;
use super::layer::{Choice, Layer, Number, Part, Paths, Switch, Takes, Text, Texts, Time, Words};
use super::value;

/// A word, its help, and the value of the policy that it stands for.
macro_rules! choice {
    ($word:literal, $help:literal, $field:ident = $value:expr) => {
        Choice {
            word: $word,
            help: $help,
            grants: false,
            set: |policy| policy.$field = $value,
            is: |policy| policy.$field == $value,
        }
    };
}

/// A [`choice`] by which a test gets more of the host than by default.
macro_rules! grant {
    ($($choice:tt)*) => {
        Choice { grants: true, ..choice!($($choice)*) }
    };
}

/// The layers and limits, in the order of the help.
pub(super) static LAYERS: &[Layer] = &[
    Layer {
        name: "user",
        placeholder: "WHO",
        help: "Who the test is",
        part: Part::Process,
        takes: Takes::Word(Words {
            description: "`--user`.",
            choices: &[
                choice!("same", "Uid and gid as outside, no capabilities", user = User::Same),
                grant!("root", "Uid 0 with every capability inside", user = User::Root),
                choice!("nobody", "Uid 65534, no capabilities", user = User::Nobody),
            ],
        }),
    },
    Layer {
        name: "pid",
        placeholder: "NS",
        help: "Its pid namespace",
        part: Part::Process,
        takes: Takes::Word(Words {
            description: "`--pid`, `--ipc`.",
            choices: &[
                choice!("new", "One of its own", pid = Namespace::New),
                grant!("host", "The host's", pid = Namespace::Host),
            ],
        }),
    },
    Layer {
        name: "init",
        placeholder: "INIT",
        help: "Who is PID 1",
        part: Part::Process,
        takes: Takes::Word(Words {
            description: "`--init`.",
            choices: &[
                choice!("none", "The test itself is PID 1", init = Init::None),
                choice!("reaper", "A reaping init is PID 1", init = Init::Reaper),
            ],
        }),
    },
    Layer {
        name: "net",
        placeholder: "NET",
        help: "Its network",
        part: Part::Process,
        takes: Takes::Word(Words {
            description: "`--net`.",
            choices: &[
                choice!("loopback", "Only `lo`, no way out", net = Net::Loopback),
                grant!("host", "The host's network", net = Net::Host),
            ],
        }),
    },
    Layer {
        name: "ipc",
        placeholder: "NS",
        help: "Its System V IPC, message queues and /dev/shm",
        part: Part::Process,
        takes: Takes::Word(Words {
            description: "`--pid`, `--ipc`.",
            choices: &[
                choice!("new", "One of its own", ipc = Namespace::New),
                grant!("host", "The host's", ipc = Namespace::Host),
            ],
        }),
    },
    Layer {
        name: "uts",
        placeholder: "NAME",
        help: "Its host name: a name, `new` (isotest) or `host`",
        part: Part::Process,
        takes: Takes::Text(Text {
            set: |policy, name| value::uts(name).map(|uts| policy.uts = uts),
            get: |policy| match &policy.uts {
                Uts::Name(name) => name.clone(),
                Uts::Host => "host".to_owned(),
            },
            show: |policy| match &policy.uts {
                Uts::Name(name) => format!("new, `{name}`"),
                Uts::Host => "host".to_owned(),
            },
            grants: |policy| policy.uts == Uts::Host,
        }),
    },
    Layer {
        name: "workspace",
        placeholder: "VALUE",
        help: "What writing to the project does",
        part: Part::Files,
        takes: Takes::Word(Words {
            description: "`--workspace`.",
            choices: &[
                choice!("overlay", "Writes are thrown away", workspace = Workspace::Overlay),
                choice!("readonly", "Writes fail", workspace = Workspace::Readonly),
                grant!("shared", "Writes change the project", workspace = Workspace::Shared),
            ],
        }),
    },
    Layer {
        name: "write-back",
        placeholder: "GLOB",
        help: "Copy files that match out afterwards",
        part: Part::Files,
        takes: Takes::Texts(Texts {
            check: |_| Ok(()),
            add: |policy, glob| policy.write_back.push(glob),
            get: |policy| &policy.write_back,
        }),
    },
    Layer {
        name: "scratch",
        placeholder: "WHERE",
        help: "Where throwaway layers lie",
        part: Part::Files,
        takes: Takes::Word(Words {
            description: "`--scratch`.",
            choices: &[
                choice!("memory", "In a tmpfs", scratch = Scratch::Memory),
                choice!("disk", "Below the target directory", scratch = Scratch::Disk),
            ],
        }),
    },
    Layer {
        name: "root",
        placeholder: "PATH",
        help: "Run in another root filesystem, each of several: a directory, a tarball or a container's image",
        part: Part::Files,
        takes: Takes::Roots,
    },
    Layer {
        name: "tmp",
        placeholder: "DIR",
        help: "Its /tmp, /var/tmp and /run",
        part: Part::Files,
        takes: Takes::Word(Words {
            description: "`--tmp`.",
            choices: &[
                choice!("fresh", "Empty for every test", tmp = Directory::Fresh),
                grant!("host", "The host's", tmp = Directory::Host),
            ],
        }),
    },
    Layer {
        name: "home",
        placeholder: "DIR",
        help: "Its home directory",
        part: Part::Files,
        takes: Takes::Word(Words {
            description: "`--home`.",
            choices: &[
                choice!("empty", "Empty for every test", home = Directory::Fresh),
                grant!("host", "The host's", home = Directory::Host),
            ],
        }),
    },
    Layer {
        name: "env",
        placeholder: "ENV",
        help: "Its environment variables",
        part: Part::Process,
        takes: Takes::Word(Words {
            description: "`--env`.",
            choices: &[
                choice!("clean", "Only variables of the allow-list", env = Env::Clean),
                grant!("host", "All variables", env = Env::Host),
            ],
        }),
    },
    Layer {
        name: "pass-env",
        placeholder: "NAME",
        help: "Let this variable through (`NAME` or `PREFIX*`)",
        part: Part::Process,
        takes: Takes::Texts(Texts {
            check: value::variable,
            add: |policy, name| policy.pass_env.push(name),
            get: |policy| &policy.pass_env,
        }),
    },
    Layer {
        name: "guard",
        placeholder: "GUARD",
        help: "Which further doors of the kernel are shut",
        part: Part::Process,
        takes: Takes::Word(Words {
            description: "`--guard`.",
            choices: &[
                choice!(
                    "basic",
                    "No new privileges, own session, no io_uring, no core dumps",
                    guard = Guard::Basic
                ),
                choice!(
                    "strict",
                    "Also no nested namespaces, userfaultfd, perf; read-only project",
                    guard = Guard::Strict
                ),
                grant!(
                    "no-listener",
                    "As basic, and a test may install a seccomp listener; less is known of its end",
                    guard = Guard::NoListener
                ),
                grant!(
                    "io-uring",
                    "As basic, and with io_uring, which no filter sees into",
                    guard = Guard::IoUring
                ),
            ],
        }),
    },
    Layer {
        name: "ro",
        placeholder: "PATH",
        help: "Show this host path, read-only",
        part: Part::Files,
        takes: Takes::Paths(Paths {
            add: |policy, path| policy.read_only.push(path),
            get: |policy| &policy.read_only,
        }),
    },
    Layer {
        name: "rw",
        placeholder: "PATH",
        help: "Show this host path, writable",
        part: Part::Files,
        takes: Takes::Paths(Paths {
            add: |policy, path| policy.read_write.push(path),
            get: |policy| &policy.read_write,
        }),
    },
    Layer {
        name: "propagation",
        placeholder: "VALUE",
        help: "Which mounts below these paths travel: `private` (none), `slave` (the host's to the test) or `unbindable` (none, and no bind elsewhere)",
        part: Part::Files,
        takes: Takes::Text(Text {
            set: |policy, word| value::propagation(word).map(|it| policy.propagation = it),
            get: |policy| value::propagation_name(policy.propagation).to_owned(),
            show: |policy| value::propagation_name(policy.propagation).to_owned(),
            grants: |policy| policy.propagation == Propagation::Slave,
        }),
    },
    Layer {
        name: "allow-weaker",
        placeholder: "LAYER",
        help: "Share this layer (`pid`, `ipc`, `uts` or `net`) with the host where this machine refuses another",
        part: Part::Process,
        takes: Takes::Weaker,
    },
    Layer {
        name: "no-fork-server",
        placeholder: "",
        help: "Execute the binary for every test, instead of forking a copy that is linked already",
        part: Part::Process,
        takes: Takes::Switch(Switch {
            set: |policy| policy.fork_server = false,
            is: |policy| !policy.fork_server,
        }),
    },
    Layer {
        name: "timeout",
        placeholder: "DURATION",
        help: "Kill a test after this long (`90s`, `2m`, `none`)",
        part: Part::Watched,
        takes: Takes::Time(Time {
            read: quantity::deadline,
            set: |policy, limit| policy.limits.timeout = limit,
            get: |policy| policy.limits.timeout,
        }),
    },
    Layer {
        name: "slow-timeout",
        placeholder: "DURATION",
        help: "Tell of a test that takes this long, and each time that it has taken as long again",
        part: Part::Watched,
        takes: Takes::Time(Time {
            read: quantity::period,
            set: |policy, limit| policy.limits.slow_timeout = limit,
            get: |policy| policy.limits.slow_timeout,
        }),
    },
    Layer {
        name: "tmp-size",
        placeholder: "BYTES",
        help: "Size of /tmp and of all that is written elsewhere (`256M`, `1GiB`)",
        part: Part::Enforced,
        takes: Takes::Bytes(Number {
            set: |policy, bytes| policy.limits.tmp_size = bytes,
            get: |policy| Some(policy.limits.tmp_size),
        }),
    },
    Layer {
        name: "output-limit",
        placeholder: "BYTES",
        help: "Bytes of output kept",
        part: Part::Watched,
        takes: Takes::Bytes(Number {
            set: |policy, bytes| policy.limits.output = bytes,
            get: |policy| Some(policy.limits.output),
        }),
    },
    Layer {
        name: "memory",
        placeholder: "BYTES",
        help: "Memory of all its processes together (needs a delegated cgroup v2)",
        part: Part::Enforced,
        takes: Takes::Bytes(Number {
            set: |policy, bytes| policy.limits.memory = Some(bytes),
            get: |policy| policy.limits.memory,
        }),
    },
    Layer {
        name: "processes",
        placeholder: "N",
        help: "Processes and threads",
        part: Part::Enforced,
        takes: Takes::Number(Number {
            set: |policy, count| policy.limits.processes = count,
            get: |policy| Some(policy.limits.processes),
        }),
    },
    Layer {
        name: "open-files",
        placeholder: "N",
        help: "Open files of one process",
        part: Part::Enforced,
        takes: Takes::Number(Number {
            set: |policy, count| policy.limits.open_files = count,
            get: |policy| Some(policy.limits.open_files),
        }),
    },
    Layer {
        name: "file-size",
        placeholder: "BYTES",
        help: "Size of one file",
        part: Part::Enforced,
        takes: Takes::Bytes(Number {
            set: |policy, bytes| policy.limits.file_size = Some(bytes),
            get: |policy| policy.limits.file_size,
        }),
    },
    Layer {
        name: "cpu-time",
        placeholder: "SECONDS",
        help: "Processor time of one process",
        part: Part::Enforced,
        takes: Takes::Number(Number {
            set: |policy, seconds| policy.limits.cpu_time = Some(seconds),
            get: |policy| policy.limits.cpu_time,
        }),
    },
    Layer {
        name: "address-space",
        placeholder: "BYTES",
        help: "Address space of one process",
        part: Part::Enforced,
        takes: Takes::Bytes(Number {
            set: |policy, bytes| policy.limits.address_space = Some(bytes),
            get: |policy| policy.limits.address_space,
        }),
    },
];
