"""What the commands of clusters share: a profile's options as a shell writes them, ranges, lengths of time."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import fields
from typing import Any

import click

from tdmx_dask.errors import InputError

__all__ = [
    "RANGE",
    "name_argument",
    "option_option",
    "options_of",
    "profile_argument",
    "read_range",
    "read_time",
]

RANGE = "MIN..MAX"

profile_argument = click.argument("profile", metavar="PROFILE")
name_argument = click.argument("name", metavar="NAME")
option_option = click.option(
    "-o",
    "--option",
    "said",
    metavar="KEY=VALUE",
    multiple=True,
    help="Replace an option of the profile (config/clusters/KIND.yaml names all); repeat it.",
)


def options_of(profile: str, said: Sequence[str]) -> dict[str, Any]:
    """Options that were given as ``key=value``.

    A value is read as its option needs it: ``account=1234`` stays text, ``cores=8`` is a number, ``prologue="module load x"``
    may be repeated, ``null`` is nothing.

    Raises
    ------
    InputError
        There is no such profile, or one is not of this form.
    """
    if not said:
        return {}
    from tdmx_dask.api.clusters import resolve
    from tdmx_dask.clusters.profile import KINDS

    types = {field.name: str(field.type) for field in fields(KINDS[resolve(profile, {})[1]])}
    options: dict[str, Any] = {}
    for each in said:
        key, equals, value = each.partition("=")
        key = key.strip().replace("-", "_")
        if not equals or not key:
            raise InputError("--option", each, "it is key=value", "For example -o cores=8.")
        if key == "kind":
            raise InputError(
                "--option", each, "a profile's kind is not replaced", "Name a profile of that kind."
            )
        read = _read(key, value.strip(), types.get(key, "str"))
        known = options.get(key)
        options[key] = [*known, *read] if isinstance(known, list) and isinstance(read, list) else read
    return options


def _read(key: str, value: str, kind: str) -> Any:
    """A value as an option of this type needs it; what is none is left to the profile to refuse."""
    if value in ("null", ""):
        return None
    if "tuple" in kind or "Mapping" in kind:
        return _structure(key, value) if value[0] in "[{" else [value]
    if kind.startswith("str"):
        return value
    try:
        return json.loads(value)
    except ValueError:
        return value


def _structure(key: str, value: str) -> Any:
    import yaml

    try:
        return yaml.safe_load(value)
    except (ValueError, yaml.YAMLError) as error:
        rule = f"it is a list or mapping of YAML ({' '.join(str(error).split())})"
        raise InputError(key, value, rule, "For example -o 'prologue=[module load python]'.") from error


def read_range(name: str, given: str) -> tuple[int, int]:
    """The least and the largest number of workers of ``0..10``.

    Raises
    ------
    InputError
        It is no such range.
    """
    least, dots, most = given.partition("..")
    if not (
        dots and least.strip().isdecimal() and most.strip().isdecimal() and int(most) >= max(1, int(least))
    ):
        rule = "a range is MIN..MAX, two whole numbers of workers, MIN <= MAX, MAX >= 1"
        raise InputError(name, given, rule, "For example 0..10.")
    return int(least), int(most)


def read_time(name: str, given: str | None) -> float | None:
    """A length of time in s, such as of ``30 min`` or ``02:00:00``.

    Raises
    ------
    InputError
        It is none.
    """
    from tdmx_dask.clusters.options import duration

    return None if given is None else float(duration(name, given))
