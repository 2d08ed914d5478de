"""What a window takes away: a report, and tables."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence

from tdmx_dask.api.individual import Individual
from tdmx_dask.api.records import Row
from tdmx_dask.api.reports import report_of
from tdmx_dask.dashboard.workbench.question import Answer

__all__ = ["csv_text", "report_text"]


def report_text(
    title: str, paragraphs: Sequence[str], individual: Individual | None, answer: Answer | None
) -> str:
    """A report of a fit, of PTA and CFR, or of both, as one HTML page.

    Parameters
    ----------
    title : of the page
    paragraphs : what the user writes about it
    individual, answer : what to report; one of them may be None

    Raises
    ------
    InputError
        There is neither.
    """
    from tdmx_dask import plot

    if answer is None:
        return report_of(individual, title=title, about=paragraphs)
    question = answer.question
    figure = plot.pta(answer.pta, isolates=question.distributions or None, level=question.level)
    figures = {"Probability of target attainment": plot.svg_text(figure)}
    if answer.cfr is not None:
        figures["Cumulative fraction of response"] = plot.svg_text(plot.cfr(answer.cfr))
    return report_of(
        individual,
        pta=answer.pta,
        cfr=answer.cfr,
        title=title,
        about=[*paragraphs, f"Draws: {question.source.about}"],
        notes=question.notes,
        figures=figures,
    )


def csv_text(rows: Sequence[Row]) -> str:
    """Rows as CSV with a heading; empty where there is no row."""
    names = list(dict.fromkeys(name for row in rows for name in row))
    text = io.StringIO()
    writer = csv.DictWriter(text, names, lineterminator="\n")
    if names:
        writer.writeheader()
    writer.writerows({name: _harmless(value) for name, value in row.items()} for row in rows)
    return text.getvalue()


def _harmless(value: object) -> object:
    """A text that a spreadsheet would take for a formula, with an apostrophe before it (OWASP, CSV injection)."""
    return f"'{value}" if isinstance(value, str) and value[:1] in ("=", "+", "-", "@", "\t", "\r") else value
