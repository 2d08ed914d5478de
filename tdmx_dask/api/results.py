"""The folder of results: draws, PTA and CFR as Zarr and CSV, figures, a report, and what made them."""

from __future__ import annotations

import json
import os
import platform
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING

from tdmx_dask.api.records import Row, cfr_rows, pta_rows, write_csv
from tdmx_dask.domain.scenario import Scenario

if TYPE_CHECKING:
    import xarray as xr

    from tdmx_dask.api.study import StudyResult
    from tdmx_dask.domain.study import Study

__all__ = ["DRAWS_STORED", "NOTICE", "settings_of", "simulated_draws", "versions", "write_folder"]

NOTICE = "Research use only. Not a medical device."
DRAWS_STORED = 64_000_000
"""Bytes of simulated draws that are stored; the seed makes more of them again."""

_PACKAGES = ("tdmx-dask", "numpy", "scipy", "xarray", "dask", "distributed", "zarr", "pandas", "matplotlib")


def write_folder(result: StudyResult, folder: Path) -> None:
    """Write everything that a study found into a folder that does not exist yet.

    Parameters
    ----------
    result : of `run_study`
    folder : made here

    Raises
    ------
    StoreError
        The disk is full, or cannot be written.
    """
    from tdmx_dask import plot
    from tdmx_dask.store.digest import json_safe
    from tdmx_dask.store.draws import write_draws
    from tdmx_dask.store.results import write_result

    folder.mkdir()
    digests = {"pta": write_result(result.pta, folder / "pta.zarr")}
    write_csv(pta_rows(result.pta), folder / "pta.csv")
    figure = plot.pta(result.pta, isolates=result.study.distributions or None)
    plot.save(figure, folder / "pta")
    figures = {"Probability of target attainment": plot.svg_text(figure)}
    if result.cfr is not None:
        digests["cfr"] = write_result(result.cfr, folder / "cfr.zarr")
        write_csv(cfr_rows(result.cfr), folder / "cfr.csv")
        figures["Cumulative fraction of response"] = plot.svg_text(plot.cfr(result.cfr))
    draws = simulated_draws(result.study)
    if draws is not None:
        digests["draws"] = write_draws(draws, folder / "draws.zarr")
    if result.comparison:
        write_csv(_compared(result), folder / "published.csv")
    record = _record(result, digests, stored=draws is not None)
    _report(result, folder / "report.html", figures, record)
    text = json.dumps(json_safe(record), indent=2, ensure_ascii=False, allow_nan=False)
    (folder / "run.json").write_text(text + "\n", encoding="utf-8")


def simulated_draws(study: Study) -> xr.Dataset | None:
    """The virtual patients of a one-level study, scenario by scenario; None for given draws, or too many of them.

    They are those that the PTA was counted over: a draw belongs to the seed, not to the run.
    """
    population, n = study.population, study.n
    if population is None or n is None or study.draws is not None:
        return None
    if (
        8 * n * len(study.scenarios) * (len(population.parameters) + len(population.covariates))
        > DRAWS_STORED
    ):
        return None
    from tdmx_dask.api.virtual import sample

    weights = {regimen.weight for regimen in study.regimens if regimen.per_kg} & set(population.covariates)
    drawn = sample(population, n, seed=study.seed, scenarios=settings_of(study), covariates=sorted(weights))
    return drawn.assign_attrs(source=population.source or study.source or population.name)


def settings_of(study: Study) -> tuple[Scenario, ...] | None:
    """The scenarios as the verbs want them: None where they are the draws' own, or there is only one for all."""
    if study.population is None or study.scenarios == (Scenario("all"),):
        return None
    return study.scenarios


def _record(result: StudyResult, digests: Mapping[str, str], *, stored: bool) -> dict[str, object]:
    """What run.json holds: what was run, by which versions, where, and how long it took."""
    study, attrs = result.study, result.pta.attrs
    given = {} if study.draws is None else {"draws": str(study.draws.resolve())}
    if study.draws is None and not stored:
        given = {"draws": "not stored for their size; the seed makes them again"}
    return {
        "notice": NOTICE,
        "study": study.name,
        "finished": datetime.now(UTC).isoformat(timespec="seconds"),
        "seed": study.seed,
        **given,
        "digests": {
            **digests,
            **({"draws read": attrs["draws_digest"]} if attrs.get("draws_digest") else {}),
        },
        "interval": {
            "kind": attrs.get("interval", "none"),
            "level": attrs.get("interval_level", study.level),
        },
        "settings": result.settings,
        "where": {
            "mode": attrs.get("run_mode", ""),
            "workers": attrs.get("n_workers", 1),
            "host": platform.node(),
            "cpus": os.cpu_count(),
            "system": platform.platform(),
        },
        "seconds": result.seconds,
        "versions": {"python": platform.python_version(), **versions()},
        "command": sys.argv,
        "notes": list(result.notes),
        "published": _agreement(result),
        "read from": str(study.path) if study.path else None,
        "as read": study.mapping,
    }


def _agreement(result: StudyResult) -> dict[str, object] | None:
    judged = [each for each in result.comparison if each.judged]
    if not judged or result.study.published is None:
        return None
    return {
        "source": result.study.published.source,
        "cells": len(judged),
        "within tolerance": sum(each.within for each in judged),
        "left out": len(result.comparison) - len(judged),
        "largest deviation": max(abs(each.difference) for each in judged),
    }


def versions() -> dict[str, str]:
    """Versions of the packages that a result depends on."""
    found = {}
    for name in _PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "not installed"
    return found


def _compared(result: StudyResult) -> list[Row]:
    return [
        {
            "scenario": each.cell.scenario,
            "regimen": each.cell.regimen,
            "target": each.cell.target,
            "mic": each.cell.mic,
            "published": each.cell.pta,
            "computed": each.computed,
            "deviation": each.difference,
            "tolerance": each.cell.tolerance,
            "within": int(each.within),
            "left_out": each.cell.left_out,
        }
        for each in result.comparison
    ]


def _report(
    result: StudyResult, path: Path, figures: Mapping[str, str], record: Mapping[str, object]
) -> None:
    from tdmx_dask.api.reports import command, study_parts
    from tdmx_dask.report import write_report

    parts = study_parts(result)
    shown = {name: record[name] for name in ("finished", "seed", "versions", "digests", "settings")}
    where = record["where"]
    machine = {name: where[name] for name in ("host", "cpus", "system")} if isinstance(where, dict) else {}
    origin = {**parts.pop("provenance"), **shown, **machine, "command": command()}
    write_report(path, figures=figures, provenance=origin, **parts)
