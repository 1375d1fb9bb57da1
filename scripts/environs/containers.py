"""Docker and Podman, in a room: namespaces without a network that end with this program."""

import contextlib
import os
import re
import shutil
import subprocess
import time
from pathlib import Path

from environs.stage import Failed, Tried, document, flags, remove, run, unpacked

# The user of Podman without root; no package has it.
USER = 12345
# What the image of a Dockerfile that starts with `FROM rust:1` sets.
VARIABLES = {
    "PATH": "/usr/local/cargo/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "CARGO_HOME": "/usr/local/cargo",
    "RUSTUP_HOME": "/usr/local/rustup",
}


class Room:
    """Where containers are made. All processes in it end when it is left, or this program does."""

    def __init__(self, stage, name):
        self.stage = stage
        self.directory = stage.scratch / f"room-{name}"
        self.directory.mkdir(mode=0o755)

    def __enter__(self):
        group = control_groups() / f"environments-{os.getpid()}"
        group.mkdir()
        self.group = group
        here = Path(__file__).parent
        self.process = subprocess.Popen(
            ["unshare", "--mount", "--net", "--pid", "--fork", "--kill-child", "--mount-proc",
             here / "room", group, self.directory, str(USER)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        if self.process.stdout.readline() != b"ready\n":
            self.__exit__()
            raise Failed("cannot make namespaces for containers")
        self.first = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children")
        self.first = self.first.read_text().split()[0]
        return self

    def __exit__(self, *_):
        self.process.stdin.close()
        self.process.wait()
        for directory, _, _ in os.walk(self.group, topdown=False):
            with contextlib.suppress(OSError):
                os.rmdir(directory)
        remove(self.directory)

    def enter(self, *command):
        group = 'echo 0 >/sys/fs/cgroup/room/cgroup.procs && exec "$@"'
        return ["nsenter", "--target", self.first, "--mount", "--net", "--pid", "--cgroup",
                "--", "sh", "-c", group, "sh", *command]

    def as_user(self, *command):
        """The same as the user `tester`, with the environment of a session."""
        variables = ["HOME=" + str(self.directory / "home"), "USER=tester",
                     "XDG_RUNTIME_DIR=/run/tester", "PATH=" + os.environ["PATH"]]
        kept = [f"{name}={os.environ[name]}" for name in os.environ if name.startswith("CONTAINERS_")]
        kept.append("BUILDAH_ISOLATION=chroot")
        return self.enter("setpriv", "--reuid", str(USER), "--regid", str(USER), "--clear-groups",
                          "--inh-caps=-all", "env", "-i", *variables, *kept, *command)

    @contextlib.contextmanager
    def daemon(self, name, *command):
        """A daemon in the room, while its socket is wanted."""
        with open(self.directory / f"{name}.log", "wb") as log:
            process = subprocess.Popen(self.enter(*command), stdin=subprocess.DEVNULL,
                                       stdout=log, stderr=log)
        try:
            yield process
        finally:
            process.terminate()
            process.wait()


def control_groups():
    """Where control groups of version 2 are mounted."""
    for line in open("/proc/self/mountinfo"):
        left, right = line.split(" - ")
        if right.split()[0] == "cgroup2":
            return Path(left.split()[4])
    raise Failed("no cgroup v2 is mounted")


def context(stage):
    """A directory with the Dockerfile of docs/ci.md and a project, as the page has the reader's."""
    path = stage.scratch / "context"
    if path.exists():
        return path
    text = re.search(r"```dockerfile\n(.*?)```", document("docs/ci.md"), re.S)
    if text is None:
        raise Failed("docs/ci.md has no Dockerfile")
    # There is no network for it.
    text, replaced = re.subn(r"RUN cargo install .*cargo-isotest",
                             "COPY cargo-isotest /usr/local/cargo/bin/", text[1])
    if replaced != 1:
        raise Failed("the Dockerfile of docs/ci.md does not install cargo-isotest")
    shutil.copytree(stage.payload(0) / "showcase", path)
    shutil.copy(stage.payload(0) / "cargo-isotest", path)
    (path / "Dockerfile").write_text(text)
    # `useradd` in the image gives this user id to `tester`.
    run("chown", "-R", "1000:1000", path)
    return path


def rust(stage):
    """The image `rust:1`: Debian's with this machine's toolchain, as a tar archive."""
    path = stage.scratch / "rust.tar"
    if path.exists():
        return path
    sysroot = Path(run("rustc", "--print", "sysroot").strip())
    image = stage.scratch / "rust"
    run("cp", "-a", stage.image(), image)
    place = Path(VARIABLES["RUSTUP_HOME"]) / "toolchains/1"
    bin = Path(VARIABLES["CARGO_HOME"]) / "bin"
    for directory in (place / "bin", bin):
        inside_image(image, directory).mkdir(parents=True)
    for name in ("cargo", "rustc", "rustdoc"):
        shutil.copy(sysroot / "bin" / name, inside_image(image, place) / "bin")
        (inside_image(image, bin) / name).symlink_to(place / "bin" / name)
    run("cp", "-a", sysroot / "lib", inside_image(image, place))
    run("chmod", "-R", "go+rX", inside_image(image, VARIABLES["RUSTUP_HOME"]))
    # All users of such an image install into it.
    run("chmod", "-R", "a+w", inside_image(image, VARIABLES["CARGO_HOME"]))
    run("tar", "-C", image, "--exclude=./dev", "--exclude=./proc", "-cf", path, ".")
    remove(image)
    return path


def inside_image(image, path):
    return image / Path(path).relative_to("/")


def changes():
    return ["--change=ENV " + " ".join(f"{name}={value}" for name, value in VARIABLES.items())]


def call(command, **options):
    """The output of a command and its exit code."""
    done = subprocess.run([str(word) for word in command], stdin=subprocess.DEVNULL,
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE, **options)
    return done.returncode, done.stdout, done.stderr


def inside(engine, name, image, payload, tests, options):
    """A call of an engine that tries a container."""
    return [engine, "run", "--rm", "-v", f"{payload}:/project", *options, image,
            "/project/inside", name, "/project", *tests]


def docker(stage):
    with Room(stage, "docker") as room:
        socket = "unix:///run/docker.sock"
        daemon = ["dockerd", "--host", socket, "--data-root", room.directory / "data",
                  "--exec-root", "/run/docker", "--pidfile", "/run/docker.pid", "--bridge=none",
                  "--iptables=false", "--ip6tables=false"]
        environment = os.environ | {"DOCKER_HOST": socket, "DOCKER_BUILDKIT": "0",
                                    "DOCKER_CONFIG": str(room.directory)}
        with room.daemon("dockerd", *daemon):
            wait(lambda: call(room.enter("docker", "version"), env=environment)[0] == 0,
                 lambda: (room.directory / "dockerd.log").read_text())
            run(*room.enter("docker", "import", *changes(), rust(stage), "rust:1"), env=environment)
            yield from as_written(room.enter, "docker", context(stage), environment)
            for name, image, owner, tests, options in (
                ("docker-root", "rust:1", 0, ["showcase", "zoo"], flags("docker")),
                ("docker-user", "tests", 1000, ["showcase", "zoo"], flags("docker")),
                ("docker-bare", "tests", 1000, ["showcase"], []),
                ("docker-proc", "tests", 1000, ["showcase"], flags("docker")[:4]),
            ):
                command = inside("docker", name, image, stage.payload(owner), tests, options)
                yield from tried(room.enter(*command), environment)


@contextlib.contextmanager
def directory(path):
    """The directory at `path`, which goes again where it was not there."""
    made = not os.path.isdir(path)
    os.makedirs(path, exist_ok=True)
    try:
        yield
    finally:
        if made:
            os.rmdir(path)


def podman(stage):
    with directory("/var/lib/containers"), Room(stage, "podman") as room:
        configure(room)
        # What root's Podman would keep elsewhere goes with the room.
        # `podman build` would ask for a control group and a network.
        environment = os.environ | {"BUILDAH_ISOLATION": "chroot"}
        run(*room.enter("mount", "-t", "tmpfs", "tmpfs", "/var/lib/containers"))
        for who, enter, root in (("root", room.enter, 0), ("rootless", room.as_user, USER)):
            run(*enter("podman", "import", *changes(), rust(stage), "rust:1"), env=environment)
            project = room.directory / f"context-{who}"
            run("cp", "-a", context(stage), project)
            if root != 0:
                # Who is `tester` in such a container, by /etc/subuid: what `podman unshare chown` does.
                run("chown", "-R", "200999:200999", project)
            yield from as_written(enter, "podman", project, environment, who)
            command = inside("podman", f"podman-{who}", "rust:1", stage.payload(root),
                             ["showcase", "zoo"], flags("podman"))
            yield from tried(enter(*command), environment)
            command = inside("podman", f"podman-{who}-bare", "rust:1", stage.payload(root),
                             ["showcase"], [])
            yield from tried(enter(*command), environment)


def configure(room):
    """Configuration of Podman for the room, where no process may ask systemd for a group."""
    containers, storage = room.directory / "containers.conf", room.directory / "storage.conf"
    containers.write_text('[containers]\nnetns = "none"\ncgroups = "disabled"\n[engine]\ncgroup_manager = "cgroupfs"\n'
                          'events_logger = "none"\nruntime = "crun"\n')
    os.environ["CONTAINERS_CONF"] = str(containers)
    storage.write_text('[storage]\ndriver = "overlay"\n'
                       f'graphroot = "{room.directory}/storage"\nrunroot = "/run/containers"\n')
    os.environ["CONTAINERS_STORAGE_CONF"] = str(storage)


def as_written(enter, engine, project, environment, who=None):
    """The page's own call, in the project's directory. `cargo isotest` builds it in the container."""
    text = re.search(r"```sh\n(docker build (?:.|\n)*?)```", document("docs/ci.md"))
    if text is None:
        raise Failed("docs/ci.md has no `docker build`")
    script = text[1]
    if engine == "podman":
        script = script.replace("docker ", "podman ")
        script = re.sub(r"(--security-opt \S+\s*(\\\n\s*)?)+", " ".join(flags("podman")) + " ", script)
    script = f"cd '{project}' && {script}"
    code, output, error = call(enter("sh", "-c", script), env=environment)
    name = "-".join(filter(None, [engine, who, "page"]))
    yield name, page(code, output + error)


def page(code, output):
    return Tried({"page": output, "page.code": str(code).encode()})


def tried(command, environment):
    """What a container has said; what the engine says where it has said nothing."""
    code, output, error = call(command, env=environment)
    found = unpacked(output)
    if not found:
        raise Failed(f"{' '.join(map(str, command))}: exit code {code}\n{error.decode(errors='replace')}")
    yield from found.items()


def wait(ready, log):
    deadline = time.monotonic() + 120
    while not ready():
        if time.monotonic() > deadline:
            raise Failed(f"a daemon does not start:\n{log()[-4000:]}")
        time.sleep(0.2)
