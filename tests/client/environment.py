"""An environment with the official client, which needs a newer Python than we do.

`python -m tests.client.environment` makes it, or says which Python it lacks.
"""

from __future__ import annotations

import fcntl
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

CLIENT = "geotessera==0.11.0"
APPS = "tessera-apps==0.1.0"
"""Applications that read dClimate's layout."""

OLDEST = (3, 12)
FOLDER = Path(__file__).parents[2] / ".venv-client"
LOCK = FOLDER.parent / "build" / "venv-client.lock"
LACKING = "no Python 3.12 or newer was found, which geotessera 0.11.0 needs"


def find_python() -> str | None:
    """A Python that the client runs on: our own, one on the path, or one that pyenv holds."""
    for candidate in _candidates():
        asked = subprocess.run(
            [candidate, "-c", "import sys; print(*sys.version_info[:2])"],
            capture_output=True,
            text=True,
            check=False,
        )
        if asked.returncode == 0 and tuple(map(int, asked.stdout.split())) >= OLDEST:
            return candidate
    return None


def _candidates() -> Iterator[str]:
    yield sys.executable
    for name in ("python3.12", "python3.13", "python3.14", "python3"):
        if found := shutil.which(name):
            yield found
    for version in sorted(Path.home().glob(".pyenv/versions/3.1[2-9].*")):
        yield str(version / "bin" / "python")


def client_python() -> str | None:
    """The Python of the client's environment, which is made the first time; None if none can be.

    Raises
    ------
    subprocess.CalledProcessError
        If there is a Python but the client cannot be installed.
    """
    LOCK.parent.mkdir(exist_ok=True)
    # Tests run in several processes, of which the first makes it and the others wait.
    with LOCK.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        return _made()


def _made() -> str | None:
    """The Python of the environment, which is made if it is not there."""
    python, ready = FOLDER / "bin" / "python", FOLDER / f".{CLIENT}"
    if not ready.exists():
        base = find_python()
        if base is None:
            return None
        subprocess.run([base, "-m", "venv", "--clear", str(FOLDER)], check=True)
        install = [str(python), "-m", "pip", "install", "--quiet", CLIENT, "pytest"]
        subprocess.run(install, check=True)
        ready.touch()
    apps = FOLDER / f".{APPS}"
    if not apps.exists():
        subprocess.run([str(python), "-m", "pip", "install", "--quiet", APPS], check=True)
        apps.touch()
    return str(python)


if __name__ == "__main__":
    print(client_python() or LACKING)
