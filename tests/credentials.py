"""What another process needs in its environment to join a cluster of this one by address."""

from __future__ import annotations

from pathlib import Path

from distributed import Client

from tdmx_dask.clusters.security import write


def in_environment(client: Client, folder: Path) -> dict[str, str]:
    """Dask's configuration of the client's credentials, as PEM files below a folder."""
    files = write(client.security, folder / "credentials")
    tls = "DASK_DISTRIBUTED__COMM__TLS__"
    return {f"{tls}CA_FILE": files.ca_file, f"{tls}CLIENT__CERT": files.cert, f"{tls}CLIENT__KEY": files.key}
