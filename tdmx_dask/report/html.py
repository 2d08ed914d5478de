"""The report: a self-contained HTML page."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from tdmx_dask.errors import StoreError
from tdmx_dask.plot.panels import interval_note, level_of, of_draws
from tdmx_dask.plot.style import percent
from tdmx_dask.report import tables, words
from tdmx_dask.report.comparison import Compared
from tdmx_dask.report.question import question_section, window_sentence
from tdmx_dask.report.sections import Section

if TYPE_CHECKING:
    from jinja2 import Template

__all__ = ["STATEMENT", "report_text", "write_report"]

STATEMENT = "Research use only. Not a medical device."

# Attributes of a result that the report prints, and how it calls them.
_SETTINGS = {
    "population": "Population",
    "model": "Model",
    "fu": "Unbound fraction (fu)",
    "weights": "Body weight (kg)",
    "seed": "Seed",
    "draws_digest": "Digest of the draws",
    "run_mode": "Where it ran",
    "n_workers": "Workers",
    "seconds": "Seconds",
    "tdmx_version": "tdmx-dask",
}


def write_report(path: str | Path, *, title: str, **parts: Any) -> Path:
    """Write a report that needs nothing beside it: no script, no font, no network.

    Parameters
    ----------
    path : the HTML file to write
    title, parts : as `report_text` takes them

    Returns
    -------
    the path

    Raises
    ------
    StoreError
        The file cannot be written.
    """
    text = report_text(title=title, **parts)
    target = Path(path)
    try:
        target.write_text(text, encoding="utf-8")
    except OSError as error:
        raise StoreError(
            "report", target, f"cannot be written ({error.strerror})", "Free or name another place."
        ) from error
    return target


def report_text(
    *,
    title: str,
    pta: xr.Dataset | None = None,
    cfr: xr.Dataset | None = None,
    sections: Sequence[Section] = (),
    about: Sequence[str] = (),
    summary: Sequence[tuple[str, str]] = (),
    figures: Mapping[str, str] | None = None,
    provenance: Mapping[str, object] | None = None,
    notes: Sequence[str] = (),
    caveat: str = "",
    comparison: Sequence[Compared] = (),
    comparison_source: str = "",
) -> str:
    """A report as HTML text, self-contained: for a file, or to be downloaded from a page.

    Nothing that is given is taken as markup, whatever stands in it; figures are embedded as images, in which no script runs.

    Parameters
    ----------
    title : of the study or the patient
    pta : result of `pta`; None for a fit of which nothing (more) is asked
    cfr : result of `cfr`
    sections : what comes between the question and PTA: population, patient, fit, levels (`tdmx_dask.report` makes them)
    about : paragraphs that describe what was asked
    summary : (about, sentence) pairs that come first in the summary
    figures : caption -> SVG text
    provenance : setting -> value, printed as a table after those that the result carries
    notes : sentences printed under the summary (assumptions, warnings)
    caveat : a sentence that is repeated where PTA and CFR are printed
    comparison : published cells beside the computed ones (`tdmx_dask.api.deviation.deviations`)
    comparison_source : citation of the published table

    Returns
    -------
    the page

    Examples
    --------
    >>> page = report_text(title="Bed 4 <b>", notes=["fu = 1 assumed"])
    >>> "Bed 4 &lt;b&gt;" in page, "<script" in page
    (True, False)
    """
    level = 0.9 if pta is None else level_of(pta)  # what the classes of the tables count from
    fu_note = str(pta.attrs.get("fu_note", "")) if pta is not None else ""
    asked = question_section(pta, cfr, about)
    computed = [] if pta is None else words.pta_sentences(pta, level)
    return _template().render(
        title=title,
        statement=STATEMENT,
        level=percent(level),
        classes=tables.class_texts(level),
        caveat=caveat,
        summary=[*summary, *computed, *([] if cfr is None else words.cfr_sentences(cfr, level))],
        notes=list(dict.fromkeys(note for note in (fu_note, *notes) if note)),
        sections=[_embedded(each) for each in (asked, *sections) if not each.empty],
        figures=_images(figures or {}),
        pta_tables=[] if pta is None else tables.pta_tables(pta, level),
        pta_window="" if pta is None else window_sentence(pta),
        pta_interval="" if pta is None else interval_note(pta),
        cfr_tables=[] if cfr is None else tables.cfr_tables(cfr, level),
        cfr_interval="" if cfr is None else interval_note(cfr),
        comparison_tables=tables.comparison_tables(comparison),
        comparison_summary=words.comparison_sentence(comparison) if comparison else "",
        comparison_source=comparison_source,
        left_out=list(dict.fromkeys(one.cell.left_out for one in comparison if not one.judged)),
        settings=_settings(pta, provenance or {}),
    )


def _embedded(section: Section) -> dict[str, Any]:
    return {
        "title": section.title,
        "paragraphs": section.paragraphs,
        "sheets": section.sheets,
        "figures": _images(section.figures),
    }


def _images(figures: Mapping[str, str]) -> list[tuple[str, str]]:
    return [(caption, _data_uri(svg)) for caption, svg in figures.items()]


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


def _settings(pta: xr.Dataset | None, provenance: Mapping[str, object]) -> list[tuple[str, str]]:
    rows: list[tuple[str, str]] = []
    if pta is not None:
        rows = [(name, tables.plain(pta.attrs[key])) for key, name in _SETTINGS.items() if key in pta.attrs]
        if "n_simulated" in pta:
            sizes = np.unique(pta["n_simulated"].values)
            what = "Draws" if of_draws(pta) else "Simulated profiles"
            rows.insert(0, (what, " or ".join(f"{int(n):,}" for n in sizes if n > 0)))
        if "mcse" in pta and np.isfinite(pta["mcse"].values).any():
            largest = 100 * float(np.nanmax(pta["mcse"].values))
            rows.insert(1, ("Largest Monte-Carlo standard error of PTA", f"{largest:.2g} percentage points"))
    rows += [(str(name), tables.plain(value)) for name, value in provenance.items()]
    found = {name.lower(): (name, text) for name, text in rows}  # what the caller says comes after, and wins
    return [(name, text) for name, text in found.values() if text]
