"""Kernels of Debian in machines that qemu emulates, with an image of Debian and a small initramfs."""

import gzip
import lzma
import os
import re
import shutil
import subprocess
import tempfile

from environs.stage import MIRROR, Failed, architecture, remove, run, say, suite, unpacked

# Where each kernel is had: the suite, and the word that starts its version.
KERNELS = {"5.10": "bullseye", "6.1": "bookworm", "6.12": "trixie", "7.2": "sid"}
# What the initramfs needs: the disks, and what isotest mounts as root and as an ordinary user.
MODULES = ["virtio_pci", "virtio_blk", "ext4", "overlay"]
DEBIAN = {"x86_64": "amd64", "aarch64": "arm64"}
QEMU = {
    "x86_64": ["qemu-system-x86_64", "-cpu", "max"],
    "aarch64": ["qemu-system-aarch64", "-machine", "virt", "-cpu", "cortex-a72"],
}
CONSOLE = {"x86_64": "ttyS0", "aarch64": "ttyAMA0"}
# Emulation is slow, and slower on a machine that has other work.
LIMIT = 900

INIT = """#!/bin/busybox sh
mkdir -p /proc /sys /dev /root
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs devtmpfs /dev
while read -r module; do insmod "/modules/$module" || echo "cannot insert $module"; done </modules/order
until [ -b /dev/vda ] && [ -b /dev/vdc ]; do sleep 0.1; done
mount -t ext4 /dev/vda /root
mkdir -p /root/payload
mount -t ext4 /dev/vdc /root/payload
umount /proc /sys
mount --move /dev /root/dev
exec switch_root /root PROGRAM
"""


def apt(stage, name, *arguments, **options):
    """apt-get or apt-cache with a suite of Debian, and nothing of this machine's."""
    directory = stage.cache / f"apt-{name}"
    settings = [f"-oDir::Etc={directory}/etc", f"-oDir::State={directory}/state",
                f"-oDir::State::status={directory}/status", f"-oDir::Cache={directory}/cache",
                "-oDir::Etc::main=/dev/null", f"-oDir::Etc::parts={directory}/etc/parts",
                "-oAcquire::Languages=none", "-oAPT::Sandbox::User=root", "-oAPT::Architecture=amd64",
                "-oAPT::Architectures::=amd64", "-oAPT::Architectures::=arm64",
                "-oAcquire::IndexTargets::deb::DEP-11::DefaultEnabled=false"]
    if not directory.exists():
        say(f"apt-get update for {name}")
        with stage.made(directory.name) as draft:
            for inner in ("etc/parts", "state/lists/partial", "cache/archives/partial"):
                (draft / inner).mkdir(parents=True)
            (draft / "status").touch()
            signed = "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg]"
            sources = f"{signed} {MIRROR} {name} main\n"
            if name == suite():
                sources += f"{signed} {MIRROR}-security {name}-security main\n"
            (draft / "etc/sources.list").write_text(sources)
            moved = [setting.replace(str(directory), str(draft)) for setting in settings]
            run("apt-get", *moved, "update", "-qq")
    program = "apt-get" if arguments[0] == "download" else "apt-cache"
    return run(program, *settings, *arguments, **options)


def unpack(stage, name, directory, *packages):
    """The files of packages of a suite, which are not installed."""
    with tempfile.TemporaryDirectory(dir=stage.scratch) as place:
        apt(stage, name, "download", "-qq", *packages, cwd=place)
        for file in os.listdir(place):
            run("dpkg-deb", "-x", os.path.join(place, file), directory)


def kernel(stage, version, machine):
    """A directory with `boot/vmlinuz-…` and the modules of Debian's newest kernel of a version."""
    path = stage.cache / f"kernel-{version}-{machine}"
    if not path.exists():
        say(f"Debian's kernel {version} for {machine}")
        debian = DEBIAN[machine]
        of = KERNELS[version]
        found = apt(stage, of, "search", "--names-only", f"^linux-image-{re.escape(version)}[.]")
        # Of the kernels for clouds, which have what qemu emulates and little else.
        wanted = re.compile(rf"linux-image-{re.escape(version)}[.][0-9.+a-z-]*-cloud-{debian}")
        names = [line.split()[0] for line in found.splitlines()]
        names = sorted(filter(wanted.fullmatch, names), key=numbers)
        if not names:
            raise Failed(f"Debian has no kernel {version} for {machine}")
        name = names[-1] if machine == architecture() else names[-1] + f":{debian}"
        packages = [name]
        # From 7 on the package is divided.
        depends = apt(stage, of, "depends", name)
        for part in ("linux-binary-", "linux-modules-"):
            packages += [line.split()[-1] for line in depends.splitlines()
                         if line.strip().startswith("Depends: " + part)]
        with stage.made(path.name) as draft:
            draft.mkdir()
            unpack(stage, of, draft, *packages)
            modules = draft / "lib/modules"
            if not modules.exists():
                modules = draft / "usr/lib/modules"
                (draft / "lib").mkdir(exist_ok=True)
                (draft / "lib/modules").symlink_to("../usr/lib/modules")
            run("depmod", "-b", draft, release(draft))
    return path


def numbers(name):
    return [int(number) for number in re.findall(r"[0-9]+", name)]


def release(directory):
    for place in ("lib/modules", "usr/lib/modules"):
        if (directory / place).exists():
            return os.listdir(directory / place)[0]
    raise Failed(f"{directory} has no modules")


def initramfs(stage, directory, busybox, program):
    """What loads the modules, mounts the disks and starts a program of theirs."""
    with tempfile.TemporaryDirectory(dir=stage.scratch) as place:
        for name in ("bin", "modules"):
            os.mkdir(os.path.join(place, name))
        shutil.copy(busybox, os.path.join(place, "bin/busybox"))
        for name in ("sh", "mkdir", "mount", "umount", "insmod", "sleep", "switch_root", "cp"):
            os.symlink("busybox", os.path.join(place, "bin", name))
        with open(os.path.join(place, "init"), "w") as init:
            init.write(INIT.replace("PROGRAM", program))
        os.chmod(os.path.join(place, "init"), 0o755)
        order = []
        for name in MODULES:
            try:
                known = run("modprobe", "-d", directory, "-S", release(directory),
                            "--show-depends", name)
            except Failed:
                # It is built in.
                continue
            for line in known.splitlines():
                if line.startswith("insmod "):
                    file = line.split()[1]
                    module = os.path.basename(file).split(".ko")[0] + ".ko"
                    if module not in order:
                        order.append(module)
                        with open(os.path.join(place, "modules", module), "wb") as out:
                            out.write(plain(file))
        with open(os.path.join(place, "modules/order"), "w") as listing:
            listing.write("".join(name + "\n" for name in order))
        path = stage.scratch / "initramfs"
        with open(path, "wb") as out:
            names = run("find", ".", cwd=place)
            packed = subprocess.run(["cpio", "-o", "-H", "newc", "--quiet"], cwd=place,
                                    input=names.encode(), stdout=subprocess.PIPE, check=True)
            out.write(gzip.compress(packed.stdout, 1))
    return path


def plain(file):
    """A module, which Debian compresses from 6.12 on."""
    with open(file, "rb") as stream:
        data = stream.read()
    return lzma.decompress(data) if file.endswith(".xz") else data


def disk(path, directory, mebibytes):
    run("mke2fs", "-q", "-t", "ext4", "-O", "^has_journal", "-d", directory, path, f"{mebibytes}m")
    return path


def boot(stage, version, names, machine=None, image=None, program="/payload/first", options=""):
    """Starts a kernel and yields what the environments `names` have said in it."""
    machine = machine or architecture()
    target = None if machine == architecture() else f"{machine}-unknown-linux-gnu"
    directory = kernel(stage, version, machine)
    busybox = "/bin/busybox" if target is None else image / "bin/busybox"
    payload = stage.scratch / "disk"
    run("cp", "-a", stage.payload(0, target), payload)
    run("cp", "-a", stage.payload(1000, target), payload / "user")
    root = disk(stage.scratch / "root.ext4", image or stage.image(), 1500)
    given = disk(stage.scratch / "payload.ext4", payload, 500)
    taken = stage.scratch / "results"
    with open(taken, "wb") as file:
        file.truncate(64 << 20)
    name = release(directory)
    command = [*QEMU[machine], "-accel", "tcg,thread=multi", "-m", "1536", "-smp", "2",
               "-nodefaults", "-no-user-config", "-display", "none", "-serial", "stdio",
               "-nic", "none", "-no-reboot", "-kernel", next(directory.rglob("vmlinuz*")),
               "-initrd", initramfs(stage, directory, busybox, program), "-append",
               f"console={CONSOLE[machine]} panic=-1 quiet {options} environments={','.join(names)}"]
    for path, snapshot in ((root, "on"), (taken, "off"), (given, "on")):
        command += ["-drive", f"file={path},if=virtio,format=raw,snapshot={snapshot}"]
    try:
        # What is written to the disks goes to a file in the scratch directory.
        environment = os.environ | {"TMPDIR": str(stage.scratch)}
        console = run(*command, timeout=LIMIT, env=environment)
    except subprocess.TimeoutExpired as expired:
        console = (expired.stdout or b"").decode(errors="replace")
        raise Failed(f"kernel {version} has not ended in {LIMIT} s:\n{console[-4000:]}") from None
    found = unpacked(taken.read_bytes())
    for path in (payload, root, given, taken):
        remove(path)
    for name in names:
        if name not in found:
            raise Failed(f"kernel {version} says nothing of {name}:\n{console[-4000:]}")
        yield name, found[name]


def kernel_alone(version, stage):
    """A kernel without systemd: as root and as an ordinary user, and what refuses the latter."""
    names = ["root", "user"] if version == "5.10" else ["root", "user", "clone", "limit", "profile"]
    yield from boot(stage, version, names)


def systemd(stage):
    """A machine that systemd has started."""
    names = ["scope", "groups", "service", "restrict", "tunables", "strict"]
    yield from boot(stage, "6.12", names, image=stage.machine(), program="/lib/systemd/systemd")


def aarch64(stage):
    """Another architecture, where this one is not it."""
    yield from boot(stage, "6.12", ["root", "user"], machine="aarch64", image=stage.foreign("arm64"))
