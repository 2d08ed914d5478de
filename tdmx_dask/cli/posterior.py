"""A posterior as a clinician reads it: parameters beside their prior, levels beside their prediction, and whether to trust it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from tdmx_dask.api.records import Row
from tdmx_dask.cli.tables import Grid, print_grid

if TYPE_CHECKING:
    from rich.console import Console

    from tdmx_dask.api.individual import Individual
    from tdmx_dask.api.patients import Patients
    from tdmx_dask.fitting.fit import Fit

__all__ = ["print_cohort", "print_health", "print_individual", "print_posterior"]

OUTSIDE = "!"
"""Behind a level outside its interval, so that it shows without colour too."""


def print_individual(screen: Console, found: Individual) -> None:
    """Print who was fitted, the posterior, whether it can be trusted, and the levels."""
    from tdmx_dask.api.individual import level_rows, posterior_rows

    patient = found.patient
    screen.print(patient.title or patient.id, style="bold")
    for text in (patient.description, patient.source and f"Source: {patient.source}"):
        if text:
            screen.print(text)
    screen.print(f"Doses: {patient.regimen!s}", soft_wrap=True)
    screen.print()
    print_posterior(screen, posterior_rows(found))
    print_health(screen, found.fit)
    screen.print()
    rows = level_rows(found)
    if rows:
        _print_levels(screen, rows)


def print_posterior(screen: Console, rows: Sequence[Row]) -> None:
    """Print one line a parameter: median, interval, prior, R-hat and effective sample sizes."""
    prior = any(row.get("prior_q50") is not None for row in rows)
    heads = ("median", "5-95 %", *(("prior", "5-95 %") if prior else ()), "R-hat", "ESS bulk", "ESS tail")
    grid = Grid("Posterior", ("parameter",), heads)
    for row in rows:
        cells = [_figure(row.get("q50")), _range(row, "")]
        if prior:
            cells += [_figure(row.get("prior_q50")), _range(row, "prior_")]
        cells += [_fixed(row.get("r_hat"), 3), _count(row.get("ess_bulk")), _count(row.get("ess_tail"))]
        unit = row.get("unit")
        name = f"{row['parameter']}, {unit}" if unit not in (None, "", "1") else str(row["parameter"])
        grid.rows.append(((name,), tuple(cells)))
    print_grid(screen, grid, mark="")


def print_health(screen: Console, fit: Fit) -> None:
    """Print in words whether the draws can be trusted, and what to do where they cannot."""
    diagnosis = fit.diagnose()
    figures = diagnosis.figures
    if diagnosis.healthy:
        parts = [
            f"largest R-hat {figures['rhat']:.3f}",
            f"smallest ESS {min(figures['ess_bulk'], figures['ess_tail']):,.0f}",
        ]
        if "divergences" in figures:
            parts.append("no divergent transition")
        screen.print(f"The chains agree and mix well: {', '.join(parts)}.")
    else:
        screen.print("Do not dose by these draws yet:", style="bold red")
    for line in (*diagnosis.problems, *diagnosis.notes):
        screen.print(f"- {line}")


def _print_levels(screen: Console, rows: Sequence[Row]) -> None:
    again = any(row.get("replicated") is not None for row in rows)
    heads = ("measured", "predicted", "5-95 %", *(("5-95 % of a new level",) if again else ()))
    grid = Grid("Levels, mg/L", ("time, h",), heads)
    outside = 0
    for row in rows:
        measured = ("<" if row["below"] else "") + _given(row["measured"])
        far = _far(row)
        outside += far
        cells = [
            measured + (OUTSIDE if far else " "),
            _figure(row.get("predicted")),
            _range(row, "predicted_"),
        ]
        if again:
            cells.append(_range(row, "replicated_"))
        grid.rows.append(((_given(row["time"]),), tuple(cells)))
    print_grid(screen, grid, mark=OUTSIDE)
    if outside:
        screen.print(
            f"{OUTSIDE} = outside the interval of a new level: check the times of dose and sample, and the error model."
        )
        screen.print()


def _far(row: Row) -> bool:
    """Whether a level lies outside the interval of a new one."""
    low, high, value = row.get("replicated_q5"), row.get("replicated_q95"), row["measured"]
    if not isinstance(low, float) or not isinstance(high, float) or not isinstance(value, float):
        return False
    return low > value if row["below"] else not low <= value <= high


def print_cohort(screen: Console, found: Patients) -> None:
    """Print a line a patient with the medians of its parameters, and beside them the fits that failed."""
    rows = found.rows
    names = list(dict.fromkeys(str(name) for row in rows for name in row if str(name) not in _ABOUT))
    heads = (*names, "R-hat", "ESS", "")
    grid = Grid("Posterior medians", ("patient",), heads)
    for row in rows:
        cells = [_figure(row.get(name)) for name in names]
        cells += [
            _fixed(row.get("r_hat"), 3),
            _count(row.get("ess")),
            "" if row.get("healthy") else "not healthy",
        ]
        grid.rows.append(((str(row["patient"]),), tuple(cells)))
    if rows:
        print_grid(screen, grid, mark="not healthy")
    _print_failures(screen, found.failures)


_ABOUT = ("patient", "r_hat", "ess", "healthy", "seconds", "problems")


def _print_failures(screen: Console, failures: Mapping[str, str]) -> None:
    if not failures:
        return
    screen.print(f"{len(failures)} failed:", style="bold red")
    for name, problem in failures.items():
        screen.print(f"- {name}: {problem}", soft_wrap=True)
    screen.print()


def _figure(value: object) -> str:
    """Three significant digits, without an exponent where it can be avoided."""
    if not isinstance(value, int | float):
        return "" if value is None else str(value)
    if value == 0 or 1e-3 <= abs(value) < 1e5:
        text = f"{value:#.3g}"
        return f"{float(text):.0f}" if "e" in text else text.rstrip(".")
    return f"{value:.2e}"


def _given(value: object) -> str:
    """A number as it was given."""
    return f"{value:.6g}" if isinstance(value, int | float) else str(value)


def _range(row: Row, prefix: str) -> str:
    low, high = row.get(f"{prefix}q5"), row.get(f"{prefix}q95")
    return "" if low is None or high is None else f"{_figure(low)}-{_figure(high)}"


def _fixed(value: object, digits: int) -> str:
    return f"{value:.{digits}f}" if isinstance(value, float) else ""


def _count(value: object) -> str:
    return f"{value:,.0f}" if isinstance(value, int | float) else ""
