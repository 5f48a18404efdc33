"""The package's figures, against an embedded cluster that this starts. Prints a line for each: id, value, unit, bound.

    make python KUBETETHER_PROFILE=release
    target/python/venv/bin/pip install --force-reinstall --no-deps target/python/dist/*.whl
    target/python/venv/bin/python bindings-python/benches/figures.py

The machine should have nothing else to do. Exits with 1 when a bound is missed.
"""

from __future__ import annotations

import http.client
import http.server
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path

HERE = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(HERE / "tests"))

from cluster import ROOT, Sim  # noqa: E402

missed = False


def tell(name: str, value: float, unit: str, bound: float) -> None:
    global missed
    missed = missed or value > bound
    print(f"{name:24} {value:10.3f} {unit:3}  at most {bound:g}{'' if value <= bound else '  MISSED'}", flush=True)


def process_seconds(*arguments: str) -> float:
    """The shortest of some runs of an interpreter: what it takes when nothing is in the way."""
    times = []
    for _ in range(15):
        began = time.perf_counter()
        subprocess.run([sys.executable, *arguments], check=True, stdout=subprocess.DEVNULL)
        times.append(time.perf_counter() - began)
    return min(times)


def imports() -> None:
    bare = process_seconds("-c", "pass")
    whole = process_seconds("-c", "import kubetether; kubetether.connect")
    tell("python.import", (whole - bare) * 1000, "ms", 30)
    with tempfile.TemporaryDirectory() as folder:
        test = Path(folder, "test_one.py")
        test.write_text("def test_one(): pass\n")
        pytest = ("-m", "pytest", "-q", "-p", "no:cacheprovider", str(test))
        without, with_it = [], []
        # One after the other, so that a machine that grows slower does so for both.
        for _ in range(3):
            without.append(process_seconds(*pytest, "-p", "no:kubetether"))
            with_it.append(process_seconds(*pytest))
        tell("python.plugin.unused", (min(with_it) - min(without)) * 1000, "ms", 5)


def request_seconds(port: int, count: int = 2000) -> float:
    """The median of requests one after another on one connection."""
    client = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    times = []
    for _ in range(count):
        began = time.perf_counter()
        client.request("GET", "/")
        client.getresponse().read()
        times.append(time.perf_counter() - began)
    client.close()
    return statistics.median(times)


class Plain(http.server.BaseHTTPRequestHandler):
    """The same answer by the standard library's server, on a port of its own."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"ok")

    def log_message(self, *args: object) -> None:
        pass


def cluster_figures() -> None:
    import kubetether

    with tempfile.TemporaryDirectory() as folder:
        sim = Sim(Path(folder))
        try:
            sim.cluster.service("orders")
            sim.cluster.wait_for("orders")
            with kubetether.connect(kubeconfig=sim.cluster.kubeconfig) as session:
                session.exchange("orders", to=9).close()
                starts = []
                for _ in range(11):
                    began = time.perf_counter()
                    exchange = session.exchange("orders", to=9)
                    starts.append(time.perf_counter() - began)
                    exchange.close()
                tell("python.exchange.warm", statistics.median(starts), "s", 0.5)

                port = session.forward("orders:8080").port
                server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Plain)
                threading.Thread(target=server.serve_forever, daemon=True).start()
                added = []
                for _ in range(3):
                    with session.exchange("orders", to=server.server_address[1]):
                        by_port = request_seconds(port)
                    with session.exchange("orders", to=lambda request: b"ok"):
                        added.append(request_seconds(port) - by_port)
                server.shutdown()
                server.server_close()
                tell("python.handler", statistics.median(added) * 1000, "ms", 0.3)

                with session.exchange("orders", to=9) as exchange:
                    call(lambda: exchange.stats)
        finally:
            sim.stop()


def call(function: Callable[[], object], count: int = 20000) -> None:
    times = []
    for _ in range(5):
        began = time.perf_counter()
        for _ in range(count):
            function()
        times.append((time.perf_counter() - began) / count)
    tell("python.call", min(times) * 1e6, "µs", 20)


def wheel() -> None:
    wheels = list((ROOT / "target" / "python" / "dist").glob("*.whl"))
    if wheels:
        tell("python.wheel", wheels[0].stat().st_size / (1 << 20), "MiB", 15)


if __name__ == "__main__":
    imports()
    cluster_figures()
    wheel()
    sys.exit(missed)
