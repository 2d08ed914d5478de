"""Names that a Stan program declares, read from its text: enough to tell parameters from what is computed of them."""

from __future__ import annotations

import re
from functools import lru_cache

__all__ = ["parameter_names"]

_ASIDE = re.compile(r"/\*.*?\*/|//[^\n]*|#[^\n]*|\"[^\"\n]*\"", re.DOTALL)
_BLOCK = re.compile(r"(?<!transformed)\s+parameters\s*\{")
_LAST_NAME = re.compile(r"(\w+)\s*$")


@lru_cache(maxsize=64)
def parameter_names(code: str) -> tuple[str, ...]:
    """Variables of the block `parameters`.

    Parameters
    ----------
    code : a Stan program without includes

    Examples
    --------
    >>> parameter_names("parameters { real<lower=0> a; array[2] vector[3] b, c; } transformed parameters { real d; }")
    ('a', 'b', 'c')
    """
    text = " " + _ASIDE.sub(" ", code)
    begin = _BLOCK.search(text)
    if not begin:
        return ()
    body = text[begin.end() : _end(text, begin.end())]
    names: list[str] = []
    for statement in body.split(";"):
        flat = _without_brackets(statement)
        names += [found[1] for part in flat.split(",") if (found := _LAST_NAME.search(part))]
    return tuple(names)


def _end(text: str, begin: int) -> int:
    """Where the brace that is open at `begin` closes; bounds may hold braces of their own."""
    depth = 1
    for at in range(begin, len(text)):
        depth += (text[at] == "{") - (text[at] == "}")
        if not depth:
            return at
    return len(text)


def _without_brackets(text: str) -> str:
    """A declaration without sizes, bounds and the parts of a tuple; a < inside of (...) or [...] opens nothing."""
    kept: list[str] = []
    closing: list[str] = []
    pairs = {"[": "]", "(": ")", "<": ">"}
    for character in text:
        if closing and character == closing[-1]:
            closing.pop()
        elif character in pairs and not (character == "<" and closing):
            closing.append(pairs[character])
        elif not closing:
            kept.append(character)
    return "".join(kept)
