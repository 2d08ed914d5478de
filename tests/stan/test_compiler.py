"""Every program passes through CmdStan's own compiler without a warning."""

import subprocess
from pathlib import Path

import prophet
import pytest

from tdmx_dask.fitting.program import read_program, shipped_programs, stan_folder

STANC = next(Path(prophet.__file__).parent.glob("stan_model/cmdstan-*/bin/stanc"))
OWN = sorted((Path(__file__).parent / "programs").glob("*.stan"))


def compiled(*arguments):
    return subprocess.run([STANC, *arguments], capture_output=True, text=True, check=False)


@pytest.mark.parametrize("name", [*shipped_programs(), *map(str, OWN)])
def test_stanc__has_nothing_to_say(tmp_path, name):
    path = tmp_path / "program.stan"
    path.write_text(read_program(name).code)
    done = compiled(path, f"--o={tmp_path / 'program.hpp'}")
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("name", list(shipped_programs()))
def test_stanc__finds_the_includes(tmp_path, name):
    done = compiled(
        shipped_programs()[name], f"--include-paths={stan_folder()}", f"--o={tmp_path / 'program.hpp'}"
    )
    assert (done.returncode, done.stderr) == (0, "")
