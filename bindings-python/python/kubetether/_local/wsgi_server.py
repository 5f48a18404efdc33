"""WSGI apps as servers (PEP 3333)."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from typing import Any, Callable, Optional

from .http import Request
from .threads import Answer, BodyReader, HttpServer


class WsgiServer(HttpServer):
    """Serves a WSGI app, in a thread for each connection."""

    def __init__(self, app: Callable[..., Iterable[bytes]]) -> None:
        super().__init__()
        self._app = app

    def respond(self, request: Request, body: BodyReader, answer: Answer) -> None:
        pending: list[Any] = []

        def begin(length: Optional[int]) -> None:
            status, headers = pending
            code, _, reason = status.partition(" ")
            answer.begin(int(code), headers, length, reason)

        def write(data: bytes) -> None:
            if not answer.begun:
                begin(None)
            answer.piece(data)

        def start_response(status: str, headers: list[tuple[str, str]], exc_info: Any = None) -> Any:
            if exc_info is not None and answer.begun:
                raise exc_info[1].with_traceback(exc_info[2])
            if pending and exc_info is None:
                raise AssertionError("start_response was called twice")
            pending[:] = [status, headers]
            return write

        result = self._app(self._environ(request, body), start_response)
        try:
            # PEP 3333: the head goes with the first bytes, so that an app may change its mind until then.
            single = isinstance(result, (list, tuple)) and len(result) == 1
            for data in result:
                if data and not answer.begun:
                    begin(len(data) if single else None)
                answer.piece(data)
            if not answer.begun:
                if not pending:
                    raise AssertionError("the app did not call start_response")
                begin(0)
        finally:
            close: Optional[Callable[[], None]] = getattr(result, "close", None)
            if close is not None:
                close()

    def _environ(self, request: Request, body: BodyReader) -> dict[str, Any]:
        environ: dict[str, Any] = {
            "REQUEST_METHOD": request.method,
            "SCRIPT_NAME": "",
            "PATH_INFO": request.raw_path.decode("latin-1"),
            "RAW_URI": request.target,
            "REQUEST_URI": request.target,
            "QUERY_STRING": request.query_string,
            "SERVER_NAME": "127.0.0.1",
            "SERVER_PORT": str(self.port),
            "SERVER_PROTOCOL": f"HTTP/{request.version}",
            "REMOTE_ADDR": "127.0.0.1",
            "wsgi.version": (1, 0),
            "wsgi.url_scheme": "http",
            "wsgi.input": body,
            # The body ends where it ends, also without a length.
            "wsgi.input_terminated": True,
            "wsgi.errors": sys.stderr,
            "wsgi.multithread": True,
            "wsgi.multiprocess": False,
            "wsgi.run_once": False,
        }
        for name, value in request.headers.pairs():
            key = name.upper().replace("-", "_")
            if key not in ("CONTENT_TYPE", "CONTENT_LENGTH"):
                key = f"HTTP_{key}"
            environ[key] = f"{environ[key]},{value}" if key in environ else value
        return environ
