"""What an option of a cluster profile may be: each check returns the value as the code uses it, or refuses it.

A profile is read from YAML, given by a site's Dask configuration, or written as keyword arguments; all three pass here.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from tdmx_dask.errors import InputError

__all__ = [
    "Check", "choice", "count", "duration", "either", "flag", "fraction", "mapping", "memory", "optional", "path", "port", "text", "texts",
]  # fmt: skip

Check = Callable[[str, Any], Any]
"""(name, value as given) -> value; raises `InputError`."""

_CLOCK = re.compile(r"(?:(\d+)-)?(\d+):([0-5]\d)(?::([0-5]\d))?")
_MINUTES = re.compile(r"mins?\s*$")  # Dask knows m, minute and minutes
_LINE = re.compile(r"[^\x00-\x1f\x7f]+")


def count(least: int = 0, what: str = "a number") -> Check:
    """Check for a whole number that is not less than `least`."""

    def check(name: str, value: Any) -> int:
        if isinstance(value, bool) or not isinstance(value, int) or value < least:
            raise InputError(
                name, value, f"{what} is a whole number >= {least}", f"For example {max(1, least)}."
            )
        return value

    return check


def port(name: str, value: Any) -> int:
    """Check for a port; 0: any that is free."""
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < 65536:
        raise InputError(
            name, value, "a port is a whole number, 0 <= port < 65536", "0 takes any that is free."
        )
    return value


def fraction(name: str, value: Any) -> float:
    """Check for a fraction, both ends excluded."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < 1:
        raise InputError(name, value, "a fraction f is a number, 0 < f < 1", "For example 0.5.")
    return float(value)


def flag(name: str, value: Any) -> bool:
    """Check for true or false."""
    if not isinstance(value, bool):
        raise InputError(name, value, "it is true or false", "Without quotes.")
    return value


def text(name: str, value: Any) -> str:
    """Check for one line of text."""
    if not isinstance(value, str) or not _LINE.fullmatch(value) or not value.strip():
        raise InputError(name, value, "it is one line of text", "Leave it out for the default.")
    return value


def path(name: str, value: Any) -> str:
    """Check for a path; it may begin with ``~``, and stays as it is written, for the nodes expand it themselves."""
    text(name, value)
    try:
        Path(value).expanduser()
    except RuntimeError as error:
        raise InputError(
            name, value, "there is no user of this name here", "Write the whole path."
        ) from error
    return str(value)


def texts(name: str, value: Any) -> tuple[str, ...]:
    """Check for a list of lines."""
    if isinstance(value, str) or not isinstance(value, list | tuple):
        raise InputError(name, value, "it is a list of lines of text", "For example ['module load python'].")
    return tuple(text(name, line) for line in value)


def mapping(name: str, value: Any) -> dict[str, str]:
    """Check for names and texts."""
    if not isinstance(value, Mapping):
        raise InputError(name, value, "it is a mapping of names to texts", "For example {pool: fits}.")
    return {text(name, key): text(name, str(entry)) for key, entry in value.items()}


def choice(*known: str) -> Check:
    """Check for one of some words."""

    def check(name: str, value: Any) -> str:
        if value not in known:
            raise InputError(name, value, "there is no such choice", f"Known: {', '.join(known)}.")
        return str(value)

    return check


def memory(name: str, value: Any) -> int:
    """Check for an amount of memory; returns bytes."""
    from dask.utils import parse_bytes

    size = -1
    if isinstance(value, int | float | str) and not isinstance(value, bool):
        try:
            size = int(parse_bytes(value))
        except (ArithmeticError, LookupError, TypeError, ValueError):
            size = -1
    if size <= 0:
        raise InputError(name, value, "an amount of memory is a number of bytes, or a text with a unit, > 0",
                         "For example '4 GiB'.")  # fmt: skip
    return size


def duration(name: str, value: Any) -> float:
    """Check for a time, a number of seconds, a text with a unit or a batch scheduler's ``[days-]hours:minutes[:seconds]``; returns s."""
    from dask.utils import parse_timedelta

    seconds = -1.0
    if isinstance(value, str) and (clock := _CLOCK.fullmatch(value.strip())):
        days, hours, minutes, rest = (int(part or 0) for part in clock.groups())
        seconds = ((days * 24.0 + hours) * 60 + minutes) * 60 + rest
    elif isinstance(value, int | float | str) and not isinstance(value, bool):
        try:
            seconds = float(parse_timedelta(_MINUTES.sub("m", value) if isinstance(value, str) else value))
        except (ArithmeticError, LookupError, TypeError, ValueError):
            seconds = -1.0
    if not 0 < seconds < float("inf"):
        raise InputError(name, value, "a time is a number of s, a text with a unit, or hours:minutes:seconds, > 0",
                         "For example '01:00:00' or '90 min'.")  # fmt: skip
    return seconds


def optional(check: Check) -> Check:
    """Check that lets None pass."""
    return lambda name, value: None if value is None else check(name, value)


def either(word: str, check: Check) -> Check:
    """Check that lets one word pass."""
    return lambda name, value: value if value == word else check(name, value)
