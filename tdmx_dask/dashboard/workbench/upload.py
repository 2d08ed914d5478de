"""A file that a user hands in: read beside the loop, and taken anew when it was mended."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable
from typing import Generic, TypeVar

from bokeh.models import FileInput

from tdmx_dask.dashboard.look import SHEET
from tdmx_dask.dashboard.workbench.latest import Latest
from tdmx_dask.dashboard.workbench.session import Session
from tdmx_dask.errors import InputError

__all__ = ["Upload"]

_T = TypeVar("_T")


class Upload(Generic[_T]):
    """An input of files.

    Parameters
    ----------
    session : of the window
    key : names it in the page
    title : above it
    accept : endings, such as ``.csv,.yaml``
    read : makes something of a file's name and content, in a thread
    then, failed : take what was read, or a message
    """

    def __init__(
        self,
        session: Session,
        key: str,
        title: str,
        accept: str,
        *,
        read: Callable[[str, bytes], _T],
        then: Callable[[_T], object],
        failed: Callable[[str], object],
    ) -> None:
        self._read = read
        self._latest: Latest[_T] = Latest(session.document, session.shop.slow, then, failed)
        self.root = FileInput(
            title=title,
            accept=accept,
            html_id=f"upload-{key}",
            stylesheets=[SHEET],
            sizing_mode="stretch_width",
        )

        def changed(_attr: str, _old: object, new: object) -> None:
            if new:  # its name comes after its content, in the same message
                session.document.add_next_tick_callback(self._take)

        self.root.on_change("value", changed)

    def _take(self) -> None:
        name, content = str(self.root.filename), str(self.root.value)
        self.root.clear()  # the same file, mended, is a change again
        self._latest.ask(lambda: self._read(name, _bytes(name, content)))


def _bytes(name: str, content: str) -> bytes:
    try:
        return base64.b64decode(content, validate=True)
    except (binascii.Error, ValueError):
        raise InputError("file", name, "it did not arrive whole", "Try again.") from None
