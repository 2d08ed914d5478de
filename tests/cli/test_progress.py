"""Progress as a terminal and as a pipe get it: bars that leave nothing behind, plain lines, results on stdout alone."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from pathlib import Path

import pytest

from tests.cli.conftest import TDMX

LONG = (
    "-r",
    "1000 mg q8h inf 3h",
    "-t",
    "fT>MIC >= 50%",
    "--fu",
    "0.98",
    "--mic",
    "1..4",
    "--run",
    "threads",
)
LINE = r"\d\d:\d\d:\d\d simulating [\d,]+ of [\d,]+ profiles \(\d+ %\)(, \d+ s left)?"
LAST = r"\d\d:\d\d:\d\d simulating [\d,]+ profiles, took \d+\.\d s"


def on_terminal(arguments: list[str], folder: Path, interrupt: str = "") -> tuple[int, str]:
    """Exit code, and all that a terminal of 80 columns was sent; Ctrl-C comes once `interrupt` is on it."""
    terminal, end = pty.openpty()
    fcntl.ioctl(end, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    env = {key: value for key, value in os.environ.items() if key not in ("COLUMNS", "NO_COLOR")}
    process = subprocess.Popen(
        [TDMX, *arguments], cwd=folder, env={**env, "TERM": "xterm"}, stdin=end, stdout=end, stderr=end,
        start_new_session=True,
    )  # fmt: skip
    os.close(end)
    sent, until = b"", time.monotonic() + 60
    try:
        while time.monotonic() < until:
            if not select.select([terminal], [], [], 0.2)[0]:
                continue
            try:
                read = os.read(terminal, 65536)
            except OSError:  # the other end is closed
                break
            if not read:
                break
            sent += read
            if interrupt and interrupt.encode() in sent:
                os.killpg(process.pid, signal.SIGINT)
                interrupt = ""
        return process.wait(10), sent.decode()
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        os.close(terminal)


def screen(sent: str) -> list[str]:
    """What is on the screen in the end: enough of a terminal for what rich sends."""
    rows, at = [""], 0
    for sign in re.findall(r"\x1b\[[0-9;?]*[A-Za-z]|\r|\n|[^\r\n\x1b]+", sent):
        if sign == "\n":
            at += 1
            rows += [""] * (at + 1 - len(rows))
        elif sign == "\r":
            continue
        elif sign.startswith("\x1b"):
            kind, number = sign[-1], sign[2:-1]
            at -= int(number or 1) if kind == "A" else 0
            if kind == "K":
                rows[at] = ""
            assert kind in "mKA" or sign in ("\x1b[?25h", "\x1b[?25l"), sign
        else:
            rows[at] += sign
    return [row.rstrip() for row in rows]


@pytest.fixture(scope="module")
def draws(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store of 6,000 draws with between-subject variability."""
    import tdmx_dask as tdmx
    from tests.conftest import posterior

    path = tmp_path_factory.mktemp("draws") / "posterior.zarr"
    tdmx.write_draws(posterior(), path)
    return path


def test_terminal__a_bar_that_is_gone_in_the_end(draws, tmp_path):
    code, sent = on_terminal(["pta", str(draws), *LONG, "--subjects", "2000"], tmp_path)
    assert code == 0
    assert "/12,000,000 profiles" in sent
    assert "\x1b[?25l" not in sent, "the cursor stays: a process that is killed cannot show it again"
    shown = screen(sent)
    assert shown[0] == "Probability of target attainment (PTA), %"
    assert "simulating" not in "".join(shown)
    assert max(map(len, shown)) <= 80


@pytest.mark.parametrize(
    ("command", "seen"),
    [
        (["pta", *LONG, "--subjects", "2000000"], "profiles"),
        (["fit", "meropenem_tdm", "--warmup", "500000", "--draws", "500000", "--library", "l"], "chain 1"),
    ],
    ids=["pta", "fit"],
)
def test_terminal__ctrl_c_leaves_it_clean(command, seen, draws, tmp_path):
    given = [command[0], str(draws), *command[1:]] if command[0] == "pta" else command
    code, sent = on_terminal(given, tmp_path, interrupt=seen)
    shown = [row for row in screen(sent) if row]
    assert code == 130, shown
    assert len(shown) == 1, shown
    assert "interrupted" in shown[0]


def test_pipe__plain_lines_on_stderr_and_results_on_stdout(tdmx, draws):
    done = tdmx("pta", str(draws), *LONG, "--subjects", "5000", TERM="xterm-256color", FORCE_COLOR="1")
    assert done.returncode == 0, done.stderr
    lines = done.stderr.splitlines()
    assert 2 <= len(lines) <= 6, lines
    assert all(re.fullmatch(LINE, line) for line in lines[:-1]), lines
    assert re.fullmatch(LAST, lines[-1])
    assert "\x1b" not in done.stderr
    assert "simulating" not in done.stdout
    assert "(PTA), %" in done.stdout


@pytest.mark.parametrize(
    "command",
    [["pta", *LONG, "--subjects", "2000"], ["fit", "meropenem_tdm", "--draws", "9000", "--library", "l"]],
    ids=["pta", "fit"],
)
def test_quiet__no_bar(draws, command, tmp_path):
    given = [command[0], str(draws), *command[1:]] if command[0] == "pta" else command
    code, sent = on_terminal([*given, "-q"], tmp_path)
    assert code == 0
    assert "\x1b[2K" not in sent
    assert bool(sent) == (command[0] == "pta"), "a fit prints nothing but errors then"


def test_quiet__a_queue_says_only_what_failed(tdmx, tmp_path):
    code = (
        "import tdmx_dask as tdmx, sys; q = tdmx.JobQueue(2, folder='queue', cache=False); sys.stdin.read()"
    )
    worker = subprocess.Popen([sys.executable, "-c", code], cwd=tmp_path, stdin=subprocess.PIPE)
    try:
        spec = ("-s", "function=math:sqrt", "-s", "items=[1, 4]")
        good = tdmx("queue", "submit", "batch_processing", *spec, "--wait", "--quiet")
        assert (good.returncode, good.stderr) == (0, "")
        bad = tdmx(
            "queue",
            "submit",
            "batch_processing",
            "-s",
            "function=math:sqrt",
            "-s",
            "items=[-1]",
            "--wait",
            "-q",
        )
        assert bad.returncode == 5
        assert "failed" in bad.stderr
    finally:
        worker.send_signal(signal.SIGINT)
        worker.communicate(timeout=20)
