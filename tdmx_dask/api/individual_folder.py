"""The folder of one patient's results: posterior, levels, PTA and CFR, figures, a report, and what made them."""

from __future__ import annotations

import json
import os
import platform
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tdmx_dask.api.individual import course_of, level_rows, posterior_rows
from tdmx_dask.api.records import cfr_rows, pta_rows, write_csv
from tdmx_dask.api.results import NOTICE, versions

if TYPE_CHECKING:
    from tdmx_dask.api.individual import Individual
    from tdmx_dask.fitting.fit import Fit

__all__ = ["prepare", "record_of", "staged", "write_draws_of", "write_individual"]


_NEEDED = (
    "tdmx_dask.api.verbs",
    "tdmx_dask.store.results",
    "matplotlib.figure",
    "matplotlib.backends.backend_agg",
    "matplotlib.backends.backend_svg",
    "arviz_stats.base.array",
    "tdmx_dask.plot",
    "tdmx_dask.report",
    "jinja2",
)


def prepare() -> None:
    """Import what the folder needs; worth doing while chains run in other processes and this one waits."""
    for module in _NEEDED:
        import_module(module)


@contextmanager
def staged(out: Path, *, overwrite: bool) -> Iterator[Path]:
    """As `publish.staging`; where nothing comes of it, a folder above that was made for it goes too."""
    from tdmx_dask.store.publish import staging

    above = out.absolute().parent
    made = not above.exists()
    try:
        with staging(out, overwrite=overwrite) as folder:
            yield folder
    except BaseException:
        if made:
            with suppress(OSError):
                above.rmdir()
        raise


def write_individual(found: Individual, folder: Path) -> None:
    """Write everything that was found of a patient into a folder that does not exist yet.

    Parameters
    ----------
    found : of `fit_individual`
    folder : made here

    Raises
    ------
    StoreError
        The disk is full, or cannot be written.
    """
    from tdmx_dask.store.results import write_result

    folder.mkdir()
    write_draws_of(found.fit, folder / "draws.zarr")
    write_csv(posterior_rows(found), folder / "posterior.csv")
    if rows := level_rows(found):
        write_csv(rows, folder / "levels.csv")
    digests = {}
    if found.pta is not None:
        digests["pta"] = write_result(found.pta, folder / "pta.zarr")
        write_csv(pta_rows(found.pta), folder / "pta.csv")
    if found.cfr is not None:
        digests["cfr"] = write_result(found.cfr, folder / "cfr.zarr")
        write_csv(cfr_rows(found.cfr), folder / "cfr.csv")
    record = {
        **record_of(found.fit),
        "digests": digests,
        "seconds": found.seconds,
        "notes": list(found.notes),
    }
    record |= {"patient": found.patient.id, "as read": found.patient.to_mapping()}
    _figures_and_report(found, folder, record)
    text = json.dumps(_json_safe(record), indent=2, ensure_ascii=False, allow_nan=False)
    (folder / "run.json").write_text(text + "\n", encoding="utf-8")


def write_draws_of(fit: Fit, path: Path) -> None:
    """The store of a fit as a folder, all its groups; a copy, for the library may be cleared."""
    from tdmx_dask.store.container import extract

    extract(fit.path, path)


def record_of(fit: Fit) -> dict[str, Any]:
    """What run.json says of a fit: what was asked, by which engine and versions, where, and whether it can be trusted."""
    diagnosis = fit.diagnose()
    return {
        "notice": NOTICE,
        "finished": datetime.now(UTC).isoformat(timespec="seconds"),
        "fit": fit.name,
        "engine": fit.engine,
        "healthy": bool(diagnosis.healthy),
        "problems": list(diagnosis.problems),
        "log": list(fit.log),
        "attributes": dict(fit.attrs),
        "where": {"host": platform.node(), "cpus": os.cpu_count(), "system": platform.platform()},
        "versions": {"python": platform.python_version(), **versions()},
        "command": sys.argv,
    }


def _figures_and_report(found: Individual, folder: Path, record: Mapping[str, Any]) -> None:
    from tdmx_dask import plot
    from tdmx_dask.api.reports import command, individual_parts
    from tdmx_dask.report import write_report

    patient, drawn, figures = found.patient, {}, {}
    course = course_of(found)
    if course is not None:
        _, svg = plot.save(plot.levels(course, title=patient.title or patient.id), folder / "levels")
        drawn["levels"] = svg.read_text(encoding="utf-8")
    if found.pta is not None:
        isolates = patient.assessment.distributions if patient.assessment else ()
        _, svg = plot.save(plot.pta(found.pta, isolates=isolates or None), folder / "pta")
        figures["Probability of target attainment"] = svg.read_text(encoding="utf-8")
    if found.cfr is not None:
        figures["Cumulative fraction of response"] = plot.svg_text(plot.cfr(found.cfr))
    parts = individual_parts(found, drawn)
    shown = {name: record[name] for name in ("finished", "versions", "digests")}
    origin = {**parts.pop("provenance"), **shown, **record["where"], "command": command()}
    write_report(folder / "report.html", figures=figures, provenance=origin, **parts)


def _json_safe(record: Mapping[str, Any]) -> Any:
    from tdmx_dask.store.digest import json_safe

    return json_safe(record)
