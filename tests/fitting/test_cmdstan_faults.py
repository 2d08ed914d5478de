"""What goes wrong with a CmdStan executable, on a real one: kills, crashes, files cut short, positions without a density."""

import fcntl
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from tdmx_dask.errors import FitCancelled, FitError
from tdmx_dask.fitting.children import run_batch
from tdmx_dask.fitting.cmdstan_engine import CmdStanEngine
from tdmx_dask.fitting.engine import ChildKilled, InitialisationFailed
from tdmx_dask.fitting.task import Batch, Sampling, Start
from tdmx_dask.store import scratch
from tests.fitting.prophet_case import EXECUTABLE, prophet_data, prophet_task, script


@pytest.fixture(autouse=True)
def _own_scratch(tmp_path, monkeypatch):
    """Folders of runs lie in a place of the test's own, and none is left."""
    place = tmp_path / "scratch"
    place.mkdir()
    monkeypatch.setattr("tempfile.tempdir", os.fspath(place))
    yield
    assert list(place.glob("tdmx-*")) == []


def run(task, events=None):
    (result,) = CmdStanEngine().run([task], (events if events is not None else []).append)
    return result


def run_elsewhere(tmp_path, *tasks, parallel=1):
    """In child processes, as a fit does it; these look at TMPDIR for themselves, so what they leave is looked at here."""
    return run_batch(Batch(tasks, parallel, "cmdstan"), lambda _: None)


@pytest.mark.alone
def test_cancel__kills_the_executable_at_once(tmp_path):
    mark = tmp_path / "pid"
    slow = script(tmp_path / "slow", f'echo $$ > "{mark}"\nexec "$REAL" "$@"')
    task = prophet_task(executable=slow, sampling=Sampling(1000, 1_000_000))
    cancelled, raised = threading.Event(), []

    def fit():
        try:
            run_batch(Batch((task,), 1, "cmdstan"), lambda _: None, cancelled)
        except FitCancelled as error:
            raised.append(error)

    thread = threading.Thread(target=fit)
    thread.start()
    pid = _wait_for_pid(mark)
    began = time.perf_counter()
    cancelled.set()
    thread.join()
    assert time.perf_counter() - began < 1
    assert raised
    assert _gone(pid)
    assert time.perf_counter() - began < 1


def test_killed_executable__says_so(tmp_path):
    mark = tmp_path / "pid"
    slow = script(tmp_path / "slow", f'echo $$ > "{mark}"\nexec "$REAL" "$@"')
    task = prophet_task(executable=slow, sampling=Sampling(1000, 1_000_000))
    threading.Thread(target=lambda: os.kill(_wait_for_pid(mark), signal.SIGKILL)).start()
    with pytest.raises(
        ChildKilled, match=r"program=prophet: chain 0 \(seed 11\): CmdStan was killed by SIGKILL after"
    ):
        run_batch(Batch((task,), 1, "cmdstan"), lambda _: None)


def test_swept__what_a_killed_run_left(tmp_path):
    place = tmp_path / "scratch"
    left = place / f"tdmx-{os.getuid()}-left"
    for folder in (left, place / f"tdmx-{os.getuid()}-held"):
        folder.mkdir(mode=0o700)
        (folder / "running").touch()
        os.utime(folder, (time.time() - 60,) * 2)
    with (place / f"tdmx-{os.getuid()}-held" / "running").open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        assert scratch.sweep() == 1
        assert not left.exists()
    with scratch.scratch_folder() as folder:
        assert folder.stat().st_mode & 0o777 == 0o700
        assert scratch.sweep() == 1  # the one that was held; not the young one


@pytest.mark.parametrize("approximate", [None, "mode", "pathfinder", "advi"])
def test_initialisation__fails(approximate):
    data = prophet_data(y=[float("nan"), *[0.0] * 59])
    with pytest.raises(
        InitialisationFailed, match=r"chain 0 \(seed 11\).* command: prophet_model.bin method="
    ):
        run(prophet_task(data=data, approximate=approximate))


def test_initialisation__tried_again_in_the_child(tmp_path):
    """The first position has no density; a random one does, and the log says so."""
    bad = Start({"k": 0.0, "m": 0.0, "delta": [0.0] * 5, "sigma_obs": -1.0, "beta": [0.0]})
    (result,) = run_elsewhere(tmp_path, prophet_task(start=bad))
    assert result.attempt == 1
    assert "tried again" in result.log[0]
    np.testing.assert_array_equal(result.draws, run(prophet_task(attempt=1)).draws)


def test_data__that_do_not_fit():
    with pytest.raises(
        FitError, match=r"data of prophet=t: .*ended with 1.*\n  \| Exception: mismatch in dimension"
    ):
        run(prophet_task(data=prophet_data(T=61)))


def test_csv__cut_short_by_a_limit_as_by_a_full_disk(tmp_path):
    """A write that fails: what a full disk does to the program, without a disk to fill."""
    limited = script(tmp_path / "limited", 'trap \'\' XFSZ\nulimit -f 100\nexec "$REAL" "$@"')
    with pytest.raises(
        FitError,
        match=r"its CSV file could not be written and was cut short after \d+ draws; .* MB are free in",
    ):
        run(prophet_task(executable=limited))
    killed = script(tmp_path / "killed", 'ulimit -f 100\nexec "$REAL" "$@"')
    with pytest.raises(FitError, match=r"killed by SIGXFSZ \(a limit of file size\)"):
        run(prophet_task(executable=killed))


@pytest.mark.parametrize(
    ("cut", "message"),
    [
        ("truncate -s -20000 output.csv", "cut short: row"),
        ("head -n 200 output.csv > x; mv x output.csv", "cut short after 1.. of 200 rows"),
        (
            "sed -i '$ d' output.csv; printf '%s' \"$(grep -v '^#' output.csv)\" > output.csv",
            "cut short after 200 of 200",
        ),
        ("rm output.csv", "it wrote no CSV file"),
        ("> output.csv", "no header"),
        ("sed -i 's/^1/x1/' output.csv", "what is no number"),
    ],
)
def test_csv__damaged(tmp_path, cut, message):
    damaged = script(tmp_path / "damaged", f'"$REAL" "$@"\n{cut}')
    with pytest.raises(FitError, match=message):
        run(prophet_task(executable=damaged))


def test_crash__by_a_signal_and_by_a_code(tmp_path):
    aborted = script(tmp_path / "aborted", 'echo "something went wrong"; kill -ABRT $$')
    with pytest.raises(
        FitError,
        match=r"killed by SIGABRT after 0 draws; command: aborted method=(.|\n)*\| something went wrong",
    ):
        run(prophet_task(executable=aborted))
    ended = script(tmp_path / "ended", '"$REAL" "$@" & sleep 0.1; kill -9 $!; wait; exit 134')
    with pytest.raises(FitError, match=r"CmdStan ended with 134 \(SIGABRT\)"):
        run(prophet_task(executable=ended, sampling=Sampling(1000, 1_000_000)))


def test_executable__missing_or_not_to_be_run(tmp_path):
    with pytest.raises(FitError, match="executable=none: CmdStan runs a compiled program"):
        run(prophet_task(executable=None))
    with pytest.raises(FitError, match="there is no such file"):
        run(prophet_task(executable=os.fspath(tmp_path / "nothing")))
    plain = tmp_path / "plain"
    plain.write_bytes(EXECUTABLE.read_bytes())
    plain.chmod(0o644)
    if os.getuid():  # root may run what anybody may run, and here nobody may
        with pytest.raises(FitError, match="it may not be run"):
            run(prophet_task(executable=os.fspath(plain)))
    plain.chmod(0o600)
    with pytest.raises(FitError, match="it may not be run"):
        run(prophet_task(executable=os.fspath(plain)))


def test_executable__for_another_machine(tmp_path):
    other = tmp_path / "other"
    content = bytearray(EXECUTABLE.read_bytes())
    content[18:20] = (0xB7 if content[18] != 0xB7 else 0x3E).to_bytes(2, "little")
    other.write_bytes(content)
    other.chmod(0o755)
    with pytest.raises(
        FitError, match=r"it is a program for .*, and this machine is .*\. Compile it on this machine"
    ):
        run(prophet_task(executable=os.fspath(other)))
    other.write_bytes(b"MZ not ours")
    with pytest.raises(FitError, match="it is no program of this system"):
        run(prophet_task(executable=os.fspath(other)))


def test_executable__that_is_no_cmdstan_program():
    with pytest.raises(FitError, match="asked what it is"):
        run(prophet_task(executable="/bin/false"))


def test_round__without_a_position():
    with pytest.raises(FitError, match="round 1 of chain 0 goes on from the end of the one before"):
        run(prophet_task(round=1, adapt=False))


def test_threads__of_a_program_without(tmp_path):
    result = run(prophet_task(threads=2, sampling=Sampling(50, 10)))
    assert "2 threads were asked for and the program was compiled for one" in result.log


def test_parent_killed__the_executable_dies_with_it(tmp_path):
    """By the kernel alone: no zygote is there to do it."""
    if shutil.which("setpriv") is None:
        pytest.skip("no setpriv: the group of the child is killed by whoever forked it")
    mark = tmp_path / "pid"
    slow = script(tmp_path / "slow", f'echo $$ > "{mark}"\nexec "$REAL" "$@"')
    code = (
        "from tests.fitting.prophet_case import *\n"
        "from tdmx_dask.fitting.cmdstan_engine import CmdStanEngine\n"
        f"task = prophet_task(executable={slow!r}, sampling=Sampling(1000, 1_000_000))\n"
        "CmdStanEngine().run([task], lambda event: None)\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code], env={**os.environ, "TMPDIR": os.fspath(tmp_path)}
    ) as parent:
        pid = _wait_for_pid(mark)
        parent.kill()
        parent.wait()
        assert _gone(pid)


def _wait_for_pid(mark: Path) -> int:
    until = time.monotonic() + 20
    while not (mark.is_file() and mark.read_text().strip()):
        assert time.monotonic() < until
        time.sleep(0.01)
    time.sleep(0.2)
    return int(mark.read_text())


def _gone(pid: int) -> bool:
    until = time.monotonic() + 0.9
    while time.monotonic() < until:
        try:
            if Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z":
                return True
        except OSError:
            return True
        time.sleep(0.01)
    return False
