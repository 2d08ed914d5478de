"""A drug level: what was measured when, or that it was too low to be measured."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tdmx_dask.domain.doses import hours
from tdmx_dask.domain.section import Item
from tdmx_dask.domain.units import NUMBER, known_keys, nearest, number_text, real, shortened
from tdmx_dask.errors import InputError

__all__ = ["LARGEST_LEVEL", "LATEST", "SMALLEST_LEVEL", "Level", "parse_level"]

SMALLEST_LEVEL, LARGEST_LEVEL = 1e-6, 1e4
"""mg/L: below a nanogram per litre, or above 10 g/L, is a slip of units."""

LATEST = 87_600.0
"""h: ten years."""

_TEXT = re.compile(rf"\s*(<=|<|≤)?\s*({NUMBER})\s*([^\W\d].*?)?\s*")
_MG_PER_L = {"mg/l": 1.0, "ug/ml": 1.0, "mcg/ml": 1.0, "ng/ml": 1e-3, "ug/l": 1e-3, "mcg/l": 1e-3}


@dataclass(frozen=True, slots=True, order=True)
class Level:
    """A total drug concentration in plasma or serum.

    Parameters
    ----------
    time : h, >= 0, on the clock of the doses
    value : mg/L, 1e-6 to 1e4; of a level below quantification its limit (LLOQ)
    below : the level was below `value`, the limit of quantification

    Raises
    ------
    InputError
        A value is out of range, not finite or no number.

    Examples
    --------
    >>> Level.read({"time": "41h", "value": "12.3 µg/mL"})
    Level(time=41.0, value=12.3, below=False)
    >>> str(Level(8.0, 0.5, below=True))
    '<0.5 mg/L at 8 h'
    """

    time: float
    value: float
    below: bool = False

    def __post_init__(self) -> None:
        put = object.__setattr__
        fix = "Count the hours from the first dose's clock."
        put(self, "time", real("time", self.time, "the time of a level", unit="h", ge=0, le=LATEST, fix=fix))
        if not isinstance(self.below, bool):
            raise InputError(
                "below", self.below, "below must be True or False", "True: value is the LLOQ, mg/L."
            )
        what = "the limit of quantification" if self.below else "a level"
        fix = "Write '<0.5' with the limit where it was not quantified." if self.value == 0 else "Give mg/L."
        put(
            self,
            "value",
            real("value", self.value, what, unit="mg/L", ge=SMALLEST_LEVEL, le=LARGEST_LEVEL, fix=fix),
        )

    def __str__(self) -> str:
        sign = "<" if self.below else ""
        return f"{sign}{number_text(self.value)} mg/L at {number_text(self.time)} h"

    @classmethod
    def read(cls, given: object) -> Level:
        """A level from a `Level`, a mapping, or a pair ``(time, value)``.

        A mapping has ``time`` (h, or a text with its unit) and one of ``value`` and ``below`` (the LLOQ). A text says its unit
        and may begin with ``<``; a number is mg/L.

        Raises
        ------
        InputError
            Neither of these, an unknown key, or a value out of range.
        """
        if isinstance(given, Level):
            return given
        if isinstance(given, Mapping):
            known_keys("level", given, ("time", "value", "below"))
            if "time" not in given or ("value" in given) == ("below" in given):
                rule = "a level has its time, and one of value and below (the limit of quantification)"
                raise InputError("level", dict(given), rule, "Write {time: 41h, value: 12.3}.")
            at = hours("time", given["time"])
            if "below" in given:
                if isinstance(given["below"], bool):
                    rule = "below gives the limit of quantification, in mg/L"
                    raise InputError("below", given["below"], rule, "Write {time: 41h, below: 0.5}.")
                value, _ = parse_level(given["below"], "below")
                return cls(at, value, True)  # type: ignore[arg-type]
            value, below = parse_level(given["value"], "value")
            return cls(at, value, below)  # type: ignore[arg-type]
        if isinstance(given, Sequence) and not isinstance(given, str) and len(given) == 2:
            value, below = parse_level(given[1], "value")
            return cls(hours("time", given[0]), value, below)  # type: ignore[arg-type]
        fix = "Write {time: 41h, value: 12.3}, in mg/L."
        raise InputError("level", shortened(str(given)), "this is not a level", fix)

    @classmethod
    def from_item(cls, item: Item) -> Level:
        """A level of a document, whose path and line a complaint names."""
        with item.naming():
            return cls.read(item.value)

    def to_mapping(self) -> dict[str, object]:
        """Plain values; `read` takes them back."""
        return {"time": self.time, "below" if self.below else "value": self.value}


def parse_level(given: object, name: str) -> tuple[float, bool]:
    """A concentration in mg/L, and whether it was below that, from a number or a text such as ``<0.5 mg/L``.

    Raises
    ------
    InputError
        The text is no level, or of another unit. A number is handed on for `Level` to check.

    Examples
    --------
    >>> parse_level("820 ng/mL", "level"), parse_level("<0.5", "level")
    ((0.82, False), (0.5, True))
    """
    if not isinstance(given, str):
        return given, False  # type: ignore[return-value]
    match = _TEXT.fullmatch(given)
    if match is None:
        fix = "Write 12.3, with a decimal point." if "," in given else "Write 12.3 mg/L, or <0.5 mg/L."
        raise InputError(name, shortened(given), "this is not a level", fix)
    sign, number, unit = match.groups()
    plain = "".join((unit or "mg/L").lower().split()).replace("µ", "u").replace("μ", "u")
    if plain not in _MG_PER_L:
        known = ("mg/L", "µg/mL", "ng/mL", "µg/L")
        fix = f"{nearest(plain, known)}Write one of {', '.join(known)}."
        raise InputError(name, shortened(given), "the unit of a level is a mass per volume", fix)
    scale = _MG_PER_L[plain]
    value = float(number) if scale == 1.0 else float(number) / 1000.0
    return value, sign is not None
