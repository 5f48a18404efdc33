"""ASGI apps and async handlers as servers, on an event loop of their own in a thread."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Awaitable, MutableMapping
from typing import Any, Callable, Optional

from .http import (
    BODY_LIMIT,
    CHUNKED,
    HEAD_LIMIT,
    BadRequest,
    Request,
    Response,
    body_length,
    chunk_length,
    has_body,
    parse_head,
    response_head,
    wants_continue,
)
from .log import Entry, Log
from .server import CONNECTIONS, IDLE, JOIN

_log = logging.getLogger("kubetether.local")

AsgiApp = Callable[[MutableMapping[str, Any], Callable[..., Awaitable[Any]], Callable[..., Awaitable[None]]], Awaitable[None]]

#: An app that has not started by then will not, in seconds.
_STARTUP = 30.0
#: A body that is sent in pieces is handed on in pieces of at most this.
_PIECE = 64 * 1024


class AsgiServer:
    """Serves an ASGI app, ``lifespan`` included, over HTTP/1.1. WebSockets are refused with 501."""

    def __init__(self, app: AsgiApp) -> None:
        #: What it was asked.
        self.log = Log()
        self._app = app
        self._port = 0
        self._loop: Optional[asyncio.AbstractEventLoop] = None
        self._thread: Optional[threading.Thread] = None
        self._ending: Optional[asyncio.Event] = None
        self._failure: Optional[BaseException] = None
        self._tasks: set[asyncio.Task[None]] = set()
        #: Those between two requests, the longest idle one first.
        self._idle: dict[asyncio.StreamWriter, None] = {}
        self._state: dict[str, Any] = {}

    @property
    def port(self) -> int:
        """The port; 0 before the start."""
        return self._port

    def start(self) -> None:
        """Starts the app and opens the port. Raises what the app's start-up raised."""
        if self._thread is not None:
            return
        ready = threading.Event()
        self._thread = threading.Thread(
            target=self._run, args=(ready,), name="kubetether-asgi", daemon=True
        )
        self._thread.start()
        if not ready.wait(_STARTUP):
            raise TimeoutError(f"the app did not start within {_STARTUP:.0f} s")
        if self._failure is not None:
            self._thread.join()
            self._thread = None
            raise self._failure

    def stop(self) -> None:
        """Closes the port, ends requests that still run, shuts the app down. Idempotent."""
        thread, self._thread = self._thread, None
        self._port = 0
        if thread is None or self._loop is None or self._ending is None:
            return
        try:
            self._loop.call_soon_threadsafe(self._ending.set)
        except RuntimeError:
            # Its loop ended by itself.
            pass
        if thread is not threading.current_thread():
            thread.join(2 * JOIN)

    def _run(self, ready: threading.Event) -> None:
        try:
            asyncio.run(self._main(ready))
        except BaseException as error:
            self._failure = error
        finally:
            ready.set()

    async def _main(self, ready: threading.Event) -> None:
        self._loop = asyncio.get_running_loop()
        self._ending = asyncio.Event()
        lifespan = _Lifespan(self._app, self._state)
        await lifespan.start()
        server = await asyncio.start_server(self._connection, "127.0.0.1", 0, limit=HEAD_LIMIT, backlog=256)
        self._port = server.sockets[0].getsockname()[1]
        ready.set()
        await self._ending.wait()
        server.close()
        for task in list(self._tasks):
            task.cancel()
        if self._tasks:
            await asyncio.wait(list(self._tasks), timeout=JOIN)
        await lifespan.stop()

    async def _connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        longest = next(iter(self._idle), None)
        full = len(self._tasks) >= CONNECTIONS
        if full and longest is None:
            self.log.note(f"a caller was refused: {CONNECTIONS} connections are open, and none is idle")
        if task is None or (full and longest is None):
            writer.transport.abort()
            return
        if full and longest is not None:
            self._let_go(longest)
        self._tasks.add(task)
        try:
            while await self._one(reader, writer):
                pass
        except (OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            # The caller went away, or the server is stopped.
            pass
        finally:
            self._tasks.discard(task)
            writer.close()

    async def _one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """One request; whether another may follow."""
        request = Request("?", "?")
        try:
            self._idle[writer] = None
            given_up = asyncio.get_running_loop().call_later(IDLE, self._let_go, writer)
            try:
                head = await reader.readuntil(b"\r\n\r\n")
            except asyncio.LimitOverrunError:
                raise BadRequest(431, f"a request's head has at most {HEAD_LIMIT} bytes") from None
            finally:
                given_up.cancel()
                self._idle.pop(writer, None)
            request = parse_head(head.lstrip(b"\r\n"))
            length = body_length(request)
            if request.headers.get("upgrade", "").lower() == "websocket":
                raise BadRequest(501, "WebSockets are not served here: run the app's own server and give its port")
        except asyncio.IncompleteReadError:
            return False
        except BadRequest as error:
            response = error.response()
            assert isinstance(response.body, bytes)
            head, _, _ = response_head(response.status, response.headers, request, len(response.body))
            writer.write(head + response.body)
            await writer.drain()
            return False
        entry = self.log.begin(request)
        exchange = _Exchange(request, reader, writer, length, entry)
        try:
            await self._app(self._scope(request, writer), exchange.receive, exchange.send)
            if not exchange.ended:
                raise RuntimeError("the app returned before its answer was complete")
            entry.answered(exchange.status)
        except (OSError, asyncio.IncompleteReadError, BadRequest) as error:
            entry.cut(error)
            exchange.alive = False
        except asyncio.CancelledError:
            entry.cut("the server was stopped")
            raise
        except Exception as error:
            entry.raised(error)
            exchange.alive = await exchange.failed(error)
        return exchange.alive and await exchange.skip()

    def _let_go(self, writer: asyncio.StreamWriter) -> None:
        """Ends a connection between two requests."""
        self._idle.pop(writer, None)
        writer.close()

    def _scope(self, request: Request, writer: asyncio.StreamWriter) -> MutableMapping[str, Any]:
        peer = writer.get_extra_info("peername") or ("127.0.0.1", 0)
        return {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.3"},
            "http_version": request.version,
            "method": request.method,
            "scheme": "http",
            "path": request.path,
            "raw_path": request.target.partition("?")[0].encode("latin-1"),
            "query_string": request.query_string.encode("latin-1"),
            "root_path": "",
            "headers": [
                (name.lower().encode("latin-1"), value.encode("latin-1"))
                for name, value in request.headers.pairs()
            ],
            "client": tuple(peer[:2]),
            "server": ("127.0.0.1", self._port),
            "state": self._state.copy(),
            "extensions": {},
        }


class _Exchange:
    """One request and its answer, as ``receive`` and ``send``."""

    def __init__(
        self,
        request: Request,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        length: int,
        entry: Entry,
    ) -> None:
        self._request = request
        self._entry = entry
        self._reader = reader
        self._writer = writer
        self._chunked_in = length == CHUNKED
        self._left = max(length, 0)
        self._over = length == 0
        self._told_all = False
        self._expects = wants_continue(request)
        self._start: Optional[MutableMapping[str, Any]] = None
        self._begun = False
        self._chunked = False
        self._body = True
        self._ended = asyncio.Event()
        self.alive = True
        self.status = 0

    @property
    def ended(self) -> bool:
        return self._ended.is_set()

    async def receive(self) -> MutableMapping[str, Any]:
        if self._told_all:
            # Nothing follows but the end of the answer or of the caller.
            await self._ended.wait()
            return {"type": "http.disconnect"}
        piece = await self._piece()
        self._told_all = self._over
        return {"type": "http.request", "body": piece, "more_body": not self._over}

    async def send(self, message: MutableMapping[str, Any]) -> None:
        kind = message["type"]
        if kind == "http.response.start":
            if self._start is not None:
                raise RuntimeError("http.response.start was sent twice")
            self._start = message
            self.status = int(message["status"])
            self._entry.answered(self.status)
            return
        if kind != "http.response.body" or self._start is None or self.ended:
            raise RuntimeError(f"{kind} makes no sense here")
        data = bytes(message.get("body", b""))
        more = bool(message.get("more_body", False))
        out = b""
        if not self._begun:
            headers = [
                (bytes(name).decode("latin-1"), bytes(value).decode("latin-1"))
                for name, value in self._start.get("headers", ())
            ]
            out, self._chunked, self.alive = response_head(
                self.status, headers, self._request, None if more else len(data)
            )
            self._body = has_body(self._request, self.status)
            self._begun = True
        if self._body and self._chunked:
            if data:
                out += b"%x\r\n%b\r\n" % (len(data), data)
            if not more:
                out += b"0\r\n\r\n"
        elif self._body:
            out = out + data if out else data
        if out:
            self._writer.write(out)
            await self._writer.drain()
        if not more:
            self._ended.set()

    async def failed(self, error: Exception) -> bool:
        """Answers 500 if nothing was sent yet; whether the connection goes on."""
        if self._begun:
            return False
        body = f"the app raised {error!r}\n".encode()
        self._start, self.status = None, 0
        await self.send({"type": "http.response.start", "status": 500, "headers": [(b"content-type", b"text/plain")]})
        await self.send({"type": "http.response.body", "body": body})
        return self.alive

    async def skip(self) -> bool:
        """Reads what is left of the request; whether the next one follows here."""
        if self._expects and not self._over:
            return False
        for _ in range(16):
            if self._over:
                return True
            await self._piece()
        return self._over

    async def _piece(self) -> bytes:
        if self._over:
            return b""
        if self._expects:
            self._expects = False
            self._writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        if self._left == 0 and self._chunked_in:
            self._left = chunk_length(await self._line())
            if self._left == 0:
                while (await self._line()).strip():
                    pass
                self._over = True
                return b""
        piece = await self._reader.read(min(self._left, _PIECE))
        if not piece:
            raise BadRequest(400, "the request's body was cut")
        self._left -= len(piece)
        if self._left == 0:
            if self._chunked_in:
                await self._line()
            else:
                self._over = True
        return piece

    async def _line(self) -> bytes:
        line = await self._reader.readline()
        if not line.endswith(b"\n"):
            raise BadRequest(400, "the request's body was cut")
        return line


class _Lifespan:
    """The app's own start and end. Apps that know no ``lifespan`` raise at once, and that is fine."""

    def __init__(self, app: AsgiApp, state: dict[str, Any]) -> None:
        self._app = app
        self._state = state
        self._inbox: asyncio.Queue[MutableMapping[str, Any]] = asyncio.Queue(2)
        self._outbox: asyncio.Queue[MutableMapping[str, Any]] = asyncio.Queue(2)
        self._task: Optional[asyncio.Task[None]] = None

    async def start(self) -> None:
        self._task = asyncio.ensure_future(self._run())
        told = await self._say("lifespan.startup", _STARTUP)
        if told is not None and told["type"] == "lifespan.startup.failed":
            raise RuntimeError(f"the app's start-up failed: {told.get('message', '')}")

    async def stop(self) -> None:
        if self._task is not None and not self._task.done():
            await self._say("lifespan.shutdown", JOIN)
            self._task.cancel()

    async def _run(self) -> None:
        scope = {"type": "lifespan", "asgi": {"version": "3.0", "spec_version": "2.0"}, "state": self._state}
        try:
            await self._app(scope, self._inbox.get, self._outbox.put)
        except Exception as error:
            _log.debug("the app has no lifespan: %r", error)

    async def _say(self, what: str, limit: float) -> Optional[MutableMapping[str, Any]]:
        """Tells the app; its answer, or ``None`` when it gives none."""
        if self._task is None:
            return None
        await self._inbox.put({"type": what})
        answer = asyncio.ensure_future(self._outbox.get())
        await asyncio.wait({answer, self._task}, timeout=limit, return_when=asyncio.FIRST_COMPLETED)
        if answer.done():
            return answer.result()
        answer.cancel()
        return None


def asgi_of(handler: Callable[[Request], Awaitable[Any]]) -> AsgiApp:
    """An ASGI app that answers by an async ``handler(request)``."""

    async def app(
        scope: MutableMapping[str, Any],
        receive: Callable[..., Awaitable[Any]],
        send: Callable[..., Awaitable[None]],
    ) -> None:
        if scope["type"] != "http":
            raise NotImplementedError(scope["type"])
        body = bytearray()
        more = True
        while more:
            message = await receive()
            body += message.get("body", b"")
            more = message.get("more_body", False)
            if len(body) > BODY_LIMIT:
                raise BadRequest(413, f"bodies of more than {BODY_LIMIT} bytes are not held in memory")
        from .http import Headers

        target = scope["raw_path"].decode("latin-1")
        if scope["query_string"]:
            target += "?" + scope["query_string"].decode("latin-1")
        pairs = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in scope["headers"]]
        request = Request(scope["method"], target, Headers(pairs), bytes(body), scope["http_version"])
        response = Response.of(await handler(request))
        headers = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in response.headers]
        await send({"type": "http.response.start", "status": response.status, "headers": headers})
        if isinstance(response.body, bytes):
            await send({"type": "http.response.body", "body": response.body})
            return
        for piece in response.body:
            await send({"type": "http.response.body", "body": piece, "more_body": True})
        await send({"type": "http.response.body", "body": b""})

    return app
