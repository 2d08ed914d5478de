"""The text of a formula read to a tree, by a list of what may be in it.

:mod:`ast` splits the text; each of its nodes that is not on the list is refused. What is left is arithmetic:
it names no attribute, indexes nothing, calls seven functions and loops nowhere.
"""

from __future__ import annotations

import ast
import keyword
import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NoReturn

from tdmx_dask.domain.section import nearest, shown
from tdmx_dask.errors import InputError

__all__ = ["COMPARISONS", "FUNCTIONS", "MAX_DEPTH", "MAX_LENGTH", "Node", "check_name", "read_formula"]

MAX_LENGTH = 2000
"""Characters of a formula."""

MAX_DEPTH = 50
"""Levels of nesting of a formula; a chain ``a + b + c`` nests once for each operator."""

FUNCTIONS = {
    "exp": (1, 1),
    "log": (1, 1),
    "sqrt": (1, 1),
    "abs": (1, 1),
    "min": (2, 20),
    "max": (2, 20),
    "where": (3, 3),
}
"""Functions that a formula may call, with the fewest and most arguments of each; ``log`` is natural."""

COMPARISONS = ("<", "<=", ">", ">=", "==", "!=")
_TRUTHS = {"or", "and", "not", *COMPARISONS}
_BINARY = {ast.Add: "+", ast.Sub: "-", ast.Mult: "*", ast.Div: "/", ast.Pow: "**"}
_COMPARE = dict(zip((ast.Lt, ast.LtE, ast.Gt, ast.GtE, ast.Eq, ast.NotEq), COMPARISONS, strict=True))
_TYPED = {
    "×": "*",
    "·": "*",
    "⋅": "*",
    "−": "-",
    "–": "-",
    "÷": "/",
    "²": "**2",
    "³": "**3",
    "≤": "<=",
    "≥": ">=",
}
_NUMERAL = re.compile(r"(?<![\w.])\.?\d(?:[eE][+-](?=\d)|[\w.])*")
_DECIMAL = re.compile(r"(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?")
_EXAMPLE = "Write it as in 13.6 * (CCr / 87.6)**0.66."


@dataclass(frozen=True, slots=True)
class Node:
    """One operation of a formula.

    Parameters
    ----------
    kind : ``number``, ``name``, ``neg``, ``not``, ``and``, ``or``, an operator, a comparison, or a function
    parts : its operands
    number : of a number
    name : of a name
    """

    kind: str
    parts: tuple[Node, ...] = ()
    number: float = 0.0
    name: str = ""

    def names(self) -> Iterator[str]:
        """Names in the formula, in the order of the text."""
        if self.kind == "name":
            yield self.name
        for part in self.parts:
            yield from part.names()


def check_name(name: str, where: str) -> str:
    """Return a name that a formula can use: ASCII letters, digits and ``_``; no keyword, no function.

    Raises
    ------
    InputError
        Where it is not such a name; ``where`` says what was to be named.
    """
    if not (name.isascii() and name.isidentifier()) or name.startswith("__"):
        rule = "a name has plain letters, digits and single _, and begins with a letter"
        raise InputError(where, shown(ascii(name)[1:-1]), rule, "Rename it.")
    if name in FUNCTIONS or keyword.iskeyword(name) or name in {"inf", "nan", "NaN"}:
        raise InputError(where, name, "the name has another meaning in a formula", "Rename it.")
    return name


def read_formula(text: str, name: str) -> Node:
    """Read the text of a formula; ``name`` is what to complain about.

    Raises
    ------
    InputError
        Where the text is no formula; the piece that is wrong is named.
    """
    return _Reader(name, " ".join(text.split())).read()


class _Reader:
    """Turns one text into a tree, or says which piece of it cannot be."""

    def __init__(self, name: str, text: str) -> None:
        self.name = name
        self.text = text

    def fail(self, rule: str, fix: str) -> NoReturn:
        """Complain about the text, its unprintable characters escaped."""
        safe = "".join(each if each.isprintable() else ascii(each)[1:-1] for each in self.text)
        raise InputError(self.name, shown(safe), rule, fix)

    def read(self) -> Node:
        """Read the whole text."""
        self._check_characters()
        try:
            tree = ast.parse(self.text, mode="eval")
        except SyntaxError as error:
            place = f" near character {error.offset}" if error.offset else ""
            self.fail(f"this is not a formula ({error.msg}{place})", _EXAMPLE)
        except (ValueError, MemoryError, RecursionError):
            self.fail("this is not a formula", _EXAMPLE)
        return self._node(tree.body, MAX_DEPTH)

    def _check_characters(self) -> None:
        if not self.text:
            self.fail("the formula is empty", "Write a number or a formula.")
        if len(self.text) > MAX_LENGTH:
            self.fail(f"a formula has at most {MAX_LENGTH} characters, not {len(self.text)}", "Shorten it.")
        for character in self.text:
            if not (character.isascii() and character.isprintable()):
                instead = f"Write {_TYPED[character]}." if character in _TYPED else "Type it anew."
                title = unicodedata.name(character, f"character {ord(character)}")
                self.fail(f"a formula is plain ASCII, and {character!a} ({title}) is not", instead)
        for piece, fix in (("#", "Remove the comment."), ("^", "Write a power as **."), ("\\", "Remove it.")):
            if piece in self.text:
                self.fail(f"{piece} has no meaning in a formula", fix)
        for piece in _NUMERAL.findall(self.text):
            if not _DECIMAL.fullmatch(piece):
                self.fail(f"{shown(piece, 40)} is not a number", "Write it as 70, 0.75 or 1.5e-3.")
        depth = deepest = 0
        for character in self.text:
            depth += (character in "([{") - (character in ")]}")
            deepest = max(depth, deepest)
        self._check_room(MAX_DEPTH - deepest)

    def _check_room(self, room: int) -> None:
        if room < 0:
            self.fail(f"a formula nests at most {MAX_DEPTH} deep", "Shorten it.")

    def _node(self, node: ast.expr, room: int) -> Node:
        self._check_room(room)
        match node:
            case ast.Constant():
                return self._constant(node)
            case ast.Name():
                return self._name(node)
            case ast.BinOp(op=operator) if type(operator) in _BINARY:
                operands = (self._node(node.left, room - 1), self._node(node.right, room - 1))
                return Node(_BINARY[type(operator)], operands)
            case ast.UnaryOp(op=ast.USub()):
                return Node("neg", (self._node(node.operand, room - 1),))
            case ast.UnaryOp(op=ast.UAdd()):
                return self._node(node.operand, room - 1)
            case ast.UnaryOp(op=ast.Not()):
                return Node("not", (self._truth(node.operand, room - 1, "not"),))
            case ast.BoolOp():
                kind = "and" if isinstance(node.op, ast.And) else "or"
                return Node(kind, tuple(self._truth(each, room - 1, kind) for each in node.values))
            case ast.Compare():
                return self._compare(node, room)
            case ast.Call(func=ast.Name(id=name)):
                return self._call(node, name, room)
        fix = f"Use numbers, names, + - * / ** and {' '.join(FUNCTIONS)}."
        if isinstance(node, ast.IfExp):
            fix = "Write where(condition, a, b)."
        return self.fail(f"{self._piece(node)} is not allowed in a formula", fix)

    def _constant(self, node: ast.Constant) -> Node:
        value = node.value
        if isinstance(value, bool) or not isinstance(value, int | float):
            self.fail(f"{self._piece(node)} is not a number", "A formula has numbers, names and operators.")
        try:
            number = float(value)
        except OverflowError:
            number = float("inf")
        if number == float("inf"):
            self.fail(f"{self._piece(node)} is too large for a number", "Write a smaller one.")
        return Node("number", number=number)

    def _name(self, node: ast.Name) -> Node:
        if node.id in FUNCTIONS:
            self.fail(f"{node.id} is a function", f"Write {node.id}(...).")
        if node.id in {"inf", "nan", "NaN"}:
            self.fail(f"{node.id} is not a finite number", "Write a number.")
        if node.id.startswith("__"):
            self.fail(f"{node.id} is no name of a covariate", "Rename it.")
        return Node("name", name=node.id)

    def _truth(self, node: ast.expr, room: int, owner: str) -> Node:
        tree = self._node(node, room)
        if tree.kind not in _TRUTHS:
            self.fail(
                f"{owner} needs a comparison, not {self._piece(node)}", f"Write {self._piece(node)} > 0."
            )
        return tree

    def _compare(self, node: ast.Compare, room: int) -> Node:
        for each in node.comparators[
            :-1
        ]:  # it will stand in two comparisons: keep the tree as short as the text
            if not isinstance(each, ast.Name | ast.Constant):
                piece = self._piece(each)
                self.fail(f"{piece} is compared on both sides", f"Write a < {piece} and {piece} < b.")
        room -= 1 if len(node.ops) == 1 else 2
        operands = [self._node(each, room) for each in (node.left, *node.comparators)]
        pairs = []
        for i, operator in enumerate(node.ops):
            if type(operator) not in _COMPARE:
                self.fail("in and is have no meaning in a formula", "Compare with < <= > >= == or !=.")
            pairs.append(Node(_COMPARE[type(operator)], (operands[i], operands[i + 1])))
        return pairs[0] if len(pairs) == 1 else Node("and", tuple(pairs))

    def _call(self, node: ast.Call, name: str, room: int) -> Node:
        if name not in FUNCTIONS:
            self.fail(f"{name} is no function of a formula", nearest(name, list(FUNCTIONS)))
        if node.keywords or any(isinstance(each, ast.Starred) for each in node.args):
            self.fail(f"{name} takes plain arguments", f"Write {name}(...) with a formula for each.")
        fewest, most = FUNCTIONS[name]
        if not fewest <= len(node.args) <= most:
            count = str(fewest) if fewest == most else f"{fewest} to {most}"
            self.fail(
                f"{name} takes {count} value{'s'[: most > 1]}, not {len(node.args)}", "Count its commas."
            )
        if name == "where":
            condition = self._truth(node.args[0], room - 1, name)
            return Node(name, (condition, *(self._node(each, room - 1) for each in node.args[1:])))
        return Node(name, tuple(self._node(each, room - 1) for each in node.args))

    def _piece(self, node: ast.expr) -> str:
        return shown(ast.get_source_segment(self.text, node) or type(node).__name__, 40)
