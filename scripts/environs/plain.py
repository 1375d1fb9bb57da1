"""Environments that are a command before isotest's: other namespaces, another root, no daemon."""

import os

from environs.containers import Room, tried
from environs.stage import run

# An ordinary user without an entry in /etc/passwd.
USER = 12345


def as_user(room, *command):
    return room.enter("setpriv", "--reuid", str(USER), "--regid", str(USER), "--clear-groups",
                      "--inh-caps=-all", "env", f"HOME={room.directory}/home", *command)


def namespaces(stage):
    """No container; and sandboxes that an ordinary user makes, and root."""
    with Room(stage, "namespaces") as room:
        for name, owner, enter in (("root", 0, room.enter), ("user", USER, lambda *c: as_user(room, *c))):
            payload = stage.payload(owner)
            inside = [payload / "inside", "{}", payload, "showcase"]
            for how, before in (
                ("here", []),
                ("unshare", ["unshare", "-Ur"]),
                ("bwrap", ["bwrap", "--dev-bind", "/", "/"]),
                ("bwrap-proc", ["bwrap", "--unshare-all", "--dev-bind", "/", "/", "--proc", "/proc"]),
                ("isotest", [payload / "cargo-isotest", "isotest", "exec", "--rw", room.directory,
                             "--ro", payload, "--"]),
            ):
                key = f"{how}-{name}"
                command = [str(word).format(key) for word in [*before, *inside]]
                yield from tried(enter(*command), os.environ)


def chroot(stage):
    """In an image, by chroot(8) alone."""
    with Room(stage, "chroot") as room:
        image, payload = entered(stage, room)
        script = f'mount -t proc proc {image}/proc && exec chroot {image} "$@"'
        command = ["sh", "-c", script, "sh", "/payload/inside", "chroot", "/payload", "showcase"]
        yield from tried(room.enter(*command), os.environ)


def entered(stage, room):
    """A copy of the image with the payload mounted in it, in the room alone."""
    image, payload = stage.image(), stage.payload(0)
    place = room.directory / "image"
    (place / "upper").mkdir(parents=True)
    (place / "work").mkdir()
    merged = place / "merged"
    merged.mkdir()
    run(*room.enter("mount", "-t", "overlay", "overlay", merged, "-o",
                    f"lowerdir={image},upperdir={place}/upper,workdir={place}/work"))
    run(*room.enter("mkdir", merged / "payload"))
    run(*room.enter("mount", "--bind", payload, merged / "payload"))
    return merged, payload


def nspawn(stage):
    """In an image, by systemd-nspawn(1), without a manager that would register it."""
    with Room(stage, "nspawn") as room:
        image, payload = entered(stage, room)
        start = ["systemd-nspawn", "--quiet", f"--directory={image}", "--register=no", "--keep-unit",
                 "--private-network", f"--bind={payload}:/payload", "--pipe", "--"]
        remedy = ["env", "SYSTEMD_SECCOMP=0", "SYSTEMD_NSPAWN_API_VFS_WRITABLE=yes"]
        for name, before in (("nspawn", remedy), ("nspawn-bare", [])):
            command = [*before, *start, "/payload/inside", name, "/payload", "showcase"]
            yield from tried(room.enter(*command), os.environ)


SUITES = ["bookworm", "trixie", "sid"]


def roots(stage):
    """Another root filesystem for tests."""
    for name in SUITES:
        root = stage.distribution(name)
        with Room(stage, f"root-{name}") as room:
            payload = stage.payload(0)
            command = ["env", f"ISOTEST_ROOT={root}", payload / "inside", f"root-{name}", payload, "showcase"]
            yield from tried(room.enter(*command), os.environ)
