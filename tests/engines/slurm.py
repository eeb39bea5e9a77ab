"""The real Slurm on this host: munged, a controller, and two nodes that share the machine."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

PROGRAMS = ("munged", "mungekey", "slurmctld", "slurmd", "sbatch", "scontrol", "squeue", "scancel")

CONFIGURATION = """
ClusterName=engines
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={port}
SlurmUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge/socket,cred_expire=5
StateSaveLocation={folder}/state
SlurmctldPidFile={folder}/slurmctld.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdSpoolDir={folder}/spool-%n
SlurmdPidFile={folder}/slurmd-%n.pid
SlurmdLogFile={folder}/slurmd-%n.log
ProctrackType=proctrack/pgid
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SchedulerParameters=batch_sched_delay=0,sched_interval=1,sched_min_interval=0,bf_interval=1
ReturnToService=2
SlurmdTimeout={silent}
KillWait=20
MailProg=/bin/true
NodeName=n1 NodeHostname={host} NodeAddr=127.0.0.1 Port={one} CPUs=1 RealMemory=2000
NodeName=n2 NodeHostname={host} NodeAddr=127.0.0.1 Port={two} CPUs=1 RealMemory=2000
PartitionName=all Nodes=n1,n2 Default=YES MaxTime=INFINITE State=UP
"""

SILENT = 10
"""Seconds without a word after which a node counts as down."""


def missing() -> str:
    """Why there can be no Slurm here; empty where there can."""
    absent = [name for name in PROGRAMS if shutil.which(name, path=PATH) is None]
    if absent:
        return f"no {absent[0]}: apt-get install slurm-wlm munge"
    return "" if os.geteuid() == 0 else "Slurm's daemons are started as root"


PATH = f"{os.environ['PATH']}:/usr/sbin:/sbin"


@dataclass
class Slurm:
    """A cluster of two nodes with one core each.

    Parameters
    ----------
    folder
        Where its configuration, state and logs lie.
    """

    folder: Path
    daemons: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    @property
    def environment(self) -> dict[str, str]:
        """Variables for Slurm's own programs."""
        return {**os.environ, "PATH": PATH, "SLURM_CONF": str(self.folder / "slurm.conf")}

    def start(self) -> None:
        """Start all daemons and wait until both nodes are idle."""
        munge = self.folder / "munge"
        munge.mkdir()
        key = munge / "key"
        subprocess.run(["mungekey", "--create", f"--keyfile={key}"], check=True, env={"PATH": PATH})
        for path in (munge, key):
            shutil.chown(path, "munge", "munge")
        # Everybody has to reach the socket, and pytest's folders are closed.
        for path in (munge, *munge.parents):
            if path != Path("/"):
                path.chmod(path.stat().st_mode | 0o755)
        words = [f"--socket={munge}/socket", f"--key-file={key}", f"--pid-file={munge}/pid"]
        words += [f"--log-file={munge}/log", f"--seed-file={munge}/seed", "--foreground"]
        self._daemon("munged", [*words, "--force"], user="munge")
        self._until(lambda: (munge / "socket").exists(), "munged opens no socket")
        with contextlib.ExitStack() as ports:
            free = [ports.enter_context(socket.socket()) for _ in range(3)]
            for each in free:
                each.bind(("127.0.0.1", 0))
            port, one, two = (each.getsockname()[1] for each in free)
        (self.folder / "state").mkdir()
        host = socket.gethostname().split(".")[0]
        told = CONFIGURATION.format(
            folder=self.folder, host=host, port=port, one=one, two=two, silent=SILENT
        )
        (self.folder / "slurm.conf").write_text(told)
        self._daemon("slurmctld", ["-D"])
        for node in ("n1", "n2"):
            self.start_node(node)
        self._until(lambda: self.ask("sinfo", "-h", "-t", "idle", "-o%D") == "2", "no idle nodes")

    def start_node(self, node: str) -> None:
        """Start the daemon of a node."""
        self._daemon("slurmd", ["-D", "-N", node], name=node)

    def kill_node(self, node: str) -> None:
        """Let a node die, with all that it was at."""
        self.daemons.pop(node).kill()
        # Who would tell the controller how a task ended dies first.
        tasks = [each for each in processes() if f"SLURMD_NODENAME={node}".encode() in each.words]
        others = {each.pid: each for each in processes()}
        steps = {
            t.parent
            for t in tasks
            if t.parent in others and others[t.parent].words[0].startswith(b"slurmstepd")
        }
        for pid in (*steps, *(task.pid for task in tasks)):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, 9)

    def stop(self) -> None:
        """Cancel all jobs and stop all daemons."""
        subprocess.run(["scancel", "--user=root"], env=self.environment, check=False)
        with contextlib.suppress(AssertionError):
            self.wait_for_jobs(30)
        for daemon in reversed(self.daemons.values()):
            daemon.terminate()
        for daemon in self.daemons.values():
            daemon.wait(30)

    def ask(self, *words: str) -> str:
        """What one of Slurm's programs says."""
        done = subprocess.run(words, env=self.environment, capture_output=True, text=True)
        return done.stdout.strip()

    def wait_for_jobs(self, seconds: float = 300) -> None:
        """Wait until no job is queued or at work."""
        self._until(lambda: not self.ask("squeue", "-h"), "jobs do not end", seconds)

    def job(self, number: str) -> dict[str, str]:
        """What the controller knows of a job or of a task of an array."""
        told = self.ask("scontrol", "-o", "show", "job", number)
        return dict(word.split("=", 1) for word in told.split() if "=" in word)

    def wait_for(self, condition: Callable[[], bool], seconds: float = 120) -> None:
        """Wait for something to happen."""
        self._until(condition, "what was waited for did not happen", seconds)

    def _daemon(self, program: str, words: list[str], name: str = "", user: str = "root") -> None:
        path = shutil.which(program, path=PATH)
        assert path is not None
        with (self.folder / f"{name or program}.out").open("wb") as out:
            self.daemons[name or program] = subprocess.Popen(
                [path, *words], stdout=out, stderr=out, env=self.environment, user=user, group=user
            )

    def _until(self, condition: Callable[[], bool], said: str, seconds: float = 60) -> None:
        deadline = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < deadline, f"{said}: {self.ask('squeue')} {self.folder}"
            time.sleep(0.3)


@dataclass(frozen=True)
class Process:
    """A process of this machine, with the words and the environment that it was started with."""

    pid: int
    parent: int
    words: list[bytes]


def processes() -> Iterator[Process]:
    """The processes of this machine."""
    for path in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            words = (path / "cmdline").read_bytes() + (path / "environ").read_bytes()
            stat = (path / "stat").read_text().rpartition(")")[2].split()
            yield Process(int(path.name), int(stat[1]), words.split(b"\0"))


@contextlib.contextmanager
def slurm_here(folder: Path) -> Iterator[Slurm]:
    """A cluster for as long as the block lasts."""
    cluster = Slurm(folder)
    try:
        cluster.start()
        yield cluster
    finally:
        cluster.stop()
