"""The summary of a report in words: what a reader takes home."""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import xarray as xr

from tdmx_dask.plot.panels import Panel, of_draws, panels, select
from tdmx_dask.plot.style import mic_label, percent
from tdmx_dask.report.comparison import Compared
from tdmx_dask.report.tables import illustrative, points_of

__all__ = ["cfr_sentences", "comparison_sentence", "pta_sentences"]

# More scenarios and targets than this are summed up in one sentence a target.
_MOST = 12


def pta_sentences(pta: xr.Dataset, level: float) -> list[tuple[str, str]]:
    """What attains the level up to which MIC: (of whom and what, sentence)."""
    wanted = _wanted(level, of_patients=not of_draws(pta))
    full = select(pta, "mic", target=None, scenario=None)
    found = panels(full, "pta")
    mic = [float(value) for value in full["mic"].values.tolist() if value not in ("", None)]
    if len(found) <= _MOST:
        return [(_about(panel), _bound(_of_panel(panel, mic, level, wanted))) for panel in found]
    return [
        (target, _bound(_of_many([panel for panel in found if panel.target == target], mic, level, wanted)))
        for target in dict.fromkeys(panel.target for panel in found)
    ]


@dataclass(frozen=True, slots=True)
class _Wanted:
    """How the wanted share is said: of patients it is a part, of one patient's (or a model's) draws a probability."""

    share: str
    under: str


def _wanted(level: float, *, of_patients: bool) -> _Wanted:
    if of_patients:
        return _Wanted(f"in at least {percent(level)} of patients", "with")
    return _Wanted(f"with a probability of at least {percent(level)}", "under")


def _bound(text: str) -> str:
    """No line breaks between a number and its unit."""
    return re.sub(r"(?<=\d) (?=%|mg/L)", "\u00a0", text)


def _about(panel: Panel) -> str:
    return ", ".join(text for text in (panel.scenario, panel.target) if text)


def _of_panel(panel: Panel, mic: Sequence[float], level: float, wanted: _Wanted) -> str:
    if "MIC" not in panel.target or len(mic) < 2:
        at = f" at a MIC of {mic_label(mic[0])} mg/L" if "MIC" in panel.target and mic else ""
        return _one_value(panel, wanted, at, level)
    reached: dict[float, list[str]] = {}
    for one in panel.series:
        at_mic = one.breakpoint if math.isfinite(one.breakpoint) else 0.0
        reached.setdefault(at_mic, []).append(one.regimen)
    parts = [
        f"{_listed(names)} up to a MIC of {mic_label(at)} mg/L" + _whole_grid(at, mic)
        for at, names in sorted(reached.items(), reverse=True)
        if at > 0
    ]
    none = reached.get(0.0, [])
    joined = f"; {wanted.under} ".join(parts)
    text = f"The target is attained {wanted.share} {wanted.under} {joined}." if parts else ""
    if none:
        text += f"{' ' if text else ''}{_listed(none)}: at none of the MICs from {_grid(mic)}."
    return text


def _whole_grid(at: float, mic: Sequence[float]) -> str:
    return " (the largest computed)" if at >= max(mic) else ""


def _grid(mic: Sequence[float]) -> str:
    return f"{mic_label(min(mic))} to {mic_label(max(mic))} mg/L"


def _one_value(panel: Panel, wanted: _Wanted, at: str, level: float) -> str:
    shares = [(float(one.value[0]), one.regimen) for one in panel.series if np.isfinite(one.value[0])]
    hit = [f"{name} ({percent(value)})" for value, name in shares if value >= level]
    missed = [f"{name} ({percent(value)})" for value, name in shares if value < level]
    text = f"The target is attained {wanted.share}{at} {wanted.under} {_listed(hit)}." if hit else ""
    if missed:
        not_so = "Not so" if hit else f"Not attained {wanted.share}{at}"
        text += f"{' ' if hit else ''}{not_so}: {_listed(missed)}."
    return text


def _of_many(chosen: Sequence[Panel], mic: Sequence[float], level: float, wanted: _Wanted) -> str:
    n_scenarios = len({panel.scenario for panel in chosen})
    pairs = [one for panel in chosen for one in panel.series]
    if "MIC" in chosen[0].target and len(mic) > 1:
        breaks = [one.breakpoint for one in pairs if math.isfinite(one.breakpoint)]
        text = f"{len(breaks)} of {len(pairs)} pairs of scenario and regimen reach {percent(level)}"
        if breaks:
            text += f", up to a MIC between {mic_label(min(breaks))} and {mic_label(max(breaks))} mg/L"
        return f"{n_scenarios} scenarios: {text}. The table below holds each."
    hit = sum(bool(one.value[0] >= level) for one in pairs)
    at = f" at a MIC of {mic_label(mic[0])} mg/L" if "MIC" in chosen[0].target and mic else ""
    return (
        f"{n_scenarios} scenarios: {hit} of {len(pairs)} pairs of scenario and regimen attain the target "
        f"{wanted.share}{at}. The table below holds each."
    )


def _listed(names: Sequence[str]) -> str:
    names = [_isolated(name) for name in names]
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def _isolated(name: str) -> str:
    """A name that is written from right to left must not turn the sentence around it (Unicode's FSI and PDI)."""
    turned = any(unicodedata.bidirectional(letter) in ("R", "AL") for letter in name)
    return f"\u2068{name}\u2069" if turned else name


def cfr_sentences(cfr: xr.Dataset, level: float) -> list[tuple[str, str]]:
    """Which regimens respond to which organism: (of whom and what, sentence)."""
    full = select(cfr, "organism", target=None, scenario=None)
    found = panels(full, "cfr")
    organisms = [str(name) for name in full["organism"].values]
    if len(found) * len(organisms) > _MOST:
        return []
    rows, made_up = [], illustrative(cfr)
    for panel in found:
        for number, organism in enumerate(organisms):
            shares = [(float(one.value[number]), one.regimen) for one in panel.series]
            shares = [(value, name) for value, name in shares if math.isfinite(value)]
            if not shares:
                continue
            hit = [f"{name} ({percent(value)})" for value, name in shares if value >= level]
            best = max(shares)
            text = (
                f"The cumulative fraction of response is at least {percent(level)} with {_listed(hit)}."
                if hit
                else f"No regimen reaches {percent(level)}; the best is {best[1]} with {percent(best[0])}."
            )
            if organism in made_up:
                text += " Its distribution of MICs is illustrative, not counted isolates."
            rows.append((", ".join(part for part in (organism, _about(panel)) if part), _bound(text)))
    return rows


def comparison_sentence(comparison: Sequence[Compared]) -> str:
    """How near the computed table is to the published one."""
    judged = [one for one in comparison if one.judged]
    if not judged:
        return "No published cell is judged."
    within = sum(one.within for one in judged)
    worst = max(judged, key=lambda one: -1.0 if math.isnan(one.difference) else abs(one.difference))
    count = "All" if within == len(judged) else f"{within} of"
    text = (
        f"{count} {len(judged)} published cells lie within their tolerance; the largest deviation is "
        f"{points_of(worst.difference)} percentage points."
    )
    left_out = len(comparison) - len(judged)
    return text + (f" {left_out} more are printed but not judged." if left_out else "")
