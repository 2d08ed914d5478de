"""A private SLURM on this machine: munged, slurmctld and two slurmd on 127.0.0.1, started as root without systemd.

`python -m tests.slurm.controller FOLDER` starts one, prints how to reach it, and ends it on Ctrl-C.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil

NODES, CPUS, MEMORY = 2, 4, 6000
TOOLS = ("munged", "slurmctld", "slurmd", "sbatch", "squeue", "scancel", "scontrol")
PATH = os.pathsep.join((os.environ.get("PATH", ""), "/usr/sbin", "/sbin"))

CONFIGURATION = """
ClusterName=tdmx
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={port}
SlurmUser=root
CommunicationParameters=NoInAddrAny,NoCtldInAddrAny
AuthType=auth/munge
CredType=cred/munge
AuthInfo=socket={folder}/munge.sock
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
MpiDefault=none
MailProg=/bin/true
JobAcctGatherType=jobacct_gather/linux
JobAcctGatherFrequency=task=1
JobAcctGatherParams=OverMemoryKill
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU_Memory
DefMemPerCPU=500
SchedulerParameters=sched_interval=1
KillWait=5
JobRequeue=0
ReturnToService=2
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool-%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd-%n.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd-%n.log
SlurmdParameters=config_overrides
{nodes}
PartitionName=main Nodes=ALL Default=YES MaxTime=INFINITE State=UP
PartitionName=closed Nodes=ALL MaxTime=INFINITE State=DOWN
PartitionName=short Nodes=ALL MaxTime=1 State=UP
"""
"""Loopback alone (the host's name must resolve to it); processes followed by /proc, without cgroups and systemd; quick reactions."""


def why_not() -> str:
    """Why no SLURM can run here; empty where one can."""
    if os.getuid() != 0:
        return "SLURM's daemons need root"
    missing = [tool for tool in TOOLS if shutil.which(tool, path=PATH) is None]
    if missing:
        return f"{missing[0]} is missing: apt-get install --no-install-recommends slurm-wlm munge"
    try:
        address = socket.gethostbyname(socket.gethostname().split(".")[0])
    except OSError:
        address = "nothing"
    if not address.startswith("127."):
        return f"SLURM listens where the host's name leads, {address}, and this one must stay on 127.0.0.1 (see /etc/hosts)"
    return ""


class Slurm:
    """A SLURM of our own; a context manager.

    Parameters
    ----------
    folder : for its state; short, for the path of a socket has 108 characters
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.configuration = folder / "slurm.conf"
        self.environment = {"SLURM_CONF": str(self.configuration), "PATH": PATH}
        self._daemons: list[psutil.Process] = []

    def __enter__(self) -> Slurm:
        self.folder.mkdir(parents=True, exist_ok=True)
        self.folder.chmod(0o755)  # munged refuses a folder that a group can write
        (self.folder / "state").mkdir()
        key = self.folder / "munge.key"
        key.write_bytes(os.urandom(128))
        key.chmod(0o600)
        port = _free_ports(NODES + 1)
        host = socket.gethostname().split(".")[0]
        nodes = "\n".join(
            f"NodeName=n{i} NodeHostname={host} NodeAddr=127.0.0.1 Port={port + i} CPUs={CPUS} RealMemory={MEMORY}"
            for i in range(1, NODES + 1)
        )
        self.configuration.write_text(
            CONFIGURATION.format(host=host, port=port, folder=self.folder, nodes=nodes)
        )
        try:
            self._start()
        except BaseException:
            self.__exit__()
            raise
        return self

    def _start(self) -> None:
        here = self.folder
        self._daemon(
            "munged", f"--socket={here}/munge.sock", f"--key-file={here}/munge.key", f"--pid-file={here}/munged.pid",
            f"--seed-file={here}/munge.seed", f"--log-file={here}/munged.log",
        )  # fmt: skip
        until(lambda: (here / "munge.sock").exists(), 10, "munged")
        self._daemon("slurmctld", "-f", str(self.configuration))
        until(lambda: " UP" in self.call("scontrol", "ping", check=False), 20, "slurmctld")
        for i in range(1, NODES + 1):
            (here / f"spool-n{i}").mkdir()
            self._daemon("slurmd", "-f", str(self.configuration), "-N", f"n{i}")

        def ready() -> bool:
            states = self.call("sinfo", "-h", "-p", "main", "-N", "-o", "%T", check=False)
            return states.split().count("idle") == NODES

        until(ready, 20, "slurmd")

    def _daemon(self, name: str, *arguments: str) -> None:
        """Start a daemon, which forks itself; stay out of its pipes."""
        subprocess.run(
            [shutil.which(name, path=PATH) or name, *arguments], check=True, timeout=20,
            env={**os.environ, **self.environment},
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip

    def call(self, *command: str, check: bool = True) -> str:
        """Run one of SLURM's commands against this SLURM and no other."""
        assert self.configuration.exists()
        done = subprocess.run(
            command,
            capture_output=True,
            text=True,
            timeout=20,
            check=check,
            env={**os.environ, **self.environment},
        )
        return done.stdout

    def jobs(self, states: str = "PD,R,CG,CF") -> list[str]:
        """Ids of jobs that live."""
        return self.call("squeue", "-h", "-t", states, "-o", "%A").split()

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(subprocess.SubprocessError, OSError):
            jobs = self.jobs()
            if jobs:
                self.call("scancel", *jobs, check=False)
                with contextlib.suppress(AssertionError):
                    until(lambda: not self.jobs(), 10, "jobs to end")
        for sign in (psutil.Process.terminate, psutil.Process.kill):
            ours = list(self._ours())
            for process in ours:
                with contextlib.suppress(psutil.Error):
                    sign(process)
            psutil.wait_procs(ours, timeout=5)
        shutil.rmtree(self.folder, ignore_errors=True)

    def _ours(self) -> Iterator[psutil.Process]:
        """Daemons and processes of jobs, known by our folder in their command line, or in their environment."""
        me = {os.getpid(), *(parent.pid for parent in psutil.Process().parents())}
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error):
                if process.pid in me:
                    continue
                named = str(self.folder) in " ".join(process.cmdline())
                inside = (
                    process.environ().get("SLURM_CONF") == str(self.configuration)
                    and "SLURM_JOB_ID" in process.environ()
                )
                step = process.name() == "slurmstepd" and process.cwd().startswith(str(self.folder))
                if (named and process.name() in ("munged", "slurmctld", "slurmd")) or inside or step:
                    yield process


def until(true: Callable[[], object], seconds: float, what: str) -> None:
    """Wait until something is so."""
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, f"waited {seconds:g} s for {what}"
        time.sleep(0.1)


def _free_ports(n: int) -> int:
    """The first of n ports in a row that are free."""
    for first in range(17000 + os.getpid() % 1000 * 10, 60000, 10):
        try:
            with contextlib.ExitStack() as stack:
                for port in range(first, first + n):
                    stack.enter_context(socket.socket()).bind(("127.0.0.1", port))
        except OSError:
            continue
        return first
    raise OSError("no free ports")


if __name__ == "__main__":
    if reason := why_not():
        sys.exit(reason)
    with Slurm(Path(sys.argv[1]).resolve()) as slurm, contextlib.suppress(KeyboardInterrupt):
        print(f"export SLURM_CONF={slurm.configuration}", flush=True)
        while True:
            time.sleep(60)
