"""Reading a document value by value: what is unknown, missing or wrong is named by its path and its line."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import NoReturn

from tdmx_dask.domain.document import LinedList, LinedMapping
from tdmx_dask.errors import InputError, SchemaError

__all__ = ["Item", "Section", "nearest", "shown"]

_ANY = math.inf


def shown(value: object, width: int = 60) -> str:
    """A value as one short line."""
    if isinstance(value, Mapping):
        text = "{" + ", ".join(map(str, value)) + "}"
    elif isinstance(value, list | tuple):
        text = "[" + ", ".join(shown(each) for each in value[:width]) + "]"
    elif isinstance(value, bool):
        text = str(value).lower()
    else:
        text = "null" if value is None else str(value)
    text = " ".join(text.split())
    return text if len(text) <= width else text[: width - 1] + "…"


def nearest(word: str, known: Sequence[str]) -> str:
    """The fix for a word that is not one of the known ones."""
    lower = {name.lower(): name for name in known}
    close = get_close_matches(word.lower(), lower, n=1, cutoff=0.6)
    if close:
        return f"Did you mean {lower[close[0]]}?"
    listed = ", ".join(known[:12]) + (", …" if len(known) > 12 else "")
    return f"Known: {listed}." if known else ""


@dataclass(frozen=True, slots=True)
class Item:
    """A value of a document, the path that leads to it, and where it stands.

    Parameters
    ----------
    value : anything
    path : such as ``regimens[2].tinf``; empty at the top
    place : such as ``study.yaml, line 12``; empty where the value came from no file
    """

    value: object
    path: str
    place: str = ""

    def fail(self, rule: str, fix: str = "", *, schema: bool = False) -> NoReturn:
        """Complain about this value."""
        kind = SchemaError if schema else InputError
        raise kind(self.path or "document", shown(self.value), rule, self._placed(fix))

    @contextmanager
    def naming(self) -> Iterator[None]:
        """Put the path before, and the place behind, what a noun inside complains about.

        A complaint about ``tinf`` under ``regimens[2]`` becomes one about ``regimens[2].tinf``. Where the
        value is a text (a shorthand), the complaint is about the whole text and its own words follow.
        """
        try:
            yield
        except InputError as error:
            if ", line " in error.fix:
                raise  # it names its place already
            if isinstance(self.value, Mapping):
                name = error.name if error.name.startswith(self.path) else _join(self.path, error.name)
                place = self.place
                if isinstance(self.value, LinedMapping) and error.name in self.value.lines:
                    place = _place(self.value, self.value.lines[error.name])
                fix = Item(None, "", place)._placed(error.fix)
                raise type(error)(name, shown(error.value), error.rule, fix) from None
            whole = shown(error.value, 200) == shown(self.value, 200)
            rule = error.rule if whole else f"{error.name}={shown(error.value)}: {error.rule}"
            raise type(error)(self.path, shown(self.value), rule, self._placed(error.fix)) from None

    def items(self) -> list[Item]:
        """The values of a list; a value that is no list counts as a list of one."""
        if isinstance(self.value, str | Mapping) or not isinstance(self.value, Sequence):
            return [self]
        if not self.value:
            self.fail("the list is empty", "Give at least one.")
        places = [self.place] * len(self.value)
        if isinstance(self.value, LinedList):
            places = [_place(self.value, line) for line in self.value.lines]
        return [Item(each, f"{self.path}[{i}]", places[i]) for i, each in enumerate(self.value)]

    def section(self) -> Section:
        """The value, which must be a mapping."""
        return Section(self)

    def text(self) -> str:
        """Text that is not empty; a number is taken as it prints."""
        if isinstance(self.value, bool) or not isinstance(self.value, str | int | float):
            self.fail("text is wanted here")
        text = f"{self.value:g}" if isinstance(self.value, float) else str(self.value).strip()
        return text or self.fail("the text is empty")

    def flag(self) -> bool:
        """True or false."""
        if not isinstance(self.value, bool):
            self.fail("this is true or false")
        return self.value

    def number(self, low: float = -_ANY, high: float = _ANY) -> float:
        """A finite number, low <= number <= high."""
        if isinstance(self.value, bool) or not isinstance(self.value, int | float):
            self.fail("a number is wanted here")
        if not math.isfinite(self.value):
            self.fail("the number must be finite")
        if not low <= self.value <= high:
            self.fail(_range(low, high))
        return float(self.value)

    def integer(self, low: int, high: int) -> int:
        """A whole number, low <= number <= high; 1e6 counts as whole."""
        value = self.value
        if isinstance(value, float) and value.is_integer():
            value = int(value)
        if isinstance(value, bool) or not isinstance(value, int):
            self.fail("a whole number is wanted here")
        if not low <= value <= high:
            self.fail(_range(low, high))
        return value

    def _placed(self, fix: str) -> str:
        return " ".join(part for part in (fix, self.place and f"({self.place})") if part)


class Section:
    """A mapping of a document, read key by key.

    Parameters
    ----------
    item : the mapping; anything else is refused
    """

    def __init__(self, item: Item) -> None:
        if not isinstance(item.value, Mapping):
            item.fail("a mapping of `key: value` is wanted here", schema=True)
        for key in item.value:
            if not isinstance(key, str):
                item.fail(f"a key must be text, not {shown(key)}", schema=True)
        self.item = item
        self._value: Mapping[str, object] = item.value

    def __contains__(self, key: str) -> bool:
        return self._value.get(key) is not None

    def __iter__(self) -> Iterator[str]:
        return iter(self._value)

    def only(self, *known: str) -> Section:
        """Refuse every key but these, naming the nearest known one."""
        for key in self._value:
            if key not in known:
                self._at(key).fail("this key is not known here", nearest(key, known), schema=True)
        return self

    def at(self, key: str) -> Item:
        """The value of a key that must be there."""
        if self._value.get(key) is None:
            needs = f"{self.item.path} needs this key" if self.item.path else "this key is needed"
            rule = needs if key not in self._value else "a value is missing after this key"
            self._at(key).fail(rule, f"Write `{key}: …`.", schema=True)
        return self._at(key)

    def items(self, key: str) -> list[Item]:
        """The values of a list that must be there."""
        return self.at(key).items()

    def text(self, key: str, default: str | None = None) -> str:
        """Text, or the default where the key is absent."""
        return default if default is not None and key not in self else self.at(key).text()

    def flag(self, key: str, default: bool) -> bool:
        """True or false, or the default where the key is absent."""
        return self.at(key).flag() if key in self else default

    def number(
        self, key: str, default: float | None = None, *, low: float = -_ANY, high: float = _ANY
    ) -> float:
        """A finite number in a range, or the default where the key is absent."""
        return default if default is not None and key not in self else self.at(key).number(low, high)

    def integer(self, key: str, default: int | None = None, *, low: int = 0, high: int = 2**63 - 1) -> int:
        """A whole number in a range, or the default where the key is absent."""
        return default if default is not None and key not in self else self.at(key).integer(low, high)

    def _at(self, key: str) -> Item:
        place = self.item.place
        if isinstance(self._value, LinedMapping):
            place = _place(self._value, self._value.lines.get(key, self._value.line))
        return Item(self._value.get(key), _join(self.item.path, key), place)


def _place(value: LinedMapping | LinedList, line: int) -> str:
    return f"{Path(value.file).name}, line {line}"


def _join(path: str, key: str) -> str:
    return f"{path}.{key}" if path else key


def _range(low: float, high: float) -> str:
    if high >= 2**62:
        return f"it must be at least {low:g}"
    if low == -_ANY:
        return f"it must be at most {high:g}"
    return f"it must be between {low:g} and {high:g}"
