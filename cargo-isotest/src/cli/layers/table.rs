//! The table of layers and limits. A row is all that the command has to know of one of them.

use isotest_core::policy::{
    Directory, Env, Guard, Init, Namespace, Net, Propagation, Scratch, User, Uts, Workspace,
};

use super::super::quantity;
use super::layer::{
    Choice, DurationValue, Layer, NumberValue, PathList, PolicyPart, SHARED, Switch, TextList,
    TextValue, ValueKind, WordValue,
};
use super::{time, value};

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
        help: "User identity inside the sandbox",
        part: PolicyPart::Process,
        takes: ValueKind::Word(WordValue {
            description: "`--user`.",
            choices: &[
                choice!(
                    "same",
                    "The same uid and gid as outside, no capabilities",
                    user = User::Same
                ),
                grant!(
                    "root",
                    "Uid 0 with all capabilities in the user namespace",
                    user = User::Root
                ),
                choice!("nobody", "Uid 65534, no capabilities", user = User::Nobody),
            ],
        }),
    },
    Layer {
        name: "pid",
        placeholder: "NS",
        help: "Pid namespace",
        part: PolicyPart::Process,
        takes: ValueKind::Word(WordValue {
            description: "`--pid`, `--ipc`.",
            choices: &[
                choice!("new", "A new one for each test", pid = Namespace::New),
                grant!("host", "The host's", pid = Namespace::Host),
            ],
        }),
    },
    Layer {
        name: "init",
        placeholder: "INIT",
        help: "Process that is PID 1",
        part: PolicyPart::Process,
        takes: ValueKind::Word(WordValue {
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
        help: "Network",
        part: PolicyPart::Process,
        takes: ValueKind::Word(WordValue {
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
        help: "System V IPC, POSIX message queues and /dev/shm",
        part: PolicyPart::Process,
        takes: ValueKind::Word(WordValue {
            description: "`--pid`, `--ipc`.",
            choices: &[
                choice!("new", "A new one for each test", ipc = Namespace::New),
                grant!("host", "The host's", ipc = Namespace::Host),
            ],
        }),
    },
    Layer {
        name: "uts",
        placeholder: "NAME",
        help: "Host name: a name, `new` (isotest) or `host`",
        part: PolicyPart::Process,
        takes: ValueKind::Text(TextValue {
            set: |policy, name| value::uts(name).map(|uts| policy.uts = uts),
            get: |policy| match &policy.uts {
                // No flag gives a name that is shared.
                Uts::Name(name) | Uts::Lab(name) => name.clone(),
                Uts::Host => "host".to_owned(),
            },
            show: |policy| match &policy.uts {
                Uts::Name(name) => format!("new, `{name}`"),
                Uts::Lab(name) => format!("`{name}`, {SHARED}"),
                Uts::Host => "host".to_owned(),
            },
            grants: |policy| policy.uts == Uts::Host,
        }),
    },
    Layer {
        name: "time",
        placeholder: "TIME",
        help: "Clocks: `real`, or `start=2038-01-19T03:14:07Z` or `offset=+400d`, `frozen`, `resolution=16ms` with commas between them",
        part: PolicyPart::Process,
        takes: ValueKind::Text(TextValue {
            set: |policy, text| time::read(text).map(|time| policy.time = time),
            get: |policy| time::written(policy.time),
            show: |policy| time::written(policy.time),
            grants: |_| false,
        }),
    },
    Layer {
        name: "workspace",
        placeholder: "VALUE",
        help: "Effect of writes to the project",
        part: PolicyPart::Files,
        takes: ValueKind::Word(WordValue {
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
        help: "Copy files that match this glob into the project after the run",
        part: PolicyPart::Files,
        takes: ValueKind::Texts(TextList {
            check: |_| Ok(()),
            add: |policy, glob| policy.write_back.push(glob),
            get: |policy| &policy.write_back,
        }),
    },
    Layer {
        name: "scratch",
        placeholder: "WHERE",
        help: "Place of the throwaway layers",
        part: PolicyPart::Files,
        takes: ValueKind::Word(WordValue {
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
        help: "Run in another root filesystem: a directory, a tarball or a container image; may be repeated",
        part: PolicyPart::Files,
        takes: ValueKind::Roots,
    },
    Layer {
        name: "tmp",
        placeholder: "DIR",
        help: "/tmp, /var/tmp and /run",
        part: PolicyPart::Files,
        takes: ValueKind::Word(WordValue {
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
        help: "Home directory",
        part: PolicyPart::Files,
        takes: ValueKind::Word(WordValue {
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
        help: "Environment variables",
        part: PolicyPart::Process,
        takes: ValueKind::Word(WordValue {
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
        help: "Pass this variable to the tests (`NAME` or `PREFIX*`)",
        part: PolicyPart::Process,
        takes: ValueKind::Texts(TextList {
            check: value::variable,
            add: |policy, name| policy.pass_env.push(name),
            get: |policy| &policy.pass_env,
        }),
    },
    Layer {
        name: "guard",
        placeholder: "GUARD",
        help: "Kernel hardening level",
        part: PolicyPart::Process,
        takes: ValueKind::Word(WordValue {
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
                    "As basic, but a test may install a seccomp listener; isotest learns less about its end",
                    guard = Guard::NoListener
                ),
                grant!(
                    "io-uring",
                    "As basic, but with io_uring, whose requests no seccomp filter sees",
                    guard = Guard::IoUring
                ),
            ],
        }),
    },
    Layer {
        name: "ro",
        placeholder: "PATH",
        help: "Show this host path, read-only",
        part: PolicyPart::Files,
        takes: ValueKind::Paths(PathList {
            add: |policy, path| policy.read_only.push(path),
            get: |policy| &policy.read_only,
        }),
    },
    Layer {
        name: "rw",
        placeholder: "PATH",
        help: "Show this host path, writable",
        part: PolicyPart::Files,
        takes: ValueKind::Paths(PathList {
            add: |policy, path| policy.read_write.push(path),
            get: |policy| &policy.read_write,
        }),
    },
    Layer {
        name: "propagation",
        placeholder: "VALUE",
        help: "Mount propagation of these paths: `private` (none), `slave` (from the host to the test) or `unbindable` (none, no bind mount)",
        part: PolicyPart::Files,
        takes: ValueKind::Text(TextValue {
            set: |policy, word| value::propagation(word).map(|it| policy.propagation = it),
            get: |policy| value::propagation_name(policy.propagation).to_owned(),
            show: |policy| value::propagation_name(policy.propagation).to_owned(),
            grants: |policy| policy.propagation == Propagation::Slave,
        }),
    },
    Layer {
        name: "allow-weaker",
        placeholder: "LAYER",
        help: "Share this layer (`pid`, `ipc`, `uts` or `net`) with the host if this machine refuses a new one",
        part: PolicyPart::Process,
        takes: ValueKind::Weaker,
    },
    Layer {
        name: "no-fork-server",
        placeholder: "",
        help: "Execute the binary for each test instead of forking it from a fork server",
        part: PolicyPart::Process,
        takes: ValueKind::Switch(Switch {
            set: |policy| policy.fork_server = false,
            is: |policy| !policy.fork_server,
        }),
    },
    Layer {
        name: "timeout",
        placeholder: "DURATION",
        help: "Kill a test after this time (`90s`, `2m`, `none`)",
        part: PolicyPart::Watched,
        takes: ValueKind::Duration(DurationValue {
            read: quantity::deadline,
            set: |policy, limit| policy.limits.timeout = limit,
            get: |policy| policy.limits.timeout,
        }),
    },
    Layer {
        name: "slow-timeout",
        placeholder: "DURATION",
        help: "Warn about slow tests, repeating every period",
        part: PolicyPart::Watched,
        takes: ValueKind::Duration(DurationValue {
            read: quantity::period,
            set: |policy, limit| policy.limits.slow_timeout = limit,
            get: |policy| policy.limits.slow_timeout,
        }),
    },
    Layer {
        name: "tmp-size",
        placeholder: "BYTES",
        help: "Maximum size of /tmp and everything else that a test writes (`256M`, `1GiB`)",
        part: PolicyPart::Enforced,
        takes: ValueKind::Bytes(NumberValue {
            set: |policy, bytes| policy.limits.tmp_size = bytes,
            get: |policy| Some(policy.limits.tmp_size),
        }),
    },
    Layer {
        name: "output-limit",
        placeholder: "BYTES",
        help: "Maximum bytes of output kept per test",
        part: PolicyPart::Watched,
        takes: ValueKind::Bytes(NumberValue {
            set: |policy, bytes| policy.limits.output = bytes,
            get: |policy| Some(policy.limits.output),
        }),
    },
    Layer {
        name: "memory",
        placeholder: "BYTES",
        help: "Maximum memory of all processes of a test together (needs a delegated cgroup v2)",
        part: PolicyPart::Enforced,
        takes: ValueKind::Bytes(NumberValue {
            set: |policy, bytes| policy.limits.memory = Some(bytes),
            get: |policy| policy.limits.memory,
        }),
    },
    Layer {
        name: "processes",
        placeholder: "N",
        help: "Maximum number of processes and threads",
        part: PolicyPart::Enforced,
        takes: ValueKind::Number(NumberValue {
            set: |policy, count| policy.limits.processes = count,
            get: |policy| Some(policy.limits.processes),
        }),
    },
    Layer {
        name: "open-files",
        placeholder: "N",
        help: "Maximum number of open files per process",
        part: PolicyPart::Enforced,
        takes: ValueKind::Number(NumberValue {
            set: |policy, count| policy.limits.open_files = count,
            get: |policy| Some(policy.limits.open_files),
        }),
    },
    Layer {
        name: "file-size",
        placeholder: "BYTES",
        help: "Maximum size of a file",
        part: PolicyPart::Enforced,
        takes: ValueKind::Bytes(NumberValue {
            set: |policy, bytes| policy.limits.file_size = Some(bytes),
            get: |policy| policy.limits.file_size,
        }),
    },
    Layer {
        name: "cpu-time",
        placeholder: "SECONDS",
        help: "Maximum processor time of a process",
        part: PolicyPart::Enforced,
        takes: ValueKind::Number(NumberValue {
            set: |policy, seconds| policy.limits.cpu_time = Some(seconds),
            get: |policy| policy.limits.cpu_time,
        }),
    },
    Layer {
        name: "address-space",
        placeholder: "BYTES",
        help: "Maximum address space of a process",
        part: PolicyPart::Enforced,
        takes: ValueKind::Bytes(NumberValue {
            set: |policy, bytes| policy.limits.address_space = Some(bytes),
            get: |policy| policy.limits.address_space,
        }),
    },
];

#[cfg(test)]
mod tests {
    use std::fs;

    use isotest_core::policy::Policy;

    use super::*;

    /// The flag has a description, and each of its words a row, in which the default is marked.
    #[test]
    fn the_book_describes_every_layer_and_every_word() {
        let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/layers.md");
        let page = fs::read_to_string(file).expect("it is there");
        let default = Policy::default();
        for Layer { name, placeholder, takes, .. } in LAYERS {
            let flags = [format!("`--{name}`"), format!("`--{name} {placeholder}")];
            let mut sections = page.split("\n## ");
            let section = sections.find(|text| flags.iter().any(|flag| text.contains(flag)));
            let section = section.unwrap_or_else(|| panic!("docs/layers.md lacks `--{name}`"));
            let ValueKind::Word(WordValue { choices, .. }) = takes else { continue };
            for Choice { word, is, .. } in *choices {
                let mark = if is(&default) { " (default)" } else { "" };
                let row = format!("\n| `{word}`{mark} |");
                assert!(section.contains(&row), "`--{name}` of docs/layers.md lacks {row}");
            }
        }
    }
}
