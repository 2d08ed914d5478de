"""The grammar of targets, read into plain values and printed."""

from __future__ import annotations

from typing import Any

WINDOWS = ("ss", "first_dose", "day1", "interval", "span")
WINDOW_FIX = "Write ss, first_dose, day1, interval 20 or 24..48h."


def read_window(text: str) -> dict[str, Any]:
    """The fields of a window."""
    raise NotImplementedError


def window_text(kind: str, n: int | None, start: float | None, end: float | None) -> str:
    """The text of a window."""
    raise NotImplementedError
