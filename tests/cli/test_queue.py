"""``tdmx queue`` through the real executable."""

from __future__ import annotations

import csv
import fcntl
import json
import os
import pty
import re
import select
import struct
import subprocess
import termios
import time
from pathlib import Path

import pytest

from tdmx_dask import JobQueue
from tdmx_dask.cli.main import main
from tests.cli.conftest import TDMX

SQRT = ("function=math:sqrt", "items=[1, 4, 9]")
PTA = """
draws: draws.csv
regimens: [1000 mg q8h inf 3h]
targets: T>MIC >= 50%
mic: [1, 4]
"""


def pairs(*texts: str) -> list[str]:
    return [part for text in texts for part in ("-s", text)]


@pytest.fixture
def submit(tdmx):
    """Submit, and return the ids."""

    def call(*arguments: str) -> list[int]:
        done = tdmx("queue", "submit", *arguments)
        assert done.returncode == 0, done.stderr
        return [int(line) for line in done.stdout.split()]

    return call


@pytest.fixture
def queued(tmp_path):
    """A queue with one job that waits to be run, in the folder where the commands look by themselves."""
    with JobQueue(0, False, folder=tmp_path / "queue") as queue:
        return queue.submit(
            "batch_processing", {"function": "math:sqrt", "items": [1, 4, 9]}, group="a ward with a long name"
        )


@pytest.fixture
def said(tmp_path, monkeypatch, capfd):
    """What a command of the queue prints, in this process."""
    monkeypatch.chdir(tmp_path)

    def call(*arguments: str) -> str:
        code = main(["queue", *arguments])
        stdout, stderr = capfd.readouterr()
        assert code == 0, stderr
        return stdout

    return call


def test_queue__from_submit_to_result(tdmx, submit, said, tmp_path, draws_csv):
    """A batch inline, a PTA from a file; nothing runs until somebody works on the queue."""
    (first,) = submit("batch_processing", *pairs(*SQRT), "--priority", "8", "--group", "ward 3")
    (tmp_path / "pta.yaml").write_text(PTA)
    (second,) = submit("pta_calculation", "pta.yaml", "--after", str(first))
    assert (first, second) == (1, 2)
    listed = json.loads(said("list", "--json"))
    assert {job["id"]: job["state"] for job in listed} == {1: "queued", 2: "waiting"}
    worked = tdmx("queue", "resume", "--max-workers", "2")
    assert worked.returncode == 0, worked.stderr
    assert "2 completed" in worked.stdout
    assert json.loads(said("show", "1", "--result", "--json")) == [1.0, 2.0, 3.0]
    shown = said("show", "1")
    for text in ("job 1", "completed", "math:sqrt over 3 items", "priority   8", "ward 3", "runs on pid"):
        assert text in shown
    said("show", "2", "--csv", "pta.csv")
    with (tmp_path / "pta.csv").open(newline="") as file:
        assert len(list(csv.DictReader(file))) == 2
    stats = json.loads(said("stats", "--json"))
    assert (stats["completed"], stats["failed"]) == (2, 0)
    assert "batch math:sqrt" in said("stats")
    assert "nothing to do" in tdmx("queue", "resume").stdout


def test_submit__from_stdin_and_as_a_list(tdmx, tmp_path):
    text = json.dumps({"function": "math:sqrt", "items": [16]})
    for arguments in (["batch_processing", "-"], ["batch_processing", "-", "--fresh"]):
        done = subprocess.run(
            [TDMX, "queue", "submit", *arguments],
            input=text,
            capture_output=True,
            text=True,
            cwd=tmp_path,
            check=True,
        )
        assert re.fullmatch(r"\d+\n", done.stdout)
        assert "tdmx worker" in done.stderr, "nobody works on it, and that is said"
    (tmp_path / "jobs.yaml").write_text(
        "- {type: batch_processing, priority: 9, spec: {function: math:sqrt, items: [1]}}\n"
        "- {type: batch_processing, spec: {function: math:sqrt, items: [4]}}\n"
    )
    done = tdmx("queue", "submit", "jobs.yaml")
    assert done.stdout.split() == ["3", "4"]
    (tmp_path / "wrong.yaml").write_text(
        "- {type: batch_processing, spec: {function: math:sqrt, items: [1]}}\n"
        "- {type: batch_processing, spec: {function: math:sqrt}}\n"
    )
    assert tdmx("queue", "submit", "wrong.yaml").returncode == 2
    assert len(json.loads(tdmx("queue", "list", "--json").stdout)) == 4, "all or none"


def test_cancel_retry_clear(said, queued):
    def state() -> str:
        return str(json.loads(said("show", str(queued), "--json"))["state"])

    assert said("cancel", str(queued)) == f"job {queued}: cancelled\n"
    assert state() == "cancelled"
    assert json.loads(said("cancel", str(queued), "--json")) == {
        "changed": [],
        "left": {str(queued): "cancelled"},
    }
    assert said("retry", str(queued)) == f"job {queued}: queued again\n"
    assert state() == "queued"
    said("cancel", str(queued))
    assert "removed 1 jobs" in said("clear", "--yes")
    assert json.loads(said("list", "--json")) == []


def test_resume__exit_code_of_a_failure(tdmx, submit):
    submit("batch_processing", *pairs("function=math:sqrt", "items=[-1]"))
    done = tdmx("queue", "resume", "-q")
    assert done.returncode == 5
    assert "math domain error" in done.stdout
    assert "jobs=1 failed" in done.stderr
    assert "Traceback" not in done.stderr
    assert "attempt 1 failed" in tdmx("queue", "show", "1").stdout


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (("submit", "pta_calculation", "nowhere.yaml"), "nowhere.yaml"),
        (("submit", "pta_calculation", "broken.yaml"), "broken.yaml"),
        (("submit", "pta_calculatoin", "-s", "a=1"), "pta_calculation"),
        (("submit", "batch_processing", "-s", "function=math:sqrt"), "spec.items"),
        (("submit", "batch_processing", *pairs(*SQRT), "--priority", "5000"), "priority"),
        (("submit", "batch_processing", *pairs(*SQRT), "--after", "77"), "after=77"),
        (("submit", "batch_processing", *pairs(*SQRT), "--folder", "broken.yaml"), "folder"),
        (("show", "99"), "99"),
        (("show", "one"), "one"),
        (("cancel", "99"), "99"),
        (("list", "--state", "lost"), "lost"),
        (("list", "--folder", "nowhere"), "nowhere"),
        (("watch", "--once", "--folder", "nowhere"), "nowhere"),
        (("stats", "--folder", "broken.yaml"), "broken.yaml"),
    ],
)  # fmt: skip
def test_queue__wrong_input_is_one_line(queued, tmp_path, monkeypatch, capfd, arguments, text):
    (tmp_path / "broken.yaml").write_text("a: [1, 2\nb: }{")
    monkeypatch.chdir(tmp_path)
    assert main(["queue", *arguments]) == 2
    stdout, stderr = capfd.readouterr()
    lines = stderr.splitlines()
    assert len(lines) == 1
    assert lines[0].startswith("error: ")
    assert text in lines[0]
    assert stdout == ""
    assert not (tmp_path / "nowhere").exists(), "those who only read make no queue"


def test_list__into_a_pipe_that_closes(queued, tmp_path):
    done = subprocess.run(
        ["bash", "-c", f"{TDMX} queue list | head -1"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    assert "id" in done.stdout
    assert done.stderr == ""


@pytest.mark.parametrize("columns", [60, 80, 200])
def test_list__fits_its_terminal(tdmx, queued, columns):
    lines = tdmx("queue", "list", COLUMNS=str(columns)).stdout.splitlines()
    assert max(map(len, lines)) <= columns
    assert lines[0].split()[0] == "id"
    assert re.match(r" *1 +batch_processing +.*queued", lines[2])
    assert ("group" in lines[0]) == (columns > 100)


def terminal(tmp_path: Path, columns: int, rows: int, key: bytes) -> tuple[str, int]:
    """What a watch writes to a terminal of this size until a key is pressed, and its exit code."""
    pid, descriptor = pty.fork()
    if pid == 0:
        os.chdir(tmp_path)
        os.execve(TDMX, ["tdmx", "queue", "watch"], {**os.environ, "TERM": "xterm-256color"})  # noqa: S606
    fcntl.ioctl(descriptor, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
    written, pressed, end = b"", False, time.monotonic() + 20
    while time.monotonic() < end:
        if not pressed and b"math:sqrt" in written:
            os.write(descriptor, key)
            pressed = True
        if select.select([descriptor], [], [], 0.1)[0]:
            try:
                written += os.read(descriptor, 65536)
            except OSError:
                break
    os.close(descriptor)
    return written.decode(errors="replace"), os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


@pytest.mark.parametrize(("columns", "rows", "key"), [(80, 24, b"\x03"), (120, 30, b"q")])
def test_watch__on_a_terminal(queued, tmp_path, columns, rows, key):
    written, code = terminal(tmp_path, columns, rows, key)
    assert code == 0, "ending a watch is no failure"
    assert written.count("\x1b[?1049h") == written.count("\x1b[?1049l") == 1, "the screen is given back"
    plain = re.sub(r"\x1b\[[0-9;?]*[A-Za-ln-z]", "\n", re.sub(r"\x1b\[[0-9;]*m", "", written))
    assert "1 queued" in plain
    assert "math:sqrt over 3 items" in plain
    assert "0/1" in plain
    assert max(map(len, plain.splitlines())) <= columns
    assert "Traceback" not in plain


def test_watch__once_and_without_a_terminal(tdmx, queued):
    assert "1 queued" in tdmx("queue", "watch", "--once").stdout
    tdmx("queue", "resume", "-q")
    done = tdmx("queue", "watch", "--until-done")
    assert done.returncode == 0
    assert "1 completed" in done.stdout
