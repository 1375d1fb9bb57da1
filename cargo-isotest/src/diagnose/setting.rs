//! Settings: conditions that an arm of a diagnosis may turn on, and the runs under them.

use std::time::Duration;

use isotest_core::diagnosis::SwitchKind;
use isotest_core::perturbation::{
    DutyCycle, HeldCalls, Holds, Localhost, Perturbations, Stdin, Time, TimeOrigin,
};
use isotest_core::policy::{Directory, Env, Init, Namespace, Net, Policy, User, Uts, Workspace};

use crate::config::machine::Variable;

/// A layer that can be shared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Layer {
    /// The network.
    Net,
    /// `/tmp`, `/var/tmp`, `/run`.
    Tmp,
    /// The project and its target directory.
    Workspace,
    /// The home directory.
    Home,
    /// System V IPC, POSIX message queues, `/dev/shm`.
    Ipc,
    /// Processes.
    Pid,
    /// The host name.
    Uts,
    /// Environment variables.
    Env,
}

impl Layer {
    /// Its name, as flags and keys have it.
    pub fn name(self) -> &'static str {
        match self {
            Layer::Net => "net",
            Layer::Tmp => "tmp",
            Layer::Workspace => "workspace",
            Layer::Home => "home",
            Layer::Ipc => "ipc",
            Layer::Pid => "pid",
            Layer::Uts => "uts",
            Layer::Env => "env",
        }
    }

    /// The thing, as a sentence names it.
    pub fn thing(self) -> &'static str {
        match self {
            Layer::Net => "the network",
            Layer::Tmp => "`/tmp`",
            Layer::Workspace => "the project directory",
            Layer::Home => "the home directory",
            Layer::Ipc => "shared memory and System V IPC",
            Layer::Pid => "the process table",
            Layer::Uts => "the host name",
            Layer::Env => "the environment variables",
        }
    }

    fn share(self, policy: &mut Policy) {
        match self {
            Layer::Net => policy.net = Net::Lab,
            Layer::Tmp => policy.tmp = Directory::Lab,
            Layer::Workspace => policy.workspace = Workspace::Lab,
            Layer::Home => policy.home = Directory::Lab,
            Layer::Ipc => policy.ipc = Namespace::Lab,
            Layer::Pid => policy.pid = Namespace::Lab,
            Layer::Uts => policy.uts = Uts::Lab("isotest".to_owned()),
            Layer::Env => {}
        }
    }

    fn give_host(self, policy: &mut Policy) {
        match self {
            Layer::Net => policy.net = Net::Host,
            Layer::Tmp => policy.tmp = Directory::Host,
            Layer::Workspace => policy.workspace = Workspace::Shared,
            Layer::Home => policy.home = Directory::Host,
            Layer::Ipc => policy.ipc = Namespace::Host,
            Layer::Pid => policy.pid = Namespace::Host,
            Layer::Uts => policy.uts = Uts::Host,
            Layer::Env => policy.env = Env::Host,
        }
    }
}

/// A time that the wall clock shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Clock {
    /// Many days from now on.
    Later(u16),
    /// A moment before midnight UTC.
    Midnight,
    /// The last second of a month.
    MonthEnd,
    /// The end of 32-bit time, 2038-01-19T03:14:07Z.
    Year2038,
    /// The day on which clocks go back in New York, in that zone.
    ZoneChange,
    /// It stands still.
    Frozen,
    /// It advances in steps of 16 ms, as clocks of some machines do.
    Coarse,
}

/// A condition that an arm may turn on.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Setting {
    /// The layer is shared with the companions.
    Shared(Layer),
    /// The layer is the host's.
    Host(Layer),
    /// One process for the companions of its binary and the test.
    Together,
    /// A reaping init is PID 1.
    Reaper,
    /// One processor.
    OneProcessor,
    /// A busy process on one processor with the test.
    Competitor,
    /// The test runs for 1 ms, then is stopped for so many.
    SlowProcessor(u16),
    /// Threads are starved, after the distribution of rr's chaos mode.
    Starved,
    /// Calls of this kind wait for so many milliseconds.
    Delayed(HeldCalls, u16),
    /// A test waits for so many milliseconds after half of its changes of what its process has once.
    SlowChanges(u16),
    /// The wall clock.
    Clock(Clock),
    /// The time zone.
    Zone(&'static str),
    /// The locale.
    Locale(String),
    /// Random bytes follow from a seed.
    Entropy,
    /// Directories are listed in another order.
    DirectoryOrder,
    /// Another process id.
    ProcessId,
    /// 256 open files.
    FewFiles,
    /// 4 MiB for all that is written.
    SmallDisk,
    /// 1 GiB of address space.
    LittleMemory,
    /// Pipes of one page.
    SmallPipe,
    /// A long host name with dots.
    HostName,
    /// The umask 077.
    Umask,
    /// Uid 0.
    Root,
    /// Uid 65534.
    Nobody,
    /// Addresses are not randomized.
    FixedAddresses,
    /// The machine has been up for 40 days.
    Uptime,
    /// `localhost` is 127.0.0.1, and not `::1`.
    Ipv4Only,
    /// Standard input is a terminal.
    Terminal,
}

const MIB: u64 = 1 << 20;
const DAY: i64 = 86_400 * 1_000_000_000;

impl Setting {
    /// Its role in a diagnosis.
    pub fn kind(&self) -> SwitchKind {
        match self {
            Setting::Shared(_) => SwitchKind::Shared,
            // On the machine a test is not PID 1 either.
            Setting::Host(_) | Setting::Reaper => SwitchKind::Host,
            Setting::Together => SwitchKind::Together,
            Setting::Entropy | Setting::DirectoryOrder | Setting::ProcessId => {
                SwitchKind::Determinism
            }
            Setting::SlowChanges(_) => SwitchKind::Amplifier,
            _ => SwitchKind::Perturbation,
        }
    }

    /// True if it has an effect among companions only.
    pub fn is_sharing(&self) -> bool {
        matches!(self, Setting::Shared(_) | Setting::Together)
    }

    /// True if it changes when the test does something.
    pub fn changes_timing(&self) -> bool {
        self.waits()
            || matches!(
                self,
                Setting::Competitor | Setting::SlowProcessor(_) | Setting::OneProcessor
            )
    }

    /// True if a run takes longer for each call of a kind: that it takes too long says nothing.
    pub fn adds_up(&self) -> bool {
        matches!(self, Setting::Delayed(..) | Setting::SlowChanges(_))
    }

    /// True if a run takes many times as long: every program opens files before it starts.
    pub fn is_slow(&self) -> bool {
        matches!(self, Setting::Delayed(HeldCalls::File, _))
    }

    /// True if a run waits most of the time, so that many fit on a processor.
    pub fn waits(&self) -> bool {
        matches!(self, Setting::Starved | Setting::Delayed(..) | Setting::SlowChanges(_))
    }

    /// True if nothing else may run beside it: its effect is that of a busy machine, or it is one.
    pub fn is_heavy(&self) -> bool {
        match self {
            Setting::Competitor | Setting::SlowProcessor(_) => true,
            // Two of them would meet each other.
            Setting::Host(layer) => *layer != Layer::Env,
            _ => false,
        }
    }

    /// The name in lists, tokens and JSON.
    pub fn name(&self) -> String {
        match self {
            Setting::Shared(layer) => format!("shared-{}", layer.name()),
            Setting::Host(layer) => format!("host-{}", layer.name()),
            Setting::Together => "together".to_owned(),
            Setting::Reaper => "init-reaper".to_owned(),
            Setting::OneProcessor => "one-processor".to_owned(),
            Setting::Competitor => "competitor".to_owned(),
            Setting::SlowProcessor(stopped) => format!("slow-processor-{stopped}"),
            Setting::Starved => "starved".to_owned(),
            Setting::Delayed(calls, by) => format!("delayed-{}-{by}", held(*calls)),
            Setting::SlowChanges(by) => format!("slow-changes-{by}"),
            Setting::Clock(clock) => match clock {
                Clock::Later(days) => format!("clock-later-{days}"),
                Clock::Midnight => "clock-midnight".to_owned(),
                Clock::MonthEnd => "clock-month-end".to_owned(),
                Clock::Year2038 => "clock-2038".to_owned(),
                Clock::ZoneChange => "clock-zone-change".to_owned(),
                Clock::Frozen => "clock-frozen".to_owned(),
                Clock::Coarse => "clock-coarse".to_owned(),
            },
            Setting::Zone(zone) => format!("zone-{zone}"),
            Setting::Locale(locale) => format!("locale-{locale}"),
            Setting::Entropy => "entropy".to_owned(),
            Setting::DirectoryOrder => "directory-order".to_owned(),
            Setting::ProcessId => "process-id".to_owned(),
            Setting::FewFiles => "few-files".to_owned(),
            Setting::SmallDisk => "small-disk".to_owned(),
            Setting::LittleMemory => "little-memory".to_owned(),
            Setting::SmallPipe => "small-pipe".to_owned(),
            Setting::HostName => "host-name".to_owned(),
            Setting::Umask => "umask".to_owned(),
            Setting::Root => "user-root".to_owned(),
            Setting::Nobody => "user-nobody".to_owned(),
            Setting::FixedAddresses => "fixed-addresses".to_owned(),
            Setting::Uptime => "uptime".to_owned(),
            Setting::Ipv4Only => "ipv4-localhost".to_owned(),
            Setting::Terminal => "stdin-terminal".to_owned(),
        }
    }

    /// The words for it in a list of what was tried.
    pub fn words(&self) -> String {
        match self {
            Setting::Shared(layer) => format!("{} shared", layer.thing()),
            Setting::Host(layer) => format!("{} of this machine", layer.thing()),
            Setting::Together => "in one process with other tests".to_owned(),
            Setting::Reaper => "not as PID 1".to_owned(),
            Setting::OneProcessor => "one processor".to_owned(),
            Setting::Competitor => "a busy process on its processor".to_owned(),
            Setting::SlowProcessor(stopped) => {
                format!("a processor that is taken away for {stopped} ms after each ms")
            }
            Setting::Starved => "threads starved at random".to_owned(),
            Setting::Delayed(calls, by) => format!("{} delayed by {by} ms", delayed(*calls)),
            Setting::SlowChanges(by) => format!("changes of the process slowed by {by} ms"),
            Setting::Clock(clock) => match clock {
                Clock::Later(days) => format!("clock {days} days later"),
                Clock::Midnight => "clock just before midnight UTC".to_owned(),
                Clock::MonthEnd => "clock at the end of a month".to_owned(),
                Clock::Year2038 => "clock at the end of 32-bit time".to_owned(),
                Clock::ZoneChange => "the day on which New York's clocks go back".to_owned(),
                Clock::Frozen => "clock stands still".to_owned(),
                Clock::Coarse => "clock in steps of 16 ms".to_owned(),
            },
            Setting::Zone(zone) => format!("time zone {zone}"),
            Setting::Locale(locale) => format!("locale {locale}"),
            Setting::Entropy => "random numbers from a seed".to_owned(),
            Setting::DirectoryOrder => "directories in another order".to_owned(),
            Setting::ProcessId => "another process id".to_owned(),
            Setting::FewFiles => "256 open files at most".to_owned(),
            Setting::SmallDisk => "4 MiB of disk".to_owned(),
            Setting::LittleMemory => "1 GiB of address space".to_owned(),
            Setting::SmallPipe => "pipes of 4 KiB".to_owned(),
            Setting::HostName => "another host name".to_owned(),
            Setting::Umask => "umask 077".to_owned(),
            Setting::Root => "as root".to_owned(),
            Setting::Nobody => "as nobody".to_owned(),
            Setting::FixedAddresses => "addresses not randomized".to_owned(),
            Setting::Uptime => "a machine that has been up for 40 days".to_owned(),
            Setting::Ipv4Only => "`localhost` is 127.0.0.1 only".to_owned(),
            Setting::Terminal => "stdin is a terminal".to_owned(),
        }
    }

    /// Turns it on in a policy. `now` is the wall clock, in nanoseconds since the Epoch.
    pub fn apply(&self, policy: &mut Policy, seed: u64, now: i64) {
        match self {
            Setting::Shared(layer) => layer.share(policy),
            Setting::Host(layer) => layer.give_host(policy),
            Setting::Together | Setting::Zone(_) | Setting::Locale(_) => {}
            Setting::Reaper => policy.init = Init::Reaper,
            Setting::Clock(clock) => policy.time = clock.time(now),
            Setting::FewFiles => policy.limits.open_files = 256,
            Setting::SmallDisk => policy.limits.tmp_size = 4 * MIB,
            Setting::LittleMemory => policy.limits.address_space = Some(1024 * MIB),
            Setting::HostName => {
                policy.uts = Uts::Name("build-07.ci-runners.example.internal".to_owned());
            }
            Setting::Root => policy.user = User::Root,
            Setting::Nobody => policy.user = User::Nobody,
            Setting::ProcessId => {
                policy.init = Init::Reaper;
                policy.perturbations.process_id = Some(process_id(seed));
            }
            other => other.perturb(&mut policy.perturbations),
        }
    }

    fn perturb(&self, to: &mut Perturbations) {
        match self {
            Setting::OneProcessor => to.one_processor = true,
            Setting::Competitor => (to.one_processor, to.competitor) = (true, true),
            Setting::SlowProcessor(stopped) => {
                let millis = Duration::from_millis;
                let (running, stopped) = (millis(1), millis(u64::from(*stopped)));
                to.duty_cycle = Some(DutyCycle { running, stopped });
            }
            Setting::Starved => to.holds = Some(Holds::Starvation),
            Setting::Delayed(calls, by) => {
                let by = Duration::from_millis(u64::from(*by));
                // Where all programs or threads start late, they start in the same order.
                to.holds = Some(match calls {
                    HeldCalls::Execute | HeldCalls::Start => Holds::Half(vec![*calls], by),
                    _ => Holds::Each(vec![*calls], by),
                });
            }
            Setting::SlowChanges(by) => {
                to.told_variables = true;
                to.holds = Some(Holds::AfterChanges(Duration::from_millis(u64::from(*by))));
            }
            Setting::Entropy => to.seeded_entropy = true,
            Setting::DirectoryOrder => to.shuffled_directories = true,
            Setting::SmallPipe => to.pipe_capacity = Some(4096),
            Setting::Umask => to.umask = Some(0o077),
            Setting::FixedAddresses => to.fixed_addresses = true,
            Setting::Uptime => to.uptime = Duration::from_secs(40 * 86_400),
            Setting::Ipv4Only => to.localhost = Localhost::Ipv4,
            Setting::Terminal => to.stdin = Stdin::Terminal,
            _ => {}
        }
    }

    /// The variables that it sets.
    pub fn variables(&self) -> Vec<Variable> {
        let set = |name: &str, value: &str| (name.into(), value.into());
        match self {
            Setting::Zone(zone) => vec![set("TZ", zone)],
            Setting::Clock(Clock::ZoneChange) => vec![set("TZ", "America/New_York")],
            Setting::Locale(locale) => vec![set("LC_ALL", locale), set("LANG", locale)],
            _ => Vec::new(),
        }
    }

    /// The setting of this name.
    pub fn named(name: &str) -> Option<Setting> {
        let layer = |name: &str| LAYERS.into_iter().find(|layer| layer.name() == name);
        if let Some(shared) = name.strip_prefix("shared-") {
            return layer(shared).map(Setting::Shared);
        }
        if let Some(host) = name.strip_prefix("host-").and_then(layer) {
            return Some(Setting::Host(host));
        }
        if let Some(stopped) = name.strip_prefix("slow-processor-") {
            return stopped.parse().ok().map(Setting::SlowProcessor);
        }
        if let Some(days) = name.strip_prefix("clock-later-") {
            return days.parse().ok().map(|days| Setting::Clock(Clock::Later(days)));
        }
        if let Some(delayed) = name.strip_prefix("delayed-") {
            let (calls, by) = delayed.rsplit_once('-')?;
            let calls = HELD.into_iter().find(|it| held(*it) == calls)?;
            return by.parse().ok().map(|by| Setting::Delayed(calls, by));
        }
        if let Some(by) = name.strip_prefix("slow-changes-") {
            return by.parse().ok().map(Setting::SlowChanges);
        }
        if let Some(locale) = name.strip_prefix("locale-") {
            return Some(Setting::Locale(locale.to_owned()));
        }
        plain().into_iter().find(|setting| setting.name() == name)
    }
}

/// All layers.
pub const LAYERS: [Layer; 8] = [
    Layer::Net,
    Layer::Tmp,
    Layer::Workspace,
    Layer::Home,
    Layer::Ipc,
    Layer::Pid,
    Layer::Uts,
    Layer::Env,
];

/// Zones that differ from UTC, one with a change of its offset.
pub const ZONES: [&str; 2] = ["America/New_York", "Pacific/Auckland"];

/// All settings that have no value of their own.
fn plain() -> Vec<Setting> {
    let mut all = vec![
        Setting::Together,
        Setting::Reaper,
        Setting::OneProcessor,
        Setting::Competitor,
        Setting::Starved,
        Setting::Entropy,
        Setting::DirectoryOrder,
        Setting::ProcessId,
        Setting::FewFiles,
        Setting::SmallDisk,
        Setting::LittleMemory,
        Setting::SmallPipe,
        Setting::HostName,
        Setting::Umask,
        Setting::Root,
        Setting::Nobody,
        Setting::FixedAddresses,
        Setting::Uptime,
        Setting::Ipv4Only,
        Setting::Terminal,
    ];
    let clocks = [
        Clock::Midnight,
        Clock::MonthEnd,
        Clock::Year2038,
        Clock::ZoneChange,
        Clock::Frozen,
        Clock::Coarse,
    ];
    all.extend(clocks.map(Setting::Clock));
    all.extend(ZONES.map(Setting::Zone));
    all
}

const HELD: [HeldCalls; 8] = [
    HeldCalls::Futex,
    HeldCalls::Receive,
    HeldCalls::Send,
    HeldCalls::File,
    HeldCalls::Execute,
    HeldCalls::Start,
    HeldCalls::Process,
    HeldCalls::Sleep,
];

fn held(calls: HeldCalls) -> &'static str {
    match calls {
        HeldCalls::Futex => "futex",
        HeldCalls::Receive => "receive",
        HeldCalls::Send => "send",
        HeldCalls::File => "file",
        HeldCalls::Execute => "execute",
        HeldCalls::Start => "start",
        HeldCalls::Process => "process",
        HeldCalls::Sleep => "sleep",
    }
}

fn delayed(calls: HeldCalls) -> &'static str {
    match calls {
        HeldCalls::Futex => "locks and wake-ups",
        HeldCalls::Receive => "reads",
        HeldCalls::Send => "writes",
        HeldCalls::File => "opening and renaming files",
        HeldCalls::Execute => "every second start of a program",
        HeldCalls::Start => "every second start of a thread",
        HeldCalls::Process => "what changes the process",
        HeldCalls::Sleep => "sleeps",
    }
}

/// A process id that is not 1, from a seed: one of a few in a row, since each takes a warden of its own.
fn process_id(seed: u64) -> u32 {
    400 + (seed % 29) as u32
}

impl Clock {
    fn time(self, now: i64) -> Time {
        let at = |origin| Time { origin, ..Time::default() };
        match self {
            Clock::Later(days) => at(TimeOrigin::Later(i64::from(days) * DAY)),
            Clock::Midnight => at(TimeOrigin::Before((now / DAY + 1) * DAY, BEFORE)),
            Clock::MonthEnd => at(TimeOrigin::Before(APRIL_2027, BEFORE)),
            Clock::Year2038 => at(TimeOrigin::At(i64::from(i32::MAX) * 1_000_000_000)),
            Clock::ZoneChange => at(TimeOrigin::At(NEW_YORK_2026)),
            Clock::Frozen => Time { is_frozen: true, ..Time::default() },
            Clock::Coarse => {
                Time { resolution: Some(Duration::from_millis(16)), ..Time::default() }
            }
        }
    }
}

/// Maximum time before a boundary at which a test starts, in microseconds: how long it takes until it reads
/// the clock is not known.
const BEFORE: u32 = 24_000;
/// 2027-04-01T00:00:00Z.
const APRIL_2027: i64 = 1_806_537_600 * 1_000_000_000;
/// 2026-11-01T05:30:00Z, half an hour before clocks go back in New York.
const NEW_YORK_2026: i64 = 1_793_511_000 * 1_000_000_000;
