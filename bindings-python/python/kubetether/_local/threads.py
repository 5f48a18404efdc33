"""HTTP/1.1 on threads: what callables, stubs and WSGI apps are served by."""

from __future__ import annotations

import socket
from collections.abc import Iterable
from typing import BinaryIO, Callable, Optional, Union, cast

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
from .log import Entry
from .server import LocalServer

#: Beyond it a body that was not read is not read to its end for the sake of the connection.
_SKIP = 1 << 20


class HttpServer(LocalServer):
    """Reads requests and writes answers; a subclass's :meth:`respond` makes them."""

    def respond(self, request: Request, body: BodyReader, answer: Answer) -> None:
        """Answers one request by ``answer``. What it raises is logged, and answered with 500 where that is possible."""
        raise NotImplementedError

    def serve(self, connection: socket.socket) -> None:
        source = cast(BinaryIO, connection.makefile("rb", buffering=64 * 1024))
        with source:
            while self._one(connection, source):
                pass

    def _one(self, connection: socket.socket, source: BinaryIO) -> bool:
        """One request; whether another may follow."""
        request = Request("?", "?")
        self.idle(connection)
        try:
            head = _read_head(source)
            self.busy(connection)
            if not head:
                return False
            request = parse_head(head)
            length = body_length(request)
        except BadRequest as error:
            Answer(connection, request).whole(error.response())
            return False
        body = BodyReader(connection, source, length, wants_continue(request))
        entry = self.log.begin(request)
        answer = Answer(connection, request, entry)
        try:
            self.respond(request, body, answer)
            answer.finish()
            entry.answered(answer.status)
        except (OSError, BadRequest) as error:
            entry.cut(error)
            if isinstance(error, BadRequest) and not answer.begun:
                answer.whole(error.response())
            answer.alive = False
        except Exception as error:
            entry.raised(error)
            if not answer.begun:
                answer.whole(Response(f"the handler raised {error!r}\n", 500))
            else:
                # Half an answer must not look like a whole one.
                answer.alive = False
        return answer.alive and body.skip()


class BodyReader:
    """A request's body, read from the connection as it is asked for; what WSGI calls ``wsgi.input``."""

    def __init__(self, connection: socket.socket, source: BinaryIO, length: int, expects: bool) -> None:
        self._connection = connection
        self._source = source
        self._chunked = length == CHUNKED
        #: Bytes left, of the chunk that is read if there are chunks.
        self._left = max(length, 0)
        self._over = length == 0
        self._expects = expects

    def read(self, size: int = -1) -> bytes:
        """Up to ``size`` bytes, or all; empty at the end."""
        if size < 0:
            return b"".join(self)
        out = bytearray()
        while len(out) < size and self._ready():
            piece = self._source.read(min(self._left, size - len(out)))
            if not piece:
                raise BadRequest(400, "the request's body was cut")
            self._took(len(piece))
            out += piece
        return bytes(out)

    def readline(self, size: int = -1) -> bytes:
        """A line, or the part of it that has ``size`` bytes."""
        out = bytearray()
        while (size < 0 or len(out) < size) and self._ready():
            most = self._left if size < 0 else min(self._left, size - len(out))
            piece = self._source.readline(most)
            if not piece:
                raise BadRequest(400, "the request's body was cut")
            self._took(len(piece))
            out += piece
            if piece.endswith(b"\n"):
                break
        return bytes(out)

    def readlines(self, hint: int = -1) -> list[bytes]:
        """Lines, until ``hint`` bytes are exceeded."""
        lines: list[bytes] = []
        size = 0
        while line := self.readline():
            lines.append(line)
            size += len(line)
            if 0 < hint <= size:
                break
        return lines

    def __iter__(self) -> BodyReader:
        return self

    def __next__(self) -> bytes:
        piece = self.read(64 * 1024)
        if not piece:
            raise StopIteration
        return piece

    def whole(self) -> bytes:
        """All of it, as far as it may be held in memory."""
        pieces: list[bytes] = []
        size = 0
        for piece in self:
            size += len(piece)
            if size > BODY_LIMIT:
                raise BadRequest(413, f"bodies of more than {BODY_LIMIT} bytes are not held in memory")
            pieces.append(piece)
        return b"".join(pieces)

    def skip(self) -> bool:
        """Reads what is left; whether the next request follows here."""
        if self._expects and not self._over:
            return False
        left = _SKIP
        try:
            while left > 0:
                piece = self.read(min(left, 64 * 1024))
                if not piece:
                    return True
                left -= len(piece)
        except (OSError, BadRequest):
            pass
        return False

    def _ready(self) -> bool:
        """Whether there are bytes to read, of this chunk or the next."""
        if self._over:
            return False
        if self._expects:
            self._expects = False
            self._connection.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
        if self._left == 0 and self._chunked:
            self._left = chunk_length(self._line())
            if self._left == 0:
                # Trailers, up to the empty line.
                while self._line().strip():
                    pass
                self._over = True
        return not self._over

    def _took(self, count: int) -> None:
        self._left -= count
        if self._left == 0:
            if self._chunked:
                self._line()
            else:
                self._over = True

    def _line(self) -> bytes:
        line = self._source.readline(1024)
        if not line.endswith(b"\n"):
            raise BadRequest(400, "the request's body was cut")
        return line


class Answer:
    """The answer to one request, on its way."""

    def __init__(self, connection: socket.socket, request: Request, entry: Optional[Entry] = None) -> None:
        self._connection = connection
        self._request = request
        self._entry = entry
        self._chunked = False
        self._body = True
        #: Whether the connection goes on after it.
        self.alive = True
        #: Whether its head was sent.
        self.begun = False
        #: Its status; 0 before it begins.
        self.status = 0

    def whole(self, response: Response) -> None:
        """Sends all of it."""
        body = response.body
        if isinstance(body, bytes):
            head = self._head(response.status, response.headers, len(body))
            # One packet for what fits; large bodies are not copied.
            if not self._body:
                self._connection.sendall(head)
            elif len(body) < 64 * 1024:
                self._connection.sendall(head + body)
            else:
                self._connection.sendall(head)
                self._connection.sendall(body)
            return
        self.begin(response.status, response.headers, None)
        self.pieces(body)

    def begin(
        self, status: int, headers: Iterable[tuple[str, str]], length: Union[int, None], reason: str = ""
    ) -> None:
        """Sends the head."""
        self._connection.sendall(self._head(status, headers, length, reason))

    def piece(self, data: bytes) -> None:
        """Sends a part of the body."""
        if not self._body or not data:
            return
        if self._chunked:
            data = b"%x\r\n%b\r\n" % (len(data), data)
        self._connection.sendall(data)

    def pieces(self, body: Iterable[bytes]) -> None:
        """Sends a body piece by piece, and closes the iterator that has a ``close``."""
        try:
            for data in body:
                self.piece(data.encode() if isinstance(data, str) else data)
        finally:
            close: Union[Callable[[], None], None] = getattr(body, "close", None)
            if close is not None:
                close()

    def finish(self) -> None:
        """Sends the end of the body."""
        if self.begun and self._chunked and self._body:
            self._connection.sendall(b"0\r\n\r\n")

    def _head(
        self, status: int, headers: Iterable[tuple[str, str]], length: Union[int, None], reason: str = ""
    ) -> bytes:
        head, self._chunked, self.alive = response_head(status, headers, self._request, length, reason)
        self._body = has_body(self._request, status)
        self.begun, self.status = True, status
        if self._entry is not None:
            self._entry.answered(status)
        return head


def _read_head(source: BinaryIO) -> bytes:
    """The bytes up to and with the empty line; none when the caller is gone."""
    lines: list[bytes] = []
    size = 0
    while True:
        line = source.readline(HEAD_LIMIT)
        if not line:
            return b""
        size += len(line)
        if size > HEAD_LIMIT or not line.endswith(b"\n"):
            raise BadRequest(431, f"a request's head has at most {HEAD_LIMIT} bytes")
        if line in (b"\r\n", b"\n"):
            if lines:
                return b"".join(lines)
            continue
        lines.append(line)
