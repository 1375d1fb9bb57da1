"""Programs for another architecture: Debian's rustc, which has standard libraries of all of them."""

import os
import re

from environs.machines import apt, unpack
from environs.stage import run, say, suite

# Of each target Debian's name, and how the programs of binutils and the compiler start.
DEBIAN = {"aarch64-unknown-linux-gnu": "arm64"}
PREFIX = {"aarch64-unknown-linux-gnu": "aarch64-linux-gnu-"}


def environment(stage, target):
    """Variables with which cargo builds for a target."""
    words, prefix = target.replace("-", "_"), PREFIX[target]
    return {
        # A toolchain of rustup's would bring its own rustc.
        "RUSTC": str(compiler(stage, target)),
        f"CARGO_TARGET_{words.upper()}_LINKER": prefix + "gcc",
        f"CC_{words}": prefix + "gcc",
        f"AR_{words}": prefix + "ar",
        "CARGO_TARGET_DIR": str(stage.cache / f"target-{target}"),
    }


def compiler(stage, target):
    """A rustc of Debian's packages, which are not installed."""
    path = stage.cache / f"rustc-{target}"
    if not path.exists():
        say(f"Debian's rustc and its standard library for {target}")
        policy = apt(stage, suite(), "policy", "rustc-web")
        version = re.search(r"Candidate: (\S+)", policy)[1]
        depends = apt(stage, suite(), "depends", f"libstd-rust-web-dev={version}")
        library = next(line.split()[-1] for line in depends.splitlines() if "Depends: libstd-rust-web-" in line)
        llvm = apt(stage, suite(), "depends", f"{library}={version}")
        llvm = next(line.split()[-1] for line in llvm.splitlines() if "Depends: libllvm" in line)
        packages = [f"rustc-web={version}", f"{library}={version}", f"libstd-rust-web-dev={version}",
                    f"libstd-rust-web-dev:{DEBIAN[target]}={version}", llvm]
        with stage.made(path.name) as draft:
            draft.mkdir()
            unpack(stage, suite(), draft, *packages)
            program = draft / "rustc"
            program.write_text(
                '#!/bin/sh\nhere=$(dirname "$0")/usr\n'
                'LD_LIBRARY_PATH=$here/lib/x86_64-linux-gnu${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH} '
                'exec "$here/bin/rustc" "$@"\n')
            program.chmod(0o755)
    run(path / "rustc", "-vV", env=os.environ)
    return path / "rustc"
