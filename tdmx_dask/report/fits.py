"""A fit in a report: its parameters beside their priors, whether its draws can be trusted, and the levels beside their prediction."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from tdmx_dask.domain.prior import UNITS
from tdmx_dask.report.sections import Section, Sheet, shown

__all__ = ["Verdict", "caveat_of", "fit_section", "fit_sentences", "levels_section", "outside"]

Row = Mapping[str, object]

_FIGURES = {
    "rhat": "Largest R-hat",
    "ess_bulk": "Smallest effective sample size, bulk",
    "ess_tail": "Smallest effective sample size, tail",
    "divergences": "Divergent draws",
    "treedepth_hits": "Draws at the largest tree depth",
    "ebfmi": "Smallest energy fraction (E-BFMI)",
}


class Verdict(Protocol):
    """What a report needs to know of a diagnosis."""

    @property
    def healthy(self) -> bool:
        """Whether nothing speaks against the draws."""

    @property
    def problems(self) -> tuple[str, ...]:
        """What does, each with what to do."""

    @property
    def notes(self) -> tuple[str, ...]:
        """What costs time, not truth."""

    @property
    def figures(self) -> Mapping[str, float]:
        """R-hat, effective sample sizes, divergences and so on."""


def fit_section(
    parameters: Sequence[Row],
    verdict: Verdict,
    *,
    about: Sequence[tuple[str, str]] = (),
    figures: Mapping[str, str] | None = None,
) -> Section:
    """The posterior and its diagnostics.

    Parameters
    ----------
    parameters : a row each: parameter, unit, q5, q50, q95, r_hat, ess_bulk, ess_tail and, where there is a prior, prior_q5, prior_q50,
        prior_q95
    verdict : of the diagnosis
    about : method, engine and the like: (name, text)
    figures : caption -> SVG text
    """
    with_prior = any("prior_q50" in row for row in parameters)
    heads = (
        "Parameter",
        "Unit",
        "Median",
        "5–95 %",
        *(("Prior median", "Prior 5–95 %") if with_prior else ()),
    )
    rows = tuple(_parameter(row, with_prior=with_prior) for row in parameters)
    found = verdict.figures
    facts = tuple((text, _figure(name, found[name])) for name, text in _FIGURES.items() if name in found)
    if {"chains", "draws"} <= set(found):
        facts = (("Draws", f"{found['chains']:g} chains of {found['draws']:,g}"), *facts)
    sheets = [
        Sheet("Posterior", (*heads, "R-hat", "ESS bulk", "ESS tail"), rows),
        Sheet("Diagnostics", (), (*about, *facts)),
    ]
    return Section(
        "Fit", _verdict(verdict), tuple(sheet for sheet in sheets if sheet.rows), dict(figures or {})
    )


def _verdict(verdict: Verdict) -> tuple[str, ...]:
    head = "The draws are sound." if verdict.healthy else "Do not dose by these draws yet:"
    return (head, *verdict.problems, *verdict.notes)


def _parameter(row: Row, *, with_prior: bool) -> tuple[str, ...]:
    name = str(row["parameter"])
    unit = str(row.get("unit") or UNITS.get(name, ""))
    prior: tuple[str, ...] = ()
    if with_prior:
        known = "prior_q50" in row
        prior = (shown(row["prior_q50"]), _range(row, "prior_q")) if known else ("–", "–")
    judged = (_digits(row.get("r_hat"), 3), _digits(row.get("ess_bulk"), 0), _digits(row.get("ess_tail"), 0))
    return (name, "" if unit == "1" else unit, shown(row.get("q50")), _range(row, "q"), *prior, *judged)


def _range(row: Row, name: str) -> str:
    return f"{shown(row.get(f'{name}5'))}–{shown(row.get(f'{name}95'))}"


def _figure(name: str, value: float) -> str:
    return _digits(value, 3 if name == "rhat" else 2 if name == "ebfmi" else 0)


def _digits(value: object, digits: int) -> str:
    return f"{float(value):,.{digits}f}" if isinstance(value, int | float) else "–"


def fit_sentences(verdict: Verdict, levels: Sequence[Row] = ()) -> list[tuple[str, str]]:
    """What a reader takes home of a fit: whether to trust it, and which levels it does not explain; what speaks against it first."""
    figures = verdict.figures
    parts = [
        f"{name} {_figure(key, figures[key])}"
        for key, name in (("rhat", "R-hat"), ("ess_bulk", "ESS"), ("divergences", "divergent draws"))
        if key in figures
    ]
    numbers = f" ({', '.join(parts)})" if parts else ""
    said = "The draws are sound" if verdict.healthy else "Do not dose by these draws yet"
    why = "" if verdict.healthy else ": " + " ".join(verdict.problems)
    end = "" if why.endswith((".", "!")) else "."
    found = [("Fit", f"{said}{numbers}{why}{end}")]
    if levels:
        said_of_levels = ("Levels", _levels_sentence(levels))
        first = verdict.healthy and any(outside(row) for row in levels)
        found.insert(0 if first else 1, said_of_levels)
    return found


def caveat_of(verdict: Verdict, levels: Sequence[Row] = ()) -> str:
    """What must be known beside every number that is made of the draws; empty where nothing speaks against them."""
    parts = [] if verdict.healthy else ["Do not dose by these draws yet: their diagnostics are not sound."]
    judged = [row for row in levels if _interval(row) is not None]
    far = sum(outside(row) for row in judged)
    if far:
        verb = "lies" if far == 1 else "lie"
        parts.append(
            f"{far} of {len(judged)} levels {verb} outside of what the fitted model makes: these numbers are as right as that model."
        )
    return " ".join(parts)


def _levels_sentence(levels: Sequence[Row]) -> str:
    judged = [row for row in levels if _interval(row) is not None]
    far = [row for row in judged if outside(row)]
    if not judged:
        return "No prediction of the levels is at hand."
    if not far:
        return f"All {len(judged)} levels lie within the 90 % interval of what the fitted model makes at their times."
    parts = []
    for row in far[:6]:
        low, high = _interval(row) or (0.0, 0.0)
        parts.append(f"{_measured(row)} mg/L at {shown(row['time'])} h ({shown(low)}–{shown(high)})")
    more = f" and {len(far) - 6} more" if len(far) > 6 else ""
    verb = "lies" if len(far) == 1 else "lie"
    return (
        f"{len(far)} of {len(judged)} levels {verb} outside the 90 % interval of what the fitted model makes there: "
        f"{'; '.join(parts)}{more}. Check the times of doses and levels, and the prior."
    )


def levels_section(levels: Sequence[Row], figures: Mapping[str, str] | None = None) -> Section:
    """Each level beside its prediction; those outside their interval are marked.

    Parameters
    ----------
    levels : a row each: time (h), measured (mg/L), below, predicted, predicted_q5, predicted_q95, replicated_q5, replicated_q95
    figures : caption -> SVG text
    """
    rows = tuple(
        (
            shown(row["time"]),
            _measured(row),
            shown(row.get("predicted")),
            f"{shown(row.get('predicted_q5'))}–{shown(row.get('predicted_q95'))}",
            f"{shown(row.get('replicated_q5'))}–{shown(row.get('replicated_q95'))}",
            "outside" if outside(row) else "",
        )
        for row in levels
    )
    marked = frozenset(number for number, row in enumerate(levels) if outside(row))
    heads = ("Time (h)", "Measured", "Predicted", "5–95 %", "5–95 % of a level", "")
    note = (
        "In mg/L. Predicted: the concentration; of a level: with the error of its measurement."
        if rows
        else ""
    )
    return Section("Levels", (), (Sheet("", heads, rows, marked, note),) if rows else (), dict(figures or {}))


def outside(row: Row) -> bool:
    """Whether a level lies outside the 90 % interval of levels (of concentrations, where there are no replicates)."""
    interval, value = _interval(row), row.get("measured")
    if interval is None or not isinstance(value, int | float):
        return False
    if row.get("below"):  # known to be below the limit only
        return interval[0] > value
    return not interval[0] <= value <= interval[1]


def _interval(row: Row) -> tuple[float, float] | None:
    for name in ("replicated", "predicted"):
        low, high = row.get(f"{name}_q5"), row.get(f"{name}_q95")
        if isinstance(low, int | float) and isinstance(high, int | float):
            return float(low), float(high)
    return None


def _measured(row: Row) -> str:
    return f"{'<' if row.get('below') else ''}{shown(row['measured'])}"
