//! The layers and limits as flags, and what they make of a policy.
//!
//! Every field is empty where the command line says nothing, so that configuration can be asked
//! next. What a value does stands in the core's policy.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{Args, ValueEnum};
use isotest_core::policy::{self, Policy};
use schemars::JsonSchema;

use super::quantity::{self, Deadline};

/// `--user`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, JsonSchema)]
#[schemars(rename_all = "kebab-case", inline)]
pub enum User {
    /// Uid and gid as outside, no capabilities
    Same,
    /// Uid 0 with every capability inside
    Root,
    /// Uid 65534, no capabilities
    Nobody,
}

/// `--pid`, `--ipc`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, JsonSchema)]
#[schemars(rename_all = "kebab-case", inline)]
pub enum Namespace {
    /// One of its own
    New,
    /// The host's
    Host,
}

/// `--init`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, JsonSchema)]
#[schemars(rename_all = "kebab-case", inline)]
pub enum Init {
    /// The test itself is PID 1
    None,
    /// A reaping init is PID 1
    Reaper,
}

/// `--net`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, JsonSchema)]
#[schemars(rename_all = "kebab-case", inline)]
pub enum Net {
    /// Only `lo`, no way out
    Loopback,
    /// The host's network
    Host,
}

/// `--workspace`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, JsonSchema)]
#[schemars(rename_all = "kebab-case", inline)]
pub enum Workspace {
    /// Writes are thrown away
    Overlay,
    /// Writes fail
    Readonly,
    /// Writes change the project
    Shared,
}

/// `--scratch`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, JsonSchema)]
#[schemars(rename_all = "kebab-case", inline)]
pub enum Scratch {
    /// In a tmpfs
    Memory,
    /// Below the target directory
    Disk,
}

/// `--tmp`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, JsonSchema)]
#[schemars(rename_all = "kebab-case", inline)]
pub enum Tmp {
    /// Empty for every test
    Fresh,
    /// The host's
    Host,
}

/// `--home`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, JsonSchema)]
#[schemars(rename_all = "kebab-case", inline)]
pub enum Home {
    /// Empty for every test
    Empty,
    /// The host's
    Host,
}

/// `--env`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, JsonSchema)]
#[schemars(rename_all = "kebab-case", inline)]
pub enum Env {
    /// Only variables of the allow-list
    Clean,
    /// All variables
    Host,
}

/// `--guard`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, JsonSchema)]
#[schemars(rename_all = "kebab-case", inline)]
pub enum Guard {
    /// No new privileges, own session, no io_uring, no core dumps
    Basic,
    /// Also no nested namespaces, userfaultfd, perf; read-only project
    Strict,
    /// As basic, and a test may install a seccomp listener; less is known of its end
    NoListener,
    /// As basic, and with io_uring, which no filter sees into
    IoUring,
}

/// Layers and limits as typed.
#[derive(Debug, Clone, Default, PartialEq, Eq, Args, JsonSchema)]
#[schemars(rename_all = "kebab-case", default)]
#[command(next_help_heading = "Isolation layers")]
pub struct LayerOptions {
    /// Who the test is
    #[arg(long, value_name = "WHO")]
    pub user: Option<User>,
    /// Its pid namespace
    #[arg(long, value_name = "NS")]
    pub pid: Option<Namespace>,
    /// Who is PID 1
    #[arg(long, value_name = "INIT")]
    pub init: Option<Init>,
    /// Its network
    #[arg(long, value_name = "NET")]
    pub net: Option<Net>,
    /// Its System V IPC, message queues and /dev/shm
    #[arg(long, value_name = "NS")]
    pub ipc: Option<Namespace>,
    /// Its host name: a name, `new` (isotest) or `host`
    #[arg(long, value_name = "NAME", value_parser = uts)]
    #[schemars(with = "Option<String>")]
    pub uts: Option<policy::Uts>,
    /// What writing to the project does
    #[arg(skip)]
    pub workspace: Option<Workspace>,
    /// Copy files that match out afterwards
    #[arg(long, value_name = "GLOB")]
    pub write_back: Vec<String>,
    /// Where throwaway layers lie
    #[arg(long, value_name = "WHERE")]
    pub scratch: Option<Scratch>,
    /// Run in another root filesystem, each of several: a directory, a tarball or a container's image
    #[arg(long, value_name = "PATH")]
    pub root: Vec<PathBuf>,
    /// Its /tmp, /var/tmp and /run
    #[arg(long, value_name = "DIR")]
    pub tmp: Option<Tmp>,
    /// Its home directory
    #[arg(long, value_name = "DIR")]
    pub home: Option<Home>,
    /// Its environment variables
    #[arg(long, value_name = "ENV")]
    pub env: Option<Env>,
    /// Let this variable through (`NAME` or `PREFIX*`)
    #[arg(long, value_name = "NAME", value_parser = variable)]
    pub pass_env: Vec<String>,
    /// Which further doors of the kernel are shut
    #[arg(long, value_name = "GUARD")]
    pub guard: Option<Guard>,
    /// Show this host path, read-only
    #[arg(long = "ro", value_name = "PATH")]
    #[schemars(rename = "ro")]
    pub read_only: Vec<PathBuf>,
    /// Show this host path, writable
    #[arg(long = "rw", value_name = "PATH")]
    #[schemars(rename = "rw")]
    pub read_write: Vec<PathBuf>,
    /// Which mounts below these paths travel: `private` (none), `slave` (the host's to the test) or
    /// `unbindable` (none, and no bind elsewhere)
    #[arg(long, value_name = "VALUE", value_parser = propagation)]
    #[schemars(with = "Option<String>")]
    pub propagation: Option<policy::Propagation>,
    /// Share this layer (`pid`, `ipc`, `uts` or `net`) with the host where this machine refuses
    /// another
    #[arg(long, value_name = "LAYER", value_parser = weakened)]
    #[schemars(with = "Vec<String>")]
    pub allow_weaker: Vec<policy::Weakened>,
    /// Execute the binary for every test, instead of forking a copy that is linked already
    #[arg(long)]
    pub no_fork_server: bool,
    /// Kill a test after this long (`90s`, `2m`, `none`)
    #[arg(long, value_name = "DURATION", value_parser = quantity::deadline, help_heading = "Limits")]
    #[schemars(schema_with = "quantity::schema")]
    pub timeout: Option<Deadline>,
    /// Tell of a test that takes this long, and each time that it has taken as long again
    #[arg(long, value_name = "DURATION", value_parser = quantity::period, help_heading = "Limits")]
    #[schemars(schema_with = "quantity::schema")]
    pub slow_timeout: Option<Deadline>,
    /// Size of /tmp and of all that is written elsewhere (`256M`, `1GiB`)
    #[arg(long, value_name = "BYTES", value_parser = quantity::bytes, help_heading = "Limits")]
    #[schemars(schema_with = "quantity::schema")]
    pub tmp_size: Option<u64>,
    /// Bytes of output kept
    #[arg(long, value_name = "BYTES", value_parser = quantity::bytes, help_heading = "Limits")]
    #[schemars(schema_with = "quantity::schema")]
    pub output_limit: Option<u64>,
    /// Memory of all its processes together (needs a delegated cgroup v2)
    #[arg(long, value_name = "BYTES", value_parser = quantity::bytes, help_heading = "Limits")]
    #[schemars(schema_with = "quantity::schema")]
    pub memory: Option<u64>,
    /// Processes and threads
    #[arg(long, value_name = "N", help_heading = "Limits")]
    pub processes: Option<u64>,
    /// Open files of one process
    #[arg(long, value_name = "N", help_heading = "Limits")]
    pub open_files: Option<u64>,
    /// Size of one file
    #[arg(long, value_name = "BYTES", value_parser = quantity::bytes, help_heading = "Limits")]
    #[schemars(schema_with = "quantity::schema")]
    pub file_size: Option<u64>,
    /// Processor time of one process
    #[arg(long, value_name = "SECONDS", help_heading = "Limits")]
    pub cpu_time: Option<u64>,
    /// Address space of one process
    #[arg(long, value_name = "BYTES", value_parser = quantity::bytes, help_heading = "Limits")]
    #[schemars(schema_with = "quantity::schema")]
    pub address_space: Option<u64>,
}

impl LayerOptions {
    /// The options as `exec` takes them, each glued to its value; not `--root`, whose value has
    /// become another one.
    pub fn to_arguments(&self) -> Vec<OsString> {
        let number = |value: Option<u64>| value.map(|value| OsString::from(value.to_string()));
        let single = [
            ("user", name(self.user)),
            ("pid", name(self.pid)),
            ("init", name(self.init)),
            ("net", name(self.net)),
            ("ipc", name(self.ipc)),
            ("uts", self.uts.as_ref().map(uts_name)),
            ("workspace", name(self.workspace)),
            ("scratch", name(self.scratch)),
            ("tmp", name(self.tmp)),
            ("home", name(self.home)),
            ("env", name(self.env)),
            ("guard", name(self.guard)),
            ("propagation", self.propagation.map(|value| propagation_name(value).into())),
            ("tmp-size", number(self.tmp_size)),
            ("output-limit", number(self.output_limit)),
            ("memory", number(self.memory)),
            ("processes", number(self.processes)),
            ("open-files", number(self.open_files)),
            ("file-size", number(self.file_size)),
            ("cpu-time", number(self.cpu_time)),
            ("address-space", number(self.address_space)),
        ];
        let single = single.into_iter().filter_map(|(flag, value)| Some((flag, value?)));
        let texts = |flag, values: &[String]| -> Vec<(&str, OsString)> {
            values.iter().map(|value| (flag, value.into())).collect()
        };
        let paths = |flag, values: &[PathBuf]| -> Vec<(&str, OsString)> {
            values.iter().map(|value| (flag, value.into())).collect()
        };
        let weakened = self.allow_weaker.iter().map(|layer| ("allow-weaker", layer.name().into()));
        single
            .chain(weakened)
            .chain(texts("write-back", &self.write_back))
            .chain(texts("pass-env", &self.pass_env))
            .chain(paths("ro", &self.read_only))
            .chain(paths("rw", &self.read_write))
            .map(|(flag, value)| {
                let mut argument = OsString::from(format!("--{flag}="));
                argument.push(value);
                argument
            })
            .collect()
    }

    /// What is asked for where `lower` is asked next. Lists are added to, `--root` and everything
    /// else is replaced.
    pub fn over(&self, lower: LayerOptions) -> LayerOptions {
        LayerOptions {
            user: self.user.or(lower.user),
            pid: self.pid.or(lower.pid),
            init: self.init.or(lower.init),
            net: self.net.or(lower.net),
            ipc: self.ipc.or(lower.ipc),
            uts: self.uts.clone().or(lower.uts),
            workspace: self.workspace.or(lower.workspace),
            write_back: joined(lower.write_back, &self.write_back),
            scratch: self.scratch.or(lower.scratch),
            root: if self.root.is_empty() { lower.root } else { self.root.clone() },
            tmp: self.tmp.or(lower.tmp),
            home: self.home.or(lower.home),
            env: self.env.or(lower.env),
            pass_env: joined(lower.pass_env, &self.pass_env),
            guard: self.guard.or(lower.guard),
            read_only: joined(lower.read_only, &self.read_only),
            read_write: joined(lower.read_write, &self.read_write),
            propagation: self.propagation.or(lower.propagation),
            allow_weaker: joined(lower.allow_weaker, &self.allow_weaker),
            no_fork_server: self.no_fork_server || lower.no_fork_server,
            timeout: self.timeout.or(lower.timeout),
            slow_timeout: self.slow_timeout.or(lower.slow_timeout),
            tmp_size: self.tmp_size.or(lower.tmp_size),
            output_limit: self.output_limit.or(lower.output_limit),
            memory: self.memory.or(lower.memory),
            processes: self.processes.or(lower.processes),
            open_files: self.open_files.or(lower.open_files),
            file_size: self.file_size.or(lower.file_size),
            cpu_time: self.cpu_time.or(lower.cpu_time),
            address_space: self.address_space.or(lower.address_space),
        }
    }

    /// The flags by whose values a test gets more of the host than by default. Whoever writes one
    /// into a configuration says why.
    pub fn grants(&self) -> Vec<&'static str> {
        let grants = [
            ("user", self.user == Some(User::Root)),
            ("pid", self.pid == Some(Namespace::Host)),
            ("net", self.net == Some(Net::Host)),
            ("ipc", self.ipc == Some(Namespace::Host)),
            ("uts", self.uts == Some(policy::Uts::Host)),
            ("workspace", self.workspace == Some(Workspace::Shared)),
            ("write-back", !self.write_back.is_empty()),
            ("tmp", self.tmp == Some(Tmp::Host)),
            ("home", self.home == Some(Home::Host)),
            ("env", self.env == Some(Env::Host)),
            ("pass-env", !self.pass_env.is_empty()),
            ("guard", matches!(self.guard, Some(Guard::NoListener | Guard::IoUring))),
            ("ro", !self.read_only.is_empty()),
            ("rw", !self.read_write.is_empty()),
            ("propagation", self.propagation == Some(policy::Propagation::Slave)),
            ("allow-weaker", !self.allow_weaker.is_empty()),
        ];
        grants.into_iter().filter(|(_, granted)| *granted).map(|(name, _)| name).collect()
    }

    /// Lays what was typed over `base`, but for `--root`, which is a file to be looked for. Lists are
    /// added to, everything else is replaced.
    pub fn apply(&self, base: Policy) -> Policy {
        self.apply_limits(self.apply_files(self.apply_namespaces(base)))
    }

    fn apply_namespaces(&self, mut policy: Policy) -> Policy {
        set(&mut policy.user, self.user);
        set(&mut policy.pid, self.pid);
        set(&mut policy.init, self.init);
        set(&mut policy.net, self.net);
        set(&mut policy.ipc, self.ipc);
        set(&mut policy.uts, self.uts.clone());
        set(&mut policy.env, self.env);
        set(&mut policy.guard, self.guard);
        policy.pass_env.extend_from_slice(&self.pass_env);
        policy.fork_server &= !self.no_fork_server;
        policy
    }

    fn apply_files(&self, mut policy: Policy) -> Policy {
        set(&mut policy.workspace, self.workspace);
        set(&mut policy.scratch, self.scratch);
        set(&mut policy.tmp, self.tmp);
        set(&mut policy.home, self.home);
        set(&mut policy.propagation, self.propagation);
        policy.write_back.extend_from_slice(&self.write_back);
        policy.read_only.extend_from_slice(&self.read_only);
        policy.read_write.extend_from_slice(&self.read_write);
        policy
    }

    fn apply_limits(&self, mut policy: Policy) -> Policy {
        let limits = &mut policy.limits;
        set(&mut limits.timeout, self.timeout);
        set(&mut limits.slow_timeout, self.slow_timeout);
        set(&mut limits.tmp_size, self.tmp_size);
        set(&mut limits.output, self.output_limit);
        set(&mut limits.memory, self.memory.map(Some));
        set(&mut limits.processes, self.processes);
        set(&mut limits.open_files, self.open_files);
        set(&mut limits.file_size, self.file_size.map(Some));
        set(&mut limits.cpu_time, self.cpu_time.map(Some));
        set(&mut limits.address_space, self.address_space.map(Some));
        policy
    }
}

/// The name by which a choice is typed.
fn name<V: ValueEnum>(value: Option<V>) -> Option<OsString> {
    Some(value?.to_possible_value()?.get_name().into())
}

fn uts_name(uts: &policy::Uts) -> OsString {
    match uts {
        policy::Uts::Host => "host".into(),
        policy::Uts::Name(name) => name.into(),
    }
}

fn joined<T: Clone>(mut lower: Vec<T>, added: &[T]) -> Vec<T> {
    lower.extend_from_slice(added);
    lower
}

fn set<T: From<V>, V>(target: &mut T, typed: Option<V>) {
    if let Some(value) = typed {
        *target = value.into();
    }
}

fn uts(name: &str) -> Result<policy::Uts, String> {
    match name {
        "host" => Ok(policy::Uts::Host),
        "new" => Ok(policy::Uts::default()),
        _ if name.is_empty() || name.len() > 64 => Err("a host name has 1 to 64 bytes".to_owned()),
        _ => Ok(policy::Uts::Name(name.to_owned())),
    }
}

fn propagation(value: &str) -> Result<policy::Propagation, String> {
    match value {
        "private" => Ok(policy::Propagation::Private),
        "slave" => Ok(policy::Propagation::Slave),
        "unbindable" => Ok(policy::Propagation::Unbindable),
        "shared" => Err("what a test mounts must not leave its sandbox, and the kernel makes \
             `slave` of it in a less privileged mount namespace (mount_namespaces(7)); `slave` \
             receives what the host mounts"
            .to_owned()),
        _ => Err("it is one of `private`, `slave` and `unbindable`".to_owned()),
    }
}

/// The word for a value of `--propagation`.
pub fn propagation_name(value: policy::Propagation) -> &'static str {
    match value {
        policy::Propagation::Private => "private",
        policy::Propagation::Slave => "slave",
        policy::Propagation::Unbindable => "unbindable",
    }
}

/// The layers that have a value without isolation which works where the isolating one is refused.
fn weakened(layer: &str) -> Result<policy::Weakened, String> {
    use policy::Weakened;
    let known = [Weakened::Pid, Weakened::Ipc, Weakened::Uts, Weakened::Net];
    if let Some(layer) = known.into_iter().find(|known| known.name() == layer) {
        return Ok(layer);
    }
    Err(match layer {
        "user" | "mnt" | "root" => "every other layer is built in the user and mount namespaces",
        "guard" => "without it a program could gain the privileges that a test has given up",
        "workspace" => {
            "where an overlay is refused `--workspace readonly` isolates as well, and \
             `--workspace shared` lets tests write to the project"
        }
        "scratch" | "tmp" | "home" | "shm" => {
            "where a tmpfs is refused there is no place to build a sandbox in"
        }
        "init" | "env" => "no machine refuses it",
        _ => "it is one of `pid`, `ipc`, `uts` and `net`",
    }
    .to_owned())
}

fn variable(name: &str) -> Result<String, String> {
    let stem = name.strip_suffix('*').unwrap_or(name);
    if name.is_empty() || stem.contains(['*', '=']) {
        return Err("neither the name of a variable nor `PREFIX*`".to_owned());
    }
    Ok(name.to_owned())
}

impl From<User> for policy::User {
    fn from(user: User) -> Self {
        match user {
            User::Same => policy::User::Same,
            User::Root => policy::User::Root,
            User::Nobody => policy::User::Nobody,
        }
    }
}

impl From<Namespace> for policy::Namespace {
    fn from(namespace: Namespace) -> Self {
        match namespace {
            Namespace::New => policy::Namespace::New,
            Namespace::Host => policy::Namespace::Host,
        }
    }
}

impl From<Init> for policy::Init {
    fn from(init: Init) -> Self {
        match init {
            Init::None => policy::Init::None,
            Init::Reaper => policy::Init::Reaper,
        }
    }
}

impl From<Net> for policy::Net {
    fn from(net: Net) -> Self {
        match net {
            Net::Loopback => policy::Net::Loopback,
            Net::Host => policy::Net::Host,
        }
    }
}

impl From<Workspace> for policy::Workspace {
    fn from(workspace: Workspace) -> Self {
        match workspace {
            Workspace::Overlay => policy::Workspace::Overlay,
            Workspace::Readonly => policy::Workspace::Readonly,
            Workspace::Shared => policy::Workspace::Shared,
        }
    }
}

impl From<Scratch> for policy::Scratch {
    fn from(scratch: Scratch) -> Self {
        match scratch {
            Scratch::Memory => policy::Scratch::Memory,
            Scratch::Disk => policy::Scratch::Disk,
        }
    }
}

impl From<Tmp> for policy::Directory {
    fn from(tmp: Tmp) -> Self {
        match tmp {
            Tmp::Fresh => policy::Directory::Fresh,
            Tmp::Host => policy::Directory::Host,
        }
    }
}

impl From<Home> for policy::Directory {
    fn from(home: Home) -> Self {
        match home {
            Home::Empty => policy::Directory::Fresh,
            Home::Host => policy::Directory::Host,
        }
    }
}

impl From<Env> for policy::Env {
    fn from(env: Env) -> Self {
        match env {
            Env::Clean => policy::Env::Clean,
            Env::Host => policy::Env::Host,
        }
    }
}

impl From<Guard> for policy::Guard {
    fn from(guard: Guard) -> Self {
        match guard {
            Guard::Basic => policy::Guard::Basic,
            Guard::Strict => policy::Guard::Strict,
            Guard::NoListener => policy::Guard::NoListener,
            Guard::IoUring => policy::Guard::IoUring,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_typed_changes_nothing() {
        assert_eq!(LayerOptions::default().apply(Policy::default()), Policy::default());
    }

    #[test]
    fn what_was_typed_is_laid_over_the_base() {
        let base = Policy {
            net: policy::Net::Host,
            user: policy::User::Root,
            pass_env: vec!["A".to_owned()],
            ..Policy::default()
        };
        let layers = LayerOptions {
            net: Some(Net::Loopback),
            pass_env: vec!["B*".to_owned()],
            timeout: Some(Deadline::Never),
            file_size: Some(7),
            ..LayerOptions::default()
        };
        let policy = layers.apply(base);
        assert_eq!(policy.net, policy::Net::Loopback);
        assert_eq!(policy.user, policy::User::Root);
        assert_eq!(policy.pass_env, ["A", "B*"]);
        assert_eq!(policy.limits.timeout, None);
        assert_eq!(policy.limits.file_size, Some(7));
    }

    #[test]
    fn a_star_stands_only_at_the_end_of_a_variable() {
        assert!(variable("AWS_*").is_ok());
        assert!(variable("*").is_ok());
        assert!(variable("A*B").is_err());
        assert!(variable("A=b").is_err());
        assert!(variable("").is_err());
    }
}
