"""Tell a scheduler something without waiting for its answer: one that does not answer must hold up nobody."""

from __future__ import annotations

import threading
from contextlib import suppress
from typing import Any

__all__ = ["Messenger"]


class Messenger:
    """Sends messages of a topic by the client's own thread, one after another; of those that wait only the latest, which stands for all.

    Parameters
    ----------
    client : distributed.Client, of this process
    topic : of the events
    """

    def __init__(self, client: Any, topic: str) -> None:
        self._client, self._topic = client, topic
        self._next: tuple[dict[str, Any], threading.Event] | None = None
        self._sending = False

    def send(self, message: dict[str, Any], *, wait: float = 0.0) -> None:
        """Send a message; where the scheduler or the client is gone, nothing happens.

        Parameters
        ----------
        message : plain values
        wait : s to wait at most until the scheduler has it
        """
        if self._client.status != "running":
            return
        sent = threading.Event()
        with suppress(RuntimeError):  # the client's loop is closed
            self._client.loop.add_callback(self._take, message, sent)
            if wait:
                sent.wait(wait)

    async def _take(self, message: dict[str, Any], sent: threading.Event) -> None:
        self._next = message, sent
        if self._sending:
            return
        self._sending = True
        try:
            while self._next is not None:
                (message, sent), self._next = self._next, None
                with suppress(Exception):  # the scheduler is gone, or the client closes
                    await self._client.scheduler.log_event(topic=self._topic, msg=message)
                sent.set()
        finally:
            self._sending = False
