"""Addresses of plain values: equal ones have the same, on every machine."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from typing import Any

from tdmx_dask.store.nesting import DEPTH, LONG, Refusal, each_item, each_key, is_unicode, refused

__all__ = ["address", "canonical"]


def canonical(value: Any, *, name: str = "spec") -> str:
    """The one JSON text of a plain value: keys in order, no spaces, floats as ``repr`` writes them; a tuple reads as a list.

    Parameters
    ----------
    value : texts, finite numbers, booleans, None, lists, and mappings with texts as keys
    name : for messages

    Raises
    ------
    InputError
        It holds something else, nan or an infinity; the message names where.

    Examples
    --------
    >>> canonical({"b": [1, 2.5], "a": None})
    '{"a":null,"b":[1,2.5]}'
    """
    try:
        plain = _canonical(value, 0)
    except Refusal as refusal:
        raise refused(refusal, name) from None
    return json.dumps(plain, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def address(*parts: Any) -> str:
    """Digest of plain values: sha256 of their canonical JSON, 64 hexadecimal digits.

    Parameters
    ----------
    parts : as `canonical` takes them

    Raises
    ------
    InputError
        As `canonical`.
    """
    return hashlib.sha256(canonical(list(parts)).encode()).hexdigest()


def _canonical(value: Any, depth: int) -> Any:
    kind = type(value)
    if value is None or kind is bool:
        return value
    if kind is str:
        return _unicode(value)
    if kind is int:
        if value.bit_length() > LONG:
            raise Refusal(value, f"an integer of a plain value has at most {LONG} bits", "Give it as text.")
        return value
    if kind is float:
        if not math.isfinite(value):
            raise Refusal(value, f"{value} is no plain value: numbers are finite", "Leave it out, or None.")
        return value
    if depth >= DEPTH:
        raise Refusal(value, f"it is nested deeper than {DEPTH}, or holds itself", "Make it flatter.")
    if isinstance(value, Mapping):
        for key in value:
            _unicode(key)
        return each_key(value, lambda each: _canonical(each, depth + 1))
    if kind in (list, tuple):
        return each_item(value, lambda each: _canonical(each, depth + 1))
    fix = "Use texts, finite Python numbers, booleans, None, lists and mappings."
    raise Refusal(value, "it is no plain value", fix)


def _unicode(text: Any) -> Any:
    if type(text) is str and not is_unicode(text):
        raise Refusal(text, "text with half a character (a lone surrogate) is not plain", "Mend it.")
    return text
