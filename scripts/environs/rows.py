"""Every environment: what it is, what it must say, and what it has said."""

import functools
import re

from environs import containers, machines, plain
from environs.stage import ROOT, Failed, flags


class Row:
    """An environment, by the name that its archive has."""

    def __init__(self, where, how, refusal=None, remedy=""):
        self.where, self.how, self.refusal, self.remedy = where, how, refusal, remedy


DOCKER, PODMAN = (lambda: "`docker run " + " ".join(flags("docker")) + "`",
                  lambda: "`podman run " + " ".join(flags("podman")) + "`")
KERNELS = {
    "root": Row("", "root"),
    "user": Row("", "an ordinary user"),
    "clone": Row("", "`kernel.unprivileged_userns_clone=0`", "cannot clone a process into new namespaces.*EPERM",
                 "`sudo sysctl -w kernel.unprivileged_userns_clone=1`"),
    "limit": Row("", "`user.max_user_namespaces=0`", "cannot clone a process into new namespaces.*ENOSPC",
                 "`sudo sysctl -w user.max_user_namespaces=65536 user.max_net_namespaces=65536`"),
    "profile": Row("", "an AppArmor profile without a rule for mounts", "cannot mount .*EACCES",
                   "a profile with `mount, umount, pivot_root, userns`, or none"),
}
# Its tests ask for what holds where cargo builds and runs them at one place.
MOVED = "zoo::build_script"
OLD = "older than 5.12|ENOSYS"


def kernel(version):
    """The environments of a kernel; one that is too old says so."""
    found = {}
    for name, row in KERNELS.items():
        if version != "5.10":
            found[name] = Row(f"Linux {version} of Debian", row.how, row.refusal, row.remedy)
        elif name in ("root", "user"):
            found[name] = Row(f"Linux {version} of Debian", row.how, OLD, "a kernel of 5.12 or later")
    return found


def here():
    found = {}
    for name, who in (("root", "root"), ("user", "an ordinary user")):
        found |= {
            f"here-{name}": Row("no container", who),
            f"unshare-{name}": Row("`unshare -Ur`", who),
            f"bwrap-{name}": Row("bubblewrap", f"`bwrap --dev-bind / /`, {who}"),
            f"bwrap-proc-{name}": Row("bubblewrap", f"`bwrap --unshare-all --dev-bind / / --proc /proc`, {who}",
                                      "cannot mount proc.*EPERM" if name == "root" else None,
                                      "as an ordinary user, or without `--proc`" if name == "root" else ""),
            f"isotest-{name}": Row("isotest", f"`cargo isotest exec`, {who}",
                                   "cannot write the id maps" if name == "root" else None,
                                   "as an ordinary user" if name == "root" else ""),
        }
    return found


def roots():
    return {f"root-{name}": Row(f"`--root`, {name} of Debian", "root") for name in plain.SUITES}


ROWS = {
    "namespaces": here,
    "chroot": lambda: {"chroot": Row("chroot", "`chroot DIR`, root", "cannot clone a process into new namespaces.*EPERM",
                                     "leave the chroot; `--root DIR` for tests alone")},
    "nspawn": lambda: {
        "nspawn": Row("systemd-nspawn", "`SYSTEMD_SECCOMP=0 SYSTEMD_NSPAWN_API_VFS_WRITABLE=yes systemd-nspawn`"),
        "nspawn-bare": Row("systemd-nspawn", "`systemd-nspawn`", "EPERM",
                           "`SYSTEMD_SECCOMP=0 SYSTEMD_NSPAWN_API_VFS_WRITABLE=yes`"),
    },
    "docker": lambda: {
        "docker-page": Row("Docker", "the Dockerfile and the call of [In CI](ci.md#containers)"),
        "docker-root": Row("Docker", f"{DOCKER()}, root"),
        "docker-user": Row("Docker", f"{DOCKER()}, an ordinary user"),
        "docker-bare": Row("Docker", "`docker run`", "cannot clone a process into new namespaces.*EPERM", "the flags"),
        "docker-proc": Row("Docker", "without `systempaths=unconfined`", "cannot mount proc.*EPERM", "all of the flags"),
    },
    "podman": lambda: {
        "podman-root-page": Row("Podman, root", "the same as Docker's, with Podman's flags"),
        "podman-root": Row("Podman, root", PODMAN()),
        "podman-root-bare": Row("Podman, root", "`podman run`", "EPERM|EROFS", "the flags"),
        "podman-rootless-page": Row("Podman, rootless", "the same as Docker's, with Podman's flags"),
        "podman-rootless": Row("Podman, rootless", PODMAN()),
        "podman-rootless-bare": Row("Podman, rootless", "`podman run`", "EPERM|EROFS", "the flags"),
    },
    **{f"kernel-{version}": functools.partial(kernel, version) for version in machines.KERNELS},
    "systemd": lambda: {
        "scope": Row("a user's session of systemd", "`systemd-run --user --scope -p Delegate=yes cargo isotest --memory 1G`"),
        "groups": Row("a user's session of systemd", "isotest's tests of control groups: the kill is named, and others"),
        "service": Row("a service of systemd", "`User=`"),
        "tunables": Row("a service of systemd", "`ProtectKernelTunables=yes`"),
        "strict": Row("a service of systemd", "`ProtectSystem=strict`, `ProtectHome=tmpfs`, `PrivateTmp=yes`"),
        "restrict": Row("a service of systemd", "`RestrictNamespaces=yes`", "EPERM", "`RestrictNamespaces=no`"),
    },
    "aarch64": lambda: {"root": Row("aarch64, Linux 6.12 of Debian", "root"),
                        "user": Row("aarch64, Linux 6.12 of Debian", "an ordinary user")},
    "roots": roots,
}
# What tries them: a stage becomes pairs of a name and what was said.
GROUPS = {
    "namespaces": plain.namespaces,
    "chroot": plain.chroot,
    "nspawn": plain.nspawn,
    "docker": containers.docker,
    "podman": containers.podman,
    **{f"kernel-{version}": functools.partial(machines.kernel_alone, version) for version in machines.KERNELS},
    "systemd": machines.systemd,
    "aarch64": machines.aarch64,
    "roots": plain.roots,
}
BASE = [("debootstrap", "debootstrap"), ("cargo", "cargo"), ("strip", "binutils"), ("setpriv", "util-linux")]
MACHINE = [*BASE, ("qemu-system-x86_64", "qemu-system-x86"), ("cpio", "cpio"), ("depmod", "kmod"),
           ("busybox", "busybox-static"), ("mke2fs", "e2fsprogs")]
PROGRAMS = {
    "namespaces": [*BASE, ("bwrap", "bubblewrap")],
    "chroot": BASE,
    "nspawn": [*BASE, ("systemd-nspawn", "systemd-container")],
    "docker": [*BASE, ("dockerd", "docker.io"), ("docker", "docker.io")],
    "podman": [*BASE, ("podman", "podman"), ("crun", "crun"), ("newuidmap", "uidmap")],
    **{f"kernel-{version}": MACHINE for version in machines.KERNELS},
    "systemd": MACHINE,
    "aarch64": [*MACHINE, ("qemu-system-aarch64", "qemu-system-arm"),
                ("aarch64-linux-gnu-gcc", "gcc-aarch64-linux-gnu")],
    "roots": BASE,
}


class Line:
    """What an environment has said, against what it must say."""

    def __init__(self, row, said):
        self.row, self.said, self.wrong, self.cells = row, said, [], []
        if "page" in said.files:
            self.alone("page", "8 passed")
        elif "groups" in said.files:
            self.alone("groups", "")
        elif row.refusal is None:
            self.works()
        else:
            self.refuses()

    def alone(self, name, words):
        """One command, which ends with 0."""
        passed = self.said.code(name) == 0 and words in self.said.text(name)
        self.cells = ["", words or "passed" if passed else "fails", ""]
        self.expect(passed, name)

    def works(self):
        self.expect(self.said.code("doctor") == 0, "doctor")
        found = self.said.verdicts("showcase")
        passed = sum(verdict == "passed" for verdict in found.values())
        self.expect(passed == 8 and len(found) == 8, "showcase")
        self.cells = [self.doctor(), f"{passed} of 8", ""]
        if "zoo" in self.said.files:
            wanted = zoo()
            found = {case: verdict for case, verdict in self.said.verdicts("zoo").items() if case[0] != MOVED}
            same = sum(found.get(case) == verdict for case, verdict in wanted.items())
            self.cells[2] = f"{same} of {len(wanted)}"
            differing = [f"{' '.join(case)}: {found.get(case)} instead of {wanted.get(case)}"
                         for case in sorted({*wanted, *found}) if found.get(case) != wanted.get(case)]
            self.wrong += differing

    def refuses(self):
        text = self.said.text("showcase")
        self.expect(self.said.code("doctor") not in (0, None), "doctor")
        self.expect(self.said.code("showcase") == 96 and re.search(self.row.refusal, text), "showcase")
        errors = re.findall(r"^error: (.*)", text, re.M)
        self.cells = [self.doctor(), errors[0] if errors else "", ""]

    def doctor(self):
        last = self.said.text("doctor").strip().splitlines()
        return "works" if self.said.code("doctor") == 0 else last[-1].split(": ")[-1] if last else "says nothing"

    def expect(self, holds, name):
        if not holds:
            self.wrong.append(f"exit code {self.said.code(name)}\n{self.said.text(name)[-6000:]}")

    def text(self):
        cells = " | ".join(filter(None, self.cells))
        mark = "WRONG" if self.wrong else "as it must be"
        return "\n    ".join([f"  {self.row.where}, {self.row.how}: {cells}: {mark}", *self.wrong])

    def markdown(self):
        cells = [self.row.where, self.row.how, *self.cells, self.row.remedy]
        return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


@functools.cache
def zoo():
    """The verdicts that the zoo's own table has."""
    table = {}
    for line in (ROOT / "fixtures/zoo/expected.tsv").read_text().splitlines():
        if not line.startswith("#"):
            binary, test, verdict, *_ = line.split("\t")
            if binary != MOVED:
                table[binary, test] = verdict
    return table


def tried(group, stage):
    """A line for each environment of a group, all of them."""
    expected = ROWS[group]()
    for name, said in GROUPS[group](stage):
        yield Line(expected.pop(name), said)
    for row in expected.values():
        raise Failed(f"{row.where}, {row.how}: was not tried")
