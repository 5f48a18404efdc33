"""What serves `to=` in this process: no cluster."""

from __future__ import annotations

import asyncio
import http.client
import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from typing import Any

import pytest
from cluster import ask, urllib, wait_until

import kubetether
from kubetether._local import Endpoints, Wrapped, asgi_server, handler, server
from kubetether._local.log import Log


@contextmanager
def serving(to: Any) -> Iterator[int]:
    endpoints = Endpoints(to)
    try:
        assert isinstance(endpoints.entries, str)
        yield int(endpoints.entries.rpartition(":")[2])
    finally:
        endpoints.stop()


def talk(port: int, data: bytes) -> bytes:
    """Everything that comes back, until the other end closes."""
    with closing(socket.create_connection(("127.0.0.1", port), timeout=30)) as connection:
        connection.sendall(data)
        connection.shutdown(socket.SHUT_WR)
        return b"".join(iter(lambda: connection.recv(65536), b""))


def sync_and_async(function: Any) -> list[Any]:
    async def same(request: kubetether.Request) -> Any:
        return function(request)

    return [handler(function), handler(same)]


@pytest.mark.parametrize("kind", [0, 1], ids=["threads", "loop"])
def test_answers_of_handlers(kind: int) -> None:
    answers: dict[str, Any] = {
        "/text": "text",
        "/bytes": b"bytes",
        "/json": {"a": [1, None]},
        "/none": None,
        "/status": (404, "no"),
        "/headers": (200, "yes", {"X-A": "b"}),
        "/response": kubetether.Response({"r": 1}, 201),
        "/stream": (piece for piece in (b"one ", b"two")),
    }
    with serving(sync_and_async(lambda request: answers[request.path])[kind]) as port:
        with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=30)) as client:

            def get(path: str) -> tuple[int, bytes, http.client.HTTPMessage]:
                client.request("GET", path)
                answer = client.getresponse()
                return answer.status, answer.read(), answer.headers

            # All on one connection.
            assert get("/text")[:2] == (200, b"text")
            assert get("/bytes")[:2] == (200, b"bytes")
            status, body, headers = get("/json")
            assert (status, body, headers["Content-Type"]) == (200, b'{"a": [1, null]}', "application/json")
            assert get("/none")[:2] == (204, b"")
            assert get("/status")[:2] == (404, b"no")
            assert get("/headers")[2]["X-A"] == "b"
            assert get("/response")[:2] == (201, b'{"r": 1}')
            assert get("/stream")[:2] == (200, b"one two")
            status, body, _ = get("/missing")
            assert status == 500 and b"KeyError" in body
            client.request("HEAD", "/text")
            answer = client.getresponse()
            assert (answer.status, answer.headers["Content-Length"], answer.read()) == (200, "4", b"")


@pytest.mark.parametrize("kind", [0, 1], ids=["threads", "loop"])
def test_requests_as_handlers_see_them(kind: int) -> None:
    def describe(request: kubetether.Request) -> Any:
        return {
            "method": request.method,
            "path": request.path,
            "query": request.query,
            "header": request.headers["x-THING"],
            "all": request.headers.all("X-Many"),
            "body": request.text,
        }

    head = b"POST /a%20b?q=1&q=2 HTTP/1.1\r\nHost: x\r\nX-Thing: t\r\nX-Many: 1\r\nX-Many: 2\r\n"
    with serving(sync_and_async(describe)[kind]) as port:
        for rest in (
            b"Content-Length: 5\r\n\r\nhello",
            b"Transfer-Encoding: chunked\r\n\r\n2\r\nhe\r\n3;x=y\r\nllo\r\n0\r\nTrailer: t\r\n\r\n",
        ):
            answer = talk(port, head + rest)
            assert answer.startswith(b"HTTP/1.1 200 OK\r\n"), answer
            body = answer.partition(b"\r\n\r\n")[2].decode()
            assert body == (
                '{"method": "POST", "path": "/a b", "query": {"q": ["1", "2"]}, "header": "t", "all": ["1", "2"],'
                ' "body": "hello"}'
            )
        # Two requests at once, and a caller who asks before it sends.
        two = talk(port, 2 * (head + b"Content-Length: 0\r\n\r\n"))
        assert two.count(b"HTTP/1.1 200 OK") == 2
        with closing(socket.create_connection(("127.0.0.1", port), timeout=30)) as client:
            client.sendall(head + b"Expect: 100-continue\r\nContent-Length: 2\r\n\r\n")
            assert client.recv(1024) == b"HTTP/1.1 100 Continue\r\n\r\n"
            client.sendall(b"ok")
            assert b"200 OK" in client.recv(1024)


@pytest.mark.parametrize("kind", [0, 1], ids=["threads", "loop"])
def test_what_is_no_request(kind: int) -> None:
    with serving(sync_and_async(lambda request: "fine")[kind]) as port:
        for data, status in (
            (b"nonsense\r\n\r\n", b"400"),
            (b"GET / HTTP/2.0\r\n\r\n", b"505"),
            (b"GET / HTTP/1.1\r\nno field\r\n\r\n", b"400"),
            (b"GET / HTTP/1.1\r\nContent-Length: -1\r\n\r\n", b"400"),
            (b"GET / HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", b"400"),
            (b"GET / HTTP/1.1\r\nTransfer-Encoding: gzip\r\n\r\n", b"501"),
            (b"GET / HTTP/1.1\r\nA: " + 70_000 * b"a" + b"\r\n\r\n", b"431"),
        ):
            answer = talk(port, data)
            assert answer.startswith(b"HTTP/1.1 " + status), (data[:60], answer)
        for cut in (b"", b"GET / HT", b"POST / HTTP/1.1\r\nContent-Length: 9\r\n\r\nab"):
            assert not talk(port, cut).startswith(b"HTTP/1.1 200")
        assert ask(f"http://127.0.0.1:{port}/") == "fine"


@pytest.mark.parametrize("kind", [0, 1], ids=["threads", "loop"])
def test_a_hundred_megabytes(kind: int) -> None:
    big = bytes(100 << 20)
    with serving(sync_and_async(lambda request: big if request.method == "GET" else str(len(request.body)))[kind]) as port:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=60) as answer:
            assert len(answer.read()) == len(big)
        assert ask(f"http://127.0.0.1:{port}/", data=big, method="POST", timeout=60) == str(len(big))


def test_a_handler_that_hangs_holds_up_nobody_and_is_left_at_the_end() -> None:
    release = threading.Event()

    def hang(request: kubetether.Request) -> str:
        if request.path == "/hang":
            release.wait(60)
        return "fine"

    endpoints = Endpoints(hang)
    port = int(str(endpoints.entries).rpartition(":")[2])
    with closing(socket.create_connection(("127.0.0.1", port), timeout=30)) as hanging:
        hanging.sendall(b"GET /hang HTTP/1.1\r\n\r\n")
        assert ask(f"http://127.0.0.1:{port}/") == "fine"
        endpoints.stop()
        assert hanging.recv(10) == b""
    release.set()
    with pytest.raises(OSError):
        ask(f"http://127.0.0.1:{port}/", timeout=5)


FEW = 4


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if that were all the connections a server has room for."""
    monkeypatch.setattr(server, "CONNECTIONS", FEW)
    monkeypatch.setattr(asgi_server, "CONNECTIONS", FEW)


def connected(stack: ExitStack, port: int, path: str = "") -> socket.socket:
    """Somebody who stays connected, and has asked for ``path`` if that is something."""
    caller = stack.enter_context(closing(socket.create_connection(("127.0.0.1", port), timeout=30)))
    if path:
        caller.sendall(f"GET {path} HTTP/1.1\r\n\r\n".encode())
    return caller


@pytest.mark.parametrize("kind", [0, 1], ids=["threads", "loop"])
def test_idle_callers_make_room(kind: int, few: None) -> None:
    """The longest idle one first; whoever has asked meanwhile is not idle."""
    endpoints = Endpoints(sync_and_async(lambda request: "fine")[kind])
    idle: Any = endpoints.all[0]._idle  # type: ignore[attr-defined]
    try:
        with ExitStack() as stack:
            port = int(str(endpoints.entries).rpartition(":")[2])
            callers = []
            for number in range(FEW):
                # Some that have asked, and some that never did.
                callers.append(connected(stack, port, "/asks" if number % 2 else ""))
                if number % 2:
                    assert b"200 OK" in callers[-1].recv(1024)
                wait_until("it is idle", lambda: len(idle) > number)
            # The first one is now the last to have said something.
            callers[0].sendall(b"GET / HTTP/1.1\r\n\r\n")
            assert b"200 OK" in callers[0].recv(1024)
            wait_until("it is idle again", lambda: len(idle) == FEW)
            assert ask(f"http://127.0.0.1:{port}/", timeout=30) == "fine"
            assert callers[1].recv(1024) == b""
            callers[0].sendall(b"GET / HTTP/1.1\r\n\r\n")
            assert b"200 OK" in callers[0].recv(1024)
    finally:
        endpoints.stop()


@pytest.mark.parametrize("kind", [0, 1], ids=["threads", "loop"])
def test_nobody_is_idle_for_ever(kind: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "IDLE", 0.1)
    monkeypatch.setattr(asgi_server, "IDLE", 0.1)
    with serving(sync_and_async(lambda request: "fine")[kind]) as port, ExitStack() as stack:
        assert connected(stack, port).recv(1024) == b""
        answer = b""
        while not answer:
            # On a busy machine we may be too slow ourselves: then once more.
            with suppress(OSError):
                caller = connected(stack, port, "/x")
                answer = b"".join(iter(lambda: caller.recv(1024), b""))
        assert answer.startswith(b"HTTP/1.1 200 OK") and answer.endswith(b"fine")


def test_who_finds_no_room_waits_and_that_is_told(few: None) -> None:
    go_on = threading.Event()

    def hang(request: kubetether.Request) -> str:
        go_on.wait(60)
        return "at last"

    endpoints = Endpoints(hang)
    log = endpoints.all[0].log
    try:
        with ExitStack() as stack:
            port = int(str(endpoints.entries).rpartition(":")[2])
            callers = [connected(stack, port, "/hang") for _ in range(FEW + 1)]
            wait_until("it is told", lambda: any("a caller waits: 4 connections" in line for line in log.lines()))
            go_on.set()
            for caller in callers:
                caller.shutdown(socket.SHUT_WR)
                assert b"at last" in b"".join(iter(lambda: caller.recv(1024), b""))
    finally:
        go_on.set()
        endpoints.stop()


def test_who_is_refused_is_told_of(few: None) -> None:
    go_on = threading.Event()

    async def hang(request: kubetether.Request) -> str:
        await asyncio.get_running_loop().run_in_executor(None, go_on.wait, 60)
        return "at last"

    endpoints = Endpoints(hang)
    log = endpoints.all[0].log
    try:
        with ExitStack() as stack:
            port = int(str(endpoints.entries).rpartition(":")[2])
            callers = []
            for number in range(FEW):
                callers.append(connected(stack, port, "/hang"))
                wait_until("it is asked", lambda: len(log.lines()) > number)
            with pytest.raises(OSError):
                ask(f"http://127.0.0.1:{port}/", timeout=30)
            assert any("a caller was refused: 4 connections" in line for line in log.lines())
            go_on.set()
            for caller in callers:
                assert b"at last" in caller.recv(1024)
    finally:
        go_on.set()
        endpoints.stop()


def test_a_server_whose_start_is_interrupted_is_stopped() -> None:
    class Slow:
        log, port, stopped = Log(), 0, 0

        def start(self) -> None:
            raise KeyboardInterrupt

        def stop(self) -> None:
            self.stopped += 1

    slow = Slow()
    with pytest.raises(KeyboardInterrupt):
        Endpoints({80: 9, 81: Wrapped(lambda: slow)})
    assert slow.stopped == 1


def test_what_a_handler_raises_is_in_the_log() -> None:
    def fail(request: kubetether.Request) -> str:
        raise LookupError("nothing here")

    endpoints = Endpoints(fail)
    try:
        port = str(endpoints.entries).rpartition(":")[2]
        with pytest.raises(urllib.error.HTTPError) as caught:
            ask(f"http://127.0.0.1:{port}/x")
        assert caught.value.code == 500
        caught.value.close()
        assert "LookupError: nothing here" in endpoints.all[0].log.lines()[0]
        assert "GET /x -> 500" in endpoints.all[0].log.lines()[0]
    finally:
        endpoints.stop()


def test_wsgi_by_the_letter() -> None:
    closed = []

    class Body:
        def __iter__(self) -> Iterator[bytes]:
            yield b""
            yield b"part"

        def close(self) -> None:
            closed.append(True)

    def app(environ: dict[str, Any], start_response: Any) -> Any:
        path = environ["PATH_INFO"]
        if path == "/write":
            start_response("200 OK", [])(b"written ")
            return [b"returned"]
        if path == "/read":
            body = environ["wsgi.input"]
            start_response("201 Made", [("X-Query", environ["QUERY_STRING"]), ("X-H", environ["HTTP_X_H"])])
            return [body.readline(), b"|", body.read()]
        if path == "/nothing":
            start_response("204 No Content", [])
            return []
        if path == "/forgets":
            return [b"x"]
        start_response("200 OK", [("Content-Length", "4")])
        return Body()

    with serving(kubetether.wsgi(app)) as port:
        url = f"http://127.0.0.1:{port}"
        assert ask(f"{url}/write") == "written returned"
        assert ask(f"{url}/body") == "part"
        # The caller has all of it a moment before.
        wait_until("the body is closed", lambda: closed == [True])
        answer = talk(port, b"POST /read?q HTTP/1.1\r\nX-H: h\r\nContent-Length: 5\r\nConnection: close\r\n\r\na\nbcd")
        assert answer.startswith(b"HTTP/1.1 201 Made\r\n") and b"X-Query: q" in answer and b"X-H: h" in answer
        assert b"2\r\na\n\r\n" in answer and answer.endswith(b"0\r\n\r\n")
        assert talk(port, b"GET /nothing HTTP/1.1\r\n\r\n").startswith(b"HTTP/1.1 204 No Content\r\n\r\n")
        assert talk(port, b"GET /forgets HTTP/1.1\r\n\r\n").startswith(b"HTTP/1.1 500")


def test_asgi_lifespan_state_and_disconnect() -> None:
    seen: list[str] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            seen.append((await receive())["type"])
            scope["state"]["made"] = "at the start"
            await send({"type": "lifespan.startup.complete"})
            seen.append((await receive())["type"])
            await send({"type": "lifespan.shutdown.complete"})
            return
        assert (await receive()) == {"type": "http.request", "body": b"", "more_body": False}
        body = scope["state"]["made"].encode()
        await send({"type": "http.response.start", "status": 200, "headers": [(b"x-a", b"b")]})
        for byte in body:
            await send({"type": "http.response.body", "body": bytes([byte]), "more_body": True})
        await send({"type": "http.response.body"})
        assert (await receive())["type"] == "http.disconnect"

    with serving(app) as port:
        assert ask(f"http://127.0.0.1:{port}/") == "at the start"
    assert seen == ["lifespan.startup", "lifespan.shutdown"]

    async def fails(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "lifespan.startup.failed", "message": "no database"})

    with pytest.raises(RuntimeError, match="no database"):
        Endpoints(fails)


def test_a_stub() -> None:
    stub = kubetether.StubServer("default").answer("/a", {"n": 1}).answer("/a", (503, "busy"), times=1)
    stub.answer("/b", lambda request: request.text.upper(), method="POST")
    with stub:
        with pytest.raises(urllib.error.HTTPError) as caught:
            ask(f"{stub.url}/a")
        caught.value.close()
        assert ask(f"{stub.url}/a") == '{"n": 1}'
        assert ask(f"{stub.url}/b", data=b"loud", method="POST") == "LOUD"
        assert ask(f"{stub.url}/b") == "default"
        requests = stub.wait_for(4)
        assert [(each.method, each.path) for each in requests] == [
            ("GET", "/a"), ("GET", "/a"), ("POST", "/b"), ("GET", "/b"),
        ]
        assert requests[2].body == b"loud" and len(stub) == 4 and stub
        with pytest.raises(TimeoutError, match="4 of 5 requests came.*POST /b"):
            stub.wait_for(5, timeout=0.05)
        stub.clear()
        assert stub.requests == []
    assert stub.port == 0
    with pytest.raises(TypeError):
        kubetether.StubServer(object())
    with pytest.raises(TypeError):
        stub.answer("/x", ("no", "status"))


def test_dict_of_several() -> None:
    with serving(lambda request: "x") as port:
        endpoints = Endpoints({80: port, "grpc": ("::1", 9), 443: "/run/a.sock"})
        assert endpoints.entries == [f"{port}:80", "[::1]:9:grpc", "/run/a.sock:443"]
