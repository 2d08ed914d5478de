"""What the commands print and write, through the real executable."""

from __future__ import annotations

import json
import os
import pty
import re
import signal
import subprocess
import time
from pathlib import Path

import pytest

from tdmx_dask.cli.exits import CODES, guarded
from tdmx_dask.errors import ClusterError, StoreError
from tests.cli.conftest import STUDY, TDMX

NOTICE = "Research use only. Not a medical device."


def ok(done) -> str:
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_help__examples_and_codes(tdmx):
    text = ok(tdmx("--help"))
    assert "tdmx run meropenem_sepsis" in text
    assert all(f"{code}  {meaning}" in text for code, meaning in CODES.items())
    assert NOTICE in text
    assert "\b" not in text


@pytest.mark.parametrize(
    "command",
    ["run", "pta", "cfr", "draws", "draws import", "draws info", "draws export", "studies", "study check", "study copy", "bench"],
)  # fmt: skip
def test_help__of_each(tdmx, command):
    text = ok(tdmx(*command.split(), "--help"))
    assert "Examples:" in text
    assert f"tdmx {command.split()[0]}" in text


def test_help__is_light():
    code = "import sys; from tdmx_dask.cli.main import main; code = main(['--help']); " \
        "print(code, [name for name in ('numpy', 'rich', 'dask', 'xarray') if name in sys.modules])"  # fmt: skip
    done = subprocess.run(
        [str(Path(TDMX).with_name("python")), "-c", code], capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines()[-1] == "0 []"


def test_run__prints_tables(tdmx, study_file):
    done = tdmx("run", "small.yaml")
    text = ok(done)
    assert done.stderr == ""
    assert re.search(r"low +1000 mg q8h inf 0\.5h +100\* +100\* ", text)
    assert "* = 90 % or more" in text
    assert "break point" in text or "point" in text
    assert "ILLUSTRATIVE" in text
    assert "95 % Monte-Carlo interval" in text
    assert "2,048 virtual patients, seed 0" in text
    assert "Results: results/small" in text
    assert text.rstrip().endswith(NOTICE)
    assert "\x1b" not in text
    assert max(map(len, text.splitlines())) <= 120


def test_run__fits_a_narrow_screen(tdmx, study_file):
    text = ok(tdmx("run", "small.yaml", COLUMNS="60"))
    assert max(len(line.rstrip()) for line in text.splitlines() if not line.startswith("Results")) <= 60


def test_run__quiet(tdmx, study_file):
    done = tdmx("run", "small.yaml", "--quiet", "--out", "a/b")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert (study_file.parent / "a" / "b" / "report.html").is_file()


def test_run__says_that_fu_was_assumed(tdmx, tmp_path):
    (tmp_path / "s.yaml").write_text(STUDY.replace("fu: 0.98\n", ""))
    done = tdmx("run", "s.yaml")
    assert "Unbound fraction: fu = 1 assumed" in ok(done)
    assert done.stderr.startswith("note: fu = 1 assumed")
    assert "fu = 1 assumed" in json.loads((tmp_path / "results/small/run.json").read_text())["notes"][0]


def test_run__prints_the_deviation(tdmx):
    text = ok(tdmx("run", "meropenem_sepsis"))
    assert "54 of 54 cells are within the tolerance" in text
    assert "Computed less published PTA, percentage points" in text


def on_terminal(arguments: list[str], cwd: Path, **env: str) -> str:
    """What a command prints on a terminal of 100 columns."""
    leader, follower = pty.openpty()
    plain = {key: value for key, value in os.environ.items() if key != "NO_COLOR"}
    with subprocess.Popen(
        [TDMX, *arguments],
        cwd=cwd,
        stdout=follower,
        stderr=subprocess.DEVNULL,
        env={**plain, "TERM": "xterm-256color", **env},
    ) as process:
        os.close(follower)
        parts = []
        while True:
            try:
                part = os.read(leader, 65536)
            except OSError:
                break
            if not part:
                break
            parts.append(part)
    os.close(leader)
    assert process.returncode == 0
    return b"".join(parts).decode()


def test_run__colours_on_a_terminal_alone(tmp_path, study_file):
    assert "\x1b[1;32m" in on_terminal(["run", "small.yaml", "--out", "a"], tmp_path)
    assert "\x1b[1;32m" not in on_terminal(["run", "small.yaml", "--out", "b"], tmp_path, NO_COLOR="1")


def test_pta__table_and_csv(tdmx, tmp_path, draws_csv):
    text = ok(tdmx("pta", "draws.csv", "-r", "1 g q8h inf 30min", "-r", "1 g q8h inf 3h", "-t", "fT>MIC >= 50%",
                   "--fu", "0.9", "--mic", "1..8", "--csv", "out.csv"))  # fmt: skip
    assert re.search(r"1000 mg q8h inf 3h +100\*", text)
    assert NOTICE in text
    assert len((tmp_path / "out.csv").read_text().splitlines()) == 1 + 2 * 4


def test_pta__json(tdmx, draws_csv):
    done = tdmx(
        "pta",
        "draws.csv",
        "-r",
        "1 g q8h",
        "-t",
        "fT>MIC >= 50%",
        "-t",
        "Cmax <= 60",
        "--mic",
        "1,2",
        "--json",
    )
    found = json.loads(ok(done))
    assert [row["mic"] for row in found["pta"]] == [1.0, 2.0, None]
    assert found["interval"] == "monte_carlo"
    assert found["fu_note"].startswith("fu = 1 assumed")
    assert found["notice"] == NOTICE


def test_cfr__texts_and_files(tdmx, tmp_path, draws_csv):
    (tmp_path / "counts.csv").write_text("organism,mic,count\nA,1,3\nA,2,1\n")
    question = (
        "cfr",
        "draws.csv",
        "-r",
        "1 g q8h inf 3h",
        "-t",
        "fT>MIC >= 50%",
        "--fu",
        "0.9",
        "-d",
        "counts.csv",
    )
    found = json.loads(ok(tdmx(*question, "-d", "1:0.5, 8:0.5", "--json")))
    assert [row["organism"] for row in found["cfr"]] == ["A", "isolates 2"]
    assert "A: 4 isolates" in ok(tdmx(*question))


def test_draws__in_and_out(tdmx, tmp_path, draws_csv):
    assert "wrote d.zarr" in ok(tdmx("draws", "import", "draws.csv", "d.zarr", "--model", "2C"))
    text = ok(tdmx("draws", "info", "d.zarr", "--verify"))
    assert "every value agrees with the digest" in text
    assert "1 chain(s) of 500 draws, sampling independent" in text
    assert re.search(r"CL +L/h", text)
    assert "wrote back.csv" in ok(tdmx("draws", "export", "d.zarr", "back.csv"))
    assert "wrote again.zarr" in ok(tdmx("draws", "import", "back.csv", "again.zarr"))
    digests = {
        re.search(r"digest: (\w+)", ok(tdmx("draws", "info", name))).group(1)
        for name in ("d.zarr", "again.zarr")
    }
    assert len(digests) == 1


def test_studies__listed_checked_and_copied(tdmx, tmp_path):
    assert "meropenem_sepsis" in ok(tdmx("studies"))
    assert "wrote mine.yaml" in ok(tdmx("study", "copy", "seed_workloads", "mine.yaml"))
    text = ok(tdmx("study", "check", "mine.yaml"))
    assert "nothing is wrong" in text
    assert "1,000 virtual patients" in text


def interrupt(process: subprocess.Popen[str], ready) -> tuple[int, str]:
    for _ in range(600):
        if ready() or process.poll() is not None:
            break
        time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    _, stderr = process.communicate(timeout=60)
    return process.returncode, stderr


@pytest.mark.slow
def test_run__interrupted_goes_on(tdmx, tmp_path):
    study = STUDY.replace("n: 2048", "n: 40000000").replace(", {name: high, covariates: {CCr: 120}}", "")
    (tmp_path / "s.yaml").write_text(study.replace(", 1 g q8h inf 3h", ""))
    kept = tmp_path / "results" / "small.checkpoint"
    process = subprocess.Popen(
        [TDMX, "run", "s.yaml", "--run", "direct"],
        cwd=tmp_path,
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        text=True,
    )
    code, stderr = interrupt(process, kept.exists)
    assert code == 130, stderr
    assert "what was counted is kept in" in stderr
    assert len([line for line in stderr.splitlines() if " simulating " not in line]) == 1
    assert [path.name for path in kept.parent.iterdir()] == ["small.checkpoint"]
    assert "--resume" in tdmx("run", "s.yaml").stderr
    ok(tdmx("run", "s.yaml", "--resume", "--quiet"))
    assert not kept.exists()
    ok(tdmx("run", "s.yaml", "--quiet", "--out", "whole"))
    assert (tmp_path / "whole/pta.csv").read_text() == (tmp_path / "results/small/pta.csv").read_text()


def test_guarded__codes(capsys):
    def fails(error: BaseException):
        def command() -> None:
            raise error

        return command

    assert guarded(fails(StoreError("store", "x", "it is damaged")), debug=False) == 2
    assert guarded(fails(ClusterError("workers", 0, "there must be one")), debug=False) == 4
    assert guarded(fails(OSError(5, "Input/output error")), debug=False) == 3
    assert guarded(fails(MemoryError()), debug=False) == 3
    assert guarded(fails(KeyboardInterrupt()), debug=False) == 130
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 5
    assert lines[0] == "error: store=x: it is damaged."
    assert lines[-1] == "interrupted; nothing was written"


def test_guarded__a_fault_of_ours_keeps_its_log(capsys):
    def command() -> None:
        raise ZeroDivisionError("division by zero")

    assert guarded(command, debug=False) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: ZeroDivisionError: division by zero. This is a fault in tdmx; the log is ")
    log = Path(line.split("the log is ")[1])
    assert "Traceback" in log.read_text()
    log.unlink()


def test_guarded__debug_shows_the_traceback(capsys):
    def command() -> None:
        raise StoreError("store", "x", "it is damaged")

    assert guarded(command, debug=True) == 2
    assert "Traceback" in capsys.readouterr().err


def test_pipe__closed_early(tmp_path, study_file):
    with subprocess.Popen(
        [TDMX, "run", "small.yaml"], cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        assert process.stderr.read() == ""
    assert process.returncode == 141
