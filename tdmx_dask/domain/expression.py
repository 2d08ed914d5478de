"""Covariate expressions: formulas over named arrays, evaluated here and never by Python's own ``eval``."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import reduce
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tdmx_dask.domain.formula import COMPARISONS, FUNCTIONS, Node, read_formula
from tdmx_dask.domain.section import Item, nearest, shown
from tdmx_dask.errors import InputError

__all__ = ["Expression"]

Floats = NDArray[np.float64]

_UFUNC: dict[str, Callable[..., Any]] = {
    "+": np.add, "-": np.subtract, "*": np.multiply, "/": np.divide, "**": np.power, "neg": np.negative,
    "<": np.less, "<=": np.less_equal, ">": np.greater, ">=": np.greater_equal, "==": np.equal,
    "!=": np.not_equal, "and": np.logical_and, "or": np.logical_or, "not": np.logical_not, "abs": np.abs,
    "exp": np.exp, "log": np.log, "sqrt": np.sqrt, "min": np.minimum, "max": np.maximum,
}  # fmt: skip
_RANK = {
    "or": 1, "and": 2, "not": 3, **dict.fromkeys(COMPARISONS, 4), "+": 5, "-": 5, "*": 6, "/": 6, "neg": 7,
    "**": 8, **dict.fromkeys(("number", "name", *FUNCTIONS), 9),
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Expression:
    """A formula over named arrays, such as ``13.6 * (CCr / 87.6)**0.66``.

    It knows numbers, names, ``+ - * / **``, parentheses, comparisons, ``and or not``, and the functions
    ``exp log sqrt min max abs`` and ``where(condition, a, b)``; a comparison counts as 1 or 0 in arithmetic.
    Equal formulas compare and hash equal whatever their blanks and parentheses; ``str`` prints a form that
    parses back.

    Parameters
    ----------
    tree : the formula; made by `parse`
    names : names that it needs, in alphabetical order
    """

    tree: Node = field(repr=False)
    names: tuple[str, ...] = field(compare=False)

    @classmethod
    def parse(cls, text: str | float, *, name: str = "expression") -> Expression:
        """Read a formula.

        Parameters
        ----------
        text : at most 2,000 ASCII characters that nest at most 50 deep; or one finite number
        name : what the formula is, for complaints

        Raises
        ------
        InputError
            Where the text is no such formula; the piece that is wrong is named.

        Examples
        --------
        >>> Expression.parse("2 * ((WT / 70) ** 0.75)")
        Expression('2 * (WT / 70)**0.75')
        >>> float(Expression.parse("2 * (WT / 70)**2").evaluate({"WT": 140}))
        8.0
        """
        if isinstance(text, bool) or not isinstance(text, str | int | float):
            raise InputError(name, shown(text), "a formula is a text or a number", "Write it in quotes.")
        tree = read_formula(text if isinstance(text, str) else _numeral(text), name)
        return cls(tree, tuple(sorted(set(tree.names()))))

    @classmethod
    def from_item(cls, item: Item) -> Expression:
        """Read a formula of a document, whose path and line a complaint names."""
        try:
            return cls.parse(item.value, name=item.path)  # type: ignore[arg-type]
        except InputError as error:
            fix = f"{error.fix} ({item.place})" if item.place else error.fix
            raise InputError(error.name, error.value, error.rule, fix) from None

    def __str__(self) -> str:
        return _print(self.tree)

    def __repr__(self) -> str:
        return f"Expression({str(self)!r})"

    @property
    def constant(self) -> float | None:
        """The value of a formula without names; None where it has any."""
        return None if self.names else float(self.evaluate({}))

    def evaluate(self, values: Mapping[str, ArrayLike]) -> Floats:
        """Return the formula's value.

        Parameters
        ----------
        values : by name, of any shapes that broadcast; names that the formula does not need are ignored

        Returns
        -------
        of the shape that the inputs broadcast to; inf or NaN where arithmetic gives it, without a warning. A
        formula that is one name returns that input, not a copy.

        Raises
        ------
        InputError
            Where a name has no value.
        """
        for name in self.names:
            if name not in values:
                raise InputError(
                    str(self), name, "this name has no value here", nearest(name, sorted(values))
                )
        arrays = {name: np.asarray(values[name], dtype=np.float64) for name in self.names}
        with np.errstate(all="ignore"):
            return np.asarray(_number(self.tree, arrays))


def _numeral(number: float) -> str:
    """Text of a number, whatever its kind."""
    try:
        return repr(float(number))
    except OverflowError:
        return "inf"


def _number(node: Node, arrays: Mapping[str, Floats]) -> Floats:
    """Value of a node as a number: a truth is 1 or 0."""
    value = _value(node, arrays)
    return value.astype(np.float64) if value.dtype == np.bool_ else value


def _value(node: Node, arrays: Mapping[str, Floats]) -> NDArray[Any]:
    """Value of a node: numbers, or truths where it compares."""
    if node.kind == "number":
        return np.asarray(node.number)
    if node.kind == "name":
        return arrays[node.name]
    if node.kind == "where":
        condition, *cases = node.parts
        return np.where(_value(condition, arrays), *(_number(case, arrays) for case in cases))
    operand = _value if node.kind in {"and", "or", "not"} else _number
    values = [operand(part, arrays) for part in node.parts]
    function = _UFUNC[node.kind]
    return np.asarray(function(values[0]) if len(values) == 1 else reduce(function, values))


def _print(node: Node) -> str:
    kind, parts, rank = node.kind, node.parts, _RANK[node.kind]
    if kind == "number":
        return f"{node.number:.0f}" if node.number.is_integer() and node.number < 1e15 else repr(node.number)
    if kind == "name":
        return node.name
    if kind in FUNCTIONS:
        return f"{kind}({', '.join(map(_print, parts))})"
    if kind in {"neg", "not"}:
        return {"neg": "-", "not": "not "}[kind] + _inside(parts[0], rank)
    if kind == "**":  # binds to the right; tighter than a minus before it, not than one behind it
        return f"{_inside(parts[0], rank + 1)}**{_inside(parts[1], _RANK['neg'])}"
    if kind in {"and", "or"} or kind in COMPARISONS:
        return f" {kind} ".join(_inside(part, rank + 1) for part in parts)
    return f"{_inside(parts[0], rank)} {kind} {_inside(parts[1], rank + 1)}"


def _inside(node: Node, rank: int) -> str:
    """Text of an operand, in parentheses where it binds less tightly than a rank."""
    return _print(node) if _RANK[node.kind] >= rank else f"({_print(node)})"
