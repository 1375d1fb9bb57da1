//! Values with a form of their own, and the text of a duration.

use std::time::Duration;

use isotest_core::policy::{Propagation, Uts, Weakened};

/// A duration for people; `none` where there is none.
pub(super) fn duration(value: Option<Duration>) -> String {
    value.map_or("none".to_owned(), |time| humantime::format_duration(time).to_string())
}

/// A host name: `new`, `host`, or a name.
pub(super) fn uts(name: &str) -> Result<Uts, String> {
    match name {
        "host" => Ok(Uts::Host),
        "new" => Ok(Uts::default()),
        _ if name.is_empty() || name.len() > 64 => Err("a host name has 1 to 64 bytes".to_owned()),
        _ => Ok(Uts::Name(name.to_owned())),
    }
}

/// A value of `--propagation`.
pub(super) fn propagation(value: &str) -> Result<Propagation, String> {
    match value {
        "private" => Ok(Propagation::Private),
        "slave" => Ok(Propagation::Slave),
        "unbindable" => Ok(Propagation::Unbindable),
        "shared" => Err("what a test mounts must not leave its sandbox, and the kernel makes \
             `slave` of it in a less privileged mount namespace (mount_namespaces(7)); `slave` \
             receives what the host mounts"
            .to_owned()),
        _ => Err("it is one of `private`, `slave` and `unbindable`".to_owned()),
    }
}

/// The word for a value of `--propagation`.
pub(super) fn propagation_name(value: Propagation) -> &'static str {
    match value {
        Propagation::Private => "private",
        Propagation::Slave => "slave",
        Propagation::Unbindable => "unbindable",
    }
}

/// The layers that have a value without isolation which works where the isolating one is refused.
pub(super) fn weakened(layer: &str) -> Result<Weakened, String> {
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

/// Fails unless it is the name of a variable, or `PREFIX*`.
pub(super) fn variable(name: &str) -> Result<(), String> {
    let stem = name.strip_suffix('*').unwrap_or(name);
    if name.is_empty() || stem.contains(['*', '=']) {
        return Err("neither the name of a variable nor `PREFIX*`".to_owned());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_stands_only_at_the_end_of_a_variable() {
        assert!(variable("AWS_*").is_ok());
        assert!(variable("*").is_ok());
        assert!(variable("A*B").is_err());
        assert!(variable("A=b").is_err());
        assert!(variable("").is_err());
    }
}
