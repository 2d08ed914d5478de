"""What every cluster gets that we start or join: tasks move to where there is room, cancelled ones end, workers follow the work, and what
runs can be looked at, on a page of the dashboard, too.
"""

from __future__ import annotations

from distributed import Client

from tdmx_dask.clusters.cancellation import install_cancellation
from tdmx_dask.clusters.demand import install_demand
from tdmx_dask.clusters.measured import install_measured
from tdmx_dask.clusters.page import install_page
from tdmx_dask.clusters.progress import install_progress
from tdmx_dask.clusters.rebalance import install_rebalance

__all__ = ["install"]


def install(client: Client) -> None:
    """Install all plugins on a client's scheduler and workers, those to come too; again does nothing."""
    install_cancellation(client)
    install_rebalance(client)
    install_demand(client)
    install_progress(client)
    install_measured(client)
    install_page(client)
