"""Notebooks in a kernel of the running environment, with folders of their own and sockets that no network reaches."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import matplotlib as mpl
import nbformat
import pytest

ROOT = Path(__file__).parents[2]


class Ran:
    """A notebook that was executed from top to bottom.

    Parameters
    ----------
    path : of the notebook
    folder : where it runs: `here` is its working directory
    sockets : a folder with a short name, for a path of a socket has at most 107 bytes
    """

    def __init__(self, path: Path, folder: Path, sockets: Path) -> None:
        self.name, self.folder = path.stem, folder
        for name in ("home", "temporary", "here"):
            (folder / name).mkdir(parents=True)
        foreign = ("JUPYTER", "IPYTHON", "PYTEST", "TDMX", "DASK")
        env = {key: value for key, value in os.environ.items() if not key.startswith(foreign)}
        env |= {
            "HOME": str(folder / "home"),
            "TMPDIR": str(folder / "temporary"),
            "JUPYTER_RUNTIME_DIR": str(sockets),
            "MPLCONFIGDIR": mpl.get_configdir(),  # its list of fonts takes seconds to make
            "PYTHONPATH": str(ROOT),
            "PATH": os.pathsep.join([str(Path(sys.executable).parent), env["PATH"]]),
        }
        script = str(Path(__file__).with_name("execute.py"))
        command = [sys.executable, script, str(path), str(folder / "out.ipynb")]
        done = subprocess.run(
            command, env=env, cwd=folder / "here", capture_output=True, text=True, timeout=280
        )
        assert done.returncode == 0, done.stderr
        *self.cells, _ = nbformat.read(folder / "out.ipynb", nbformat.NO_CONVERT).cells  # the last was added

    @property
    def code(self) -> list[Any]:
        """The cells that were executed."""
        return [cell for cell in self.cells if cell.cell_type == "code"]

    def outputs(self, source: str) -> list[Any]:
        """Of the one cell that has this in its source."""
        (cell,) = [each for each in self.code if source in each.source]
        found: list[Any] = cell.outputs
        return found

    def text(self, source: str) -> str:
        """What that cell printed and showed, plain."""
        return "\n".join(each.get("text") or each.data.get("text/plain", "") for each in self.outputs(source))


@pytest.fixture(scope="session")
def run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[Path], Ran]]:
    """Execute the notebook of a path."""
    sockets = Path(tempfile.mkdtemp(prefix="k"))
    folder = tmp_path_factory.mktemp("notebooks")
    yield lambda path: Ran(path, folder / path.stem, sockets)
    shutil.rmtree(sockets)
