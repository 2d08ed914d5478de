"""Between-subject variability: its scales, its covariance, and the factor that turns normals into deviations."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from tdmx_dask.domain.section import Item, Section
from tdmx_dask.domain.units import number_text
from tdmx_dask.errors import InputError

__all__ = [
    "LARGEST",
    "cholesky",
    "omega_of_cv",
    "read_covariance",
    "read_fraction",
    "read_variability",
    "variability_text",
]

Floats = NDArray[np.float64]

LARGEST = 3.0
"""A plain number above this is taken for a percent and refused: omega = 3 spreads patients over a factor of 400."""

_ROUNDING = 1e-10
_PERCENT = re.compile(r"\s*(\d+(?:\.\d*)?|\.\d+)\s*%\s*")


def omega_of_cv(cv: float) -> float:
    """SD of the log of a lognormal with a coefficient of variation: sqrt(log(1 + cv²)).

    Examples
    --------
    >>> round(omega_of_cv(0.8854), 6)
    0.760803
    """
    return math.sqrt(math.log1p(cv * cv))


def variability_text(omega: float) -> str:
    """An SD of the log as people write it: as a CV where six digits of a percent give the same number back, else as it is.

    Examples
    --------
    >>> variability_text(omega_of_cv(0.221)), variability_text(0.25)
    ('cv 22.1%', 'omega 0.25')
    """
    percent = f"{100 * math.sqrt(math.expm1(omega * omega)):.6g}"
    return f"cv {percent}%" if omega_of_cv(float(percent) / 100) == omega else f"omega {number_text(omega)}"


def read_fraction(item: Item, largest: float) -> float:
    """Read a fraction that may be written as a percent: 0.221 or 22.1%.

    Parameters
    ----------
    item : the value
    largest : a plain number above it is refused as a likely percent; a percent may be ten times as much
    """
    if isinstance(item.value, str):
        match = _PERCENT.fullmatch(item.value)
        if match is None:
            item.fail("a fraction is a number such as 0.221, or a percent such as 22.1%")
        fraction = float(match[1]) / 100
        largest *= 10
    else:
        fraction = item.number(low=0.0)
    if fraction > largest:
        fix = f"If it is a percent, write {fraction / 100:g} or {fraction:g}%."
        item.fail(f"a fraction here is at most {largest:g}", fix)
    return fraction


def read_variability(item: Item) -> float:
    """Read one parameter's variability, its scale named, as the SD of the log.

    Parameters
    ----------
    item : ``{omega: 0.386}``, ``{cv: 0.221}`` (omega = sqrt(log(1 + cv²))) or ``{variance: 0.0884}``; percents with
        their sign are read for omega and cv
    """
    if isinstance(item.value, str | int | float):
        fix = f"Write {{cv: {item.value}}}, {{omega: {item.value}}} or {{variance: {item.value}}}."
        item.fail("its scale must be named: omega is the SD of the log, cv the coefficient of variation", fix)
    section = item.section().only("omega", "cv", "variance")
    given = [key for key in ("omega", "cv", "variance") if key in section]
    if len(given) != 1:
        item.fail("one of omega, cv and variance is wanted", "Keep one.")
    if given == ["variance"]:
        return math.sqrt(section.number("variance", low=0.0, high=LARGEST**2))
    fraction = read_fraction(section.at(given[0]), LARGEST)
    return omega_of_cv(fraction) if given == ["cv"] else fraction


def read_covariance(
    bsv: Section | None,
    correlations: Section | None,
    covariance: Section | None,
    name: Callable[[Item, str], str],
) -> dict[tuple[str, str], float]:
    """Read the covariance of the logs of the parameters, from either of its two forms.

    Parameters
    ----------
    bsv : of each parameter, as `read_variability` takes it
    correlations : ``{"CL, Vc": 0.4}``; those not named are 0
    covariance : instead of both, ``{etas: [CL, Vc], matrix: [[0.05, 0.01], [0.01, 0.06]]}``; the rows may stop at
        the diagonal
    name : turns a given name of a parameter into the seed's

    Returns
    -------
    covariance by pair of names, both ways round
    """
    if covariance is not None:
        if bsv is not None or correlations is not None:
            covariance.item.fail(
                "a covariance stands in place of bsv and correlations", "Keep one of the two."
            )
        return _full_covariance(covariance, name)
    omegas: dict[str, float] = {}
    for key in bsv or ():
        item = bsv.at(key)  # type: ignore[union-attr]
        given = name(item, key)
        if given in omegas:
            item.fail(f"{given} has its variability twice", "Keep one.")
        omegas[given] = read_variability(item)
    pairs = {(key, key): omega * omega for key, omega in omegas.items()}
    for key in correlations or ():
        item = correlations.at(key)  # type: ignore[union-attr]
        first, second = _pair(item, key, name)
        for each in (first, second):
            if each not in omegas:
                item.fail(
                    f"{each} has no variability", f"Give bsv a value for {each}, or remove the correlation."
                )
        if first == second or (first, second) in pairs:
            item.fail("a correlation joins two parameters, once", "Keep one.")
        value = item.number(-1.0, 1.0)
        pairs[first, second] = pairs[second, first] = value * omegas[first] * omegas[second]
    return pairs


def _pair(item: Item, key: str, name: Callable[[Item, str], str]) -> tuple[str, str]:
    words = key.replace(",", " ").split()
    if len(words) != 2:
        item.fail('a correlation is named by two parameters, as "CL, Vc"', "Write the two with a comma.")
    return name(item, words[0]), name(item, words[1])


def _full_covariance(section: Section, name: Callable[[Item, str], str]) -> dict[tuple[str, str], float]:
    section.only("etas", "matrix")
    etas = [name(item, item.text()) for item in section.items("etas")]
    rows = section.items("matrix")
    if len(set(etas)) < len(etas) or len(rows) != len(etas):
        section.item.fail(
            "a covariance has one row for each of its etas", "Give each name and each row once."
        )
    pairs: dict[tuple[str, str], float] = {}
    for i, row in enumerate(rows):
        numbers = [each.number(-(LARGEST**2), LARGEST**2) for each in row.items()]
        if len(numbers) not in {i + 1, len(etas)}:
            row.fail(f"row {i + 1} has {i + 1} numbers (to the diagonal) or {len(etas)}", "Count them.")
        for j, number in enumerate(numbers):
            pairs[etas[i], etas[j]] = number
    for i, first in enumerate(etas):
        for second in etas[:i]:
            if not math.isclose(
                pairs[first, second], pairs.setdefault((second, first), pairs[first, second])
            ):
                section.at("matrix").fail(f"it is not symmetric in {second}, {first}", "Mend one of the two.")
    return pairs


def cholesky(omega: Floats, names: Sequence[str]) -> list[list[Floats]]:
    """Lower triangular factor of a covariance, or of one for each draw, element by element.

    Only elementwise sums, products and square roots are used, so that a draw's factor has the same bits whatever
    other draws are computed beside it. A covariance that is singular has columns of zeros.

    Parameters
    ----------
    omega : (eta, eta) or (draw, eta, eta)
    names : of the etas, for complaints

    Returns
    -------
    row by row, the first ``i + 1`` elements of row ``i``, each () or (draw,), contiguous

    Raises
    ------
    InputError
        Where it is not symmetric, not finite, or has a negative variance in some direction.
    """
    n = len(names)
    if omega.shape[-2:] != (n, n):
        raise InputError("omega", omega.shape, f"it must be ({n}, {n}) for {', '.join(names)}", "")
    _refuse_where(~np.isfinite(omega).all(axis=(-1, -2)), omega, "finite")
    scale = np.sqrt(np.abs(np.einsum("...ii->...i", omega)))
    excess = np.abs(omega - np.swapaxes(omega, -1, -2)) - 1e-8 * scale[..., :, None] * scale[..., None, :]
    _refuse_where((excess > 1e-15).any(axis=(-1, -2)), omega, "symmetric")
    factor: list[list[Floats]] = []
    wrong = np.zeros(omega.shape[:-2], dtype=np.bool_)
    with np.errstate(divide="ignore", invalid="ignore"):
        for i in range(n):
            row: list[Floats] = []
            for j in range(i):
                rest = omega[..., i, j] - _products(row, factor[j], j)
                row.append(np.where(factor[j][j] > 0, rest / factor[j][j], 0.0))
                loose = np.abs(rest) > 1e-5 * scale[..., i] * scale[..., j]
                wrong |= (factor[j][j] == 0) & loose
            variance = omega[..., i, i]
            rest = variance - _products(row, row, i)
            wrong |= (rest < -_ROUNDING * variance) | (variance < 0)
            row.append(np.sqrt(np.where(rest > _ROUNDING * variance, rest, 0.0)))
            factor.append(row)
    _refuse_where(wrong, omega, "positive semidefinite: no combination of etas may have a negative variance")
    return factor


def _products(first: Sequence[Floats], second: Sequence[Floats], n: int) -> Floats:
    """Sum of products of the first n elements, from left to right."""
    total = np.asarray(0.0)
    for a, b in zip(first[:n], second[:n], strict=True):
        total = total + a * b
    return total


def _refuse_where(wrong: NDArray[np.bool_] | np.bool_, omega: Floats, rule: str) -> None:
    if not wrong.any():
        return
    if wrong.ndim == 0:
        matrix, name = omega, "omega"
    else:
        draw = int(np.argmax(wrong))
        matrix, name = omega[draw], f"omega of draw {draw}"
    text = "[" + ", ".join("[" + ", ".join(f"{x:.4g}" for x in row) + "]" for row in matrix) + "]"
    raise InputError(name, text, f"a covariance must be {rule}", "Check the correlations.")
