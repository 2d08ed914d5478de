"""What a scheduler says of itself and its workers, asked afresh.

`Client.scheduler_info` keeps its answer in the client, where the question of another thread replaces it.
"""

from __future__ import annotations

from typing import Any

from distributed import Client

__all__ = ["identity", "workers"]


def identity(client: Client) -> dict[str, Any]:
    """Totals, such as `n_workers` and `total_threads`, without the workers one by one."""
    return dict(client.sync(_ask, client, 0))


def workers(client: Client) -> dict[str, dict[str, Any]]:
    """Workers by their addresses."""
    return dict(client.sync(_ask, client, -1)["workers"])


async def _ask(client: Any, n_workers: int) -> Any:
    return await client.scheduler.identity(n_workers=n_workers)
