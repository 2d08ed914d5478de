"""``tdmx cluster`` through the real executable, and what it prints."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import re
import select
import signal
import struct
import subprocess
import termios
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import dask.config
import pytest

from tdmx_dask.cli.cluster_options import options_of, read_range, read_time
from tdmx_dask.cli.cluster_tables import frame, line, pools_table
from tdmx_dask.cli.main import main
from tdmx_dask.clusters.engine import BatchJob
from tdmx_dask.clusters.pool_look import WorkerLook
from tdmx_dask.clusters.progress import Work
from tdmx_dask.errors import InputError
from tests.cli.conftest import TDMX


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A user's folder of records."""
    return tmp_path_factory.mktemp("site") / "pools"


@pytest.fixture(scope="module")
def shell(site: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """The command in a process of its own."""

    def call(*arguments: str, **more: str) -> subprocess.CompletedProcess[str]:
        env = {key: value for key, value in os.environ.items() if key not in ("COLUMNS", "NO_COLOR", "TERM")}
        return subprocess.run(
            [TDMX, *arguments], env={**env, "DASK_TDMX__POOLS_FOLDER": str(site), **more}, capture_output=True,
            text=True, timeout=120, check=False, cwd=site.parent,
        )  # fmt: skip

    return call


@pytest.fixture(scope="module")
def started(shell: Callable[..., subprocess.CompletedProcess[str]]) -> Iterator[str]:
    """What was said when the cluster `small` was started."""
    done = shell(
        "cluster",
        "start",
        "local",
        "--name",
        "small",
        "--jobs",
        "1",
        "-o",
        "threads-per-worker=1",
        "-o",
        "dashboard_port=0",
    )
    assert done.returncode == 0, done.stderr
    yield done.stdout
    assert shell("cluster", "stop", "small", "--force").returncode == 0


@pytest.fixture
def said(
    site: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> Callable[..., tuple[int, str, str]]:
    """Exit code, stdout and stderr of the command, in this process."""
    monkeypatch.delenv("COLUMNS", raising=False)

    def call(*arguments: str) -> tuple[int, str, str]:
        with dask.config.set({"tdmx.pools-folder": str(site)}):
            code = main(["cluster", *arguments])
        return code, *capfd.readouterr()

    return call


def test_cluster__says_how_to_use_it(started, site):
    lines = dict(re.split(r" {2,}", row.strip(), maxsplit=1) for row in started.splitlines()[1:])
    assert re.match(r"cluster small \(local\) runs on .*, pid \d+\n", started)
    assert lines["use it"] == "tdmx run STUDY --on small"
    assert lines["in Python"] == 'tdmx.pta(draws, …, on="small")'
    assert lines["end it"] == "tdmx cluster stop small"
    port = re.fullmatch(r"http://127\.0\.0\.1:(\d+)/status", lines["dashboard"])[1]
    assert lines["page"] == f"http://127.0.0.1:{port}/tdmx"
    assert re.fullmatch(rf"ssh -L {port}:127\.0\.0\.1:{port} \S+", lines["from afar"])
    assert Path(lines["log"]) == site / "small" / "log"


def test_cluster__another_command_computes_on_it(started, shell, said, draws_csv):
    question = ("-r", "1000 mg q8h inf 3h", "-t", "T>MIC >= 50%", "--mic", "1,4", "--json")
    on = shell("pta", str(draws_csv), *question, "--on", "small")
    here = shell("pta", str(draws_csv), *question, "--run", "direct")
    assert on.returncode == here.returncode == 0, on.stderr
    found, expected = json.loads(on.stdout), json.loads(here.stdout)
    differ = {key for key in expected if found[key] != expected[key]}
    assert "pta" not in differ


def test_cluster__status_list_scale(started, said):
    code, out, _ = said("status", "small", "--json")
    now = json.loads(out)
    assert code == 0
    assert (now["name"], now["kind"], now["state"], now["healthy"]) == ("small", "local", "running", True)
    assert [worker["threads"] for worker in now["workers"]] == [1]
    assert "PRIVATE KEY" not in out
    assert said("scale", "small", "2")[1] == "cluster small was asked for 2 workers\n"
    end = time.monotonic() + 20
    while len(json.loads(said("status", "small", "--json")[1])["workers"]) < 2:
        assert time.monotonic() < end
    code, out, _ = said("status", "small")
    assert code == 0
    assert re.search(r"cluster small: local, on .*, pid \d+, for [\d.]+ (s|min)", out)
    assert re.search(
        r"workers +2 with 2 threads, [\d.]+ MiB of [\d.]+ GiB used; [\d.]+ GiB more for fits", out
    )
    assert re.search(r"tasks +none", out)
    assert all(len(row) <= 120 for row in out.splitlines())
    for arguments in (("list",), ("status",)):
        code, out, _ = said(*arguments)
        assert code == 0
        assert re.search(r"^small +local +running +2 +\S+ +[\d.]+ \S+ +http://127", out, re.MULTILINE)
    (listed,) = json.loads(said("list", "--json")[1])
    assert (listed["name"], listed["workers"]) == ("small", 2)
    assert (
        said("scale", "small", "1..1")[1] == "cluster small was asked for 1 to 1 workers, as the work needs\n"
    )
    assert said("scale", "small", "1")[1] == "cluster small was asked for 1 worker\n"


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (
            ("start", "local", "--name", "small"),
            2,
            r"name=small: a cluster of this name runs on .*--on small",
        ),
        (("start", "slurm", "--adapt", "3"), 2, r"--adapt=3: a range is MIN\.\.MAX"),
        (("start", "local", "--idle-after", "soon"), 2, "--idle-after=soon: a time is a number of s"),
        (("start", "local", "-o", "cores"), 2, "--option=cores: it is key=value"),
        (("start", "locl"), 2, r"cluster=locl: there is no such profile.*local"),
        (
            ("scale", "small", "many"),
            2,
            "workers=many: a number of workers is a whole number >= 0, or a range",
        ),
        (("scale", "smal", "1"), 2, r"name=smal: no cluster of this name was started\. There are: small\."),
        (("status", "smal"), 2, r"name=smal: no cluster of this name was started"),
        (("status", "--watch"), 2, "--watch=given: one cluster is watched"),
        (("status", "small", "--watch", "--json"), 2, "--watch=given: JSON is printed once"),
        (("status", "tls://127.0.0.1:1"), 4, "on=tls://127.0.0.1:1: "),
        (("script", "local"), 2, "profile=local: workers of kind local are no jobs"),
        (("script", "slurm", "-o", "quue=long"), 2, r"slurm\.quue=long: .*Did you mean queue\?"),
        (("stop", "a/b"), 2, "name=a/b: a cluster's name is"),
    ],
)
def test_cluster__refuses(started, said, arguments, code, message):
    found, out, err = said(*arguments)
    assert (found, out) == (code, "")
    assert re.search(message, err)
    assert len(err.splitlines()) == 1


def test_cluster__status_of_what_can_never_run(started, said, site):
    from tdmx_dask.api.pools import find

    with dask.config.set({"tdmx.pools-folder": str(site)}), find("small") as joined:
        future = joined.client.submit(sum, [1, 2], resources={"MEM": 1e12}, key="tdmx-fit-1")
        end = time.monotonic() + 10
        while (now := said("status", "small"))[0] == 0 and time.monotonic() < end:
            time.sleep(0.05)
        code, plain, _ = said("status", "small", "--json")
        future.cancel()
    assert (now[0], code) == (4, 4)
    assert "1 without a worker" in now[1]
    assert (
        "1 task tdmx-fit can never run: each asks for MEM=1e+12 MB, and no worker has more than"
        in " ".join(now[1].split())
    )
    assert json.loads(plain)["healthy"] is False
    assert len(json.loads(plain)["stuck"]) == 1


def test_cluster__watched_on_a_terminal(started, site):
    """It fits into the window, and q ends it."""
    main_end, child_end = pty.openpty()
    fcntl.ioctl(child_end, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    env = {**os.environ, "TERM": "xterm", "DASK_TDMX__POOLS_FOLDER": str(site)}
    env.pop("COLUMNS", None)
    process = subprocess.Popen(
        [TDMX, "cluster", "status", "small", "--watch"],
        stdin=child_end,
        stdout=child_end,
        stderr=child_end,
        env=env,
    )
    os.close(child_end)
    text, end = "", time.monotonic() + 20
    while text.count("cluster small") < 2 and time.monotonic() < end:
        if select.select([main_end], [], [], 0.5)[0]:
            text += os.read(main_end, 65536).decode(errors="replace")
    os.write(main_end, b"q")
    assert process.wait(20) == 0
    os.close(main_end)
    plain = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", re.sub(r"\x1b\[[0-9;]*H", "\n", text))
    assert "workers    1 with 1 thread" in plain
    assert max(len(row.rstrip()) for row in re.split(r"[\r\n]+", plain)) <= 80


def test_cluster__watched_by_nobody(started, site):
    env = {**os.environ, "DASK_TDMX__POOLS_FOLDER": str(site)}
    with subprocess.Popen(
        [TDMX, "cluster", "status", "small", "--watch"], stdout=subprocess.PIPE, env=env, text=True
    ) as process:
        first = process.stdout.readline()
        process.send_signal(signal.SIGINT)
        assert process.wait(20) == 0
    assert re.match(r"\d\d:\d\d:\d\d workers: 1 with 1 thread, .*; tasks: none\n", first)


def test_cluster__from_start_to_stop_and_when_killed(shell, said, site):
    done = shell(
        "cluster", "start", "local", "--name", "brief", "--adapt", "0..2", "-o", "dashboard-port=0", "--json"
    )
    assert done.returncode == 0, done.stderr
    record = json.loads(done.stdout)
    assert (record["state"], record["profile"]) == ("running", "local")
    os.kill(record["pid"], signal.SIGKILL)
    end = time.monotonic() + 20
    while said("list")[1].count("gone") < 1:
        assert time.monotonic() < end
    code, _, err = said("status", "brief")
    assert code == 4
    assert re.search(
        r"error: cluster=brief: it is gone: its process .* ended, and its workers with it\. See .*log", err
    )
    code, out, _ = said("stop", "brief")
    assert (code, out) == (
        0,
        "cluster brief was gone already: its process had ended; what was left of it was cleared\n",
    )
    assert said("stop", "brief")[:2] == (0, "no cluster brief runs\n")


def test_script__is_printed_and_nothing_else(said, tmp_path):
    code, out, err = said(
        "script",
        "slurm",
        "-o",
        "account=1234",
        "-o",
        "prologue=module load a",
        "-o",
        "prologue=module load b",
    )
    assert (code, err) == (0, "")
    assert out.startswith("#!")
    assert "#SBATCH -A 1234\n" in out
    assert "module load a\nmodule load b\n" in out
    assert not out.endswith("\n\n")


def test_list__of_none(said, site, tmp_path):
    with dask.config.set({"tdmx.pools-folder": str(tmp_path / "absent")}):
        pass
    code, out, _ = _in(tmp_path / "absent", said)
    assert (code, out) == (0, "no cluster runs; `tdmx cluster start PROFILE` starts one\n")
    assert not (tmp_path / "absent").exists()


def _in(folder, said):
    from unittest import mock

    with mock.patch("tdmx_dask.api.pools.folder_of_pools", return_value=folder):
        return said("list")


def test_options_of__reads_what_the_option_needs():
    said = ("account=1234", "cores=8", "memory=64 GiB", "walltime=01:30", "queue=null", "directives=--gres=gpu:1",
            "prologue=[module load a, 'b: c']", "fits-share=0.25", "unheard=1")  # fmt: skip
    assert options_of("slurm", said) == {
        "account": "1234", "cores": 8, "memory": "64 GiB", "walltime": "01:30", "queue": None, "directives": ["--gres=gpu:1"],
        "prologue": ["module load a", "b: c"], "fits_share": 0.25, "unheard": "1",
    }  # fmt: skip
    assert options_of("kubernetes", ("node_selector={disk: ssd}",)) == {"node_selector": {"disk": "ssd"}}
    assert options_of("local", ("tls=false", "memory_limit=auto")) == {"tls": False, "memory_limit": "auto"}
    with pytest.raises(InputError, match=r"prologue=.*it is a list or mapping of YAML"):
        options_of("slurm", ("prologue=[a",))
    with pytest.raises(InputError, match="a profile's kind is not replaced"):
        options_of("slurm", ("kind=pbs",))


def test_read_range_and_time():
    assert read_range("x", "0..10") == (0, 10)
    for bad in ("10", "3..1", "0..0", "a..b", "-1..2", "..2"):
        with pytest.raises(InputError, match=r"x=.*: a range is MIN\.\.MAX"):
            read_range("x", bad)
    assert read_time("x", "30min") == 1800
    assert read_time("x", None) is None


def _printed(what: object, width: int, capsys: pytest.CaptureFixture[str]) -> list[str]:
    from rich.console import Console

    Console(width=width, highlight=False).print(what)
    return capsys.readouterr().out.splitlines()


@pytest.mark.parametrize("width", [80, 120])
def test_frame__of_many_workers_and_jobs(width, capsys):
    """Jobs that wait come first, reasons are whole, and it fits."""
    from tdmx_dask.api.pool_status import Status

    workers = tuple(
        WorkerLook(f"slurm-{i}", f"node{i:03d}.cluster.example", 16, 12.5, int(7e9), int(8e9), 8000.0, 16)
        for i in range(300)
    )
    jobs = (
        *(BatchJob(str(1000 + i), f"slurm-{i}", "running", "", f"node{i:03d}", 7000.0) for i in range(300)),
        BatchJob("1300", "slurm-300", "waiting", "Resources, the partition is full of others' jobs"),
    )
    tasks = {"running": 4800, "ready": 95200, "waiting": 0}
    stuck = (
        "3 tasks tdmx-fit can never run: each asks for MEM=64000 MB, and no worker has more than 8000 MB",
    )
    trouble = ("worker slurm-17 is paused: its memory, 7600 of 8000 MB, is nearly full",)
    work = (
        Work("tdmx-pta", "", "", 40, 155, 0, 30.0, 86.25),
        *(Work("tdmx-fit", f"bed {i}", "sampling", 3000, 8000, i, 12.0, 20.0) for i in range(60)),
    )
    now = Status(
        "big", None, "tls://x:1", "http://127.0.0.1:8787/status", workers, tasks, work, jobs, stuck, trouble
    )
    rows = _printed(frame(now, width=width), width, capsys)
    text = "\n".join(rows)
    flat = " ".join(text.split())
    assert "300 with 4,800 threads, 1.91 TiB of 2.18 TiB used; 2.18 TiB more for fits" in flat
    assert "300 running, 1 waiting (Resources" in text
    assert "4,800 running, 95,200 ready" in text
    assert stuck[0] in flat
    assert flat.index(stuck[0]) < flat.index(trouble[0])
    assert all(f"and {n} more" in text for n in (48, 286, 288))  # of what runs, workers, jobs
    assert text.index("1300 ") < text.index("1000 ")
    assert "40 of 155 (25 %)" in text
    assert "3,000 of 8,000 (37 %)" in text
    assert len(rows) < 75
    window = _printed(frame(now, width=width, height=24), width, capsys)
    assert len(window) <= 24
    assert "; tdmx-pta: 40 of 155 (25 %), 86.2 s left; tdmx-fit bed 0: sampling 3,000 of 8,000" in line(now)
    assert line(now).endswith(f"; {stuck[0]}; {trouble[0]}")


def test_pools_table__of_every_state(capsys):
    from tdmx_dask.api.pools import Pool
    from tests.clusters.test_pool import record_of

    states = ("running", "starting", "ending", "gone", "silent", "elsewhere")
    found = [(Pool(record_of(f"pool-{state}"), state), None) for state in states]
    rows = _printed(pools_table(found, width=80), 80, capsys)
    assert len(rows) == len(states) + 2
    assert all(len(row) <= 80 for row in rows)
