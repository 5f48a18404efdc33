"""A recorder with canned answers."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from typing import Any, Optional

from .http import Request, Response
from .threads import Answer, BodyReader, HttpServer


class _Canned:
    """An answer to some requests."""

    __slots__ = ("method", "path", "answer", "left")

    def __init__(self, method: Optional[str], path: Optional[str], answer: Any, times: Optional[int]) -> None:
        self.method = method
        self.path = path
        self.answer = answer
        self.left = times

    def fits(self, request: Request) -> bool:
        return (
            self.left != 0
            and (self.method is None or self.method == request.method)
            and (self.path is None or self.path == request.path)
        )


class StubServer(HttpServer):
    """Records every request and gives canned answers; give it as ``to=`` of an exchange.

    ``StubServer("pong")`` answers everything with 200 and ``pong``; :meth:`answer` adds answers to some requests, which
    come before it. An answer is what a handler may return: a :class:`Response`, text, bytes, a dict or list for JSON,
    ``(status, body)``, ``(status, body, headers)``; or a callable that is given the :class:`Request` and returns one of
    these.

    It can be used without a cluster, too: as a context manager it listens on :attr:`url`.
    """

    def __init__(self, default: Any = b"") -> None:
        super().__init__()
        if not callable(default):
            Response.of(default)
        self._default = default
        self._canned: list[_Canned] = []
        self._requests: list[Request] = []
        self._change = threading.Condition()

    @property
    def requests(self) -> list[Request]:
        """Every request so far, bodies included, oldest first."""
        with self._change:
            return list(self._requests)

    @property
    def url(self) -> str:
        """``http://127.0.0.1:PORT`` while it listens."""
        return f"http://127.0.0.1:{self.port}"

    def answer(
        self, path: Optional[str], answer: Any, *, method: Optional[str] = None, times: Optional[int] = None
    ) -> StubServer:
        """Answers requests for ``path`` (``None``: any) so, ``times`` times or for ever. Of several that fit the latest
        counts. Returns itself."""
        if not callable(answer):
            # Nonsense is refused here, not in the middle of a request.
            Response.of(answer)
        with self._change:
            self._canned.append(_Canned(method, path, answer, times))
        return self

    def wait_for(self, count: int, timeout: float = 10.0) -> list[Request]:
        """Waits until ``count`` requests came; returns all so far.

        Raises:
            TimeoutError: that is not so within ``timeout`` seconds; it tells which ones came.
        """
        until = time.monotonic() + timeout
        with self._change:
            while len(self._requests) < count:
                left = until - time.monotonic()
                # In slices: on some systems a wait without end does not see Ctrl-C.
                if left <= 0:
                    came = ", ".join(f"{each.method} {each.target}" for each in self._requests) or "none"
                    raise TimeoutError(
                        f"{len(self._requests)} of {count} requests came within {timeout:g} s: {came}"
                    )
                self._change.wait(min(left, 0.1))
            return list(self._requests)

    def clear(self) -> None:
        """Forgets the requests; the answers stay."""
        with self._change:
            self._requests.clear()

    def respond(self, request: Request, body: BodyReader, answer: Answer) -> None:
        """Records the request and gives the answer that fits."""
        request.body = body.whole()
        with self._change:
            chosen: Any = self._default
            for canned in reversed(self._canned):
                if canned.fits(request):
                    if canned.left is not None:
                        canned.left -= 1
                    chosen = canned.answer
                    break
            self._requests.append(request)
            self._change.notify_all()
        answer.whole(Response.of(chosen(request) if callable(chosen) else chosen))

    def __enter__(self) -> StubServer:
        self.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self.stop()

    def __iter__(self) -> Iterator[Request]:
        return iter(self.requests)

    def __len__(self) -> int:
        with self._change:
            return len(self._requests)

    def __bool__(self) -> bool:
        return True
