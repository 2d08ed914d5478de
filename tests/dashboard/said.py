"""Events as workers and clients say them."""

from __future__ import annotations

from typing import Any

HOSTILE = [
    "<script>alert(1)</script>", "<img src=x onerror=alert(1)>", "<b>x</b>", '"x=" onmouseover="alert(1)', "'><svg onload=alert(1)>",
]  # fmt: skip


def event(
    fit: str, chain: int, *, phase: str = "sampling", iteration: int = 1000, divergences: int = 0, round_: int = 0, said: str = "",
    text: str = "", seconds: float = 4.0,
) -> list[Any]:  # fmt: skip
    """Fields of a `ChainEvent`."""
    return [fit, chain, round_, 0, phase, iteration, 2000, divergences, 0.4, seconds, said, text]


def events(*given: list[Any], ticket: str = "1") -> dict[str, Any]:
    """A worker's message."""
    return {"ticket": ticket, "try": 1, "events": list(given)}


def curve(name: str = "a", *, done: int = 500, over: bool = False) -> dict[str, Any]:
    """A client's message of a PTA."""
    return {
        "client": "c", "name": name, "title": "fT>MIC", "mic": [0.5, 1.0, 2.0], "labels": ["1 g q8h"],
        "curves": [[[0.9, 0.5, 0.1], [0.8, 0.4, 0.0], [1.0, 0.6, 0.2]]], "more": 0, "done": done, "total": 1000, "kind": "credible",
        "level": 0.95, "over": over,
    }  # fmt: skip


def job(id_: int, **more: Any) -> dict[str, Any]:
    """A job of a client's message."""
    return {
        "id": id_, "kind": "pta_calculation", "title": f"ward {id_}", "priority": 5, "state": "queued", "submitted": 900.0, "started": None,
        "wait": None, "run": None, "attempts": 0, "done": 0, "total": 0, "error": "", **more,
    }  # fmt: skip


def queue(folder: str = "/somewhere/queue") -> dict[str, Any]:
    """A client's message of a queue."""
    return {"client": "c", "queue": folder, "counts": {"queued": 1}, "slots": 2, "rows": [job(1)]}
