//! Ids of a case in its user namespace (user_namespaces(7)), and the writer of the maps.

use super::namespaces::is_sealed;
use super::project::Project;
use crate::host::Host;
use crate::policy::{Policy, User};

/// First of the ids that a machine gives to nobody: many programs take them for negative, so no
/// user and no range of subuid(5) is there.
const UNUSED: u32 = 1 << 31;

/// The id of nobody, in Linux and in every distribution.
const NOBODY: u32 = 65534;

/// Ids of the host that a case has, as far as files go.
///
/// The kernel copies no file up into an overlay whose owner or group has no id in the user
/// namespace of the overlay (EOVERFLOW; fs/overlayfs/copy_up.c).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ids {
    uids: Vec<(u32, u32)>,
    gids: Vec<(u32, u32)>,
    own: u32,
    groups: Vec<u32>,
}

impl Ids {
    /// Those of a case under this policy. It has more where [`Project::owners`] says so.
    pub fn new(host: &Host, project: &Project, policy: &Policy) -> Ids {
        let own = (format!("0 {} 1\n", host.uid), format!("0 {} 1\n", host.gid));
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
        let maps = maps(host, project, policy).map(|(uids, gids)| (text(uids), text(gids)));
        let (uids, gids) = maps.unwrap_or(own);
        let groups = host.groups.iter().copied().chain([host.gid]).collect();
        Ids { uids: outside(&uids), gids: outside(&gids), own: host.uid, groups }
    }

    /// True if both ids of a file are among them.
    pub fn hold(&self, uid: u32, gid: u32) -> bool {
        let holds = |ranges: &[(u32, u32)], id: u32| {
            ranges.iter().any(|(first, count)| id.checked_sub(*first).is_some_and(|n| n < *count))
        };
        holds(&self.uids, uid) && holds(&self.gids, gid)
    }

    /// True if the ids of every file are among them.
    pub fn hold_all(&self) -> bool {
        let whole = |ranges: &[(u32, u32)]| ranges == [(0, u32::MAX)];
        whole(&self.uids) && whole(&self.gids)
    }

    /// Permissions of a case on a file: bits 0 to 2 of them.
    pub fn access(&self, mode: u32, uid: u32, gid: u32) -> u32 {
        let shift = match (uid == self.own, self.groups.contains(&gid)) {
            (true, _) => 6,
            (false, true) => 3,
            (false, false) => 0,
        };
        mode >> shift & 0o7
    }
}

/// The ranges of ids outside in a map: first and count.
fn outside(map: &str) -> Vec<(u32, u32)> {
    let lines = map.lines().map(|line| {
        let mut words = line.split_whitespace().skip(1).map(str::parse);
        Some((words.next()?.ok()?, words.next()?.ok()?))
    });
    lines.flatten().collect()
}

/// The uid and gid that a case has inside.
pub fn inner(host: &Host, policy: &Policy) -> (u32, u32) {
    match policy.user {
        User::Same => (host.uid, host.gid),
        User::Root => (0, 0),
        User::Nobody => (NOBODY, NOBODY),
    }
}

/// A uid and gid that owns nothing, where the warden is root and has it: who reads what everybody may
/// read, and no more.
pub fn nobody(host: &Host) -> Option<u32> {
    let holds = |map: &str| {
        let mut ranges = outside(map).into_iter();
        ranges.any(|(first, count)| NOBODY.checked_sub(first).is_some_and(|n| n < count))
    };
    let has_it = host.uid == 0 && host.maps_ranges && holds(&host.uid_map) && holds(&host.gid_map);
    has_it.then_some(NOBODY)
}

/// The maps that only the warden may write: those of a whole range, and those of a user namespace
/// that it makes. A map of the caller's own id is written by the child itself.
pub fn maps(host: &Host, project: &Project, policy: &Policy) -> Option<(Vec<u8>, Vec<u8>)> {
    let (uids, gids) = (host.uid_map.clone(), host.gid_map.clone());
    let both = |uids: String, gids: String| Some((uids.into_bytes(), gids.into_bytes()));
    if is_sealed(host, policy) {
        let of_users: Vec<u32> = project.owners.iter().map(|(uid, _)| *uid).collect();
        let of_groups: Vec<u32> = project.owners.iter().map(|(_, gid)| *gid).collect();
        return match host.maps_ranges {
            true => both(shift(uids, &of_users), shift(gids, &of_groups)),
            false => both(format!("0 {} 1\n", host.uid), format!("0 {} 1\n", host.gid)),
        };
    }
    // Who maps the machine's uid 0 needs CAP_SETFCAP (kernel/user_namespace.c, verify_root_map), which
    // a fork server has given up.
    if policy.user == User::Nobody && host.maps_ranges && host.uid == 0 {
        let (uid, gid) = inner(host, policy);
        return both(format!("{uid} {} 1\n", host.uid), format!("{gid} {} 1\n", host.gid));
    }
    let whole = host.maps_ranges
        && match policy.user {
            User::Same => true,
            User::Root => host.uid == 0,
            User::Nobody => false,
        };
    if whole { both(uids, gids) } else { None }
}

/// The range of groups that a case has, as the kernel reads it: it takes mapped ids only.
pub fn groups(host: &Host, project: &Project, policy: &Policy) -> String {
    let group = inner(host, policy).1;
    let maps = maps(host, project, policy);
    let last = maps.and_then(|(_, gids)| last_group(&String::from_utf8_lossy(&gids)));
    last.map_or_else(|| format!("{group} {group}"), |last| format!("0 {last}"))
}

/// The same for the warden.
pub fn groups_of_warden(host: &Host) -> String {
    let last = last_group(&host.gid_map);
    last.map_or_else(|| format!("{0} {0}", host.gid), |last| format!("0 {last}"))
}

/// The last id below which every one is mapped, where the map begins with 0.
fn last_group(gids: &str) -> Option<u32> {
    let mut end = 0;
    for line in gids.lines() {
        let mut words = line.split_whitespace().map(str::parse::<u64>);
        match (words.next(), words.nth(1)) {
            (Some(Ok(first)), Some(Ok(count))) if first == end => end += count,
            _ => break,
        }
    }
    // The kernel takes no range beyond (net/ipv4/ping.c, GID_T_MAX).
    u32::try_from(end.min(UNUSED.into())).ok()?.checked_sub(1)
}

/// The map of a whole machine with all ids but 0 and those to keep moved to where nobody is: to
/// become user 1000 inside is not to become user 1000 of the machine. A smaller range stays as it
/// is.
fn shift(map: String, kept: &[u32]) -> String {
    const WHOLE: &str = "0 0 4294967295\n";
    if map != WHOLE {
        return map;
    }
    let mut kept: Vec<u32> =
        kept.iter().copied().chain([0]).filter(|id| *id < UNUSED - 1).collect();
    kept.sort_unstable();
    kept.dedup();
    let ends = kept.iter().skip(1).copied().chain([UNUSED - 1]);
    let line = |inside: u32, outside: u32, count: u32| format!("{inside} {outside} {count}\n");
    let lines = kept.iter().zip(ends).map(|(id, end)| {
        let (first, count) = (id + 1, end - id - 1);
        let moved = (count > 0).then(|| line(first, UNUSED + first, count));
        line(*id, *id, 1) + &moved.unwrap_or_default()
    });
    lines.collect()
}

#[cfg(test)]
mod tests {
    use super::shift;

    #[test]
    fn all_but_the_owners_are_moved_to_where_nobody_is() {
        let whole = || "0 0 4294967295\n".to_owned();
        assert_eq!(shift(whole(), &[0]), "0 0 1\n1 2147483649 2147483646\n");
        let kept =
            "0 0 1\n1 2147483649 999\n1000 1000 1\n1001 1001 1\n1002 2147484650 2147482645\n";
        assert_eq!(shift(whole(), &[1001, 1000, 1000]), kept);
    }

    #[test]
    fn a_smaller_range_stays_as_it_is() {
        assert_eq!(shift("0 0 65536\n".to_owned(), &[]), "0 0 65536\n");
    }
}
