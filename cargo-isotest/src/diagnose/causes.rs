//! Causes: what a confirmed arm means, by what the test and the other parties did.

use isotest_core::diagnosis::{Cause, Direction};
use isotest_core::perturbation::HeldCalls;
use isotest_core::trace::{Footprint, ProcessProperty, Surrounding};

use super::facts::Facts;
use super::fingerprint::Failure;
use super::resources::{Resource, shared};
use super::setting::{Clock, Layer, Setting};
use crate::report::CauseCode;

/// What is known beside the statistics.
pub struct Known<'a> {
    /// The test alone.
    pub facts: &'a Facts,
    /// How it fails.
    pub failure: Option<&'a Failure>,
    /// The other parties that the cause names, in their order.
    pub others: Vec<&'a Facts>,
    /// An earlier run of the test is one of them.
    pub is_earlier_run: bool,
    /// In one process it fails also if tests run one by one.
    pub is_of_order: bool,
    /// The test has more than one thread or process.
    pub is_concurrent: bool,
}

/// The meaning of a cause.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Meaning {
    /// Its code.
    pub code: CauseCode,
    /// The resource at which the parties meet.
    pub resource: Option<Resource>,
}

impl From<CauseCode> for Meaning {
    fn from(code: CauseCode) -> Meaning {
        Meaning { code, resource: None }
    }
}

/// The meaning of a cause with these settings.
pub fn meaning(cause: &Cause, settings: &[&Setting], known: &Known<'_>) -> Meaning {
    // Of an interaction the shared layer is what has another party.
    let first = settings.iter().find(|it| it.is_sharing());
    let first = first.or_else(|| settings.iter().find(|it| ***it == Setting::Entropy));
    let Some(setting) = first.or(settings.first()) else { return CauseCode::Race.into() };
    match setting {
        Setting::Shared(layer) => of_layer(*layer, cause.direction, known),
        Setting::Together => of_process(cause.direction, known),
        Setting::Host(layer) => of_host(*layer, cause.direction, known),
        other => of_condition(other, cause.direction, known).into(),
    }
}

fn of_layer(layer: Layer, direction: Direction, known: &Known<'_>) -> Meaning {
    let resources = known.others.iter().map(|other| &other.footprint);
    let resources = resources.flat_map(|other| shared(&known.facts.footprint, other));
    let resources: Vec<Resource> = resources.collect();
    match layer {
        Layer::Net => of_network(resources, known),
        // Where the processes are shared, the test is not PID 1.
        Layer::Pid if direction == Direction::Removes => CauseCode::Pid1.into(),
        Layer::Pid => CauseCode::OtherProcess.into(),
        Layer::Uts => CauseCode::HostName.into(),
        Layer::Ipc => {
            let is_memory =
                |it: &Resource| matches!(it, Resource::File(path) if path.starts_with("/dev/shm/"));
            let resource = resources.into_iter().find(is_memory);
            let code =
                if known.is_earlier_run { CauseCode::NonIdempotent } else { CauseCode::SharedIpc };
            Meaning { code, resource: resource.or_else(|| own_path(known, &["/dev/shm/"])) }
        }
        Layer::Tmp | Layer::Workspace | Layer::Home | Layer::Env => {
            let resource = resources.into_iter().find(|it| matches!(it, Resource::File(_)));
            let resource = resource.or_else(|| match known.is_earlier_run {
                true => own_path(known, &["/tmp/", "/var/tmp/"]).or_else(|| own_home(known)),
                false => None,
            });
            let code = match () {
                () if known.is_earlier_run => CauseCode::NonIdempotent,
                () if says(known, &["Text file busy", "os error 26"]) => CauseCode::ExecBusy,
                () if is_replaced(&resource, known) => CauseCode::ArtefactReplaced,
                () => CauseCode::SharedFile,
            };
            Meaning { code, resource }
        }
    }
}

fn of_network(resources: Vec<Resource>, known: &Known<'_>) -> Meaning {
    let group = resources.iter().find(|it| matches!(it, Resource::Group(_)));
    let socket = resources.iter().find(|it| matches!(it, Resource::AbstractSocket(_)));
    let port = resources.iter().find(|it| matches!(it, Resource::Port(..)));
    let (code, resource) = match (group, socket, port) {
        (Some(group), ..) => (CauseCode::MulticastPeer, Some(group.clone())),
        (_, _, Some(port)) if is_chosen_by_kernel(port) => (CauseCode::FreePortRace, None),
        (_, _, Some(port)) => (CauseCode::PortCollision, Some(port.clone())),
        (_, Some(socket), _) => (CauseCode::AbstractSocket, Some(socket.clone())),
        (None, None, None) if says(known, &["in use", "os error 98"]) => {
            (CauseCode::FreePortRace, None)
        }
        (None, None, None) => (CauseCode::PortCollision, None),
    };
    Meaning { code, resource }
}

/// Ports that the kernel chooses by default, ip(7), ip_local_port_range.
fn is_chosen_by_kernel(resource: &Resource) -> bool {
    matches!(resource, Resource::Port(_, port) if (32_768..=60_999).contains(port))
}

fn of_process(direction: Direction, known: &Known<'_>) -> Meaning {
    if direction == Direction::Removes {
        return CauseCode::Brittle.into();
    }
    let mut variables =
        known.others.iter().flat_map(|other| known.facts.variables_shared_with(other));
    let variable = variables.next().map(|name| Resource::Variable(name.clone()));
    let sets_others = known.others.iter().any(|it| it.changed_variables().next().is_some());
    let mut changed = known.others.iter().flat_map(|other| &other.process);
    let is_limit = |it: &ProcessProperty| matches!(it, ProcessProperty::Limit(_));
    let code = match () {
        () if variable.is_some() => CauseCode::SharedVariable,
        () if changed.clone().any(|it| *it == ProcessProperty::WorkingDirectory) => {
            CauseCode::WorkingDirectory
        }
        () if changed.any(is_limit) => CauseCode::ProcessLimit,
        () if known.is_of_order => CauseCode::InProcessOrder,
        () if sets_others => CauseCode::SharedVariable,
        () => CauseCode::SharedProcess,
    };
    Meaning { code, resource: variable }
}

fn of_host(layer: Layer, direction: Direction, known: &Known<'_>) -> Meaning {
    match layer {
        Layer::Net if direction == Direction::Removes => {
            let asks_for_names = known.facts.uses(|path| path == "/etc/hosts");
            match asks_for_names && known.facts.is_whole {
                true => CauseCode::Resolver.into(),
                false => CauseCode::NetAttempt.into(),
            }
        }
        Layer::Net => {
            let bound = known.facts.footprint.binds.iter().next();
            let resource = bound.map(|bound| Resource::Group(bound.to_string()));
            Meaning { code: CauseCode::PortCollision, resource }
        }
        Layer::Home => Meaning { code: CauseCode::ReadsHome, resource: own_home(known) },
        Layer::Env => CauseCode::ReadsUndeclared.into(),
        _ => CauseCode::SharedHost.into(),
    }
}

fn of_condition(setting: &Setting, direction: Direction, known: &Known<'_>) -> CauseCode {
    let is_clock = matches!(setting, Setting::Clock(clock) if !matches!(clock, Clock::ZoneChange));
    if (is_clock || setting.changes_timing()) && is_of_seconds(known) {
        return CauseCode::Countdown;
    }
    match setting {
        Setting::Entropy if is_of_floats(known) => CauseCode::FloatOrder,
        Setting::Entropy if known.facts.hashes_only() => CauseCode::HashSeed,
        Setting::Entropy => CauseCode::RandomSeed,
        Setting::DirectoryOrder => CauseCode::DirectoryOrder,
        Setting::ProcessId => CauseCode::Pid,
        Setting::Reaper => CauseCode::Pid1,
        Setting::OneProcessor if direction == Direction::Removes => {
            of_message(known).unwrap_or(CauseCode::Race)
        }
        Setting::OneProcessor => match known.facts.sees(Surrounding::Processors) {
            true => CauseCode::CpuCount,
            false => of_load(known),
        },
        Setting::Competitor | Setting::SlowProcessor(_) | Setting::Starved => of_load(known),
        Setting::Delayed(calls, _) => of_delay(*calls, direction, known),
        Setting::Clock(clock) => match clock {
            Clock::Later(_) | Clock::Year2038 => CauseCode::TimeBomb,
            Clock::Midnight | Clock::MonthEnd => CauseCode::Clock,
            Clock::ZoneChange => CauseCode::Zone,
            Clock::Frozen | Clock::Coarse => CauseCode::ClockMix,
        },
        Setting::Zone(_) => CauseCode::Zone,
        Setting::Locale(_) => CauseCode::Locale,
        Setting::FewFiles => CauseCode::OpenFiles,
        Setting::SmallDisk => CauseCode::Disk,
        Setting::LittleMemory => CauseCode::Memory,
        Setting::SmallPipe => CauseCode::PipeClosed,
        Setting::HostName => CauseCode::HostName,
        Setting::Umask => CauseCode::Umask,
        Setting::Root | Setting::Nobody => CauseCode::User,
        Setting::FixedAddresses => CauseCode::Addresses,
        Setting::Uptime => CauseCode::Uptime,
        Setting::Ipv4Only => CauseCode::Resolver,
        Setting::Terminal => CauseCode::Terminal,
        Setting::Shared(_) | Setting::Host(_) | Setting::Together | Setting::SlowChanges(_) => {
            CauseCode::SharedHost
        }
    }
}

/// A race of processes, whose errors are of one kind: EPIPE of write(2), ETXTBSY of execve(2).
fn of_message(known: &Known<'_>) -> Option<CauseCode> {
    match () {
        () if says(known, &["Broken pipe", "os error 32"]) => Some(CauseCode::PipeClosed),
        () if says(known, &["Text file busy", "os error 26"]) => Some(CauseCode::ExecBusy),
        () => None,
    }
}

/// A test that fails where it gets little processor time.
fn of_load(known: &Known<'_>) -> CauseCode {
    if let Some(code) = of_message(known) {
        return code;
    }
    let is_over_time = says(known, &["timed out"]);
    match () {
        () if is_over_time => CauseCode::Deadlock,
        () if known.is_concurrent && !known.facts.waits => CauseCode::Race,
        () if known.is_concurrent => CauseCode::AsyncWait,
        () => CauseCode::TimingTooStrict,
    }
}

fn of_delay(calls: HeldCalls, direction: Direction, known: &Known<'_>) -> CauseCode {
    match calls {
        HeldCalls::File if direction == Direction::Removes => CauseCode::TimestampGranularity,
        _ if direction == Direction::Removes => of_message(known).unwrap_or(CauseCode::Race),
        _ => of_load(known),
    }
}

/// True if the failure has one of these words.
fn says(known: &Known<'_>, words: &[&str]) -> bool {
    known.failure.is_some_and(|it| words.iter().any(|word| it.message.contains(word)))
}

/// True if the failure is of two numbers that are nearly equal.
fn is_of_floats(known: &Known<'_>) -> bool {
    let Some(failure) = known.failure else { return false };
    let value = |label: &str| {
        let (_, rest) = failure.message.split_once(label)?;
        rest.split_whitespace().next()?.parse::<f64>().ok()
    };
    match (value("left:"), value("right:")) {
        (Some(left), Some(right)) => {
            left != right && (left - right).abs() <= 1e-3 * left.abs().max(right.abs())
        }
        _ => false,
    }
}

/// True if the failure is of two durations, `29m59s` and `30m`, that differ by a second or two.
fn is_of_seconds(known: &Known<'_>) -> bool {
    let Some(failure) = known.failure else { return false };
    let value = |label: &str| {
        let (_, rest) = failure.message.split_once(label)?;
        let text = rest.lines().next()?.trim().trim_matches('"');
        let has_units = text.contains(|letter: char| letter.is_ascii_alphabetic());
        humantime::parse_duration(text).ok().filter(|_| has_units)
    };
    match (value("left:"), value("right:")) {
        (Some(left), Some(right)) => left != right && left.abs_diff(right).as_secs() <= 2,
        _ => false,
    }
}

/// True if the test executes the file that the other one writes.
fn is_replaced(resource: &Option<Resource>, known: &Known<'_>) -> bool {
    matches!(resource, Some(Resource::File(path)) if known.facts.executed.contains(path))
}

/// The first path of the test below these directories.
fn own_path(known: &Known<'_>, below: &[&str]) -> Option<Resource> {
    first_path(known, |path| below.iter().any(|top| path.starts_with(top)))
}

/// Its first path in a home directory.
fn own_home(known: &Known<'_>) -> Option<Resource> {
    first_path(known, |path| known.facts.is_of_home(path))
}

fn first_path(known: &Known<'_>, is_it: impl Fn(&str) -> bool) -> Option<Resource> {
    let Footprint { writes, missing, reads, .. } = &known.facts.footprint;
    let path = writes.iter().chain(missing).chain(reads).find(|path| is_it(path))?;
    Some(Resource::File(path.clone()))
}
