"""Execute a notebook, or only start a kernel, in a process of its own: `python execute.py IN OUT`."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import nbformat
from jupyter_client.manager import KernelManager
from nbclient import NotebookClient

AGAIN = "import os; os.getcwd()"
SECONDS = 120  # of a cell, however busy the machine is


def main(source: str, target: str) -> None:
    """Run every cell, and one more, as a reader who tries something; what came out is written even where one failed."""
    notebook = nbformat.read(source, nbformat.NO_CONVERT)
    notebook.cells.append(nbformat.v4.new_code_cell(AGAIN))
    # sockets are files: nothing listens on a network
    sockets = Path(os.environ["JUPYTER_RUNTIME_DIR"]) / Path(source).stem
    manager = KernelManager(kernel_name="python3", transport="ipc", ip=str(sockets))
    try:
        NotebookClient(notebook, km=manager, timeout=SECONDS).execute()
    finally:
        nbformat.write(notebook, Path(target))


if __name__ == "__main__":
    main(*sys.argv[1:])
