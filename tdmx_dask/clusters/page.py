"""The page `/tdmx` of a scheduler's dashboard: what it shows comes as events, which this plugin hands on.

The page itself is a floor above, `tdmx_dask.dashboard.page`, which knows Bokeh. It is imported by name, on the scheduler: whoever joins a
cluster installs a plugin there, and must not need to load a page for it, nor this floor know the one above.
"""

from __future__ import annotations

import importlib
import logging
from typing import Any

from distributed import Client, SchedulerPlugin

from tdmx_dask.clusters.page_names import PATH, SERVED

__all__ = ["Page", "install_page"]

_PAGES = "tdmx_dask.dashboard.page.serve"

_log = logging.getLogger(__name__)


class Page(SchedulerPlugin):
    """Puts the page on a scheduler's dashboard, and keeps what it shows; without Bokeh or a dashboard it says so once, and does nothing."""

    name = "tdmx-page"
    idempotent = True

    def __init__(self) -> None:
        self.board: Any = None
        self._complained = False

    async def start(self, scheduler: Any) -> None:
        """Begin to listen, and serve the page."""
        self.begin(scheduler)

    def begin(self, scheduler: Any) -> None:
        """The same, from a preload; again does nothing, for a scheduler that starts also starts the plugins which it has by then."""
        if self.board is not None:
            return
        try:
            self.board = importlib.import_module(_PAGES).serve(scheduler)
            scheduler.set_metadata([SERVED], True)
        except ImportError as error:
            _log.info("There is no page /%s on this scheduler: %s", PATH, error)
        except Exception:
            _log.warning("There is no page /%s on this scheduler", PATH, exc_info=True)

    def log_event(self, topic: str, msg: Any) -> None:
        """Hear what is said."""
        if self.board is not None:
            self._guarded(self.board.hear, topic, msg)

    def remove_client(self, scheduler: Any, client: str) -> None:  # noqa: ARG002
        """Forget what a client told."""
        if self.board is not None:
            self._guarded(self.board.forget, client)

    def restart(self, scheduler: Any) -> None:  # noqa: ARG002
        """Nothing runs any more."""
        if self.board is not None:
            self._guarded(self.board.restart)

    def _guarded(self, function: Any, *arguments: Any) -> None:
        """No page may harm the scheduler: what goes wrong is logged, once."""
        try:
            function(*arguments)
        except Exception:
            if not self._complained:
                self._complained = True
                _log.exception("The page /%s missed something", PATH)


def install_page(client: Client) -> None:
    """Install the plugin; again does nothing. Where that fails, there is no page."""
    try:
        client.register_plugin(Page())
    except Exception:  # a scheduler without this package, or that takes no plugins
        _log.warning("There is no page /%s on this scheduler", PATH, exc_info=True)
