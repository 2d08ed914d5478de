"""The API server of a Kubernetes cluster, in one namespace: what we need of it, in a thread of its own, so that methods may block."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import threading
from collections.abc import Coroutine, Mapping
from typing import Any, TypeVar

from tdmx_dask.errors import ClusterError

__all__ = ["ApiServer", "Refused"]

ANSWER = 10.0
"""Seconds in which it has to answer."""

VERSIONS: Mapping[str, str] = {
    "pods": "v1",
    "secrets": "v1",
    "deployments": "apps/v1",
    "daskclusters": "kubernetes.dask.org/v1",
    "daskworkergroups": "kubernetes.dask.org/v1",
    "daskautoscalers": "kubernetes.dask.org/v1",
}
"""Of the kinds of objects that are asked for."""

_T = TypeVar("_T")


class Refused(ClusterError):  # noqa: N818  (it says what happened)
    """The API server answered, and did not do it."""


class ApiServer:
    """Find, list, create, patch and delete objects; reach a port of a pod.

    Parameters
    ----------
    namespace : of all objects

    Raises
    ------
    ClusterError
        kr8s is not installed, there are no credentials of a cluster, or it does not answer.
    """

    def __init__(self, namespace: str) -> None:
        try:
            import httpx
            import kr8s
        except ImportError as error:
            raise ClusterError(
                "kind", "kubernetes", f"it needs kr8s ({error})", 'pip install "tdmx-dask[kubernetes]"'
            ) from error
        self._failures = (
            httpx.HTTPError,
            kr8s.APITimeoutError,
            kr8s.ConnectionClosedError,
            OSError,
            TimeoutError,
        )
        self._refusal = kr8s.ServerError
        self.namespace = namespace
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="tdmx-kubernetes", daemon=True)
        self._thread.start()
        self._forward: Any = None
        try:
            self._api = self._run(kr8s.asyncio.api(namespace=namespace), ANSWER)
            self._api.timeout = ANSWER
            self._run(self._request("GET", "daskclusters", ""))
        except ValueError as error:
            self.close()
            raise ClusterError(
                "kubernetes",
                os.environ.get("KUBECONFIG", "~/.kube/config"),
                f"there are no credentials of a Kubernetes cluster ({error})",
                "Set KUBECONFIG; kubectl config current-context says what is there.",
            ) from error
        except BaseException as error:
            self.close()
            if isinstance(error, self._failures):
                raise self._silent(error) from error
            if isinstance(error, self._refusal):
                raise self._explain("list", "daskclusters", error) from error
            raise

    def find(self, kind: str, name: str) -> dict[str, Any] | None:
        """An object; None where there is none.

        Raises
        ------
        ClusterError
            The API server refuses, or does not answer.
        """
        return self._ask("GET", kind, f"/{name}", none=404)

    def list(self, kind: str, labels: str) -> list[dict[str, Any]]:
        """Objects with these labels, such as ``a=b,c=d``."""
        answer = self._ask("GET", kind, "", params={"labelSelector": labels})
        return [] if answer is None else list(answer["items"])

    def create(self, given: Mapping[str, Any]) -> None:
        """Create an object of what a manifest says; one of that name that exists is an error."""
        self._ask("POST", given["kind"].lower() + "s", "", json=given)

    def patch(self, kind: str, name: str, part: Mapping[str, Any]) -> bool:
        """Merge a part into an object; False where there is none."""
        headers = {"Content-Type": "application/merge-patch+json"}
        return (
            self._ask("PATCH", kind, f"/{name}", none=404, headers=headers, content=json.dumps(part))
            is not None
        )

    def delete(self, kind: str, name: str) -> bool:
        """Delete an object and what it owns; False where there was none."""
        return self._ask("DELETE", kind, f"/{name}", none=404) is not None

    def forward(self, pod: Mapping[str, Any], port: int) -> int:
        """Tunnel a port of a pod to loopback, until `close`; returns the port here."""
        from kr8s.asyncio.objects import Pod

        async def begin() -> int:
            self._forward = (await Pod(dict(pod), api=self._api)).portforward(port, local_port="auto")
            return int(await self._forward.start())

        return self._run(begin())

    def close(self) -> None:
        """End tunnels, connections and the thread."""
        if self._loop.is_closed():
            return
        with contextlib.suppress(Exception):  # what is left ends with the loop
            if self._forward is not None:
                self._run(self._forward.stop())
            if self._api._session is not None:
                self._run(self._api._session.aclose())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(ANSWER)
        self._loop.close()

    def _run(self, work: Coroutine[Any, Any, _T], seconds: float | None = None) -> _T:
        asked = asyncio.run_coroutine_threadsafe(work, self._loop)
        try:
            return asked.result(seconds or 3 * ANSWER)
        except BaseException:
            asked.cancel()
            raise

    async def _request(self, method: str, kind: str, path: str, **sent: Any) -> dict[str, Any]:
        async with self._api.call_api(
            method, version=VERSIONS[kind], namespace=self.namespace, url=kind + path, **sent
        ) as response:
            answer: dict[str, Any] = response.json()
            return answer

    def _ask(self, method: str, kind: str, path: str, *, none: int = 0, **sent: Any) -> dict[str, Any] | None:
        try:
            return self._run(self._request(method, kind, path, **sent))
        except self._failures as error:
            raise self._silent(error) from error
        except self._refusal as error:
            if none and error.response is not None and error.response.status_code == none:
                return None
            raise self._explain(method, kind + path, error) from error

    def _silent(self, error: BaseException) -> ClusterError:
        return ClusterError(
            "kubernetes",
            os.environ.get("KUBECONFIG", "~/.kube/config"),
            f"the API server does not answer ({str(error) or type(error).__name__})",
            "kubectl version says whether it is reached.",
        )

    def _explain(self, method: str, what: str, error: Exception) -> ClusterError:
        fix = "Ask who runs the cluster."
        said = str(error).splitlines()[0] if str(error) else type(error).__name__
        status = getattr(getattr(error, "response", None), "status_code", 0)
        if status in (401, 403):
            fix = "deploy/kubernetes/fixed/access.yaml shows the rights that a user needs."
        elif status == 404:
            fix = "Is the Dask operator installed, and does the namespace exist? See deploy/kubernetes/README.md."
        made = (
            Refused if 400 <= status < 500 else ClusterError
        )  # of what is amiss with itself, it may have done it
        return made("kubernetes", f"{method} {self.namespace}/{what}", f"the API server refuses: {said}", fix)
