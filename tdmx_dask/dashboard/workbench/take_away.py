"""The report of a window."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from tdmx_dask.api.individual import Individual
from tdmx_dask.dashboard.workbench.question import Answer

__all__ = ["report_of"]


def report_of(
    title: str, notes: Sequence[str], individual: Individual | None, answered: Answer | None
) -> str:
    """The report as one HTML page."""
    from tdmx_dask import plot
    from tdmx_dask.report import write_report

    assert answered is not None
    figures = {
        "Probability of target attainment": plot.svg_text(
            plot.pta(answered.pta, isolates=answered.question.distributions or None)
        )
    }
    with TemporaryDirectory(prefix="tdmx-") as folder:
        path = write_report(
            Path(folder) / "report.html",
            title=title,
            pta=answered.pta,
            cfr=answered.cfr,
            figures=figures,
            notes=notes,
        )
        return path.read_text(encoding="utf-8")
