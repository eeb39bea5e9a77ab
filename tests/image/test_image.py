"""The image, built by the project's own script on stand-ins for its base images, and run.

Containers have its user, a read-only root, and what its configuration says. `TESSERA_IMAGE=NAME`
takes one that was built before.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from tests import jobs
from tests.deploy.services import services
from tests.deploy.test_worker_start import OPTIONS
from tests.engines.prism import PRISM
from tests.engines.prism import missing as prism_missing
from tests.image.networks import FAR, NEAR, cable, forwarded, namespace, wait_for
from tests.image.roots import ROOT, USER, Container
from tests.image.stand_ins import build, configuration, missing, unpacked

pytestmark = [
    pytest.mark.image,
    pytest.mark.skipif(bool(missing()), reason=missing()),
    pytest.mark.timeout(3600),
]

POOL_PORT, JOB_PORT = 50000, 8073
"""Of a worker pool, as Beam's boot has it, and of Prism."""

STUB = "int cuInit(unsigned int flags) { return 100; }\n"
"""A driver as far as a linker can tell: 100 is CUDA_ERROR_NO_DEVICE."""


@dataclass(frozen=True)
class Image:
    """An image that was built, unpacked.

    Parameters
    ----------
    container
        What runs programs in it.
    config
        What it says of itself.
    """

    container: Container
    config: dict[str, Any]

    @property
    def entry_point(self) -> list[str]:
        """The command that a container starts with."""
        return list(self.config["Entrypoint"])


@pytest.fixture(scope="module")
def image() -> Iterator[Image]:
    name = os.environ.get("TESSERA_IMAGE") or build()
    config = configuration(name)
    variables = dict(word.split("=", 1) for word in config["Env"])
    home = config["WorkingDir"]
    assert config["User"] == str(USER)
    with unpacked(name) as (root, _):
        environment = {"HOME": home, "NO_GCE_CHECK": "true", **variables}
        yield Image(Container(root, {}, environment, home), config)


def stop(process: subprocess.Popen[str]) -> None:
    """End all that runs in a container: its first process, and with it the others."""
    for pid in jobs.descendants(process.pid):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def but_for_versions(store: Path) -> dict[str, Any]:
    """All that a store holds, but for the versions of Python and packages in records."""
    return {
        key: {name: each for name, each in value.items() if name != "software"}
        if isinstance(value, dict)
        else value
        for key, value in jobs.contents(store).items()
    }


def open_to_all(*folders: Path) -> dict[str, Path]:
    """Folders of this machine that containers have under the same names."""
    for folder in folders:
        folder.chmod(0o777)
    return {str(folder): folder for folder in folders}


def test_all_modules_import(image: Image) -> None:
    done = image.container.run("python", "/template/check_imports.py")
    assert done.returncode == 0, done.stderr
    print(done.stdout)


def test_nothing_is_installed_that_is_not_pinned(image: Image) -> None:
    done = image.container.run("pip", "list", "--format=json")
    pins = {
        line.lower().replace("_", "-")
        for line in (ROOT / "constraints.txt").read_text().splitlines()
        if "==" in line
    }
    assert done.returncode == 0, done.stderr
    found = {
        f"{each['name']}=={each['version']}".lower().replace("_", "-")
        for each in json.loads(done.stdout)
    }
    assert {line.partition("==")[0] for line in found - pins} == {"tessera-mosaic"}


def test_sources_are_compiled_and_not_looked_at(image: Image) -> None:
    [packages] = image.container.root.glob("usr/local/lib/python3.*/site-packages")
    for module in ("torch", "apache_beam", "tessera_mosaic", "numpy"):
        [bytecode] = packages.glob(f"{module}/__pycache__/__init__.*.pyc")
        assert bytecode.read_bytes()[4:8] == b"\x01\x00\x00\x00", module
    assert list(packages.parent.glob("__pycache__/json.*")) or list(
        packages.parent.glob("json/__pycache__/__init__.*.pyc")
    )


def test_what_loads_kernels_is_built_against_the_driver(image: Image, tmp_path: Path) -> None:
    """By the compiler that is in the image, and where the host mounts the driver."""
    driver = tmp_path / "libcuda.so.1"
    (tmp_path / "stub.c").write_text(STUB)
    command = ["gcc", "-shared", "-fPIC", "-Wl,-soname,libcuda.so.1", tmp_path / "stub.c"]
    subprocess.run([*command, "-o", driver], check=True)
    mounted = replace(image.container, mounts={"/usr/local/nvidia/lib64": tmp_path})
    open_to_all(tmp_path)
    found = mounted.run(
        "python", "-c", "import ctypes; print(ctypes.CDLL('libcuda.so.1').cuInit(0))"
    )
    assert found.stdout == "100\n", found.stderr
    program = "from triton.backends.nvidia import driver as d; from triton.runtime import build; "
    program += "print(build._build('x', '/tmp/x.c', '/tmp', d.library_dirs(), d.include_dirs, "
    program += "['libcuda.so.1'], []))"
    source = "printf '#include <cuda.h>\\n#include <Python.h>\\n' >/tmp/x.c; exec \"$@\""
    built = mounted.run("bash", "-c", source, "bash", "python", "-c", program)
    assert built.returncode == 0, built.stderr
    assert built.stdout.startswith("/tmp/x.")


def test_no_library_names_what_was_taken_out(image: Image) -> None:
    """Neither linked to nor loaded by name; profilers, which look for counters, are no matter."""
    taken = ["libcusolverMg.so.12", "libcufftw.so.12", "libnvblas.so.13", "libnvrtc.alt.so.13"]
    words = [word for name in taken for word in ("-e", name)]
    packages = image.container.root / "usr" / "local" / "lib"
    command = ["grep", "-rlF", "--include=*.so*", *words, str(packages)]
    found = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (found.returncode, found.stdout) == (1, "")


def test_the_demo_runs(image: Image, tmp_path: Path) -> None:
    shared = replace(image.container, mounts=open_to_all(tmp_path))
    words = [*image.entry_point, "tessera-mosaic", "demo", "--out", tmp_path / "demo", "--json"]
    done = shared.run(*words, timeout=900)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["done"]


def test_whoever_has_no_name_runs_it(image: Image) -> None:
    """Somebody whom the image does not know, in a place where nothing can be written."""
    nobody = replace(image.container, user=54321, home="/")
    program = "import getpass, os, pathlib; pathlib.Path('written').touch(); "
    program += "print(os.getcwd(), getpass.getuser())"
    done = nobody.run(*image.entry_point, "python", "-c", program)
    assert done.stdout == "/tmp tessera\n", done.stderr
    worker = nobody.run(*image.entry_point, "--id=sdk-0-0")
    assert worker.returncode == 1
    assert worker.stderr.startswith("boot: user 54321 does not stand in /etc/passwd")


@pytest.mark.parametrize("user", [USER, 0])
def test_a_worker_starts_as_dataflow_starts_it(image: Image, user: int, tmp_path: Path) -> None:
    """No package is installed, no environment made, and the options pass through."""
    (tmp_path / "google").mkdir()
    open_to_all(tmp_path / "google")
    mounts = {"/var/opt/google": tmp_path / "google"}
    with namespace("tessera-df") as name, cable("", name), services(OPTIONS, NEAR) as runner:
        worker = replace(image.container, mounts=mounts, network=name, user=user)
        words = worker.command(*image.entry_point, *runner.command_line)
        with subprocess.Popen(words, stderr=subprocess.PIPE, text=True) as process:
            try:
                ready = runner.ready.wait(120)
            finally:
                stop(process)
            said = process.communicate()[1]
    assert ready, (said, runner.logs)
    told = "\n".join(runner.logs)
    assert "no_use_multiple_sdk_containers" in told
    assert not re.search("pip install|Installing (?!user dependencies)|[Vv]irtual env", said + told)
    assert not list((tmp_path / "google").rglob("pyvenv.cfg"))


@pytest.mark.skipif(bool(prism_missing()), reason=prism_missing())
def test_a_job_between_two_networks_makes_the_same_store(
    image: Image, archive: Path, finished: Path, tmp_path: Path
) -> None:
    """Launcher and Prism in one network, the worker pool of the entry point in another."""
    mounts = open_to_all(archive.parent, tmp_path)
    for folder in (*archive.parent.parents, *tmp_path.parents):
        if folder.name.startswith("pytest-"):
            folder.chmod(0o755)
    shared = replace(image.container, mounts={**mounts, "/prism": PRISM})
    with (
        namespace("tessera-near") as near,
        namespace("tessera-far") as far,
        cable(near, far),
        forwarded(far, JOB_PORT, NEAR),
    ):
        pool = replace(shared, network=far).command(*image.entry_point, "--worker_pool")
        with subprocess.Popen(pool, stderr=subprocess.PIPE, text=True) as process:
            try:
                wait_for(near, FAR, POOL_PORT)
                words = [
                    *("--runner=prism", "--prism_location=/prism", f"--job_port={JOB_PORT}"),
                    *("--environment_type=EXTERNAL", f"--environment_config={FAR}:{POOL_PORT}"),
                ]
                job = jobs.options(archive, tmp_path / "store", *words)
                launcher = replace(shared, network=near)
                done = launcher.run(*image.entry_point, "tessera-mosaic", *job, timeout=600)
            finally:
                stop(process)
            said = process.communicate()[1]
    assert done.returncode == 0, (done.stderr, said)
    assert but_for_versions(tmp_path / "store") == but_for_versions(finished)
