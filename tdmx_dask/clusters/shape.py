"""What a worker of a cluster will be like, before there is one: kept on the scheduler, where every client and plugin finds it."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from distributed import Client

__all__ = ["KEY", "Shape", "publish", "published"]

KEY = "tdmx-worker"
"""Of the scheduler's metadata."""


@dataclass(frozen=True, slots=True)
class Shape:
    """A worker to come.

    Parameters
    ----------
    kind : of the cluster
    threads : of a worker
    memory_mb : `MEM` that it will declare, MB (10^6 bytes)
    most : workers that there can be; None: not known
    """

    kind: str
    threads: int
    memory_mb: float
    most: int | None = None


def publish(client: Client, shape: Shape) -> None:
    """Tell scheduler and other clients what workers will be like."""
    client.set_metadata([KEY], asdict(shape))


def published(client: Client) -> Shape | None:
    """What was told; None where nobody did."""
    said: Any = client.get_metadata([KEY], default=None)
    return None if said is None else Shape(**said)
