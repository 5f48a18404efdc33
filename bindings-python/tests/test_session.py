"""Sessions, exchanges and forwards by the face that blocks."""

from __future__ import annotations

import gc
import http.server
import importlib
import os
import shutil
import socket
import socketserver
import subprocess
import sys
import threading
import urllib.request
import warnings
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Optional

import pytest
from cluster import LIMIT, Cluster, ask, wait_until

import kubetether
from kubetether import _session


def test_exchange_and_forward(cluster: Cluster) -> None:
    with kubetether.connect(kubeconfig=cluster.kubeconfig, linger=0, who="ann@box") as session:
        assert session.state.state == "ready"
        assert session.namespace == "default"
        forward = session.forward("orders", 8080)
        assert forward.address == f"{forward.host}:{forward.port}"
        assert "name=orders" in ask(forward.url("/"))
        with session.exchange("orders", to=lambda request: f"here: {request.path}") as exchange:
            assert exchange.state.state == "active"
            assert exchange.service == "orders"
            assert exchange.ports[0].service_port == 8080
            assert exchange.passed_through == ()
            assert exchange.safety.client in ("restored", "passes_through") and str(exchange.safety)
            assert ask(forward.url("/a%20b")) == "here: /a b"
            assert exchange.stats.connections == 1
            assert "GET /a%20b -> 200" in exchange.log[0]
            assert [line for line in session.evidence() if line.startswith("log of")]
        assert exchange.state.state == "closed"
        assert cluster.is_original("orders")
        assert "name=orders" in ask(forward.url("/"))
        session.close()
        assert forward.state.is_over
    assert session.closed(LIMIT) and session.state.is_over
    assert cluster.leases() == []


def test_flows(cluster: Cluster, session: kubetether.Session) -> None:
    assert session.flows() == kubetether.Flows(open=(), ended=(), missed=0, next=0)
    forward = session.forward("orders", 8080)
    server = socket.create_server(("127.0.0.1", 0))
    server.settimeout(LIMIT)
    port = server.getsockname()[1]
    with server, session.exchange("orders", to=port) as exchange:
        assert session.flows().open == (), "the proof of an exchange is no flow"
        with socket.create_connection((forward.host, forward.port), LIMIT) as caller:
            caller.sendall(b"hello")
            served, _ = server.accept()
            with served:
                served.sendall(b"ab")
                assert caller.makefile("rb").read(2) == b"ab"
                assert served.makefile("rb").read(5) == b"hello"

                def both() -> dict[str, kubetether.Flow]:
                    return {flow.mode: flow for flow in session.flows().open if flow.sent and flow.received}

                wait_until("the bytes of both are told", lambda: len(both()) == 2)
                out, back = both()["forward"], both()["exchange"]
                assert (out.sent, out.received, back.sent, back.received) == (5, 2, 2, 5)
                assert (out.handle, out.to, out.port) == (forward.id, "orders:8080", forward.port)
                assert out.from_ == f"127.0.0.1:{caller.getsockname()[1]}"
                assert (back.handle, back.to, back.port) == (exchange.id, f"127.0.0.1:{port}", 8080)
                assert out.protocol == "tcp" and out.duration > 0 and out.began
                assert out.end is None and session.flows().ended == ()
        wait_until("both have ended", lambda: session.flows().next == 2)
        ended = session.flows()
        assert ended.open == () and ended.missed == 0
        assert {(flow.number, str(flow.end)) for flow in ended.ended} == {
            (out.number, "finished"),
            (back.number, "finished"),
        }
        # Exactly one connection came here since then: that is how a test counts callers.
        server.close()
        with pytest.raises(OSError):
            ask(forward.url("/"))
        wait_until("both have ended", lambda: session.flows().next == 4)
        new = session.flows(after=ended.next)
        assert [flow.end for flow in new.ended if flow.handle == exchange.id] == [
            kubetether.FlowEnd("refused", "connection refused")
        ]
    assert session.flows(10**30) == kubetether.Flows(open=(), ended=(), missed=0, next=4)
    with pytest.raises(ValueError, match="-1 is not the `next`"):
        session.flows(-1)


def test_every_kind_of_to(cluster: Cluster, session: kubetether.Session, tmp_path: Path) -> None:
    url = session.forward("orders:8080").url("/x")

    class Plain(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"a handler class")

        def log_message(self, *args: object) -> None:
            pass

    class Raw(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            self.rfile.readline()
            self.wfile.write(b"HTTP/1.0 200 OK\r\n\r\na raw class")

    def wsgi(environ: dict, start_response: object) -> list[bytes]:  # type: ignore[type-arg]
        start_response("200 OK", [("Content-Type", "text/plain")])  # type: ignore[operator]
        return [b"wsgi ", environ["PATH_INFO"].encode()]

    async def asgi(scope: dict, receive: object, send: object) -> None:  # type: ignore[type-arg]
        assert scope["type"] == "http"
        await send({"type": "http.response.start", "status": 200, "headers": []})  # type: ignore[operator]
        await send({"type": "http.response.body", "body": b"asgi " + scope["path"].encode()})  # type: ignore[operator]

    async def coroutine(request: kubetether.Request) -> tuple[int, str]:
        return 200, f"async {request.path}"

    class UnixServer(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
        daemon_threads = True

    path = tmp_path / "socket"
    with kubetether.StubServer("a port") as stub, UnixServer(str(path), Raw) as unix:
        serving = threading.Thread(target=unix.serve_forever, args=(0.02,))
        serving.start()
        try:
            cases = [
                (stub.port, "a port"),
                (f"127.0.0.1:{stub.port}", "a port"),
                (("127.0.0.1", stub.port), "a port"),
                ({8080: stub.port}, "a port"),
                ({"http": ("127.0.0.1", stub.port)}, "a port"),
                (path, "a raw class"),
                (str(path), "a raw class"),
                (Plain, "a handler class"),
                (Raw, "a raw class"),
                (wsgi, "wsgi /x"),
                (asgi, "asgi /x"),
                (kubetether.asgi(lambda *all: asgi(*all)), "asgi /x"),
                (kubetether.wsgi(lambda *all: wsgi(*all)), "wsgi /x"),
                (coroutine, "async /x"),
                (lambda request: request.method, "GET"),
                (kubetether.StubServer({"a": 1}), '{"a": 1}'),
                ({"http": kubetether.StubServer("one of several")}, "one of several"),
            ]
            for to, expected in cases:
                with session.exchange("orders", to=to):
                    assert ask(url) == expected, to
        finally:
            unix.shutdown()
            serving.join()


def test_slow_and_large_answers(session: kubetether.Session) -> None:
    """Through the cluster, and as the handler makes them."""
    piece = bytes(range(256)) * 4096
    begun, go_on = threading.Event(), threading.Event()

    def answer(request: kubetether.Request) -> object:
        if request.path == "/large":
            return (piece for _ in range(100))
        if request.path == "/slow":
            return slow()
        return "quick"

    def slow() -> Iterator[bytes]:
        yield b"begun "
        begun.set()
        assert go_on.wait(LIMIT)
        yield b"ended"

    url = session.forward("orders:8080").url
    with session.exchange("orders", to=answer):
        with urllib.request.urlopen(url("/slow"), timeout=LIMIT) as slowly:
            # What is there arrives, and others are answered meanwhile.
            assert slowly.read(6) == b"begun " and begun.wait(LIMIT)
            assert ask(url("/quick")) == "quick"
            go_on.set()
            assert slowly.read() == b"ended"
        with urllib.request.urlopen(url("/large"), timeout=LIMIT) as large:
            for _ in range(100):
                assert large.read(len(piece)) == piece
            assert large.read() == b""


def test_what_to_cannot_be(session: kubetether.Session) -> None:
    for nonsense in (None, 3.5, True, object(), ("host",), (8080, "host"), int, lambda *args: None):
        with pytest.raises(TypeError):
            session.exchange("orders", to=nonsense)
    with pytest.raises(ValueError):
        session.exchange("orders", to={})
    with pytest.raises(kubetether.ConfigError):
        session.exchange("orders", to="70000")


def test_errors_tell_everything(cluster: Cluster, session: kubetether.Session) -> None:
    with pytest.raises(kubetether.NoSuchTargetError) as caught:
        session.exchange("nobody", to=8080)
    error = caught.value
    assert error.code == "no_such_target" and error.number == 301
    assert error.object and "nobody" in error.object
    assert error.message in str(error)
    with pytest.raises(kubetether.KubetetherError):
        session.exchange("Not A Name", to=8080)
    with pytest.raises(kubetether.NoSuchNamespaceError):
        kubetether.connect(kubeconfig=cluster.kubeconfig, namespace="nowhere")
    with pytest.raises(kubetether.KubeconfigError):
        kubetether.connect(kubeconfig="/nonexistent")
    with pytest.raises(kubetether.NoSuchContextError):
        kubetether.connect(kubeconfig=cluster.kubeconfig, context="nothing")
    with pytest.raises(TypeError, match="start_deadline"):
        kubetether.connect(deadlines=1)  # type: ignore[call-arg]
    with pytest.raises(TimeoutError):
        session.closed(timeout=0.05)


def test_somebody_else_holds_it(cluster: Cluster, session: kubetether.Session) -> None:
    with session.exchange("orders", to=9):
        with kubetether.connect(kubeconfig=cluster.kubeconfig, linger=0) as other:
            with pytest.raises(kubetether.HeldError):
                other.exchange("orders", to=9)
            status = kubetether.status(kubeconfig=cluster.kubeconfig, patience=0)
            assert {each.lease for each in status.sessions} >= {f"kubetether-{session.id}", f"kubetether-{other.id}"}
            assert [each.service for each in status.services] == ["orders"]
            assert status.services[0].lease == f"kubetether-{session.id}"


def test_events(session: kubetether.Session) -> None:
    events = session.events()
    assert isinstance(events.next(LIMIT), kubetether.Snapshot)
    with session.exchange("orders", to=9) as exchange:
        seen = []
        while not seen or not isinstance(seen[-1], kubetether.HandleChanged) or seen[-1].state.state != "active":
            event = events.next(LIMIT)
            assert event is not None
            seen.append(event)
        assert any(isinstance(event, kubetether.Progress) and event.of >= event.step for event in seen)
        assert seen[-1].handle == exchange.id and seen[-1].target == "svc/orders"
    with pytest.raises(kubetether.DeadlineError):
        while events.next(0.2):
            pass
    session.close()
    rest = list(events)
    assert isinstance(rest[-1], kubetether.Closed) and str(rest[-1])
    assert [type(event) for event in rest].count(kubetether.Closed) == 1
    assert events.next(1) is None and events.dropped == 0


def test_a_slow_reader_of_events_loses_the_oldest_and_is_told(session: kubetether.Session) -> None:
    events = session.events()
    for _ in range(120):
        session.forward("orders:8080").close()
    dropped = 0
    session.close()
    for event in events:
        dropped += event.count if isinstance(event, kubetether.Dropped) else 0
    assert dropped > 0 and dropped == events.dropped


def test_what_is_not_closed_is_told_and_closed(cluster: Cluster) -> None:
    session = kubetether.connect(kubeconfig=cluster.kubeconfig, linger=0)
    session.exchange("orders", to=kubetether.StubServer())
    gc.collect()
    assert not cluster.is_original("orders")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        del session
        gc.collect()
    told = [str(each.message) for each in caught if each.category is ResourceWarning]
    assert len(told) == 1 and "unclosed session" in told[0], told
    wait_until("the Service is as it was", lambda: cluster.is_original("orders"))
    wait_until("no session is left", lambda: cluster.leases() == [])


def test_two_clusters_in_one_process(cluster: Cluster, second_cluster: Cluster) -> None:
    with kubetether.connect(kubeconfig=cluster.kubeconfig, linger=0) as one:
        with kubetether.connect(kubeconfig=second_cluster.kubeconfig, linger=0) as other:
            with one.exchange("orders", to=lambda _: "one"), other.exchange("orders", to=lambda _: "other"):
                assert ask(one.forward("orders:8080").url()) == "one"
                assert ask(other.forward("orders:8080").url()) == "other"
    assert cluster.is_original("orders") and second_cluster.is_original("orders")


def test_the_package_loaded_twice(cluster: Cluster, session: kubetether.Session, tmp_path: Path) -> None:
    """A copy of it elsewhere, with a native module of its own: neither knows of the other."""
    shutil.copytree(Path(kubetether.__file__).parent, tmp_path / "kubetether")
    ours = {name: module for name, module in sys.modules.items() if name.partition(".")[0] == "kubetether"}
    for name in ours:
        del sys.modules[name]
    sys.path.insert(0, str(tmp_path))
    try:
        twin: Any = importlib.import_module("kubetether")
        with twin.connect(kubeconfig=cluster.kubeconfig, linger=0) as other:
            assert type(other) is not type(session) and type(other._native) is not type(session._native)
            with pytest.raises(twin.NoSuchTargetError):
                other.exchange("nobody", to=9)
            with other.exchange("orders", to=lambda request: "the twin"):
                assert ask(session.forward("orders:8080").url()) == "the twin"
                with session.exchange("payments", to=lambda request: "the first"):
                    assert ask(other.forward("payments:8080").url()) == "the first"
    finally:
        sys.path.remove(str(tmp_path))
        for name in [name for name in sys.modules if name.partition(".")[0] == "kubetether"]:
            del sys.modules[name]
        sys.modules.update(ours)


#: Of a Python that makes another interpreter in itself.
SUB_INTERPRETER = """
import os, sys
try:
    import _interpreters as interpreters
except ImportError:
    import _xxsubinterpreters as interpreters
import kubetether
session = kubetether.connect(kubeconfig=os.environ["KUBECONFIG"], linger=0)
inner = interpreters.create()
ended = interpreters.run_string(inner, '''
import sys
sys.path[:] = %r
try:
    import kubetether
    kubetether.connect()
except ImportError as error:
    assert "interpreters" in str(error), error
else:
    raise AssertionError("it was let in")
''' % sys.path)
# Newer ones return what was raised.
assert ended is None, ended
interpreters.destroy(inner)
session.forward("orders:8080")
session.close()
"""


def test_a_sub_interpreter_is_refused(cluster: Cluster) -> None:
    """And harms nobody."""
    environment = {**os.environ, "KUBECONFIG": str(cluster.kubeconfig)}
    ended = subprocess.run(
        [sys.executable, "-c", SUB_INTERPRETER], capture_output=True, text=True, env=environment, timeout=2 * LIMIT
    )
    assert ended.returncode == 0, ended.stderr


def test_clean_and_recover(cluster: Cluster, session: kubetether.Session) -> None:
    cleaned = kubetether.clean(kubeconfig=cluster.kubeconfig, dry_run=True)
    assert cleaned.restored == () and all(left.why for left in cleaned.left)
    recovered = kubetether.recover("orders", kubeconfig=cluster.kubeconfig)
    assert (recovered.service, recovered.changed, recovered.held_by) == ("orders", False, ())


@pytest.mark.parametrize("how", ["interrupted", "too late", "refused"])
def test_what_does_not_end_well_is_cancelled_and_let_go(how: str) -> None:
    """Also while the exception, and with it the frames of the call, is kept."""
    cancelled: list[bool] = []

    class Task:
        # Without `self`, as native ones: frames of theirs are none of Python's.
        @staticmethod
        def wait(timeout: Optional[float]) -> bool:
            if how == "interrupted":
                raise KeyboardInterrupt
            return how != "too late"

        @staticmethod
        def result() -> object:
            raise kubetether.HeldError("held")

        @staticmethod
        def cancel() -> None:
            cancelled.append(True)

    tasks = [Task()]
    alive = weakref.ref(tasks[0])
    with pytest.raises(BaseException) as caught:
        _session._wait(tasks.pop(), 1.0, "a test")  # type: ignore[arg-type]
    kinds = {"interrupted": KeyboardInterrupt, "too late": kubetether.DeadlineError, "refused": kubetether.HeldError}
    assert caught.type is kinds[how] and caught.value.__traceback__ is not None
    assert cancelled and alive() is None


def test_from_several_threads(session: kubetether.Session) -> None:
    answers: list[str] = []

    def work(name: str) -> None:
        with session.exchange(name, to=lambda request: f"{name} {request.path}"):
            url = session.forward(f"{name}:8080").url("/t")
            answers.extend(ask(url) for _ in range(10))

    threads = [threading.Thread(target=work, args=(name,)) for name in ("orders", "payments")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(set(answers)) == ["orders /t", "payments /t"] and len(answers) == 20
