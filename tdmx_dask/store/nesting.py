"""Walking through nested values: what is refused says where it was found."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from tdmx_dask.errors import InputError

__all__ = [
    "DEPTH",
    "LONG",
    "Refusal",
    "each_item",
    "each_key",
    "inside",
    "is_unicode",
    "refused",
    "type_name",
]

DEPTH = 100
"""Containers within one another, at most."""

LONG = 1024
"""Bits of an integer that is written as digits: they take quadratic time."""


class Refusal(Exception):  # noqa: N818  (it never leaves the store's encoding)
    """What cannot be encoded; its path grows while the containers around it are left.

    Parameters
    ----------
    value : that is refused
    rule, fix : as errors have them
    """

    def __init__(self, value: object, rule: str, fix: str) -> None:
        super().__init__(value, rule, fix)
        self.path: list[str] = []
        self.value, self.rule, self.fix = value, rule, fix


def refused(refusal: Refusal, name: str) -> InputError:
    """The error for a user, with the path inside the value.

    Parameters
    ----------
    refusal : as it came out of the walk
    name : of the whole value
    """
    path = name + "".join(reversed(refusal.path))
    return InputError(path, f"<{type_name(refusal.value)}>", refusal.rule, refusal.fix)


def inside(where: str, make: Callable[..., Any], *arguments: Any) -> Any:
    """Call, and say where a refusal arose.

    Parameters
    ----------
    where : the step from the container to the part, such as ``.attrs``
    make, arguments : what is called
    """
    try:
        return make(*arguments)
    except Refusal as refusal:
        refusal.path.append(where)
        raise


def each_item(values: Iterable[Any], change: Callable[[Any], Any]) -> list[Any]:
    """Change each of a list.

    Parameters
    ----------
    values : the list
    change : may refuse
    """
    changed: list[Any] = []
    try:
        for value in values:
            changed.append(change(value))
    except Refusal as refusal:
        refusal.path.append(f"[{len(changed)}]")
        raise
    return changed


def each_key(values: Mapping[Any, Any], change: Callable[[Any], Any]) -> dict[str, Any]:
    """Change each value of a mapping, whose keys must be texts.

    Parameters
    ----------
    values : the mapping
    change : may refuse
    """
    changed = {}
    for key, value in values.items():
        if type(key) is not str:
            raise Refusal(key, f"a key of a mapping is text; this is {key!r:.60}", "Use texts as keys.")
        try:
            changed[key] = change(value)
        except Refusal as refusal:
            refusal.path.append(f".{key}" if key.isidentifier() else f"[{key!r:.60}]")
            raise
    return changed


def is_unicode(text: str) -> bool:
    """Whether UTF-8 can hold a text: no half of a character (a lone surrogate, as file names may have).

    Parameters
    ----------
    text : any
    """
    if text.isascii():
        return True
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def type_name(value: object) -> str:
    """Name of the type of a value, with its module.

    Parameters
    ----------
    value : any
    """
    kind = type(value)
    return kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"
