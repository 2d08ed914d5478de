"""Where a command prints: the terminal, as wide as it is, or a file, plain."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console

__all__ = ["NOTICE", "open_screen"]

NOTICE = "Research use only. Not a medical device."
PLAIN_WIDTH = 120
"""Columns of what is printed into a file or a pipe, unless COLUMNS says otherwise."""


def open_screen(*, quiet: bool = False) -> Console:
    """A console on stdout: colours on a terminal that has them, none with NO_COLOR or into a file."""
    from rich.console import Console

    class Screen(Console):
        """Hands a pipe that was closed on, where rich would end the process."""

        def on_broken_pipe(self) -> None:
            raise BrokenPipeError

    width = None if sys.stdout.isatty() or os.environ.get("COLUMNS") else PLAIN_WIDTH
    return Screen(width=width, quiet=quiet, highlight=False, markup=False, emoji=False, soft_wrap=False)
