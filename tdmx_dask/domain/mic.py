"""Distributions of minimum inhibitory concentrations, and how a MIC is matched to a dilution."""

from __future__ import annotations

import math
import re
import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tdmx_dask.domain import mic_table
from tdmx_dask.domain.dilutions import Level, dilution, in_order, read_level
from tdmx_dask.domain.units import known_keys, number_text, parse_number, real, shortened, whole
from tdmx_dask.errors import InputError, TdmxWarning

__all__ = ["MICDistribution", "dilution", "match_mic"]

_KEYS = ("organism", "mic", "count", "weight", "n_isolates", "source", "illustrative")


def match_mic(wanted: Sequence[float], counted: Sequence[float]) -> NDArray[np.intp]:
    """Where each wanted MIC is among those counted: the same value, or else the same dilution.

    Parameters
    ----------
    wanted : (m,), mg/L
    counted : (n,), mg/L

    Returns
    -------
    (m,), indices into `counted`

    Raises
    ------
    InputError
        A wanted MIC was not counted, or is no number > 0.

    Examples
    --------
    EUCAST prints 0.03 for 2^-5:

    >>> match_mic([0.03125, 3], [0.03, 2, 3]).tolist()
    [0, 2]
    """
    by_value: dict[float, int] = {}
    by_dilution: dict[int, int] = {}
    for index, value in enumerate(counted):
        by_value.setdefault(float(value), index)
        power = dilution(value)
        if power is not None:
            by_dilution.setdefault(power, index)
    found = np.empty(len(wanted), dtype=np.intp)
    for place, given in enumerate(wanted):
        power = dilution(given)
        place_of = by_value.get(float(given), None if power is None else by_dilution.get(power))
        if place_of is None:
            known = ", ".join(number_text(value) for value in counted)
            rule = f"this MIC was not counted (counted: {known} mg/L)"
            raise InputError("mic", number_text(given), rule, "Count it too: add it to mic.")
        found[place] = place_of
    return found


@dataclass(frozen=True, slots=True)
class MICDistribution:
    """The share of isolates at each MIC.

    Parameters
    ----------
    organism : what tables print
    mic : (m,), mg/L, ascending, > 0; no dilution twice
    weight : (m,), fractions >= 0; with `above` they sum to 1
    above : weight of the isolates above the highest concentration tested (``>32``): they count as not attained
    n_isolates : number of isolates, if known
    censored : as printed: ``<=0.25`` (its weight counts at 0.25) and ``>32``
    source : where it comes from
    illustrative : an example, not a count of isolates

    Raises
    ------
    InputError
        A weight is negative or no number, a dilution is there twice, there is no MIC, all weights are 0, or
        `censored` does not go with the MICs.

    Warns
    -----
    TdmxWarning
        The weights do not sum to 1: they are normalised.

    Examples
    --------
    >>> d = MICDistribution.parse("<=0.25:10, 0.5:20, 1:60, >1:10", organism="E. coli")
    >>> d.mic, d.weight, d.above, d.n_isolates
    ((0.25, 0.5, 1.0), (0.1, 0.2, 0.6), 0.1, 100)
    >>> str(d)
    '<=0.25:10, 0.5:20, 1:60, >1:10'
    """

    organism: str
    mic: tuple[float, ...]
    weight: tuple[float, ...]
    above: float = 0.0
    n_isolates: int | None = None
    censored: tuple[str, ...] = ()
    source: str = ""
    illustrative: bool = False

    def __post_init__(self) -> None:
        put = object.__setattr__
        for name in ("organism", "source"):
            value = getattr(self, name)
            if not isinstance(value, str) or (name == "organism" and not value.strip()):
                raise InputError(name, value, f"{name} must be a text", "For example Pseudomonas aeruginosa.")
        if not isinstance(self.illustrative, bool):
            raise InputError("illustrative", self.illustrative, "illustrative must be True or False", "")
        if len(self.mic) == 0 or len(self.mic) != len(self.weight):
            rule = f"a distribution needs MICs and as many weights; it has {len(self.mic)} and {len(self.weight)}"
            raise InputError("mic", self.organism, rule, "For example 0.25:0.1, 0.5:0.9.")
        put(self, "mic", tuple(real("mic", value, "a MIC", unit="mg/L", gt=0) for value in self.mic))
        in_order(self.mic)
        if self.n_isolates is not None:
            put(self, "n_isolates", whole("n_isolates", self.n_isolates, "a number of isolates"))
        self._normalise()
        self._check_censored()

    def _normalise(self) -> None:
        """Scale the weights to a sum of 1; a sum that is off by rounding alone is left as it is."""
        put = object.__setattr__
        weight = [real("weight", value, "a weight", ge=0, le=1e15) for value in self.weight]
        above = real("above", self.above, "a weight", ge=0, le=1e15)
        total = math.fsum([*weight, above])
        if math.fsum(weight) == 0:
            rule = "the weights at the MICs are all 0"
            raise InputError("weight", self.organism, rule, "Give at least one of them a weight.")
        if abs(total - 1) > 1e-6:
            text = f"the MIC weights of {self.organism} sum to {total:.6g}, not 1: they were normalised"
            warnings.warn(text, TdmxWarning, stacklevel=4)
        if abs(total - 1) > 1e-9:
            weight, above = [value / total for value in weight], above / total
        put(self, "weight", tuple(weight))
        put(self, "above", above)

    def _check_censored(self) -> None:
        """Print censored MICs in one form; they stand at the ends of the distribution."""
        levels = [read_level(text) for text in self.censored]
        below = [level for level in levels if level.sign == "<="]
        higher = [level for level in levels if level.sign == ">"]
        if self.above > 0 and not higher:
            higher = [Level(">", self.mic[-1])]
        rule = ""
        if len(below) + len(higher) < len(levels) or len(below) > 1 or len(higher) > 1:
            rule = "there may be one MIC such as <=0.25 and one such as >32"
        elif below and below[0].value != self.mic[0]:
            rule = f"{below[0]} must be the lowest MIC, which is {number_text(self.mic[0])} mg/L"
        elif higher and not higher[0].at_least(self.mic[-1]):
            rule = f"{higher[0]} must not be below the highest MIC, which is {number_text(self.mic[-1])} mg/L"
        if rule:
            raise InputError("censored", ", ".join(map(str, levels)), rule, "Only the ends may be censored.")
        object.__setattr__(self, "censored", tuple(map(str, below + higher)))

    # --- other ways to make one ---------------------------------------------------------------------------

    @classmethod
    def parse(
        cls, text: str, *, organism: str = "isolates", source: str = "", illustrative: bool = False
    ) -> MICDistribution:
        """A distribution from ``0.25:0.1, 0.5:0.2``; whole numbers that sum to more than 1 are counts.

        A MIC may be censored (``<=0.25``, ``>32``), a weight a percentage; behind it may stand ``(n=57)``.
        With ``;`` between the pairs a comma is a decimal one.

        Raises
        ------
        InputError
            A pair cannot be read; otherwise as the class.
        """
        if not isinstance(text, str):
            raise InputError(
                "mic", text, "a MIC distribution must be a text", "For example 0.25:0.1, 0.5:0.9."
            )
        size = re.search(r"\(\s*n\s*=\s*(\d+)\s*\)\s*$", text)
        body = text[: size.start()] if size else text
        pairs = []
        for item in re.split(r"[;\n]" if ";" in body else r"[,\n]", body):
            if not item.strip():
                continue
            mic, colon, weight = item.partition(":")
            if not colon:
                fix = "Write 0.25:0.1, 0.5:0.9, with a decimal point."
                raise InputError("mic", shortened(item), "each item must be a MIC, a colon and a weight", fix)
            pairs.append((read_level(mic), parse_number(weight, "weight")))
        n = int(size[1]) if size else None
        return _from_pairs(pairs, organism=organism, n_isolates=n, source=source, illustrative=illustrative)

    @classmethod
    def from_counts(
        cls,
        mic: Sequence[float | str],
        counts: Sequence[int],
        *,
        organism: str = "isolates",
        source: str = "",
        illustrative: bool = False,
    ) -> MICDistribution:
        """A distribution from numbers of isolates; a MIC may be censored, ``<=0.25`` or ``>32``.

        Raises
        ------
        InputError
            A count is negative or not whole, or there are not as many as MICs; otherwise as the class.

        Examples
        --------
        >>> MICDistribution.from_counts([0.5, 1, ">1"], [1, 2, 1]).weight
        (0.25, 0.5)
        """
        pairs = _paired(mic, counts, "count")
        return _from_pairs(pairs, organism=organism, source=source, illustrative=illustrative, counts=True)

    @classmethod
    def from_mapping(cls, mapping: Mapping[str, object] | str) -> MICDistribution:
        """A distribution from its text, or from keys.

        ``mic`` is a text (``0.25:0.1, 0.5:0.9``), a mapping of MICs to weights or counts, or a list that goes
        with a list ``count`` or ``weight``; MICs may be censored. ``organism``, ``source``, ``illustrative``
        and ``n_isolates`` (where there are no counts) may stand beside it.

        Raises
        ------
        InputError
            An unknown key (with the nearest known one) or a missing one; otherwise as the class.

        Examples
        --------
        >>> d = MICDistribution.from_mapping({"mic": ["<=1", 2, ">2"], "count": [6, 3, 1]})
        >>> str(d)
        '<=1:6, 2:3, >2:1'
        """
        if isinstance(mapping, str):
            return cls.parse(mapping)
        if not isinstance(mapping, Mapping):
            raise InputError("mic", mapping, "MICs must be a text or keys", "For example 0.25:0.1, 0.5:0.9.")
        known_keys("mic distribution", mapping, _KEYS)
        given: dict[str, Any] = {"organism": "isolates", **mapping}
        mic = given.pop("mic", None)
        lists = {key: given.pop(key) for key in ("count", "weight") if key in given}
        if isinstance(mic, str) and not lists:
            known_keys("mic distribution", given, ("organism", "source", "illustrative"))
            return cls.parse(mic, **given)
        if isinstance(mic, Mapping) and not lists:
            return _from_pairs(_paired(list(mic), list(mic.values()), "weight"), **given)
        if not _is_list(mic) or len(lists) != 1 or not _is_list(next(iter(lists.values()))):
            rule = "mic must be a text or a mapping, or a list beside a list count or weight"
            raise InputError("mic", mic, rule, "For example mic: '0.25:0.1, 0.5:0.9'.")
        ((name, numbers),) = lists.items()
        return _from_pairs(_paired(mic, numbers, name), **given, counts=name == "count")

    def to_mapping(self) -> dict[str, object]:
        """Plain values for YAML, JSON and attributes; `from_mapping` reads them back."""
        mapping: dict[str, object] = {"organism": self.organism, "mic": str(self)}
        if self.source:
            mapping["source"] = self.source
        return {**mapping, "illustrative": True} if self.illustrative else mapping

    @classmethod
    def read_csv(
        cls, path: str | Path, *, source: str | None = None, illustrative: bool = False
    ) -> tuple[MICDistribution, ...]:
        """Distributions from a table, one an organism, in the order of the file.

        Long (columns organism, mic, and count or weight) or wide as EUCAST's (a row an organism, a column a
        MIC). Commas, semicolons or tabs separate; ``0,25`` is read where it can mean nothing else.

        Parameters
        ----------
        path : a UTF-8 file
        source : left out, the name of the file
        illustrative : as for the class

        Raises
        ------
        InputError
            The file cannot be read, is empty or of another layout; names line and column.
        """
        file = Path(path)
        made = []
        said = file.name if source is None else source
        for organism, pairs, counts in mic_table.read(file):
            try:
                made.append(
                    _from_pairs(
                        pairs, organism=organism, source=said, illustrative=illustrative, counts=counts
                    )
                )
            except InputError as error:
                name = f"{file.name}, {organism}: {error.name}"
                raise InputError(name, error.value, error.rule, error.fix) from None
        return tuple(made)

    # --- how it reads -------------------------------------------------------------------------------------

    def __str__(self) -> str:
        lowest = [text for text in self.censored if text.startswith("<=")]
        shown = lowest + [number_text(value) for value in self.mic[len(lowest) :]]
        shown += [text for text in self.censored if text.startswith(">")]
        weights = [*self.weight, self.above][: len(shown)]
        counts = self._counts(weights)
        text = ", ".join(
            f"{mic}:{number_text(weight)}" for mic, weight in zip(shown, counts or weights, strict=True)
        )
        return text if counts or self.n_isolates is None else f"{text} (n={self.n_isolates})"

    def _counts(self, weights: Sequence[float]) -> list[float] | None:
        """The counts, where they give the same weights back bit for bit."""
        n = self.n_isolates
        if n is None or n < 2:
            return None
        counts = [float(round(weight * n)) for weight in weights]
        same = all(count / n == weight for count, weight in zip(counts, weights, strict=True))
        return counts if same and sum(counts) == n else None


def _is_list(value: object) -> bool:
    return isinstance(value, Sequence) and not isinstance(value, str)


def _paired(mic: Sequence[float | str], numbers: Sequence[object], name: str) -> list[tuple[Level, float]]:
    """MICs with their weights or counts, checked one by one."""
    if len(mic) != len(numbers):
        rule = f"there are {len(mic)} MICs and {len(numbers)} values of {name}"
        raise InputError(name, len(numbers), rule, "Give one for each MIC.")
    return [
        (read_level(level), real(name, number, f"a {name}", ge=0, le=1e15))
        for level, number in zip(mic, numbers, strict=True)
    ]


def _from_pairs(
    pairs: Iterable[tuple[Level, float]],
    *,
    organism: str,
    n_isolates: int | None = None,
    source: str = "",
    illustrative: bool = False,
    counts: bool | None = None,
) -> MICDistribution:
    """A distribution from MICs and weights, or counts.

    `counts` None: whole numbers that sum to more than 1 are counts, unless `n_isolates` is known.
    """
    pairs = sorted(pairs, key=lambda pair: (pair[0].sign == ">", pair[0].value))
    weights = [real("weight", weight, "a weight", ge=0, le=1e15) for _, weight in pairs]
    total = math.fsum(weights)
    if counts is None:
        counts = n_isolates is None and total > 1 and all(weight.is_integer() for weight in weights)
    elif counts and n_isolates is not None:
        raise InputError(
            "n_isolates", n_isolates, "counts say the number of isolates already", "Leave it out."
        )
    if counts and not all(weight.is_integer() for weight in weights):
        raise InputError("count", weights, "counts must be whole numbers", "Fractions go by weight.")
    if counts and total > 0:
        weights, n_isolates = [weight / total for weight in weights], int(total)
    inside = [(level, w) for (level, _), w in zip(pairs, weights, strict=True) if level.sign != ">"]
    return MICDistribution(
        organism=organism,
        mic=tuple(level.value for level, _ in inside),
        weight=tuple(weight for _, weight in inside),
        above=math.fsum(w for (level, _), w in zip(pairs, weights, strict=True) if level.sign == ">"),
        n_isolates=n_isolates,
        censored=tuple(str(level) for level, _ in pairs if level.sign),
        source=source,
        illustrative=illustrative,
    )
