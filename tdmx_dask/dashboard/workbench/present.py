"""What the workbench shows as tables: markup in which all that others said is escaped."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence

import xarray as xr

from tdmx_dask.api.individual import Individual, level_rows, posterior_rows
from tdmx_dask.dashboard.look import escaped
from tdmx_dask.domain.regimen import Regimen
from tdmx_dask.domain.units import number_text
from tdmx_dask.errors import InputError
from tdmx_dask.fitting.future import ChainProgress
from tdmx_dask.plot.style import mic_label, percent
from tdmx_dask.report.tables import Table, cfr_tables, pta_tables

__all__ = ["attainment", "chains", "comparison", "levels", "notes", "posterior", "problems"]

_PHASES = {
    "starting": "starting", "warmup": "warming up", "sampling": "sampling", "done": "done", "failed": "failed", "retrying": "trying again",
}  # fmt: skip


def _table(head: Sequence[str], rows: Iterable[Sequence[str]], *, words: int = 1, kind: str = "") -> str:
    """A table; the first `words` columns are text, the others numbers; cells are markup."""
    sort = ["" if place < words else " class='n'" for place in range(len(head))]
    leasts = [";min-width:8em" if place < words == 1 else "" for place in range(len(head))]
    heads = "".join(
        f"<th{how} style='white-space:normal{least}'>{escaped(cell)}</th>"
        for how, cell, least in zip(sort, head, leasts, strict=True)
    )
    body = "".join(
        "<tr>" + "".join(f"<td{how}>{cell}</td>" for how, cell in zip(sort, row, strict=True)) + "</tr>"
        for row in rows
    )
    return f"<div style='overflow-x:auto'><table style='width:auto'{f' id={kind}' if kind else ''}><tr>{heads}</tr>{body}</table></div>"


def attainment(regimen: Regimen, pta: xr.Dataset, cfr: xr.Dataset | None, level: float) -> str:
    """PTA by MIC with breakpoints, and CFR by organism, with their intervals, in per cent."""
    parts = [f"<h2>{escaped(regimen.label)}: PTA, %</h2>{''.join(map(_cells, pta_tables(pta, level)))}"]
    if cfr is not None:
        parts.append(f"<h2>CFR, %</h2>{''.join(map(_cells, cfr_tables(cfr, level)))}")
    kinds = {
        "credible": "credible intervals over the draws",
        "monte_carlo": "Monte-Carlo intervals of the simulation",
    }
    kind = kinds.get(str(pta.attrs.get("interval")), "")
    if kind:
        parts.append(
            f"<p class='soft'>Small figures: {percent(float(pta.attrs['interval_level']))} {kind}.</p>"
        )
    return "".join(parts)


def _cells(table: Table) -> str:
    rows = [
        [
            escaped(row.label),
            *(
                f"{escaped(cell.text)}<br><small class='soft'>{escaped(cell.small)}</small>"
                for cell in row.cells
            ),
        ]
        for row in table.rows
    ]
    title = f"<h3>{escaped(table.caption)}</h3>" if table.caption else ""
    return title + _table(
        (f"{table.rows_are} \\ {table.columns_are}" if table.columns_are else table.rows_are, *table.columns),
        rows,
    )


def comparison(regimens: Sequence[Regimen], pta: xr.Dataset, cfr: xr.Dataset | None, level: float) -> str:
    """A row a regimen: what it asks of the ward, and what it attains by target; the best of a column stands out.

    Parameters
    ----------
    regimens : those of the results
    pta, cfr : of one scenario
    level : PTA that is wanted, a fraction
    """
    pta, cfr = pta.isel(scenario=0), None if cfr is None else cfr.isel(scenario=0)
    labels = [regimen.label for regimen in regimens]
    without = set(json.loads(pta.attrs["without_mic"]))
    columns: list[tuple[str, list[float], str]] = []
    for target in map(str, pta["target"].values):
        one = pta.sel(target=target, regimen=labels)
        if target not in without and pta.sizes["mic"] > 1:
            columns.append(
                (f"breakpoint at {percent(level)}, mg/L: {target}", one["breakpoint"].values.tolist(), "mic")
            )
        else:
            at = "" if target in without else f" at a MIC of {mic_label(float(pta['mic'].values[0]))} mg/L"
            columns.append((f"PTA{at}: {target}", one["pta"].values[:, 0].tolist(), "share"))
    if cfr is not None:
        for target in (each for each in map(str, cfr["target"].values) if each not in without):
            for organism in map(str, cfr["organism"].values):
                values = cfr["cfr"].sel(target=target, organism=organism, regimen=labels).values.tolist()
                columns.append((f"CFR, {organism}: {target}", values, "share"))
    best = [max((each for each in values if each == each), default=None) for _, values, _ in columns]
    rows = []
    for place, regimen in enumerate(regimens):
        cells = [escaped(regimen.label), *map(escaped, _burden(regimen))]
        for (_, values, kind), top in zip(columns, best, strict=True):
            text = escaped(_value(values[place], kind, level))
            good = values[place] == top and len(regimens) > 1
            enough = kind == "share" and values[place] >= level
            cells.append(
                f"<b>{text}</b>" if good else f"<span class='good'>{text}</span>" if enough else text
            )
        rows.append(cells)
    head = ("Regimen", "dose a day", "infusion, h a day", "doses a day", *(name for name, _, _ in columns))
    note = "Bold: the best of its column; green: as much as is wanted. Dose, infusion and doses a day are those of the maintenance."
    return _table(head, rows, kind="comparison") + f"<p class='soft'>{note}</p>"


def _burden(regimen: Regimen) -> tuple[str, str, str]:
    """Of the maintenance, a day; dashes where nothing repeats, or its doses have no common unit."""
    try:
        dose = f"{number_text(regimen.daily_dose)} {regimen.unit}"
        return dose, number_text(regimen.infusion_hours_per_day), number_text(regimen.interventions_per_day)
    except InputError:
        return "–", "–", "–"


def _value(value: float, kind: str, level: float) -> str:
    if value != value:
        return "none"
    if kind == "mic":
        return mic_label(value)
    # Near what is wanted a whole per cent could stand on the wrong side of it.
    return f"{100 * value:.1f} %" if abs(value - level) < 0.01 else percent(value)


def chains(progress: Sequence[ChainProgress], status: str) -> str:
    """How far each chain is."""
    rows = []
    for each in progress:
        done = 100 * each.iteration / each.total if each.total else 0
        doing = _PHASES.get(each.phase, each.phase) + (f", round {each.round + 1}" if each.round else "")
        if each.phase in ("failed", "retrying") and each.text:
            doing += f": {each.text}"
        left = f"{each.eta:.0f} s" if each.eta and each.phase in ("warmup", "sampling") else ""
        step = "" if each.step_size is None else f"{each.step_size:.2g}"
        bar = f"<div class='bar'><i style='width:{done:.0f}%'></i></div>"
        diverged = f"<span class='bad'>{each.divergences}</span>" if each.divergences else "0"
        rows.append(
            [
                str(each.chain + 1),
                bar,
                escaped(doing),
                f"{each.iteration} / {each.total}",
                diverged,
                step,
                left,
            ]
        )
    head = ("chain", "", "phase", "iteration", "divergences", "step size", "left")
    table = _table(head, rows, words=3, kind="chains") if rows else ""
    return f"<p id='fit-status'>{escaped(status)}</p>{table}"


def posterior(found: Individual) -> str:
    """The posterior beside the prior, and what its draws are worth."""
    rows = []
    for row in posterior_rows(found):
        name = str(row["parameter"])
        unit = f" <small class='soft'>{escaped(row['unit'])}</small>" if row.get("unit") else ""
        prior = (
            f"{_figure(row['prior_q50'])} ({_figure(row['prior_q5'])}–{_figure(row['prior_q95'])})"
            if "prior_q50" in row
            else "–"
        )
        now = f"{_figure(row.get('q50', row.get('median')))} ({_figure(row.get('q5'))}–{_figure(row.get('q95'))})"
        rhat, bulk, tail = (row.get(key) for key in ("r_hat", "ess_bulk", "ess_tail"))
        rows.append([escaped(name) + unit, now, prior, _figure(rhat, 4), _figure(bulk, 4), _figure(tail, 4)])
    head = (
        "parameter",
        "posterior: median (5–95 %)",
        "prior: median (5–95 %)",
        "R-hat",
        "ESS bulk",
        "ESS tail",
    )
    return _table(head, rows, kind="posterior")


def levels(found: Individual) -> str:
    """Measured levels against what the posterior predicts."""
    rows = []
    for row in level_rows(found):
        measured = f"{'<' if row['below'] else ''}{_figure(row['measured'])}"
        inside = ""
        if "replicated" in row and not row["below"]:
            low, high = float(row["replicated_q5"]), float(row["replicated_q95"])  # type: ignore[arg-type]
            inside = "yes" if low <= float(row["measured"]) <= high else "<span class='warn'>outside</span>"  # type: ignore[arg-type]
        parts = [
            f"{_figure(row[name])} ({_figure(row[f'{name}_q5'])}–{_figure(row[f'{name}_q95'])})"
            if name in row
            else "–"
            for name in ("predicted", "replicated")
        ]
        rows.append([_figure(row["time"], 5), escaped(measured), *parts, inside])
    head = ("time, h", "measured, mg/L", "concentration: median (5–95 %)", "another measurement", "within")
    return _table(head, rows, words=0, kind="levels") if rows else ""


def problems(found: Individual) -> str:
    """What speaks against the draws."""
    diagnosis = found.fit.diagnose()
    if diagnosis.healthy:
        return "<p class='good'>The fit is healthy: R-hat, effective sample size, divergences, tree depth and energy are in order.</p>"
    return (
        "<p class='bad'>The fit has problems.</p><ul>"
        + "".join(f"<li>{escaped(text)}</li>" for text in diagnosis.problems)
        + "</ul>"
    )


def notes(texts: Sequence[str]) -> str:
    """Assumptions, a line each."""
    return "".join(
        f"<p class='warn'>Note: {escaped(text)}.</p>"
        for text in dict.fromkeys(each.rstrip(".") for each in texts)
    )


def _figure(value: object, digits: int = 3) -> str:
    return f"{value:.{digits}g}" if isinstance(value, int | float) else "–"
