"""The grammar of targets, read into plain values and printed.

::

    fT>MIC >= 50%        T>MIC >= 0.5        fT>4xMIC >= 100%       (x or ×)
    fAUC24/MIC >= 400    AUC/MIC >= 100      fCmax/MIC >= 10        fCmin/MIC >= 1
    Cmin 10..20          AUC24 400..600      Cmax <= 60
    C@48h >= 0.75        fC@48h/MIC >= 1

Behind it may stand, in any order, a window (``in day1``, ``in first_dose``, ``in ss``, ``in interval 20``,
``in 24..48h``), a site with its ratio to plasma (``at ELF 0.3``, ``at site 0.3``) and an unbound fraction
(``with fu 0.98``). Several targets together are ``all of (A; B)`` or ``A and B``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, NoReturn

from tdmx_dask.domain.units import (
    NUMBER,
    fraction_text,
    hours_text,
    nearest,
    number_text,
    parse_fraction,
    parse_hours,
    real,
    shortened,
)
from tdmx_dask.domain.window import Window
from tdmx_dask.errors import InputError

__all__ = [
    "INDICES",
    "SITES",
    "head_text",
    "limit_text",
    "read_index",
    "read_target",
    "split",
]

INDICES = ("T>MIC", "AUC", "AUC24", "Cmax", "Cmin", "C")
SITES = ("plasma", "ELF", "bone", "CSF", "site")

_EXAMPLE = "For example fT>MIC >= 50%, fAUC24/MIC >= 400 or Cmin 10..20."
_HEADS = ("T>MIC", "fT>MIC", "AUC24", "AUC/MIC", "AUC24/MIC", "Cmax/MIC", "Cmin", "Cmax", "C@48h")
_TO = r"\s*(?:\.\.|-|–|\bto\b)\s*"
_TIME = rf"{NUMBER}\s*[a-zA-Z]*"

_HEAD = re.compile(
    rf"""(?:(?P<share>{NUMBER}\s*%)\s*)?(?P<free>[fƒ]\s*)?
    (?:T\s*>\s*(?:(?P<k>{NUMBER})\s*[x×*]?\s*)?MIC
      |(?P<index>AUC24|AUC|Cmax|Cmin|C\s*@\s*(?P<time>{_TIME}))(?P<mic>\s*/\s*MIC)?)
    (?![a-z0-9/])\s*""",
    re.IGNORECASE | re.VERBOSE,
)
_LIMIT = re.compile(
    rf"""(?:(?P<sign>>=|≥|=>|<=|≤|=<|>|<|==?)\s*(?P<value>{NUMBER}\s*%?)
      |(?P<low>{NUMBER}){_TO}(?P<high>{NUMBER}\s*%?))
    \s*(?P<unit>(?:mg|µg|μg|ug|h\b)\S*(?:\s+h/L)?)?\s*""",
    re.IGNORECASE | re.VERBOSE,
)
_SUFFIXES: Mapping[str, re.Pattern[str]] = {
    "window": re.compile(r"in\s+(.+?)(?=\s+(?:at|with|in)\s|\s*$)", re.IGNORECASE),
    "site": re.compile(rf"at\s+([a-z_]+)(?:\s+({NUMBER}))?(?=\s|$)", re.IGNORECASE),
    "fu": re.compile(rf"with\s+fu\s*=?\s*({NUMBER}\s*%?)(?=\s|$)", re.IGNORECASE),
}
_AT_MIC = re.compile(rf"\bat\s+(?:MIC\s*=?\s*)?({NUMBER})(?:\s*mg/L)?(?=\s|$)", re.IGNORECASE)
_UNITS = {"AUC": ("mg*h/l", "mgh/l"), "C": ("mg/l", "ug/ml")}


def _refuse(text: str, rule: str, fix: str = _EXAMPLE) -> NoReturn:
    raise InputError("target", shortened(text), shortened(rule), fix)


def read_target(text: str) -> dict[str, Any]:
    """The fields of a target that its text says, by the names of `Target`.

    Raises
    ------
    InputError
        A piece cannot be read; the error names it and the nearest known word.

    Examples
    --------
    >>> read_target("Cmax <= 60")
    {'index': 'Cmax', 'free': False, 'per_mic': False, 'upper': 60.0}
    """
    head = _HEAD.match(text.strip())
    if head is None:
        word = re.split(r"\s|>=|<=|≥|≤", text.strip())[0]
        _refuse(text, f"'{word}' is not an index", f"{nearest(word, _HEADS)}{_EXAMPLE}")
    index = "T>MIC" if head["index"] is None else head["index"].split("@")[0].strip()
    index = next(known for known in INDICES if known.lower() == index.lower())
    of_mic = index == "T>MIC" or head["mic"] is not None
    fields: dict[str, Any] = {"index": index, "free": head["free"] is not None, "per_mic": of_mic}
    if head["k"] is not None:
        fields["mic_multiple"] = float(head["k"])
    if head["time"] is not None:
        fields["time"] = parse_hours(head["time"].strip())
    name, rest = head[0].strip(), text.strip()[head.end() :]
    if head["share"] is not None:
        if index != "T>MIC" or _LIMIT.match(rest):
            _refuse(text, f"'{head['share']}' before the index is read for T>MIC alone, and only once")
        fields["lower"] = parse_fraction(head["share"], name.removeprefix(head["share"]).strip())
    else:
        limit = _LIMIT.match(rest)
        if limit is None:
            _refuse(
                text, f"'{name}' needs a limit", f"Write {name} >= {'50%' if index == 'T>MIC' else '10'}."
            )
        fields |= _limits(limit, index, name, text, per_mic=of_mic)
        rest = rest[limit.end() :]
    return fields | read_suffixes(rest, text)


def read_index(text: str) -> tuple[str, float | None]:
    """An index without a limit: a target that asks for any of it, and the MIC (mg/L) that it says.

    ::

        AUC24      fAUC24      Cmax in day1      C@48h      fT>MIC at 2 in first_dose      fT>4xMIC at 0.5

    Raises
    ------
    InputError
        It cannot be read, it has a limit, T>MIC has no MIC, or another index is divided by one.

    Examples
    --------
    >>> read_index("fT>MIC at 2 in day1")
    ('fT>MIC >= 100% in day1', 2.0)
    """
    plain = " ".join(text.split())
    head = _HEAD.match(plain)
    example = "For example AUC24, Cmin, or fT>MIC at 2."
    if head is None:
        word = re.split(r"\s|>=|<=|≥|≤", plain)[0]
        _refuse(text, f"'{word}' is not an index", f"{nearest(word, _HEADS)}{example}")
    name, rest = head[0].strip(), plain[head.end() :]
    if head["share"] is not None or _LIMIT.match(rest):
        _refuse(text, "an exposure has no limit", f"Leave it out. {example}")
    if head["mic"] is not None:
        _refuse(text, "an exposure is not divided by a MIC", f"Write {name.split('/')[0].strip()}. {example}")
    at = _AT_MIC.search(rest)
    if (head["index"] is None) != (at is not None):
        rule = "T>MIC needs a MIC in mg/L" if at is None else f"{name} does not depend on a MIC"
        _refuse(text, rule, f"Write {name} at 2." if at is None else "Leave it out.")
    limit = ">= 100%" if head["index"] is None else ">= 1"
    if at is None:
        return f"{name} {limit} {rest}".strip(), None
    mic = real("MIC", float(at[1]), "a MIC", unit="mg/L", gt=0, fix=f"Write {name} at 2.")
    return f"{name} {limit} {rest[: at.start()]}{rest[at.end() :].strip()}".strip(), mic


def _limits(limit: re.Match[str], index: str, name: str, text: str, *, per_mic: bool) -> dict[str, float]:
    """``lower`` and ``upper`` from the part behind the index."""
    _check_unit(limit["unit"], index, name, text, per_mic=per_mic)

    def number(shown: str) -> float:
        if index == "T>MIC":
            return parse_fraction(shown, name)
        if shown.endswith("%"):
            _refuse(text, f"{name} is not a fraction, so its limit is no percentage", f"Write {name} >= 10.")
        return float(shown)

    if limit["low"] is not None:
        percent = "%" if limit["high"].endswith("%") and index == "T>MIC" else ""
        return {"lower": number(limit["low"] + percent), "upper": number(limit["high"])}
    if limit["sign"] in (">=", "≥", "=>", "<=", "≤", "=<"):
        side = "lower" if limit["sign"] in (">=", "≥", "=>") else "upper"
        return {side: number(limit["value"].strip())}
    sign = "<=" if limit["sign"] == "<" else ">="
    return _refuse(
        text, "a limit counts as attained itself", f"Write {name} {sign} {limit['value'].strip()}."
    )


def _check_unit(unit: str | None, index: str, name: str, text: str, *, per_mic: bool) -> None:
    """A unit need not be written; if it is, it must be the right one."""
    if unit is None:
        return
    shown = re.sub(r"[·.⋅]|\s+", "*", unit.lower().replace("µ", "u").replace("μ", "u"))
    right: tuple[str, ...] = () if index == "T>MIC" else _UNITS["AUC" if index.startswith("AUC") else "C"]
    if per_mic:
        right = ("h",) if index.startswith("AUC") else ()
    if shown not in right:
        fix = f"It is {'mg*h/L' if index.startswith('AUC') else 'mg/L'}." if right and not per_mic else ""
        _refuse(text, f"'{unit}' is not the unit of {name}", fix or "Leave the unit out.")


def read_suffixes(text: str, whole: str) -> dict[str, Any]:
    """Window, site, penetration and fu, where the text says them."""
    said: dict[str, Any] = {}
    rest = text.strip()
    while rest:
        name, match = next(((n, m) for n, p in _SUFFIXES.items() if (m := p.match(rest))), ("", None))
        if match is None or name in said:
            word = rest.split()[0]
            rule = f"'{rest}' cannot be read behind the limit" if match is None else f"{name} is said twice"
            _refuse(
                whole,
                rule,
                f"{nearest(word, ('in', 'at', 'with'))}Write in day1, at ELF 0.3 or with fu 0.98.",
            )
        rest = rest[match.end() :].strip()
        if name == "window":
            said[name] = Window.of(match[1])
        elif name == "fu":
            said[name] = parse_fraction(match[1], "fu")
        else:
            said[name] = match[1]
            if match[2] is not None:
                said["penetration"] = float(match[2])
    return said


def split(text: str) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """The fields of each target of ``all of (A; B)`` or ``A and B``, and what is said behind the bracket.

    Raises
    ------
    InputError
        A target cannot be read, or what stands behind the last one could be meant for all.
    """
    text = " ".join(text.split())
    match = re.fullmatch(r"\s*all\s+of\s*\((.*)\)(.*)", text, re.IGNORECASE | re.DOTALL)
    if match is not None:
        pieces = [piece for piece in re.split(r";|\band\b", match[1], flags=re.IGNORECASE) if piece.strip()]
        if not pieces:
            _refuse(text, "there is no target in the brackets", "Write all of (fT>MIC >= 50%; Cmin <= 20).")
        return [read_target(piece) for piece in pieces], read_suffixes(match[2], text)
    pieces = re.split(r"\band\b", text, flags=re.IGNORECASE)
    if ";" in text:
        _refuse(text, "several targets together need brackets", "Write all of (fT>MIC >= 50%; Cmin <= 20).")
    targets = [read_target(piece) for piece in pieces]
    for key in ("window", "site", "fu"):
        if key in targets[-1] and any(key not in target for target in targets[:-1]):
            rule = f"the {key} behind the last target could be meant for all of them"
            _refuse(text, rule, "Say it behind each, or write all of (A; B) in day1.")
    return targets, {}


def head_text(index: str, *, free: bool, per_mic: bool, mic_multiple: float, time: float | None) -> str:
    """The index of a target as the grammar writes it: ``fT>4xMIC``, ``AUC24/MIC``, ``C@48h``."""
    f = "f" if free else ""
    if index == "T>MIC":
        return f"{f}T>{'' if mic_multiple == 1 else number_text(mic_multiple) + 'x'}MIC"
    at = "" if time is None else f"@{hours_text(time)}"
    return f"{f}{index}{at}{'/MIC' if per_mic else ''}"


def limit_text(index: str, lower: float | None, upper: float | None) -> str:
    """The limits of a target as the grammar writes them: ``>= 50%``, ``<= 60``, ``10..20``."""
    shown = fraction_text if index == "T>MIC" else number_text
    if lower is not None and upper is not None:
        return f"{shown(lower)}..{shown(upper)}"
    return f">= {shown(lower)}" if lower is not None else f"<= {shown(upper or 0.0)}"
