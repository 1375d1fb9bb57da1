"""What environments are tried with: programs, images of Debian, and what one of them has said."""

import contextlib
import io
import os
import platform
import re
import shutil
import subprocess
import tarfile
import tempfile
import xml.etree.ElementTree
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
HERE = ROOT / "scripts" / "environs"
MIRROR = "http://deb.debian.org/debian"


UNIT = """[Unit]
Wants=user@1000.service
After=user@1000.service

[Service]
ExecStart=/payload/started
StandardOutput=tty
StandardError=tty
TTYPath=/dev/console
"""


class Failed(Exception):
    """Why an environment could not be made."""


def run(*command, **options):
    """Runs a command; what it has written is told where it fails."""
    command = [str(word) for word in command]
    options = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE} | options
    done = subprocess.run(command, stderr=subprocess.STDOUT, **options)
    if done.returncode != 0:
        text = (done.stdout or b"").decode(errors="replace")
        raise Failed(f"{' '.join(command)}: exit code {done.returncode}\n{text[-4000:]}")
    return (done.stdout or b"").decode(errors="replace")


def suite():
    """The suite of Debian of this machine: what is linked here runs in an image of the same."""
    release = dict(
        line.rstrip().split("=", 1) for line in open("/etc/os-release") if "=" in line
    )
    if release.get("ID", "").strip('"') != "debian":
        raise Failed("images are made of the packages of this machine's Debian, and it is none")
    return release["VERSION_CODENAME"].strip('"')


def document(page):
    return (ROOT / page).read_text()


def flags(engine):
    """The flags of an engine of containers, as the README has them."""
    found = re.search(rf"`{engine} run (--[^`]*?) …`", document("README.md"))
    if found is None:
        raise Failed(f"README.md has no `{engine} run … …`")
    return found[1].split()


class Stage:
    """Directories: `cache` is kept for the next time, `scratch` is not."""

    def __init__(self, cache, scratch):
        self.cache, self.scratch = cache, scratch
        self.payloads = {}

    @contextlib.contextmanager
    def made(self, name):
        """A path in the cache; what is made under the name that this yields has it once it is whole."""
        path = self.cache / name
        draft = path.with_name(path.name + ".draft")
        remove(draft)
        yield draft
        draft.rename(path)

    def image(self):
        """A root filesystem of Debian: a compiler, AppArmor's parser, nothing for isotest."""
        path = self.cache / f"image-{suite()}"
        if not path.exists():
            say(f"debootstrap {suite()}")
            with self.made(path.name) as draft:
                packages = "gcc,libc6-dev,apparmor,bubblewrap"
                debootstrap(draft, suite(), "--include=" + packages)
        return path

    def machine(self):
        """The same with systemd, which starts a session of the user `tester`."""
        path = self.cache / f"machine-{suite()}"
        if not path.exists():
            image = self.image()
            say("image of a machine with systemd")
            with self.made(path.name) as draft:
                run("cp", "-a", image, draft)
                packages = ["systemd", "systemd-sysv", "dbus-user-session", "libpam-systemd"]
                install = ["apt-get", "install", "-qq", "-y", "--no-install-recommends", *packages]
                environment = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
                in_image(draft, "apt-get", "update", "-qq")
                in_image(draft, *install, env=environment)
                in_image(draft, "useradd", "--create-home", "--uid", "1000", "tester")
                lingering = draft / "var/lib/systemd/linger"
                lingering.mkdir(parents=True, exist_ok=True)
                (lingering / "tester").touch()
                unit = draft / "etc/systemd/system/environments.service"
                unit.write_text(UNIT)
                wanted = draft / "etc/systemd/system/multi-user.target.wants"
                wanted.mkdir(parents=True, exist_ok=True)
                (wanted / unit.name).symlink_to("../environments.service")
        return path

    def distribution(self, name):
        """A minimal root filesystem of another suite."""
        path = self.cache / f"root-{name}"
        if not path.exists():
            say(f"debootstrap {name}")
            with self.made(path.name) as draft:
                debootstrap(draft, name)
        return path

    def foreign(self, name):
        """The root filesystem of another architecture, of which nothing can be executed here."""
        path = self.cache / f"image-{name}"
        if not path.exists():
            say(f"debootstrap {suite()} for {name}")
            from environs import machines

            with self.made(path.name) as draft:
                run("unshare", "--mount", "debootstrap", "--variant=minbase", "--foreign",
                    f"--arch={name}", suite(), draft, MIRROR)
                # Unpacked over it, the package would put a directory in the place of the link /bin.
                with tempfile.TemporaryDirectory(dir=self.scratch) as place:
                    machines.unpack(self, suite(), place, f"busybox-static:{name}")
                    shutil.copy(Path(place) / "bin/busybox", draft / "usr/bin/busybox")
                # In a container debootstrap makes a link, which its second stage would replace.
                if (draft / "proc").is_symlink():
                    (draft / "proc").unlink()
                    (draft / "proc").mkdir()
        return path

    def payload(self, owner, target=None):
        """A directory with the program, the projects and their archives, of this user."""
        first = self.payloads.get(target)
        if first is None:
            first = self.payloads[target] = build(self, target)
        path = self.scratch / f"payload-{target or 'host'}-{owner}"
        if not path.exists():
            run("cp", "-a", first, path)
            run("chown", "-R", f"{owner}:{owner}", path)
        return path


def build(stage, target):
    """Builds the program, and the archives of the projects."""
    path = stage.scratch / f"built-{target or 'host'}"
    remove(path)
    path.mkdir()
    say(f"building for {target or 'this machine'}")
    environment = {"CARGO_TARGET_DIR": str(ROOT / "target")} | os.environ
    # Not the same as the program's: it holds the projects, and is not their target directory.
    archived = os.environ | {"CARGO_PROFILE_DEV_DEBUG": "0",
                             "CARGO_TARGET_DIR": str(stage.cache / "target")}
    strip = "strip"
    options = []
    if target is not None:
        from environs import cross

        environment |= cross.environment(stage, target)
        archived = environment
        strip = cross.PREFIX[target] + "strip"
        options = ["--target", target]
    target_directory = Path(environment["CARGO_TARGET_DIR"])
    places = {"cwd": ROOT, "env": environment}
    run("cargo", "build", "-p", "cargo-isotest", "-p", "isotest-tests", "--test", "cgroup",
        "--bin", "cargo-isotest", *options, **places)
    built = target_directory / (target or "") / "debug"
    run(strip, "-o", path / "cargo-isotest", built / "cargo-isotest")
    groups = max(built.glob("deps/cgroup-*[0-9a-f]"), key=lambda file: file.stat().st_mtime)
    run(strip, "-o", path / "cgroup", groups)
    for file in ("inside", "first", "started"):
        shutil.copy(HERE / file, path / file)
    # An archive is made by a program of this machine.
    native = path / "cargo-isotest"
    if target is not None:
        native = stage.payload(0) / "cargo-isotest"
    projects = {"showcase": ["--workspace"]}
    if target is None:
        projects["zoo"] = ["--workspace", "--all-targets", "--features", "failing"]
    for name, targets in projects.items():
        # Always at the same place: what is compiled names it, and cargo does not notice a move.
        project = stage.cache / "projects" / name
        remove(project)
        shutil.copytree(ROOT / "fixtures" / name, project,
                        ignore=shutil.ignore_patterns("target"))
        run(native, "isotest", "archive", *targets, *options,
            "--archive-file", path / f"{name}.tar.zst", cwd=project, env=archived)
        project.rename(path / name)
    return path


def debootstrap(directory, name, *options):
    # What it mounts stays out of everybody else's sight.
    run("unshare", "--mount", "debootstrap", "--variant=minbase", *options, name, directory, MIRROR)
    in_image(directory, "apt-get", "clean")


def in_image(directory, *command, **options):
    """Runs a command of a root filesystem in it, as root."""
    script = 'mount -t proc proc "$0/proc" && exec chroot "$0" "$@"'
    run("unshare", "--mount", "sh", "-c", script, directory, *command, **options)


def remove(path):
    if path.is_dir() and not path.is_symlink():
        run("rm", "-rf", "--one-file-system", path)
    elif path.exists():
        path.unlink()


def say(what):
    print(f"==> {what}", flush=True)


class Tried:
    """What an environment has said."""

    def __init__(self, files):
        self.files = files

    def text(self, name):
        return self.files.get(name, b"").decode(errors="replace")

    def code(self, name):
        text = self.text(f"{name}.code").strip()
        return int(text) if text else None

    def verdicts(self, name):
        """The verdict of each test, by binary and name, in the words of the zoo's table."""
        report = self.text(f"{name}.xml")
        if not report:
            return {}
        found = {}
        for binary in xml.etree.ElementTree.fromstring(report):
            for case in binary.findall("testcase"):
                found[binary.get("name"), case.get("name")] = verdict(case)
        return found


def verdict(case):
    if case.find("skipped") is not None:
        return "ignored"
    ended = case.find("failure") if case.find("failure") is not None else case.find("error")
    if ended is None:
        return "passed"
    kind = ended.get("type")
    if kind.startswith("test failure"):
        return "failed"
    if kind == "test timeout":
        return "timed out"
    return kind.replace("test abort with ", "").replace(" with exit code", "")


def unpacked(archives):
    """What `inside` has written, by the name that it was called with."""
    found = {}
    try:
        archive = tarfile.open(fileobj=io.BytesIO(archives), ignore_zeros=True)
    except tarfile.ReadError:
        return found
    for entry in archive:
        if entry.isfile():
            name, file = entry.name.split("/", 1)
            found.setdefault(name, {})[file] = archive.extractfile(entry).read()
    return {name: Tried(files) for name, files in found.items()}


def architecture():
    return platform.machine()
