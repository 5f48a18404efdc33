"""Requests and answers as handlers see them, and HTTP/1.1 as bytes; no sockets."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Iterator, Mapping
from http import HTTPStatus
from typing import Any, Optional, Union
from urllib.parse import parse_qs, unquote_to_bytes

#: Beyond it a request's head is refused.
HEAD_LIMIT = 64 * 1024
#: Beyond it a request's body is refused where it is held in memory (handlers and stubs; not WSGI and ASGI apps).
BODY_LIMIT = 256 * 1024 * 1024


class BadRequest(Exception):
    """What came is no request that can be served; ``status`` is the answer."""

    def __init__(self, status: int, why: str) -> None:
        super().__init__(why)
        self.status = status

    def response(self) -> Response:
        """The answer, which is the connection's last."""
        return Response(f"{self}\n", self.status, {"Connection": "close"})


class Headers(Mapping[str, str]):
    """Header fields in their order; looked up in any case. The first of several with one name wins."""

    __slots__ = ("_pairs", "_first")

    def __init__(self, pairs: Iterable[tuple[str, str]] = ()) -> None:
        self._pairs = list(pairs)
        self._first: dict[str, str] = {}
        for name, value in self._pairs:
            self._first.setdefault(name.lower(), value)

    def __getitem__(self, name: str) -> str:
        return self._first[name.lower()]

    def __iter__(self) -> Iterator[str]:
        return iter(self._first)

    def __len__(self) -> int:
        return len(self._first)

    def all(self, name: str) -> list[str]:
        """Every value that came under this name."""
        return [value for key, value in self._pairs if key.lower() == name.lower()]

    def pairs(self) -> list[tuple[str, str]]:
        """Names, as they were written, and values, in their order."""
        return list(self._pairs)

    def __repr__(self) -> str:
        return f"Headers({self._pairs!r})"


class Request:
    """One HTTP request that came from the cluster."""

    __slots__ = ("method", "target", "version", "headers", "body", "received")

    def __init__(
        self,
        method: str,
        target: str,
        headers: Optional[Headers] = None,
        body: bytes = b"",
        version: str = "1.1",
    ) -> None:
        #: ``GET`` and so on.
        self.method = method
        #: Path and query as they came.
        self.target = target
        #: The header fields.
        self.headers = Headers() if headers is None else headers
        #: The body, whole.
        self.body = body
        #: ``1.0`` or ``1.1``.
        self.version = version
        #: When its head was read, in seconds since the epoch.
        self.received = time.time()

    @property
    def path(self) -> str:
        """The path, with ``%``-escapes resolved."""
        return self.raw_path.decode("utf-8", "replace")

    @property
    def raw_path(self) -> bytes:
        """The path's bytes, with ``%``-escapes resolved."""
        path = self.target.partition("?")[0]
        if not path.startswith("/") and "://" in path:
            path = "/" + path.split("://", 1)[1].partition("/")[2]
        return unquote_to_bytes(path)

    @property
    def query_string(self) -> str:
        """What follows the ``?``."""
        return self.target.partition("?")[2]

    @property
    def query(self) -> dict[str, list[str]]:
        """The query's values by name."""
        return parse_qs(self.query_string, keep_blank_values=True)

    @property
    def text(self) -> str:
        """The body as UTF-8."""
        return self.body.decode("utf-8", "replace")

    def json(self) -> Any:
        """The body as JSON. Raises ``ValueError`` when it is none."""
        return json.loads(self.body)

    def __repr__(self) -> str:
        return f"<Request {self.method} {self.target} ({len(self.body)} bytes)>"


class Response:
    """An answer: status, header fields and a body.

    ``body`` is text, bytes, anything that JSON can hold (a dict or list), or an iterator of bytes, which is sent piece by
    piece.
    """

    __slots__ = ("status", "headers", "body")

    def __init__(
        self,
        body: Any = b"",
        status: int = 200,
        headers: Union[Mapping[str, str], Iterable[tuple[str, str]], None] = None,
    ) -> None:
        #: 200 and so on.
        self.status = int(status)
        if not 200 <= self.status <= 999:
            raise ValueError(f"{self.status} is no status of an answer: 200 to 999")
        pairs = headers.items() if isinstance(headers, Mapping) else headers or ()
        #: Name and value of each field.
        self.headers = [(str(name), str(value)) for name, value in pairs]
        kind: Optional[str] = None
        if body is None:
            body = b""
        elif isinstance(body, str):
            body, kind = body.encode(), "text/plain; charset=utf-8"
        elif isinstance(body, (bytearray, memoryview)):
            body = bytes(body)
        elif isinstance(body, (dict, list, int, float)):
            body, kind = json.dumps(body).encode(), "application/json"
        elif not isinstance(body, bytes) and not isinstance(body, Iterable):
            raise TypeError(f"a body is text, bytes, JSON or an iterator of bytes, not {type(body).__name__}")
        #: Bytes, or an iterator of them.
        self.body: Union[bytes, Iterable[bytes]] = body
        if kind and not any(name.lower() == "content-type" for name, _ in self.headers):
            self.headers.append(("Content-Type", kind))

    @classmethod
    def of(cls, answer: Any) -> Response:
        """What a handler returned: a ``Response``, a body, ``(status, body)`` or ``(status, body, headers)``."""
        if isinstance(answer, Response):
            return answer
        if answer is None:
            return cls(status=204)
        if isinstance(answer, HTTPStatus):
            return cls(status=answer)
        if isinstance(answer, tuple):
            if not 2 <= len(answer) <= 3 or not isinstance(answer[0], int):
                raise TypeError("a handler's tuple is (status, body) or (status, body, headers)")
            return cls(answer[1], answer[0], answer[2] if len(answer) == 3 else None)
        return cls(answer)

    def __repr__(self) -> str:
        return f"<Response {self.status}>"


def parse_head(head: bytes) -> Request:
    """A request without its body, from the bytes up to the empty line."""
    try:
        first, *lines = head.decode("latin-1").rstrip("\r\n").split("\r\n")
        method, target, version = first.split(" ")
    except ValueError:
        raise BadRequest(400, "not an HTTP/1 request") from None
    if version not in ("HTTP/1.1", "HTTP/1.0"):
        raise BadRequest(505, f"{version} is not spoken here")
    pairs: list[tuple[str, str]] = []
    for line in lines:
        name, colon, value = line.partition(":")
        if not colon or not name or name != name.strip():
            raise BadRequest(400, f"not a header field: {line[:80]!r}")
        pairs.append((name, value.strip(" \t")))
    return Request(method, target, Headers(pairs), version=version[5:])


#: How the length of a request's body is known: a number of bytes, or chunks.
CHUNKED = -1


def body_length(request: Request) -> int:
    """Bytes that follow the head, or :data:`CHUNKED`."""
    coding = request.headers.get("transfer-encoding", "").lower()
    if coding:
        if coding != "chunked":
            raise BadRequest(501, f"transfer coding {coding} is not known")
        return CHUNKED
    lengths = set(request.headers.all("content-length"))
    if not lengths:
        return 0
    length = lengths.pop()
    if lengths or not length.isascii() or not length.isdigit():
        raise BadRequest(400, "content-length makes no sense")
    return int(length)


def chunk_length(line: bytes) -> int:
    """The length that stands on a chunk's first line."""
    digits = line.split(b";")[0].strip()
    if not digits or len(digits) > 16 or digits.strip(b"0123456789abcdefABCDEF"):
        raise BadRequest(400, "not a chunk")
    return int(digits, 16)


def keeps_alive(request: Request) -> bool:
    """Whether another request may follow on the connection."""
    wishes = request.headers.get("connection", "").lower()
    if request.version == "1.0":
        return "keep-alive" in wishes
    return "close" not in wishes


def wants_continue(request: Request) -> bool:
    """Whether the caller waits to be told to send the body."""
    return request.headers.get("expect", "").lower() == "100-continue"


_NO_BODY = (204, 304)


def response_head(
    status: int, headers: Iterable[tuple[str, str]], request: Request, length: Optional[int], reason: str = ""
) -> tuple[bytes, bool, bool]:
    """The head's bytes; whether the body goes in chunks; whether the connection goes on.

    ``length`` is the body's, ``None`` when it is not known before the end.
    """
    if not reason:
        try:
            reason = HTTPStatus(status).phrase
        except ValueError:
            reason = "Unknown"
    alive = keeps_alive(request)
    chunked = False
    told = False
    out = [f"HTTP/1.1 {status} {reason}\r\n"]
    for name, value in headers:
        if "\r" in value or "\n" in value or "\r" in name or "\n" in name:
            raise ValueError(f"header field {name!r} holds a line break")
        lower = name.lower()
        if lower == "transfer-encoding":
            continue
        if lower == "connection":
            alive = alive and "close" not in value.lower()
            continue
        if lower == "content-length":
            told = True
        out.append(f"{name}: {value}\r\n")
    if not told and status >= 200 and status not in _NO_BODY:
        if length is not None:
            out.append(f"Content-Length: {length}\r\n")
        elif request.version == "1.1":
            chunked = True
            out.append("Transfer-Encoding: chunked\r\n")
        else:
            alive = False
    if not alive:
        out.append("Connection: close\r\n")
    elif request.version == "1.0":
        out.append("Connection: keep-alive\r\n")
    out.append("\r\n")
    return "".join(out).encode("latin-1", "replace"), chunked, alive


def has_body(request: Request, status: int) -> bool:
    """Whether an answer to it carries the body's bytes."""
    return request.method != "HEAD" and status >= 200 and status not in _NO_BODY
