"""What a run opens on the network: nothing beyond loopback."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import time
from pathlib import Path

import psutil
import pytest

from tests.cli.conftest import STUDY, TDMX


def _listeners(process: psutil.Process) -> set[tuple[str, int]]:
    """Addresses on which a process and all that it started listen: by `ss -ltn` where it is installed, and by the kernel's tables."""
    found: set[tuple[str, int]] = set()
    pids = set()
    for each in [process, *process.children(recursive=True)]:
        try:
            pids.add(each.pid)
            found |= {
                (c.laddr.ip, c.laddr.port)
                for c in each.net_connections("inet")
                if c.status == psutil.CONN_LISTEN
            }
        except psutil.Error:  # it has just ended
            continue
    if shutil.which("ss"):
        lines = subprocess.run(
            ["ss", "-ltnpH"], capture_output=True, text=True, check=True
        ).stdout.splitlines()
        for line in lines:
            if pids & {int(pid) for pid in re.findall(r"pid=(\d+)", line)}:
                host, _, port = line.split()[3].rpartition(":")
                found.add((host.strip("[]").split("%")[0], int(port)))
    return found


@pytest.mark.parametrize(
    "how", [["--run", "auto"], ["--run", "distributed", "--workers", "2"], ["--on", "local"]]
)
def test_run__listens_on_loopback_alone(tmp_path: Path, how: list[str]) -> None:
    study = tmp_path / "study.yaml"
    study.write_text(STUDY.replace("n: 2048", "n: 1000000"))
    command = [TDMX, "run", str(study), "--out", str(tmp_path / "out"), *how]
    seen: set[tuple[str, int]] = set()
    with psutil.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, env=os.environ.copy()
    ) as running:
        while running.poll() is None:
            seen |= _listeners(running)
            time.sleep(0.05)
        assert running.returncode == 0, running.stderr.read()
    beyond = {address for address in seen if address[0] not in ("127.0.0.1", "::1")}
    assert not beyond
    if how != ["--run", "auto"]:
        assert seen  # a cluster was there, and was looked at
