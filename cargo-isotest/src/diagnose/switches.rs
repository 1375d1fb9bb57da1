//! Switches of a diagnosis: the settings that are tried for a test, and those that are not, with the
//! reason.

use isotest_core::diagnosis::{Arm, Switch};
use isotest_core::finding::Code;
use isotest_core::perturbation::HeldCalls;
use isotest_core::policy::{Policy, User};
use isotest_core::trace::Surrounding;

use super::facts::Facts;
use super::setting::{Clock, Layer, Setting, ZONES};

/// A setting that is not tried.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Struck {
    /// The setting.
    pub setting: Setting,
    /// The reason.
    pub reason: &'static str,
}

/// The settings of a diagnosis.
#[derive(Debug, Clone, Default)]
pub struct Switches {
    /// Those that are tried, by their numbers in the diagnosis.
    pub tried: Vec<Setting>,
    /// Those that are not.
    pub struck: Vec<Struck>,
}

/// What a diagnosis may do, beside what the facts allow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Scope {
    /// Other tests may run beside this one.
    pub has_companions: bool,
    /// Other tests of its binary may run in one process with it.
    pub has_siblings: bool,
    /// Some of those change what all tests of a process share.
    pub has_suspects: bool,
    /// Layers of the machine may be tried.
    pub may_use_host: bool,
    /// The test uses files of the project that another test could change.
    pub uses_project: bool,
    /// Root started isotest.
    pub is_root: bool,
}

const UNSEEN: &str = "the test never looks at it";
const ALONE: &str = "there is no other test";
const REFUSED: &str = "this machine or the policy does not allow it";

impl Switches {
    /// The settings for a test with these facts.
    pub fn of(facts: &Facts, scope: Scope, policy: &Policy, locale: Option<String>) -> Switches {
        let mut switches = Switches::default();
        switches.layers(facts, scope);
        switches.surroundings(facts, policy, scope, locale);
        switches.processor(facts);
        switches.clocks(facts);
        switches
    }

    /// The switches as the engine knows them, in the same order.
    pub fn for_engine(&self) -> Vec<Switch> {
        let switch = |setting: &Setting| Switch {
            kind: setting.kind(),
            name: setting.name(),
            is_heavy: setting.is_heavy(),
            is_slow: setting.is_slow(),
            changes_timing: setting.changes_timing(),
        };
        self.tried.iter().map(switch).collect()
    }

    /// Runs of an arm that are made before those of the next one.
    pub fn at_once(&self, arm: &Arm) -> usize {
        if self.is_heavy(arm) { 4 } else { 16 }
    }

    /// True if nothing may run beside runs of an arm.
    pub fn is_heavy(&self, arm: &Arm) -> bool {
        arm.on.iter().any(|number| self.tried[*number].is_heavy())
    }

    fn put(&mut self, setting: Setting, is_tried: bool, reason: &'static str) {
        match is_tried {
            true => self.tried.push(setting),
            false => self.struck.push(Struck { setting, reason }),
        }
    }

    /// An earlier run of the test itself may be the other party, so that directories are always tried.
    fn layers(&mut self, facts: &Facts, scope: Scope) {
        let shared = |below: &'static [&str]| {
            facts.meets(move |path| below.iter().any(|top| path.starts_with(top)))
        };
        let home = facts.meets(|path| facts.is_of_home(path));
        let network = !facts.is_whole
            || !facts.footprint.binds.is_empty()
            || !facts.footprint.dials.is_empty();
        self.put(Setting::Shared(Layer::Net), network && scope.has_companions, UNSEEN);
        self.put(Setting::Shared(Layer::Tmp), shared(&["/tmp/", "/var/tmp/", "/run/"]), UNSEEN);
        self.put(Setting::Shared(Layer::Workspace), scope.uses_project, UNSEEN);
        self.put(Setting::Shared(Layer::Home), home, UNSEEN);
        let ipc = shared(&["/dev/shm/"]) || facts.has(Code::LeavesIpc);
        self.put(Setting::Shared(Layer::Ipc), ipc, UNSEEN);
        self.put(
            Setting::Shared(Layer::Pid),
            facts.sees_processes() && scope.has_companions,
            UNSEEN,
        );
        self.put(
            Setting::Shared(Layer::Uts),
            facts.sees(Surrounding::HostName) && scope.has_companions,
            UNSEEN,
        );
        self.put(Setting::Together, scope.has_siblings, ALONE);
        self.put(Setting::SlowChanges(20), scope.has_suspects, UNSEEN);
        self.put(Setting::Host(Layer::Net), scope.may_use_host && network, REFUSED);
        self.put(Setting::Host(Layer::Home), scope.may_use_host && home, REFUSED);
        self.put(Setting::Host(Layer::Env), scope.may_use_host, REFUSED);
    }

    fn surroundings(
        &mut self,
        facts: &Facts,
        policy: &Policy,
        scope: Scope,
        locale: Option<String>,
    ) {
        let entropy = !facts.is_whole || !facts.entropy.is_empty();
        self.put(Setting::Entropy, entropy, UNSEEN);
        self.put(Setting::DirectoryOrder, !facts.is_whole || facts.lists, UNSEEN);
        self.put(Setting::ProcessId, facts.sees(Surrounding::ProcessId), UNSEEN);
        self.put(Setting::Reaper, true, UNSEEN);
        let files = !facts.is_whole || facts.writes;
        self.put(Setting::Umask, files, UNSEEN);
        // Root of the sandbox has capabilities, which the user who started isotest has not.
        let is_other = files || facts.changes_attributes;
        self.put(Setting::Root, is_other && policy.user != User::Root, UNSEEN);
        self.put(Setting::Nobody, is_other && scope.is_root && policy.user == User::Same, UNSEEN);
        self.put(Setting::HostName, facts.sees(Surrounding::HostName), UNSEEN);
        self.put(Setting::FewFiles, true, UNSEEN);
        self.put(Setting::SmallDisk, files, UNSEEN);
        self.put(Setting::LittleMemory, true, UNSEEN);
        self.put(Setting::SmallPipe, !facts.is_whole || facts.executes, UNSEEN);
        self.put(Setting::Ipv4Only, facts.uses(|path| path == "/etc/hosts"), UNSEEN);
        self.put(Setting::Terminal, true, UNSEEN);
        self.put(Setting::FixedAddresses, true, UNSEEN);
        if let Some(locale) = locale {
            self.put(Setting::Locale(locale), !facts.is_whole || facts.executes, UNSEEN);
        }
    }

    fn processor(&mut self, facts: &Facts) {
        self.put(Setting::OneProcessor, true, UNSEEN);
        self.put(Setting::SlowProcessor(30), true, UNSEEN);
        self.put(Setting::Starved, true, UNSEEN);
        let executes = !facts.is_whole || facts.executes;
        self.put(Setting::Delayed(HeldCalls::Execute, 100), executes, UNSEEN);
        self.put(Setting::Delayed(HeldCalls::Start, 200), true, UNSEEN);
        let files = !facts.is_whole || facts.writes;
        self.put(Setting::Delayed(HeldCalls::File, 5), files, UNSEEN);
        let network = !facts.is_whole || !facts.footprint.binds.is_empty();
        self.put(Setting::Delayed(HeldCalls::Receive, 50), network || executes, UNSEEN);
        self.put(Setting::Delayed(HeldCalls::Send, 50), network || executes, UNSEEN);
    }

    /// The clock is read without a system call, so nothing says that a test does not.
    fn clocks(&mut self, facts: &Facts) {
        for clock in [
            Clock::Later(400),
            Clock::Later(4000),
            Clock::Year2038,
            Clock::Midnight,
            Clock::MonthEnd,
            Clock::Coarse,
            Clock::Frozen,
        ] {
            self.put(Setting::Clock(clock), true, UNSEEN);
        }
        let zone = facts.sees(Surrounding::Zone) || facts.uses(|path| path.contains("zoneinfo"));
        for setting in
            ZONES.map(Setting::Zone).into_iter().chain([Setting::Clock(Clock::ZoneChange)])
        {
            self.put(setting, zone, UNSEEN);
        }
        self.put(Setting::Uptime, true, UNSEEN);
    }
}
