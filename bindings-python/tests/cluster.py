"""The embedded cluster as the tests use it: its kubeconfig, its objects, callers inside it."""

from __future__ import annotations

import json
import os
import socket
import ssl
import subprocess
import threading
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any, Callable, Optional

ROOT = Path(__file__).resolve().parents[2]
IMAGE = "kubetether.test/workload:1"
#: Long: the machine may be busy, and nobody waits it out when all is well.
LIMIT = 60.0


#: Those of namespace `default`.
LEASES = "/apis/coordination.k8s.io/v1/namespaces/default/leases"


def wait_until(what: str, ready: Callable[[], Any], limit: float = LIMIT) -> Any:
    """What ``ready`` returns once it is true."""
    until = time.monotonic() + limit
    while True:
        value = ready()
        if value:
            return value
        if time.monotonic() > until:
            raise AssertionError(f"not within {limit:.0f} s: {what}")
        time.sleep(0.02)


def ask(url: str, data: Optional[bytes] = None, method: Optional[str] = None, timeout: float = 30.0) -> str:
    """The body of the answer."""
    request = urllib.request.Request(url, data=data, method=method)
    with urllib.request.urlopen(request, timeout=timeout) as answer:
        return answer.read().decode()  # type: ignore[no-any-return]


class Cluster:
    """A cluster by its kubeconfig: the embedded one, or one that was given."""

    def __init__(self, kubeconfig: Path) -> None:
        self.kubeconfig = kubeconfig
        config = json.loads(kubeconfig.read_text())
        there = config["clusters"][0]["cluster"]
        self._server: str = there["server"]
        # On loopback, and not what is tested here.
        self._tls = ssl._create_unverified_context()
        self._token: str = config["users"][0]["user"]["token"]

    def api(self, method: str, path: str, body: Optional[dict[str, Any]] = None) -> Any:
        """One request to the API server."""
        request = urllib.request.Request(
            self._server + path, method=method, data=json.dumps(body).encode() if body is not None else None
        )
        request.add_header("Content-Type", "application/json")
        request.add_header("Authorization", f"Bearer {self._token}")
        with urllib.request.urlopen(request, timeout=LIMIT, context=self._tls) as answer:
            return json.load(answer)

    def service(self, name: str, namespace: str = "default", replicas: int = 1) -> None:
        """A Service with pods that answer with its name, and a port that needs no rights."""
        labels = {"app": name}
        container = {
            "name": "serve",
            "image": IMAGE,
            "imagePullPolicy": "Never",
            "args": ["serve", "--name", name, "--http", "8080"],
            "readinessProbe": {"tcpSocket": {"port": 8080}, "periodSeconds": 1},
        }
        template = {
            "metadata": {"labels": labels},
            "spec": {"terminationGracePeriodSeconds": 0, "containers": [container]},
        }
        deployment = {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": {"name": name},
            "spec": {"replicas": replicas, "selector": {"matchLabels": labels}, "template": template},
        }
        service = {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": name},
            "spec": {"selector": labels, "ports": [{"name": "http", "port": 8080, "targetPort": 8080}]},
        }
        self.api("POST", f"/apis/apps/v1/namespaces/{namespace}/deployments", deployment)
        self.api("POST", f"/api/v1/namespaces/{namespace}/services", service)

    def wait_for(self, name: str, namespace: str = "default") -> None:
        """Waits until somebody answers."""
        path = f"/apis/apps/v1/namespaces/{namespace}/deployments/{name}"
        wait_until(f"{name} is ready", lambda: self.api("GET", path).get("status", {}).get("readyReplicas"))

    def selector(self, name: str, namespace: str = "default") -> dict[str, str]:
        """The Service's selector as it is now."""
        found: dict[str, str] = self.api("GET", f"/api/v1/namespaces/{namespace}/services/{name}")["spec"]["selector"]
        return found

    def is_original(self, name: str, namespace: str = "default") -> bool:
        """Whether nobody exchanges it."""
        service = self.api("GET", f"/api/v1/namespaces/{namespace}/services/{name}")
        notes = service["metadata"].get("annotations") or {}
        return service["spec"]["selector"] == {"app": name} and not any("kubetether" in key for key in notes)

    def leases(self, namespace: str = "default") -> list[str]:
        """The names of kubetether's Leases."""
        items = self.api("GET", f"/apis/coordination.k8s.io/v1/namespaces/{namespace}/leases")["items"]
        names = [item["metadata"]["name"] for item in items]
        return [name for name in names if name.startswith("kubetether-")]

    def lease(self, name: str) -> Any:
        """One of namespace `default`."""
        return self.api("GET", f"{LEASES}/{name}")

    def namespaces(self) -> list[str]:
        """All of them."""
        return [item["metadata"]["name"] for item in self.api("GET", "/api/v1/namespaces")["items"]]


class Sim:
    """An embedded cluster of the tests' own."""

    def __init__(self, folder: Path) -> None:
        program = Path(os.environ.get("KUBETETHER_SIM", ROOT / "target" / "debug" / "sim"))
        workload = ROOT / "target" / "workload" / "workload"
        for file, how in ((program, "cargo build --workspace --bin sim"), (workload, "make workload")):
            if not file.exists():
                raise FileNotFoundError(f"{file} is not there: {how}")
        self._process = subprocess.Popen(
            [program, "--folder", folder, "--image", f"{IMAGE}={workload}"], stdout=subprocess.PIPE, text=True
        )
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        assert line.startswith("KUBECONFIG="), line
        self.cluster = Cluster(Path(line.strip().partition("=")[2]))

    def stop(self) -> None:
        """Ends it and everything in it."""
        self._process.terminate()
        self._process.wait(LIMIT)
        if self._process.stdout is not None:
            self._process.stdout.close()


class Gate:
    """A way to a cluster's API server that can be held: what is said meanwhile arrives when it is let go.

    Its bytes are moved by threads of this process: a call that goes through it ends only if it lets them run.
    """

    def __init__(self, cluster: Cluster, kubeconfig: Path) -> None:
        config = json.loads(cluster.kubeconfig.read_text())
        there = config["clusters"][0]["cluster"]
        host, _, port = there["server"].rpartition("//")[2].partition(":")
        self._far = (host, int(port))
        self._open = threading.Event()
        self._open.set()
        self._listener = socket.create_server(("127.0.0.1", 0))
        there["server"] = f"https://127.0.0.1:{self._listener.getsockname()[1]}"
        kubeconfig.write_text(json.dumps(config))
        self.kubeconfig = kubeconfig
        threading.Thread(target=self._accept, daemon=True).start()

    def hold(self) -> None:
        """From now on nothing passes."""
        self._open.clear()

    def let_go(self) -> None:
        """What was held passes."""
        self._open.set()

    def close(self) -> None:
        """Nobody is let in any more."""
        self._open.set()
        # Wakes the thread that accepts, which a close alone does not.
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self._listener.accept()
                far = socket.create_connection(self._far)
            except OSError:
                return
            for one, other in ((near, far), (far, near)):
                threading.Thread(target=self._move, args=(one, other), daemon=True).start()

    def _move(self, one: socket.socket, other: socket.socket) -> None:
        try:
            while data := one.recv(65536):
                self._open.wait()
                other.sendall(data)
        except OSError:
            pass
        for each in (one, other):
            try:
                each.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
            each.close()


__all__ = ["Cluster", "Gate", "Sim", "ask", "urllib", "wait_until"]
