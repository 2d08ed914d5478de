"""Stands where a client does, and hands on what it is told to send."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any


class Listener:
    """A client, its loop and its scheduler in one.

    Parameters
    ----------
    hear : called with topic and message
    """

    status, id = "running", "c"

    def __init__(self, hear: Callable[[str, Any], object]) -> None:
        self._hear = hear
        self.loop = self.scheduler = self

    def add_callback(self, function: Callable[..., Any], *arguments: Any) -> None:
        asyncio.run(function(*arguments))

    async def log_event(self, topic: str, msg: Any) -> None:
        self._hear(topic, msg)
