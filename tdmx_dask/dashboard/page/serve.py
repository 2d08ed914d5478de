"""Put the page on a scheduler that runs, or is about to: on its own server, beside Dask's pages and in their navigation.

Dask's own pages are one Bokeh application of the scheduler's server; ours is another beside it, made the way Dask makes its own.
"""

from __future__ import annotations

import importlib
import logging
import threading
from contextlib import suppress
from functools import partial
from typing import Any

from tdmx_dask.clusters.page_names import PATH
from tdmx_dask.dashboard.page.board import Board

__all__ = ["PANES", "serve"]

PANES = ("fits", "pta", "queue", "memory")
"""Sections that JupyterLab can show alone, at ``/individual-tdmx-…``."""

_log = logging.getLogger(__name__)


def serve(scheduler: Any) -> Board:
    """Serve the page of a scheduler.

    Parameters
    ----------
    scheduler : of distributed, whose dashboard runs

    Returns
    -------
    what it shows, to be told what is said

    Raises
    ------
    ImportError
        Bokeh is not there, or the scheduler has no dashboard.
    """
    http = getattr(scheduler, "http_application", None)
    applications = getattr(http, "applications", ())
    if http is None or not applications:
        raise ImportError("it has no dashboard")

    from bokeh.server.tornado import BokehTornado
    from distributed.dashboard.core import BokehApplication
    from tornado.ioloop import IOLoop

    own = next((app for app in applications if isinstance(app, BokehTornado)), None)
    if own is None:
        raise ImportError("it has no dashboard")
    board = Board()
    scene = _Late(scheduler, board)
    documents = {f"/{PATH}": partial(_page, scene)}
    documents |= {f"/individual-tdmx-{name}": partial(_pane, scene, name) for name in PANES}
    variables = _navigation(scheduler)
    application = BokehApplication(documents, scheduler, prefix=own.prefix, template_variables=variables)
    application.initialize(IOLoop.current())
    http.add_application(application)
    listing = (rf"{own.prefix}/individual-plots\.json", _plots(), {"dask_server": scheduler})
    http.add_handlers(r".*", [listing])
    application.start()
    threading.Thread(target=_load, name="tdmx-page", daemon=True).start()
    _log.info("The page /%s is served", PATH)
    return board


def _load() -> None:
    """Import what pages need, beside the loop: it would stand still for a second when the first is opened."""
    with suppress(ImportError):  # whoever opens one is told
        importlib.import_module("tdmx_dask.dashboard.page.document")


class _Late:
    """A scene, made when the first page is opened: until then nothing but the board is needed."""

    def __init__(self, scheduler: Any, board: Board) -> None:
        self._scheduler, self._board = scheduler, board
        self._scene: Any = None

    def get(self) -> Any:
        if self._scene is None:
            from tdmx_dask.dashboard.page.scene import Scene

            self._scene = Scene(self._scheduler, self._board)
        return self._scene


def _page(late: _Late, _scheduler: Any, extra: dict[str, Any], doc: Any) -> None:
    from tdmx_dask.dashboard.page.document import page

    page(late.get(), extra, doc)


def _pane(late: _Late, section: str, _scheduler: Any, extra: dict[str, Any], doc: Any) -> None:
    from tdmx_dask.dashboard.page.document import pane

    pane(section, late.get(), extra, doc)


def _navigation(scheduler: Any) -> dict[str, Any]:
    """Variables of Dask's templates, with our pages in its navigation, on Dask's own pages, too: they hold the same lists."""
    variables: dict[str, Any] = {"pages": [PATH], "plots": [], "jupyter": False}
    with suppress(ImportError, AttributeError, KeyError, TypeError):  # of another version
        from distributed.dashboard.scheduler import template_variables

        variables = template_variables(scheduler)
        if PATH not in variables["pages"]:
            variables["pages"].insert(1, PATH)
            variables["plots"] += [
                {"url": f"individual-tdmx-{name}", "name": f"Tdmx {name.title()}"} for name in PANES
            ]
    return variables


def _plots() -> Any:
    """A handler that lists our panes, too: Dask's own looks at the first application alone."""
    from distributed.http.scheduler.info import IndividualPlots

    class Plots(IndividualPlots):  # type: ignore[misc, unused-ignore]
        def write(self, chunk: Any) -> None:
            ours = {f"Individual Tdmx {name.title()}": f"/individual-tdmx-{name}" for name in PANES}
            super().write({**chunk, **ours} if isinstance(chunk, dict) else chunk)

    return Plots
