"""Programs that stanli has translated already: a translation takes longer than a chain of a small fit, and depends on the program alone."""

from __future__ import annotations

import threading
from collections import OrderedDict

__all__ = ["known_translation", "remember_translation"]

_MOST = 32
_known: OrderedDict[str, str] = OrderedDict()
_lock = threading.Lock()


def known_translation(digest: str) -> str | None:
    """The translation of the program of that digest, if this process has seen one."""
    with _lock:
        if digest in _known:
            _known.move_to_end(digest)
        return _known.get(digest)


def remember_translation(digest: str, text: str) -> None:
    """Keep a translation; the one that was used longest ago is forgotten where there are many."""
    with _lock:
        _known[digest] = text
        _known.move_to_end(digest)
        while len(_known) > _MOST:
            _known.popitem(last=False)
