"""The tab of files to take away."""

from __future__ import annotations

import base64
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from bokeh.layouts import column, row
from bokeh.models import ColumnDataSource, CustomJS, LayoutDOM

from tdmx_dask.api.individual import level_rows, posterior_rows
from tdmx_dask.api.records import Row, cfr_rows, pta_rows
from tdmx_dask.dashboard.look import escaped, text_div
from tdmx_dask.dashboard.workbench.field import Choice, Field, Message, button
from tdmx_dask.dashboard.workbench.latest import Latest
from tdmx_dask.dashboard.workbench.session import Session
from tdmx_dask.dashboard.workbench.take_away import csv_text, report_text

__all__ = ["ReportTab"]

_SAVE = """
const [name, kind, content] = [source.data.name[0], source.data.kind[0], source.data.content[0]]
if (content != null) {
  const bytes = Uint8Array.from(atob(content), (each) => each.charCodeAt(0))
  const link = document.createElement("a")
  link.href = URL.createObjectURL(new Blob([bytes], {type: kind}))
  link.download = name
  link.click()
  setTimeout(() => URL.revokeObjectURL(link.href), 10000)
}
"""


class ReportTab:
    """A report and tables, made when they are asked for.

    Parameters
    ----------
    session : of the window
    """

    def __init__(self, session: Session) -> None:
        self.session = session
        self.title = Field("report-title", "Title", "Dosing by probability of target attainment", width=480)
        self.notes = Field("report-notes", "Notes, a paragraph a line", rows=4, width=480)
        self.fit = Choice("report-fit", "Fit", [("", "none")], width=480)
        self.which = Choice(
            "report-pta",
            "PTA and CFR of",
            [("attained", "the tab PTA/CFR"), ("compared", "the tab Compare"), ("", "none")],
            width=480,
        )
        self.message = Message("report-message")
        self.what = text_div(width=700)
        self._source = ColumnDataSource({"name": [""], "kind": [""], "content": [None]})
        self._source.js_on_change("data", CustomJS(args={"source": self._source}, code=_SAVE))
        self.what.tags = [self._source]  # a source that no figure has is part of the page by this alone
        self._latest: Latest[tuple[str, str, bytes]] = Latest(
            session.document, session.shop.slow, self._save, self.message.complain
        )
        session.on_fit.append(self._offer)

    def root(self) -> LayoutDOM:
        """The layout of the tab."""
        buttons = [
            button("report", "Download report.html", self.report, primary=True),
            button("pta-csv", "pta.csv", partial(self._table, "pta.csv", self._pta_rows)),
            button("cfr-csv", "cfr.csv", partial(self._table, "cfr.csv", self._cfr_rows)),
            button(
                "posterior-csv", "posterior.csv", partial(self._table, "posterior.csv", self._posterior_rows)
            ),
            button("levels-csv", "levels.csv", partial(self._table, "levels.csv", self._level_rows)),
        ]
        text = "<h2>Report</h2><p class='soft'>One file with tables, figures and what made them; it opens anywhere and prints to PDF.</p>"
        return column(
            text_div(text, width=700), self.title.root, self.notes.root, self.fit.root, self.which.root, row(*buttons, spacing=8),
            self.message.root, self.what,
        )  # fmt: skip

    def look(self) -> None:
        """Say what there is to report."""
        if len(self.fit.widget.options) != len(self.session.fits) + 1:
            self._offer(next(reversed(self.session.fits)))
        parts = []
        if self.session.fits:
            parts.append(f"fits: {', '.join(self.session.fits)}")
        for name, found in (("PTA/CFR", self.session.attained), ("Compare", self.session.compared)):
            if found is not None:
                asked = found.question
                counts = f"{len(asked.regimens)} regimens, {len(asked.targets)} targets"
                parts.append(f"{name}: {counts}, {asked.source.label}")
        self.what.text = "".join(f"<p class='soft'>{escaped(part)}</p>" for part in parts)

    def report(self) -> None:
        """Make the report and hand it to the browser."""
        answered = self._answer()
        individual = self.session.fits.get(self.fit.value)
        if answered is None and individual is None:
            self.message.complain("There is nothing to report yet: make a fit, or choose a PTA.")
            return
        self.message.say("The report is being made.")
        notes = [line.strip() for line in self.notes.text.splitlines() if line.strip()]
        self._latest.ask(partial(_report, self.title.text.strip() or "Report", notes, individual, answered))

    def _answer(self) -> object:
        return {"attained": self.session.attained, "compared": self.session.compared}.get(self.which.value)

    def _offer(self, name: str) -> None:
        self.fit.offer([*((each, each) for each in self.session.fits), ("", "none")], name)

    def _pta_rows(self) -> Sequence[Row]:
        found = self._answer()
        return [] if found is None else pta_rows(found.pta)  # type: ignore[attr-defined]

    def _cfr_rows(self) -> Sequence[Row]:
        found = self._answer()
        return [] if found is None or found.cfr is None else cfr_rows(found.cfr)  # type: ignore[attr-defined]

    def _posterior_rows(self) -> Sequence[Row]:
        found = self.session.fits.get(self.fit.value)
        return [] if found is None else posterior_rows(found)

    def _level_rows(self) -> Sequence[Row]:
        found = self.session.fits.get(self.fit.value)
        return [] if found is None else level_rows(found)

    def _table(self, name: str, rows: Callable[[], Sequence[Row]]) -> None:
        self._latest.ask(lambda: (name, "text/csv", csv_text(rows()).encode("utf-8")))

    def _save(self, file: tuple[str, str, bytes]) -> None:
        name, kind, content = file
        if not content:
            self.message.complain(f"There are no rows for {name} yet.")
            return
        self.message.say(f"{name}: {len(content):,} bytes.", "good")
        self._source.data = {
            "name": [name],
            "kind": [kind],
            "content": [base64.b64encode(content).decode("ascii")],
        }


def _report(title: str, paragraphs: Sequence[str], individual: Any, answered: Any) -> tuple[str, str, bytes]:
    return "report.html", "text/html", report_text(title, paragraphs, individual, answered).encode("utf-8")
