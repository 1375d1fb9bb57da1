"""Reads what `cargo test` and `cargo isotest` print. Shared by `compare` and `corpus`."""

import ctypes
import os
import re
import signal
import subprocess
import threading

RUNNING = re.compile(r"Running (?:unittests )?(\S+) \((\S+?)\)$")
START = re.compile(r"^running (\d+) tests?$")
# A test that prints without a newline may stand before the line of another.
TEST = re.compile(r"^.*test (.+?)(?: - should panic)? \.\.\. (ok|FAILED|ignored)(?:,.*)?$")
RESULT = re.compile(r"^test result: (?:ok|FAILED)\. .* finished in ")
RERUN = re.compile(r"^error: test failed, to rerun pass `(.*)`")

# Seconds after which a command that has not ended is killed; its exit code is then -9.
TIME_LIMIT = 1800

# What is different in every run, and what stands for it.
VARYING = [
    (re.compile(r"(finished in )\d+\.\d+s"), r"\1TIME"),
    (re.compile(r"(thread '[^']*' )\(\d+\)( panicked| has overflowed)"), r"\1(ID)\2"),
    (re.compile(r"(thread '[^']*' )\(\d+\)"), r"\1(ID)"),
    (re.compile(r"\b(\w[\w-]*)-[0-9a-f]{16}\b"), r"\1-HASH"),
    # Printed by the first panic of each process, so by one test there and by all of them here.
    (re.compile(r"^note: run with `RUST_BACKTRACE=1` .*\n", re.M), ""),
]


def run(command, directory, merge=False):
    """Runs `command` with pipes for its output, without colours and back traces.

    Returns its exit code, stdout and stderr; with `merge` both streams in one, as written. What
    tests leave behind under `cargo test` is killed when the command ends: it must neither hold the
    pipe open nor disturb the next run.
    """
    adopt_orphans()
    environment = dict(os.environ, CARGO_TERM_COLOR="never", NO_COLOR="1", RUST_BACKTRACE="0")
    process = subprocess.Popen(
        command,
        cwd=directory,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT if merge else subprocess.PIPE,
    )
    readers = [Reader(stream) for stream in (process.stdout, process.stderr) if stream]
    alarm = threading.Timer(TIME_LIMIT, os.kill, (process.pid, signal.SIGKILL))
    alarm.daemon = True
    alarm.start()
    try:
        process.returncode = reap_until(process.pid)
    finally:
        alarm.cancel()
        kill_children()
    outputs = [reader.result() for reader in readers] + [""]
    return process.returncode, outputs[0], outputs[1]


class Reader(threading.Thread):
    """Reads a stream to its end, beside the other."""

    def __init__(self, stream):
        super().__init__(daemon=True)
        self.stream, self.data = stream, b""
        self.start()

    def run(self):
        self.data = self.stream.read()

    def result(self):
        self.join()
        return text(self.data)


def adopt_orphans():
    """Makes processes that lose their parent below this one its children: prctl(2)."""
    pr_set_child_subreaper = 36
    ctypes.CDLL(None).prctl(pr_set_child_subreaper, 1, 0, 0, 0)


def reap_until(pid):
    """Waits for `pid`, and for orphans meanwhile, as init would; returns its exit code."""
    while True:
        ended, status = os.waitpid(-1, 0)
        if ended == pid:
            return os.waitstatus_to_exitcode(status)


def kill_children():
    """Kills every child, and the orphans that come of it, until none is left."""
    while True:
        with open(f"/proc/self/task/{os.getpid()}/children") as children:
            for pid in children.read().split():
                os.kill(int(pid), signal.SIGKILL)
        try:
            os.waitpid(-1, 0)
        except ChildProcessError:
            return


def text(data):
    return data.decode("utf-8", "backslashreplace")


def plain_command(arguments):
    """`cargo test` with `arguments`, without documentation tests."""
    cargo, harness = undocumented(arguments)
    return ["cargo", "test", "--no-fail-fast", *cargo, *harness]


def isotest_command(arguments, binary=None):
    """The same for `cargo isotest`; `binary` is the program where it is not in PATH."""
    program = [os.path.abspath(binary), "isotest"] if binary else ["cargo", "isotest"]
    cargo, harness = undocumented(arguments)
    return [*program, *cargo, *harness]


def undocumented(arguments):
    """The arguments, split at `--`, with a selection that leaves documentation tests out."""
    cargo, harness = split(arguments)
    kinds = ("--lib", "--bin", "--test", "--example", "--bench", "--all-targets", "--doc")
    if not any(word.startswith(kinds) for word in cargo):
        cargo = ["--tests", *cargo]
    return cargo, harness


def split(arguments):
    """Splits at `--`, which stays with the second part."""
    at = arguments.index("--") if "--" in arguments else len(arguments)
    return arguments[:at], arguments[at:]


def normalise(stdout):
    """The text with what varies replaced, and the lines of each block in a fixed order."""
    for pattern, replacement in VARYING:
        stdout = pattern.sub(replacement, stdout)
    result = []
    for block in blocks(stdout.split("\n")):
        result += ordered(block) if START.match(block[0]) else block
    return "\n".join(result)


def blocks(lines):
    """Cuts the output into a binary's lines, from `running …` to `test result: …`, and the rest."""
    start = 0
    for number, line in enumerate(lines):
        inside = START.match(lines[start]) is not None
        if START.match(line) and not inside:
            if start < number:
                yield lines[start:number]
            start = number
        elif inside and RESULT.match(line):
            yield lines[start : number + 1]
            start = number + 1
            if start == len(lines):
                return
    if start < len(lines):
        yield lines[start:]


def ordered(block):
    """One binary's lines: the tests by name, then the captured outputs by name."""
    head = next((n for n, line in enumerate(block) if line in HEADINGS), len(block) - 1)
    names = {match[1] for match in map(TEST.match, block[:head]) if match}
    tests = sorted(line for line in block[1:head] if TEST.match(line))
    others = [line for line in block[1:head] if not TEST.match(line)]
    return [block[0], *tests, *others, *ordered_sections(block[head:], names)]


HEADINGS = ("failures:", "successes:")


def ordered_sections(lines, names):
    """Sorts runs of `---- NAME stdout ----` sections; each goes to the next, or to a heading."""
    result, sections = [], []

    def flush():
        # A blank line stands between the last section and what follows; it is of neither.
        blank = bool(sections) and len(sections[-1]) > 1 and sections[-1][-1] == ""
        if blank:
            sections[-1].pop()
        for section in sorted(sections, key=lambda section: section[0]):
            result.extend(section)
        if blank:
            result.append("")
        sections.clear()

    for number, line in enumerate(lines):
        header = line.startswith("---- ") and line.endswith(" stdout ----")
        if header and line[5:-12] in names:
            sections.append([line])
        elif line in HEADINGS and closes(lines, number, names):
            flush()
            result.append(line)
        elif sections and not RESULT.match(line):
            sections[-1].append(line)
        else:
            flush()
            result.append(line)
    flush()
    return result


def closes(lines, number, names):
    """Whether the heading there is libtest's own and not text that a test has printed."""
    following = lines[number + 1] if number + 1 < len(lines) else ""
    return following == "" or following.strip() in names


def verdicts(merged):
    """The verdict of each case in the merged output of a run, by (binary, test name).

    A binary is named by its source and its program, less the hash. One that has no harness, or
    that died before it told its result, has a case without a name: `ok` or `FAILED`.
    """
    found, binary, told = {}, None, True

    def end(binary, told):
        if binary is not None and not told:
            found.setdefault((binary, ""), "ok")

    for line in merged.split("\n"):
        if match := RUNNING.search(line):
            end(binary, told)
            program = re.sub(r"-[0-9a-f]{16}$", "", os.path.basename(match[2]))
            binary, told = f"{program} ({match[1]})", False
        elif match := TEST.match(line):
            found[binary, match[1]] = match[2]
        elif RESULT.match(line):
            told = True
        elif RERUN.match(line) and not told:
            found[binary, ""] = "FAILED"
            told = True
    end(binary, told)
    return found
