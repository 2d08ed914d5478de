"""The tab that puts regimens side by side."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

from bokeh.layouts import column
from bokeh.models import LayoutDOM

from tdmx_dask.dashboard.attainment import Attainment
from tdmx_dask.dashboard.look import escaped, text_div
from tdmx_dask.dashboard.workbench import present
from tdmx_dask.dashboard.workbench.attainment_tab import AttainmentTab
from tdmx_dask.dashboard.workbench.field import Choice, Field, Message, button
from tdmx_dask.dashboard.workbench.latest import Latest
from tdmx_dask.dashboard.workbench.layout import beside, lines_of
from tdmx_dask.dashboard.workbench.question import MOST_REGIMENS, Answer, Question, answer
from tdmx_dask.dashboard.workbench.session import Session

__all__ = ["CompareTab"]

_FIRST = "1000 mg q8h inf 30min\n1000 mg q8h inf 3h\n1000 mg q8h ci\n2000 mg q8h inf 3h"


class CompareTab:
    """Regimens against the targets, MICs and draws of the tab PTA/CFR.

    Parameters
    ----------
    session : of the window
    beside : the tab that says of what
    """

    def __init__(self, session: Session, attainment: AttainmentTab) -> None:
        self.session, self.attainment = session, attainment
        self.regimens = Field(
            "compare-regimens", f"Regimens, a line each (at most {MOST_REGIMENS})", _FIRST, rows=8
        )
        self.take = button("take", "Add the regimen of PTA/CFR", self._take)
        self.go = button("compare", "Compare", self.compare, primary=True)
        self.target = Choice("compare-target", "Target of the curves", [])
        self.message = Message("compare-message")
        self.curve = Attainment("compare", height=400)
        self.about = text_div(sizing_mode="stretch_width")
        self.table = text_div(sizing_mode="stretch_width")
        attainment.on_source.append(self.compare)
        self._latest: Latest[tuple[Answer, str]] = Latest(
            session.document, session.shop.quick, self._show, self._fail
        )

    def root(self) -> LayoutDOM:
        """The layout of the tab."""
        text = "<h2>Regimens side by side</h2><p class='soft'>Draws, targets, MICs and isolates are those of the tab PTA/CFR.</p>"
        form = column(text_div(text), self.regimens.root, self.take, self.go, self.target.root, width=330)
        results = column(
            self.message.root,
            self.about,
            self.table,
            self.curve.figure,
            self.curve.legend,
            sizing_mode="stretch_width",
        )
        self.target.on_change(self._draw)
        self.regimens.on_change(self.compare)
        return beside(form, results)

    def look(self) -> None:
        """Compare anew: what stands in PTA/CFR may have changed."""
        self.compare()

    def compare(self) -> None:
        """Compute the comparison of what stands in the form."""
        source = self.attainment.source
        if source is None:
            self._blank()
            self.message.say("There are no draws yet: choose them in the tab PTA/CFR.")
            return
        question, wrong = replace(self.attainment.texts(), regimens=self.regimens.text).read(source)
        self.regimens.say(wrong.get("regimens"))
        if question is None:
            self._blank()
            others = " ".join(text for key, text in wrong.items() if key != "regimens")
            self.message.say(f"In the tab PTA/CFR: {others}" if others else "", "bad")
        else:
            self._latest.ask(partial(_compared, question), self.session.shop.slow if question.long else None)

    def _blank(self) -> None:
        """Show no comparison: what stands in the form has none."""
        self._latest.drop()
        self.session.compared = None
        self.message.say("")
        self.about.text = self.table.text = self.curve.legend.text = ""
        self.curve.clear()

    def _fail(self, message: str) -> None:
        self._blank()
        self.message.complain(message)

    def _take(self) -> None:
        lines = [line for line in self.regimens.text.splitlines() if line.strip()]
        new = self.attainment.regimen.text.strip()
        if new and new not in lines:
            self.regimens.text = "\n".join([*lines, new])

    def _show(self, compared: tuple[Answer, str]) -> None:
        found, table = compared
        self.session.compared = found
        self.message.say("")
        source = found.question.source
        about = f"<p class='soft'>{escaped(source.label)}: {escaped(source.about)}</p>"
        self.about.text = about + present.notes(found.notes)
        self.table.text = table
        targets = [str(each) for each in found.pta["target"].values]
        self.target.offer([(each, each) for each in targets])
        self._draw()

    def _draw(self) -> None:
        found = self.session.compared
        if found is not None and self.target.value in found.pta["target"].values:
            self.curve.show(
                found.question.mic, lines_of(found, target=self.target.value), wanted=found.question.level
            )


def _compared(question: Question) -> tuple[Answer, str]:
    found = answer(question)
    return found, present.comparison(question.regimens, found.pta, found.cfr, question.level)
