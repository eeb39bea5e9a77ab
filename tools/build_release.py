"""Build the source archive of a release, and of that the wheel: the same bytes for the same commit.

python tools/build_release.py [OUT]

The time that files carry is that of the commit, or `SOURCE_DATE_EPOCH` where that is set.
"""

from __future__ import annotations

import gzip
import io
import os
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def build_release(source: Path, out: Path, epoch: int) -> tuple[Path, Path]:
    """Build both, and return their paths.

    Parameters
    ----------
    source
        Folder of the project. Building leaves files there, so give a copy of a checkout.
    out
        Folder for both.
    epoch
        Seconds since 1970 that all files carry.
    """
    archive = build("sdist", source, out, epoch)
    archive.write_bytes(settled(archive.read_bytes(), epoch))
    with tempfile.TemporaryDirectory() as folder:
        with tarfile.open(archive) as files:
            files.extractall(folder, filter="data")
        (unpacked,) = Path(folder).iterdir()
        return archive, build("wheel", unpacked, out, epoch)


def build(what: str, source: Path, out: Path, epoch: int) -> Path:
    """Let setuptools build a `wheel` or an `sdist`, without a network."""
    out.mkdir(parents=True, exist_ok=True)
    program = f"from setuptools import build_meta; print(build_meta.build_{what}({str(out)!r}))"
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=source,
        env=os.environ | {"SOURCE_DATE_EPOCH": str(epoch)},
        capture_output=True,
        text=True,
    )
    if done.returncode:
        raise RuntimeError(done.stderr)
    return out / done.stdout.split()[-1]


def settled(archive: bytes, epoch: int) -> bytes:
    """A source archive without what differs from build to build: times, owners, order."""
    settled_tar, packed = io.BytesIO(), io.BytesIO()
    with (
        tarfile.open(fileobj=io.BytesIO(archive)) as before,
        tarfile.open(fileobj=settled_tar, mode="w", format=tarfile.PAX_FORMAT) as after,
    ):
        for member in sorted(before, key=lambda member: member.name):
            member.mtime, member.uid, member.gid = epoch, 0, 0
            member.uname = member.gname = ""
            member.mode = 0o755 if member.isdir() or member.mode & 0o100 else 0o644
            member.pax_headers = {}
            after.addfile(member, before.extractfile(member) if member.isfile() else None)
    with gzip.GzipFile("", "wb", fileobj=packed, mtime=epoch) as compressed:
        compressed.write(settled_tar.getvalue())
    return packed.getvalue()


def main() -> None:
    """Build a release of the last commit."""
    out = Path(sys.argv[1] if len(sys.argv) > 1 else "dist").resolve()
    git = ["git", "-C", str(ROOT)]
    told = subprocess.run([*git, "log", "-1", "--format=%ct"], check=True, capture_output=True)
    epoch = int(os.environ.get("SOURCE_DATE_EPOCH") or told.stdout)
    with tempfile.TemporaryDirectory() as folder:
        files = subprocess.run([*git, "archive", "HEAD"], check=True, capture_output=True).stdout
        with tarfile.open(fileobj=io.BytesIO(files)) as checkout:
            checkout.extractall(folder, filter="data")
        for path in build_release(Path(folder), out, epoch):
            print(path)


if __name__ == "__main__":
    main()
