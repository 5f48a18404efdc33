"""The package's figures, on an embedded cluster that this starts: a table, each with its target, and target/bench/python.json.

    make python-bench                           release builds, on a machine that has nothing else to do
    KUBETETHER_PROFILE=dev make python-bench    debug builds: quick to build, and no measure of anything

Exits with 1 when a release build misses a target.
"""

from __future__ import annotations

import http.client
import http.server
import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(HERE / "tests"))

from cluster import ROOT, Sim  # noqa: E402

import kubetether  # noqa: E402

figures: list[dict[str, Any]] = []


def tell(name: str, unit: str, runs: list[float], target: float) -> None:
    """One figure: the median of its runs, and the least and the most of them."""
    from kubetether import _native

    value, least, most = statistics.median(runs), min(runs), max(runs)
    reached = value <= target
    # The keys of tests/src/bin/bench.
    measured = {"id": name, "value": value, "unit": unit, "least": least, "most": most}
    compared = {"ratio": value / target, "of": "target", "beside": None}
    aimed = {"aim": "at most", "target": target, "reached": reached}
    figures.append({**measured, **compared, **aimed, "build": _native.profile()})
    spread = f"{least:.2f}..{most:.2f}"
    verdict = "reached" if reached else "MISSED"
    if least < target <= most:
        verdict += ", but not by each run: the machine was busy, or it is close"
    print(f"{name:22} {value:8.2f} {unit:4} {spread:18} <= {target:g} {verdict}", flush=True)


def process_seconds(*arguments: str) -> float:
    """What an interpreter takes from start to end."""
    began = time.perf_counter()
    subprocess.run([sys.executable, *arguments], check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - began


def added_milliseconds(without: tuple[str, ...], with_it: tuple[str, ...]) -> list[float]:
    """What the second takes more than the first: of each the least of some runs, since all that is in the way only adds.

    They take turns, so that a machine that grows slower does so for both.
    """
    added = []
    for _ in range(5):
        pairs = [(process_seconds(*without), process_seconds(*with_it)) for _ in range(9)]
        added.append((min(pair[1] for pair in pairs) - min(pair[0] for pair in pairs)) * 1000)
    return added


def imports() -> None:
    added = added_milliseconds(("-c", "pass"), ("-c", "import kubetether; kubetether.connect"))
    tell("python.import", "ms", added, 30)
    with tempfile.TemporaryDirectory() as folder:
        test = Path(folder, "test_one.py")
        test.write_text("def test_one(): pass\n")
        # Without those plugins that only take time.
        others = [word for name in ("asyncio", "anyio", "timeout", "xdist", "cacheprovider") for word in ("-p", f"no:{name}")]
        pytest = ("-W", "error", "-m", "pytest", "-q", *others, str(test))
        tell("python.plugin.unused", "ms", added_milliseconds((*pytest, "-p", "no:kubetether"), pytest), 5)


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


def exchanges(session: kubetether.Session) -> None:
    session.exchange("orders", to=9).close()
    starts = []
    for _ in range(11):
        began = time.perf_counter()
        exchange = session.exchange("orders", to=9)
        starts.append(time.perf_counter() - began)
        exchange.close()
    tell("python.exchange.warm", "s", starts, 0.5)


def handlers(session: kubetether.Session) -> None:
    port = session.forward("orders:8080").port
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Plain)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    added = []
    for _ in range(5):
        with session.exchange("orders", to=server.server_address[1]):
            by_port = request_seconds(port)
        with session.exchange("orders", to=lambda request: b"ok"):
            added.append((request_seconds(port) - by_port) * 1000)
    server.shutdown()
    server.server_close()
    tell("python.handler", "ms", added, 0.3)


def calls(session: kubetether.Session, count: int = 20_000) -> None:
    with session.exchange("orders", to=9) as exchange:
        runs = []
        for _ in range(5):
            began = time.perf_counter()
            for _ in range(count):
                exchange.stats  # noqa: B018
            runs.append((time.perf_counter() - began) / count * 1e6)
    tell("python.call", "us", runs, 20)


def interrupts(session: kubetether.Session) -> None:
    """From Ctrl-C to the end of the call that waits."""
    runs = []
    for _ in range(11):
        struck: list[float] = []

        def strike() -> None:
            time.sleep(0.3)
            struck.append(time.perf_counter())
            os.kill(os.getpid(), signal.SIGINT)

        striker = threading.Thread(target=strike)
        try:
            striker.start()
            session.closed()
        except KeyboardInterrupt:
            runs.append((time.perf_counter() - struck[0]) * 1000)
        striker.join()
    tell("python.interrupt", "ms", runs, 100)


def on_a_cluster() -> None:
    with tempfile.TemporaryDirectory() as folder:
        sim = Sim(Path(folder))
        try:
            sim.cluster.service("orders")
            sim.cluster.wait_for("orders")
            with kubetether.connect(kubeconfig=sim.cluster.kubeconfig) as session:
                for figure in (exchanges, handlers, calls, interrupts):
                    figure(session)
        finally:
            sim.stop()


def wheel() -> None:
    (built,) = (ROOT / "target" / "python" / "dist").glob("*.whl")
    tell("python.wheel", "MiB", [built.stat().st_size / (1 << 20)], 15)


def main() -> int:
    from kubetether import _native

    release = _native.profile() == "release"
    if not release:
        print(f"A {_native.profile()} build of the native module: these are not its figures.")
    imports()
    on_a_cluster()
    wheel()
    file = ROOT / "target" / "bench" / "python.json"
    file.parent.mkdir(exist_ok=True)
    file.write_text(json.dumps(figures, indent=2) + "\n")
    return int(release and not all(figure["reached"] for figure in figures))


if __name__ == "__main__":
    sys.exit(main())
