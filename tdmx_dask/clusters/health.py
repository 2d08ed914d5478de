"""Ask a scheduler or worker on this machine (in this pod, this container) whether it lives: ``python -m tdmx_dask.clusters.health PORT``.

Its HTTP is on loopback, so that a probe has to ask from inside. Kept light: it runs every few seconds beside the work.
"""

from __future__ import annotations

import sys
from http.client import HTTPConnection, HTTPException

__all__ = ["is_healthy", "main"]

ANSWER = 8.0
"""Seconds in which it has to answer."""


def is_healthy(port: int) -> bool:
    """Whether what serves HTTP on this port of loopback says that it is well."""
    connection = HTTPConnection("127.0.0.1", port, timeout=ANSWER)
    try:
        connection.request("GET", "/health")
        return connection.getresponse().status == 200
    except (OSError, HTTPException):
        return False
    finally:
        connection.close()


def main(arguments: list[str]) -> int:
    """Return 0 where it is well, 1 where it is not, 2 where the port is none."""
    if len(arguments) != 1 or not arguments[0].isdecimal() or not 0 < int(arguments[0]) < 65536:
        print("usage: python -m tdmx_dask.clusters.health PORT   (1 .. 65535, on loopback)", file=sys.stderr)
        return 2
    return 0 if is_healthy(int(arguments[0])) else 1


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
