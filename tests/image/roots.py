"""A system as small as that of `python:slim`, made by debootstrap, and programs in it."""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
BUILT = ROOT / "build" / "image"

SLIM = (
    *("ca-certificates", "netbase", "tzdata"),
    *("libbz2-1.0", "libffi8", "libgdbm6", "liblzma5", "libncursesw6", "libnsl2"),
    *("libreadline8", "libsqlite3-0", "libssl3", "libuuid1", "zlib1g"),
)
"""What `python:slim-bookworm` has beyond Debian's smallest system; no libexpat."""

COMPILER = frozenset({"gcc", "libc6-dev"})
"""What the image has for kernels of a GPU."""

USER = 10001

ENTER = """
root=$1 home=$2
shift 2
mount --bind "$root" "$root"
mount -t tmpfs -o mode=1777 tmpfs "$root/tmp"
[ "$home" = / ] || mount -t tmpfs -o mode=777 tmpfs "$root$home"
while [ "$1" != -- ]; do
  if [ -d "$1" ]; then
    mkdir -p "$root$2"
  else
    mkdir -p "$(dirname "$root$2")"
    [ -e "$root$2" ] || touch "$root$2"
  fi
  mount --rbind "$1" "$root$2"
  shift 2
done
shift
mount -t proc proc "$root/proc"
mount --rbind /dev "$root/dev"
mount -o remount,bind,ro "$root"
ip link set lo up
exec "$@"
"""
"""Puts a system together in a mount namespace of its own, and runs a command there."""


def missing() -> str:
    """Why no such system can be made or entered here; empty where it can."""
    if os.getuid() != 0:
        return "only root may make a system of its own"
    if not shutil.which("debootstrap"):
        return "debootstrap is not installed: apt-get install debootstrap"
    entered = subprocess.run(
        ["unshare", "--mount", "--net", "true"], capture_output=True, text=True
    )
    return entered.stderr.strip()


def installed_by_recipe() -> list[str]:
    """Packages of Debian that the Dockerfile adds to its base image."""
    recipe = (ROOT / "deploy" / "Dockerfile").read_text()
    [words] = re.findall(r"apt-get install --yes --no-install-recommends ([^&\\]+)", recipe)
    return str(words).split()


def debian_root(*more: str) -> Path:
    """Debian's smallest system with what `python:slim` has and these packages; made once.

    Raises
    ------
    subprocess.SubprocessError
        If Debian's packages cannot be fetched.
    """
    packages = sorted({*SLIM, *more})
    name = hashlib.sha256(" ".join(packages).encode()).hexdigest()[:12]
    root = BUILT / f"root-{name}"
    BUILT.mkdir(parents=True, exist_ok=True)
    # Tests run in several processes, of which the first makes it and the others wait.
    with (BUILT / f"{root.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (root / ".ready").exists():
            shutil.rmtree(root, ignore_errors=True)
            subprocess.run(
                [
                    *("debootstrap", "--variant=minbase", f"--include={','.join(packages)}"),
                    *("bookworm", str(root), "http://deb.debian.org/debian"),
                ],
                check=True,
                capture_output=True,
                timeout=600,
            )
            (root / "root").chmod(0o755)
            (root / ".ready").touch()
    return root


@dataclass(frozen=True)
class Container:
    """A system and how programs are run in it: with a read-only root and no network.

    Parameters
    ----------
    root
        Its folder.
    mounts
        Folders and files of this machine, by where they appear.
    environment
        All variables that programs get.
    home
        Working directory, in memory and writable; `/` for none.
    network
        Name of a network namespace, or empty for one without any network.
    user
        Number of the user, in a group of the same number.
    """

    root: Path
    mounts: Mapping[str, Path] = field(default_factory=dict)
    environment: Mapping[str, str] = field(default_factory=dict)
    home: str = "/tmp"
    network: str = ""
    user: int = USER

    def command(self, *words: str | Path) -> list[str]:
        """What runs a program in it."""
        apart = ["unshare", "--mount", "--pid", "--fork", "--kill-child", "--propagation=private"]
        inside = ["ip", "netns", "exec", self.network] if self.network else []
        mounts = [str(word) for at, source in self.mounts.items() for word in (source, at)]
        home = self.home if self.home not in ("/", "/tmp") else "/"
        variables = [f"{name}={value}" for name, value in self.environment.items()]
        user = f"--userspec={self.user}:{self.user}"
        return [
            *(*inside, *apart, *([] if self.network else ["--net"])),
            *("bash", "-euc", ENTER, "enter", str(self.root), home, *mounts, "--"),
            *("chroot", user, "--groups=", str(self.root)),
            *("env", "-i", "-C", self.home, *variables, *map(str, words)),
        ]

    def run(self, *words: str | Path, timeout: float = 250) -> subprocess.CompletedProcess[str]:
        """Run a program to its end."""
        return subprocess.run(
            self.command(*words), capture_output=True, text=True, timeout=timeout, check=False
        )
