"""Residual error: how far a measured level lies from the model's."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, get_args

from tdmx_dask.domain.prior import Prior
from tdmx_dask.domain.section import Item, nearest
from tdmx_dask.domain.units import number_text, real
from tdmx_dask.domain.variability import variability_text
from tdmx_dask.errors import InputError

__all__ = ["ERROR_KINDS", "ErrorKind", "ErrorModel"]

ErrorKind = Literal[
    "additive", "proportional", "combined", "combined_linear", "student_additive", "student_proportional"
]
ERROR_KINDS: tuple[ErrorKind, ...] = get_args(ErrorKind)
"""In the order of the Stan programs, which count from 1."""

LARGEST_ADDITIVE, LARGEST_PROPORTIONAL = 1e3, 2.0
USUAL_NU = 4.0


@dataclass(frozen=True, slots=True)
class ErrorModel:
    """The distribution of a measured level about the model's f.

    ====================  ====================================
    kind                  SD (scale, for Student's t) at f
    ====================  ====================================
    additive              a
    proportional          p f
    combined              sqrt(a² + p² f²)
    combined_linear       a + p f
    student_additive      a, heavy tails
    student_proportional  p f, heavy tails
    ====================  ====================================

    Parameters
    ----------
    kind : of the table
    additive : a, mg/L, at most 1,000; where the kind has it
    proportional : p, a fraction, at most 2; where the kind has it
    nu : degrees of freedom of Student's t, > 0; left out 4, the value of Lange, Little & Taylor (1989, J Am Stat Assoc 84:881)

    Raises
    ------
    InputError
        A part is missing or too many, or out of range.

    Examples
    --------
    >>> error = ErrorModel.from_mapping({"kind": "combined", "additive": 0.5, "proportional": "15%"})
    >>> error.code, error.additive.median, error.proportional.median
    (3, 0.5, 0.15)
    """

    kind: ErrorKind
    additive: Prior | None = None
    proportional: Prior | None = None
    nu: float | None = None

    def __post_init__(self) -> None:
        if self.kind not in ERROR_KINDS:
            raise InputError(
                "kind", self.kind, "there is no such error model", nearest(str(self.kind), ERROR_KINDS)
            )
        wanted = self.parts_of(self.kind)
        for name, given in (("additive", self.additive), ("proportional", self.proportional)):
            if (given is None) == (name in wanted):
                rule = f"the error {self.kind} has {' and '.join(wanted)}"
                fix = f"Give {name}." if given is None else "Remove it, or change the kind."
                raise InputError(name, None if given is None else f"{given.median:g}", rule, fix)
        if self.additive is not None:
            fix = "Give it in mg/L."
            real(
                "additive",
                self.additive.median,
                "an additive error",
                unit="mg/L",
                le=LARGEST_ADDITIVE,
                fix=fix,
            )
        if self.proportional is not None:
            p = self.proportional.median
            fix = f"If it is a percent, write {p / 100:g} or {p:g}%."
            real(
                "proportional", p, "a proportional error is a fraction and", le=LARGEST_PROPORTIONAL, fix=fix
            )
        self._check_nu()

    def _check_nu(self) -> None:
        student = self.kind.startswith("student")
        if not student and self.nu is not None:
            rule = "degrees of freedom belong to a Student error"
            raise InputError("nu", self.nu, rule, "Remove nu, or write kind: student_proportional.")
        if student:
            nu = USUAL_NU if self.nu is None else self.nu
            number = real("nu", nu, "degrees of freedom", gt=0, le=1e3, fix="4 is usual.")
            object.__setattr__(self, "nu", number)

    @staticmethod
    def parts_of(kind: ErrorKind) -> tuple[str, ...]:
        """Which of additive and proportional a kind has."""
        if kind.startswith("combined"):
            return ("additive", "proportional")
        return ("additive",) if kind.endswith("additive") else ("proportional",)

    @property
    def code(self) -> int:
        """The kind as the Stan programs number it."""
        return ERROR_KINDS.index(self.kind) + 1

    @property
    def free(self) -> tuple[str, ...]:
        """The parts that are estimated."""
        parts = (("additive", self.additive), ("proportional", self.proportional))
        return tuple(name for name, prior in parts if prior is not None and prior.omega > 0)

    @classmethod
    def from_mapping(cls, given: Mapping[str, object] | Item) -> ErrorModel:
        """Read an error model.

        ::

            error: {kind: proportional, proportional: 15%}                        # known
            error: {kind: combined, additive: 0.5, proportional: {median: 0.15, cv: 30%}}   # the second estimated

        Parameters
        ----------
        given : as above; or the `Item` that holds it. ``kind`` may be left out where one or two plain parts say it

        Raises
        ------
        InputError
            Unknown, missing or out of range, named by its path.
        """
        item = given if isinstance(given, Item) else Item(given, "error")
        section = item.section().only("kind", "additive", "proportional", "nu")
        parts = {
            key: Prior.from_item(section.at(key), percent=key == "proportional")
            for key in ("additive", "proportional")
            if key in section
        }
        kind = section.text("kind") if "kind" in section else ""
        if not kind:
            kind = "combined" if len(parts) == 2 else next(iter(parts), "")
        nu = section.number("nu") if "nu" in section else None
        with item.naming():
            return cls(kind, nu=nu, **parts)  # type: ignore[arg-type]

    @classmethod
    def parse(cls, text: str, *, name: str = "error") -> ErrorModel:
        """An error model from its kind and its figures: additive in mg/L, then proportional.

        Behind a figure may stand how well it is known: ``cv 30%``, or ``omega 0.3``; behind all, ``nu 4`` of a Student error.

        Parameters
        ----------
        text : such as ``combined 0.5 15%`` or ``proportional 15% cv 30%``
        name : what the text is, for complaints

        Raises
        ------
        InputError
            No such kind, a figure too few or too many, or out of range.

        Examples
        --------
        >>> error = ErrorModel.parse("combined 0.5 15% cv 30%")
        >>> error.additive.median, error.proportional.median, error.free
        (0.5, 0.15, ('proportional',))
        >>> error.text()
        'combined 0.5 0.15 cv 30%'
        """
        if not isinstance(text, str):
            raise InputError(name, text, "an error model is a text here", 'Write "proportional 15%".')
        kind, *words = text.split() or [""]
        if kind not in ERROR_KINDS:
            raise InputError(name, text, "it begins with the kind of the error", nearest(kind, ERROR_KINDS))
        parts = cls.parts_of(kind)
        mapping: dict[str, object] = {"kind": kind}
        if len(words) > 1 and words[-2] == "nu":
            mapping["nu"] = _figure(words[-1])
            words = words[:-2]
        figures: list[object] = []
        while words:
            figure: object = _figure(words.pop(0))
            if len(words) > 1 and words[0] in ("cv", "omega"):
                figure = {"median": figure, words.pop(0): _figure(words.pop(0))}
            figures.append(figure)
        if len(figures) != len(parts):
            needs = " and ".join(
                "additive in mg/L" if part == "additive" else "proportional" for part in parts
            )
            example = {"additive": "0.5", "proportional": "15%"}
            fix = f'Write "{kind} {" ".join(example[part] for part in parts)}".'
            raise InputError(name, text, f"a {kind} error has its figures: {needs}", fix)
        return cls.from_mapping(Item({**mapping, **dict(zip(parts, figures, strict=True))}, name))

    def text(self) -> str:
        """The text that `parse` reads."""
        words: list[str] = [self.kind]
        for prior in (self.additive, self.proportional):
            if prior is not None:
                words.append(number_text(prior.median))
                words += [variability_text(prior.omega)] if prior.omega > 0 else []
        return " ".join(words if self.nu is None else [*words, "nu", number_text(self.nu)])

    def to_mapping(self) -> dict[str, object]:
        """Plain values; `from_mapping` takes them back."""
        mapping: dict[str, object] = {"kind": self.kind}
        for name, prior in (("additive", self.additive), ("proportional", self.proportional)):
            if prior is not None:
                mapping[name] = prior.to_mapping()
        return mapping if self.nu is None else {**mapping, "nu": self.nu}


def _figure(text: str) -> float | str:
    """A number, or a text for whoever reads it to judge."""
    try:
        return float(text)
    except ValueError:
        return text
