"""What both benchmarks share: subjects, alternating rounds, medians, tables and the plot."""

import os
import pathlib
import platform
import shutil
import statistics
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
# Below the target directory, where nothing is in the way of a sandbox.
SUBJECTS = ROOT / "target/bench"

MANIFEST = """[package]
name = "{name}"
version = "0.0.0"
edition = "2024"
[dependencies]
{dependencies}
[workspace]
"""


def write(path, text):
    """Writes a file where it is not the same already: cargo goes by times."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if not path.exists() or path.read_text() != text:
        path.write_text(text)


def subject(name, files, dependencies=""):
    """Makes a crate and builds its tests; returns its directory."""
    directory = SUBJECTS / name
    write(directory / "Cargo.toml", MANIFEST.format(name=name, dependencies=dependencies))
    for file, text in files.items():
        write(directory / file, text)
    build = ["cargo", "test", "--no-run", "--quiet"]
    subprocess.run(build, cwd=directory, check=True, stdin=subprocess.DEVNULL)
    return directory


def tests(count, body=""):
    return "".join(f"#[test] fn t{number:05}() {{ {body} }}\n" for number in range(count))


def empty(count):
    return subject(f"empty-{count}", {"src/lib.rs": tests(count)})


def many_binaries(binaries, each):
    files = {f"tests/b{number:02}.rs": tests(each) for number in range(binaries)}
    return subject(f"binaries-{binaries}-{each}", {"src/lib.rs": "", **files})


def sleeping(count):
    body = "std::thread::sleep(std::time::Duration::from_millis(100));"
    return subject(f"sleeping-{count}", {"src/lib.rs": tests(count, body)})


def large(count):
    """Tests in a debug binary of 100 MiB or more: what a project links that does a bit of everything."""
    uses = """
        pub fn use_them(text: &str) -> usize {
            let value: serde_json::Value = serde_json::from_str(text).unwrap_or_default();
            let table: toml::Table = text.parse().unwrap_or_default();
            let found = regex::Regex::new(text).map(|regex| regex.find_iter(text).count());
            let command = clap::Command::new("c").arg(clap::arg!(--name <NAME>));
            let runtime = tokio::runtime::Runtime::new().unwrap();
            let page = runtime.block_on(async { reqwest::get(text).await.map(|_| 1).unwrap_or(0) });
            let file = syn::parse_file(text).map(|file| format!("{file:?}").len()).unwrap_or(0);
            let picture = image::load_from_memory(text.as_bytes()).map(|it| it.width() as usize);
            let shader = naga::front::wgsl::parse_str(text).map(|it| format!("{it:?}").len());
            value.to_string().len() + table.len() + found.unwrap_or(0) + page
                + command.render_usage_like() + file + picture.unwrap_or(0) + shader.unwrap_or(0)
        }
        trait Usage { fn render_usage_like(self) -> usize; }
        impl Usage for clap::Command {
            fn render_usage_like(mut self) -> usize { self.render_long_help().to_string().len() }
        }
        #[test] fn uses() { assert!(use_them("{}") > 0); }
    """
    dependencies = """
        clap = "4"
        image = "0.25"
        naga = { version = "27", features = ["wgsl-in"] }
        regex = "1"
        reqwest = { version = "0.12", default-features = false, features = ["http2", "json", "stream"] }
        serde_json = "1"
        syn = { version = "2", features = ["extra-traits", "full"] }
        tokio = { version = "1", features = ["full"] }
        toml = "0.9"
    """
    dependencies = "\n".join(line.strip() for line in dependencies.splitlines())
    return subject("large", {"src/lib.rs": uses + tests(count - 1)}, dependencies)


def test_binary(directory):
    """The newest test binary of a subject's library."""
    name = directory.name.replace("-", "_")
    files = (directory / "target/debug/deps").glob(f"{name}-*")
    return max((f for f in files if not f.suffix), key=lambda file: file.stat().st_mtime)


def find(program):
    """The path of a program, or None with a line on stderr."""
    found = shutil.which(program)
    if not found:
        print(f"not installed, left out: {program}", file=sys.stderr)
    return found


def isotest():
    """`cargo isotest`, which is the release build of this checkout from then on."""
    build = ["cargo", "build", "--release", "--quiet", "--package=cargo-isotest"]
    subprocess.run(build, cwd=ROOT, check=True)
    release = str(ROOT / "target/release")
    if release not in os.environ["PATH"].split(":"):
        os.environ["PATH"] = release + ":" + os.environ["PATH"]
    return ["cargo", "isotest", "-q"]


def seconds(command, directory, environment):
    """The wall time of a command, which must succeed."""
    # Symbols of backtraces would be most of the time where a test panics, as many should.
    environment = {"RUST_BACKTRACE": "0", **environment}
    begun = time.monotonic()
    ended = subprocess.run(
        command, cwd=directory, env={**os.environ, **environment}, stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
    )
    took = time.monotonic() - begun
    if ended.returncode != 0:
        sys.exit(f"`{' '.join(command)}` in {directory} exited with {ended.returncode}:\n{ended.stderr}")
    return took


def alternate(commands, directory, rounds):
    """Runs each of {name: (command, environment)} once per round, in turn; {name: [seconds]}."""
    taken = {name: [] for name in commands}
    for number in range(rounds):
        for name, (command, environment) in commands.items():
            taken[name].append(seconds(command, directory, environment))
        shown = ", ".join(f"{name} {times[-1]:.2f} s" for name, times in taken.items())
        print(f"{directory.name}, round {number + 1} of {rounds}: {shown}", file=sys.stderr)
    return taken


def ratio(taken, one, other):
    """The median over rounds of how `one` compares with `other`."""
    return statistics.median(a / b for a, b in zip(taken[one], taken[other]))


def machine():
    model = "unknown processor"
    for line in pathlib.Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            model = line.split(":", 1)[1].strip()
            break
    rustc = subprocess.run(["rustc", "--version"], capture_output=True, text=True).stdout.split()
    user = "root" if os.geteuid() == 0 else "an ordinary user"
    load = os.getloadavg()[0]
    return (f"{os.cpu_count()} × {model}, Linux {platform.release()}, Rust {rustc[1]}, as {user}, "
            f"load {load:.1f} at the end")


def table(headings, rows):
    lines = ["| " + " | ".join(headings) + " |", "|" + "---|" * len(headings)]
    return "\n".join(lines + ["| " + " | ".join(row) + " |" for row in rows])


def replace_in_docs(name, text):
    """Puts `text` between the marks of that name in docs/performance.md."""
    page = ROOT / "docs/performance.md"
    begin, end = f"<!-- {name} -->\n", f"<!-- end of {name} -->"
    before, rest = page.read_text().split(begin)
    _, after = rest.split(end)
    page.write_text(before + begin + text + "\n" + end + after)


def bars(title, values, unit):
    """A bar chart of {name: value} as SVG, readable on light and dark pages."""
    width, line, left, right = 720, 26, 250, 90
    height = 40 + line * len(values)
    most = max(values.values())
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" font-family="sans-serif" '
        f'font-size="13"><rect width="100%" height="100%" fill="#ffffff"/>',
        f'<text x="10" y="22" font-weight="bold" fill="#222222">{title}</text>',
    ]
    for number, (name, value) in enumerate(values.items()):
        y = 36 + line * number
        length = max(1, (width - left - right) * value / most)
        colour = "#2a7f62" if name.startswith("cargo isotest") else "#9aa5b1"
        parts.append(f'<text x="{left - 8}" y="{y + 15}" text-anchor="end" fill="#222222">{name}</text>')
        parts.append(f'<rect x="{left}" y="{y}" width="{length:.0f}" height="{line - 6}" fill="{colour}"/>')
        parts.append(f'<text x="{left + length + 6:.0f}" y="{y + 15}" fill="#222222">{value:.2f} {unit}</text>')
    return "\n".join(parts + ["</svg>"]) + "\n"
