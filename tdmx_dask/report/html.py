"""The report: a self-contained HTML page."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import xarray as xr

from tdmx_dask.errors import StoreError
from tdmx_dask.plot.panels import interval_note
from tdmx_dask.plot.style import percent
from tdmx_dask.report import tables, words
from tdmx_dask.report.comparison import Compared

if TYPE_CHECKING:
    from jinja2 import Template

__all__ = ["STATEMENT", "write_report"]

STATEMENT = "Research use only. Not a medical device."

# Attributes of a result that the report prints, and how it calls them.
_SETTINGS = {
    "population": "Population",
    "seed": "Seed",
    "draws_digest": "Digest of the draws",
    "run_mode": "Where it ran",
    "n_workers": "Workers",
    "seconds": "Seconds",
    "tdmx_version": "tdmx-dask",
}


def write_report(
    path: str | Path,
    *,
    title: str,
    pta: xr.Dataset,
    cfr: xr.Dataset | None = None,
    figures: Mapping[str, str] | None = None,
    provenance: Mapping[str, object] | None = None,
    notes: Sequence[str] = (),
    comparison: Sequence[Compared] = (),
    comparison_source: str = "",
) -> Path:
    """Write a report that needs nothing beside it: no script, no font, no network.

    Parameters
    ----------
    path : the HTML file to write
    title : of the study
    pta : result of `pta`
    cfr : result of `cfr`
    figures : caption → SVG text
    provenance : setting → value, printed as a table after those that the result carries
    notes : sentences printed under the summary (assumptions, warnings)
    comparison : published cells beside the computed ones (`tdmx_dask.api.deviation.deviations`)
    comparison_source : citation of the published table

    Returns
    -------
    the path

    Raises
    ------
    StoreError
        The file cannot be written.
    """
    level = float(pta["breakpoint"].attrs.get("level", 0.9)) if "breakpoint" in pta else 0.9
    fu_note = str(pta.attrs.get("fu_note", ""))
    text = _template().render(
        title=title,
        statement=STATEMENT,
        level=percent(level),
        near=percent(level - 0.1),
        summary=words.pta_sentences(pta, level),
        responses=words.cfr_sentences(cfr, level) if cfr is not None else [],
        notes=list(dict.fromkeys(note for note in (fu_note, *notes) if note)),
        figures=[(caption, _data_uri(svg)) for caption, svg in (figures or {}).items()],
        pta_tables=tables.pta_tables(pta, level),
        pta_interval=interval_note(pta),
        cfr_tables=tables.cfr_tables(cfr, level) if cfr is not None else [],
        cfr_interval=interval_note(cfr) if cfr is not None else "",
        organisms=tables.organism_rows(cfr) if cfr is not None else [],
        comparison_tables=tables.comparison_tables(comparison),
        comparison_summary=words.comparison_sentence(comparison) if comparison else "",
        comparison_source=comparison_source,
        left_out=list(dict.fromkeys(one.cell.left_out for one in comparison if not one.judged)),
        settings=_settings(pta, provenance or {}),
    )
    target = Path(path)
    try:
        target.write_text(text, encoding="utf-8")
    except OSError as error:
        raise StoreError(
            "report", target, f"cannot be written ({error.strerror})", "Free or name another place."
        ) from error
    return target


def _template() -> Template:
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("tdmx_dask.report", "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("report.html.j2")


def _data_uri(svg: str) -> str:
    """A figure as an image of its own: its ids cannot clash with another's, and no script in it can run."""
    return "data:image/svg+xml;base64," + base64.b64encode(svg.encode()).decode()


def _settings(pta: xr.Dataset, provenance: Mapping[str, object]) -> list[tuple[str, str]]:
    rows = [(name, tables.plain(pta.attrs[key])) for key, name in _SETTINGS.items() if key in pta.attrs]
    if "n_simulated" in pta:
        sizes = np.unique(pta["n_simulated"].values)
        rows.insert(0, ("Simulated profiles", " or ".join(f"{int(n):,}" for n in sizes if n > 0)))
    if "mcse" in pta and np.isfinite(pta["mcse"].values).any():
        largest = 100 * float(np.nanmax(pta["mcse"].values))
        rows.insert(1, ("Largest Monte-Carlo standard error of PTA", f"{largest:.2g} percentage points"))
    rows += [(str(name), tables.plain(value)) for name, value in provenance.items()]
    found = {name.lower(): (name, text) for name, text in rows}  # what the caller says comes after, and wins
    return [(name, text) for name, text in found.values() if text]
