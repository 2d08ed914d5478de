"""Stands for a Kubernetes cluster with the Dask operator on this machine: an API server on loopback, whose pods are real processes.

Objects are kept as they are sent. A DaskCluster becomes what the operator's own functions make of it; the commands of its pods are run with
their environment, ports and paths being mapped to some that are free here; probes and preStop are their own commands. What it does not
have: admission, schemas, isolation, a network of its own.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import itertools
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import yaml
from aiohttp import WSMsgType, web
from dask_kubernetes.operator.controller import controller

Thing = dict[str, Any]
Key = tuple[str, str]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class Pod:
    """A container's process, as a node would run it."""

    def __init__(self, name: str, deployment: Thing, folder: Path, rewrite: Callable[[str], str]) -> None:
        self.name = name
        self.template = deployment["spec"]["template"]
        self._container = self.template["spec"]["containers"][0]
        scratch = folder / name
        scratch.mkdir()
        self._ports = {str(each["containerPort"]): str(free_port()) for each in self._container["ports"]}
        probed = self._container["readinessProbe"]["exec"]["command"][-1]
        self._ports[probed] = str(free_port())

        def here(text: str) -> str:
            text = rewrite(text).replace("/scratch", str(scratch))
            head, colon, port = text.rpartition(":")
            port = self._ports.get(port, port) if not text.startswith("tls://") else port
            return head + colon + port

        self._here = here
        said = {each["name"]: here(each["value"]) for each in self._container["env"]}
        self.environment = {
            **os.environ,
            **said,
            "TDMX_DOOR_PORT": self._ports.get("8788", ""),
            "TDMX_DOOR_HOST": "127.0.0.1",
        }
        command = [sys.executable, *self._container["command"][1:]]
        arguments = [
            said.get(each[2:-1], each) if each.startswith("$(") else here(each)
            for each in self._container["args"]
        ]
        if "--dashboard-address" in arguments:
            arguments += ["--host", "127.0.0.1"]  # no pod has an address of its own here
        self.log = (scratch / "log").open("w+b")
        self.process = subprocess.Popen(
            [*command, *arguments],
            env=self.environment,
            stdout=self.log,
            stderr=self.log,
            start_new_session=True,
        )
        self._ready = self.ends = False

    def port(self, port: int) -> int:
        return int(self._ports[str(port)])

    def run(self, command: list[str]) -> int:
        """Run a probe or preStop as the node does: inside."""
        words = [sys.executable, *(self._here(each) for each in command[1:])]
        return subprocess.run(words, env=self.environment, capture_output=True, timeout=60).returncode

    def stop(self) -> None:
        """Run preStop as long as the container lives, then ask it to end."""
        before = self._container.get("lifecycle", {}).get("preStop", {}).get("exec", {}).get("command")
        if before and self.process.poll() is None:
            hook = subprocess.Popen(
                [sys.executable, *before[1:]], env=self.environment, stdout=self.log, stderr=self.log
            )
            while hook.poll() is None and self.process.poll() is None:
                time.sleep(0.02)
            hook.kill()
            hook.wait()
        if self.process.poll() is None:
            self.process.terminate()
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
        self.log.close()

    def shown(self) -> Thing:
        code = self.process.poll()
        if code is None and not self._ready:
            self._ready = self.run(self._container["readinessProbe"]["exec"]["command"]) == 0
        state: Thing = {"running": {}}
        if code is not None:
            state = {"waiting": {"reason": "CrashLoopBackOff", "message": f"exit code {code}"}}
        ready = "True" if self._ready and code is None else "False"
        status = {
            "phase": "Running",
            "conditions": [{"type": "Ready", "status": ready}],
            "containerStatuses": [{"name": "it", "restartCount": 0, "state": state}],
        }
        metadata = {**self.template["metadata"], "name": self.name}
        if self.ends:
            metadata["deletionTimestamp"] = "now"
        spec = {**self.template["spec"], "nodeName": "here"}
        return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec, "status": status}


class Kubernetes:
    """The API server, with operator and node; a context manager."""

    def __init__(self, folder: Path, *, operator: bool = True, refuses: int = 0) -> None:
        self.folder = folder
        self.things: dict[Key, Thing] = {}
        self.pods: dict[str, Pod] = {}
        self.asked_to_stop: list[str] = []
        self._operator, self._refuses = operator, refuses
        self._count = itertools.count()
        self._ending: list[threading.Thread] = []
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)

    def __enter__(self) -> Kubernetes:
        self._thread.start()
        app = web.Application()
        app.router.add_get("/api/v1/namespaces/{namespace}/pods/{name}/portforward", self._forward)
        app.router.add_get("/version/", self._version)
        for path in (
            "/api/v1/namespaces/{namespace}/{kind}",
            "/apis/{group}/{version}/namespaces/{namespace}/{kind}",
        ):
            app.router.add_route("*", path, self._many)
            app.router.add_route("*", path + "/{name}", self._one)
        self._runner = web.AppRunner(app, shutdown_timeout=0.1)
        port = free_port()

        async def serve() -> None:
            await self._runner.setup()
            await web.TCPSite(self._runner, "127.0.0.1", port).start()

        asyncio.run_coroutine_threadsafe(serve(), self._loop).result(10)
        config = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "it", "cluster": {"server": f"http://127.0.0.1:{port}"}}],
            "users": [{"name": "it", "user": {"token": "it"}}],
            "contexts": [{"name": "it", "context": {"cluster": "it", "user": "it", "namespace": "default"}}],
            "current-context": "it",
        }
        self.kubeconfig = self.folder / "kubeconfig"
        self.kubeconfig.write_text(yaml.safe_dump(config))
        return self

    def __exit__(self, *_: object) -> None:
        for pod in list(self.pods.values()):
            with contextlib.suppress(OSError):
                os.killpg(pod.process.pid, signal.SIGKILL)
            pod.process.wait()
            pod.log.close()
        for end in self._ending:
            end.join(30)
        asyncio.run_coroutine_threadsafe(self._runner.cleanup(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    def secret(self, name: str, data: Mapping[str, str]) -> None:
        """Keep a Secret, which pods find as files."""
        (self.folder / "tls").mkdir(mode=0o700)
        for key, text in data.items():
            (self.folder / "tls" / key).write_text(text)
        self.things["secrets", name] = {
            "metadata": {"name": name},
            "data": {key: base64.b64encode(text.encode()).decode() for key, text in data.items()},
        }

    def named(self, kind: str) -> list[str]:
        return [name for each, name in self.things if each == kind]

    async def _version(self, _: web.Request) -> web.Response:
        return web.json_response({"major": "1", "minor": "33", "gitVersion": "v1.33.0"})

    async def _many(self, request: web.Request) -> web.Response:
        if self._refuses:
            return web.json_response({"message": "you may not"}, status=self._refuses)
        kind = request.match_info["kind"]
        if request.method == "POST":
            thing = await request.json()
            if (kind, thing["metadata"]["name"]) in self.things:
                return web.json_response({"message": "it exists"}, status=409)
            await asyncio.to_thread(self._create, kind, thing)
            return web.json_response(thing, status=201)
        wanted = dict(each.split("=") for each in request.query.get("labelSelector", "").split(",") if each)
        things = [thing for (each, _), thing in self.things.items() if each == kind]
        if kind == "pods":
            things = [await asyncio.to_thread(pod.shown) for pod in list(self.pods.values())]
        found = [each for each in things if wanted.items() <= each["metadata"].get("labels", {}).items()]
        return web.json_response({"items": found})

    async def _one(self, request: web.Request) -> web.Response:
        key = request.match_info["kind"], request.match_info["name"]
        if key not in self.things:
            return web.json_response({"message": f"{key[1]} not found"}, status=404)
        if request.method == "PATCH":
            merge(self.things[key], await request.json())
            if key[0] == "daskworkergroups":
                await asyncio.to_thread(self._scale, self.things[key])
        thing = self.things[key]
        if request.method == "DELETE":
            await asyncio.to_thread(self._delete, key)
        return web.json_response(thing)

    def _create(self, kind: str, thing: Thing) -> None:
        name = thing["metadata"]["name"]
        self.things[kind, name] = thing
        labels = thing["metadata"].get("labels", {})
        if kind == "daskclusters" and self._operator:
            spec = thing["spec"]
            pod = controller.build_scheduler_deployment_spec(name, spec["scheduler"]["spec"], {}, labels)
            self._create("deployments", pod)
            self._create(
                "daskworkergroups",
                controller.build_default_worker_group_spec(name, spec["worker"], {}, labels),
            )
            thing["status"] = {"phase": "Running"}
        elif kind == "daskworkergroups" and self._operator:
            self._scale(thing)
        elif kind == "deployments":
            self.pods[name] = Pod(name, thing, self.folder, self._rewrite)

    def _rewrite(self, text: str) -> str:
        for name, pod in self.pods.items():
            if name.endswith("-scheduler"):
                text = text.replace(f"tls://{name}:8786", f"tls://127.0.0.1:{pod.port(8786)}")
        return text.replace("/tls/", f"{self.folder}/tls/")

    def _scale(self, group: Thing) -> None:
        """As the operator: add pods. It would ask the scheduler in plain HTTP which are to go; here that is noted."""
        name, worker, cluster = group["metadata"]["name"], group["spec"]["worker"], group["spec"]["cluster"]
        there = [each for each in self.named("deployments") if each.startswith(f"{name}-worker-")]
        labels = group["metadata"].get("labels", {})
        for _ in range(worker["replicas"] - len(there)):
            pod = controller.build_worker_deployment_spec(
                name, "default", cluster, f"{next(self._count):010d}", worker["spec"], {}, labels
            )
            self._create("deployments", pod)
        self.asked_to_stop += there[worker["replicas"] :]

    def _delete(self, key: Key) -> None:
        self.things.pop(key)
        kind, name = key
        if kind == "deployments":
            self.pods[name].ends = True
            end = threading.Thread(target=self._end, args=(name,))
            end.start()
            self._ending.append(end)
        elif kind in ("daskclusters", "daskworkergroups"):
            ours = ("deployments", "daskworkergroups")
            owned = [each for each in self.things if each[0] in ours and each[1].startswith(f"{name}-")]
            for each in owned:
                if each in self.things:
                    self._delete(each)

    def _end(self, name: str) -> None:
        self.pods[name].stop()
        self.pods.pop(name)

    async def _forward(self, request: web.Request) -> web.WebSocketResponse:
        """Port-forwarding as the API server does it: a byte names the channel, and each channel first tells its port."""
        pod = self.pods[request.match_info["name"]]
        port = int(request.query["ports"])
        socket_ = web.WebSocketResponse(max_msg_size=0)
        await socket_.prepare(request)
        reader, writer = await asyncio.open_connection("127.0.0.1", pod.port(port))
        for channel in (b"\x00", b"\x01"):
            await socket_.send_bytes(channel + port.to_bytes(2, "little"))

        async def back() -> None:
            with contextlib.suppress(ConnectionResetError):
                while data := await reader.read(2**16):
                    await socket_.send_bytes(b"\x00" + data)
            await socket_.close()

        returning = asyncio.ensure_future(back())
        async for message in socket_:
            if message.type == WSMsgType.BINARY:
                writer.write(message.data[1:])
                await writer.drain()
        returning.cancel()
        writer.close()
        return socket_


def merge(thing: Thing, part: Mapping[str, Any]) -> None:
    """A JSON merge patch."""
    for key, value in part.items():
        if isinstance(value, Mapping) and isinstance(thing.get(key), dict):
            merge(thing[key], value)
        elif value is None:
            thing.pop(key, None)
        else:
            thing[key] = value
