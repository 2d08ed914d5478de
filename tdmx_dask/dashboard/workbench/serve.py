"""The server of the workbench: on the loopback, for whoever has its token."""

from __future__ import annotations

import hmac
import re
import secrets
import socket
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bokeh.application import Application
from bokeh.application.handlers import FunctionHandler
from bokeh.server.auth_provider import AuthProvider
from bokeh.server.server import BaseServer
from bokeh.server.tornado import BokehTornado
from tornado.httpserver import HTTPServer
from tornado.ioloop import IOLoop
from tornado.netutil import bind_sockets
from tornado.routing import PathMatches, Rule, RuleRouter
from tornado.web import RequestHandler
from tornado.websocket import WebSocketHandler

from tdmx_dask.dashboard.workbench.document import fill
from tdmx_dask.dashboard.workbench.session import Shop, Worker
from tdmx_dask.errors import InputError

__all__ = ["Workbench"]

ADDRESS = "127.0.0.1"
NICENESS = 19
"""Added to that of fits, so that the page answers while they have all cores."""

_LARGEST_MESSAGE = 100 * 2**20
"""Bytes: files of more than a page takes arrive, too, to be refused with a word."""


class _Refused(RequestHandler):
    """What a stranger sees."""

    def get(self) -> None:
        """Say what is missing."""
        self.set_status(403)
        self.set_header("Content-Type", "text/plain; charset=utf-8")
        self.finish(
            "This workbench belongs to whoever started it. Open the address with its token, as tdmx serve printed it.\n"
        )


class _Token(AuthProvider):  # type: ignore[misc]
    """Lets in who has the token: in the address at first, in a cookie of the browser from then on.

    The loopback is shared by all users of a machine, and a page can read files and start processes as the user who started it.
    """

    def __init__(self, token: str, port: int) -> None:
        self._token, self._cookie = token, f"tdmx-{port}"
        super().__init__()

    @property
    def get_user(self) -> Any:
        return self._user

    @property
    def get_user_async(self) -> Any:
        return None

    @property
    def login_url(self) -> str:
        return "/refused"

    @property
    def get_login_url(self) -> Any:
        return None

    @property
    def login_handler(self) -> type[RequestHandler]:
        return _Refused

    @property
    def logout_url(self) -> Any:
        return None

    @property
    def logout_handler(self) -> Any:
        return None

    def _user(self, handler: RequestHandler) -> str | None:
        if self._is_token(handler.get_cookie(self._cookie, "") or ""):
            return "owner"
        if self._is_token(handler.get_query_argument("token", "")):
            if not isinstance(
                handler, WebSocketHandler
            ):  # whose handshake is over; the page was there before
                handler.set_cookie(self._cookie, self._token, httponly=True, samesite="Strict")
            return "owner"
        return None

    def _is_token(self, given: str) -> bool:
        return hmac.compare_digest(given.encode(), self._token.encode())


class Workbench:
    """A server of the workbench.

    Parameters
    ----------
    port : 0 takes a free one
    library : folder of fits; None: as configured
    on : a cluster for fits; None: child processes of this machine
    origins : further ``host:port`` at which browsers see it, such as the near end of a tunnel
    unused_seconds : after which a window that was closed is forgotten; its fit is cancelled

    Raises
    ------
    InputError
        The port is taken, or an origin is none.
    """

    def __init__(
        self,
        *,
        port: int = 5007,
        library: Path | None = None,
        on: object = None,
        origins: Sequence[str] = (),
        unused_seconds: float = 60.0,
    ) -> None:
        self.token = secrets.token_urlsafe(24)
        sockets = _bound(port)
        self.port: int = sockets[0].getsockname()[1]
        shop = Shop(Worker("tdmx-quick"), Worker("tdmx-slow"), library, on)
        seen_at = [f"{ADDRESS}:{self.port}", f"localhost:{self.port}", *map(_origin, origins)]
        tornado = BokehTornado(
            {"/": Application(FunctionHandler(lambda document: fill(document, shop)))},
            extra_websocket_origins=seen_at,
            auth_provider=_Token(self.token, self.port),
            websocket_max_message_size_bytes=_LARGEST_MESSAGE,
            unused_session_lifetime_milliseconds=int(1000 * unused_seconds),
            check_unused_sessions_milliseconds=int(300 * unused_seconds),
        )
        # The page, its socket and its scripts; Bokeh's other ways in are for embedding, which is not meant.
        http = HTTPServer(RuleRouter([Rule(PathMatches(r"/(|ws|refused|static/.*)"), tornado)]))
        http.add_sockets(sockets)
        self._server = BaseServer(IOLoop.current(), tornado, http)
        self._server.start()

    @property
    def url(self) -> str:
        """The address, with the token."""
        return f"http://{ADDRESS}:{self.port}/?token={self.token}"

    def stop(self) -> None:
        """Listen no more. Fits that run end with this process."""
        self._server.stop(wait=False)


def _origin(given: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9.-]+:\d{1,5}", given):
        raise InputError(
            "origin", given, "it is HOST:PORT, as a browser sees this server", "For example localhost:6007."
        )
    return given.lower()


def _bound(port: int) -> list[socket.socket]:
    try:
        return bind_sockets(port, ADDRESS)
    except OSError as error:
        rule = f"it cannot be listened at: {error.strerror or error}"
        raise InputError("port", port, rule, "Choose another with --port, or 0 for any.") from None
