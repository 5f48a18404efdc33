"""Handler classes of ``socketserver`` and ``http.server`` as servers."""

from __future__ import annotations

import socketserver
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Optional

from .log import Log
from .server import JOIN


class _Tcp(socketserver.ThreadingTCPServer):
    daemon_threads = True
    # A handler that hangs must not hold up the end.
    block_on_close = False
    request_queue_size = 256


class _Http(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 256


class ClassServer:
    """Runs the standard library's own server around a handler class."""

    def __init__(self, handler: type[socketserver.BaseRequestHandler]) -> None:
        #: Always empty: only the class knows what it is asked.
        self.log = Log()
        self._handler = handler
        self._server: Optional[socketserver.TCPServer] = None
        self._thread: Optional[threading.Thread] = None

    @property
    def port(self) -> int:
        """The port; 0 before the start."""
        return self._server.server_address[1] if self._server else 0

    def start(self) -> None:
        """Opens the port. Does nothing when it is open."""
        if self._server is not None:
            return
        kind = _Http if issubclass(self._handler, BaseHTTPRequestHandler) else _Tcp
        self._server = kind(("127.0.0.1", 0), self._handler)
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(0.05,), name="kubetether-serve", daemon=True
        )
        self._thread.start()

    def stop(self) -> None:
        """Closes the port. Idempotent."""
        server, self._server = self._server, None
        if server is None or self._thread is None:
            return
        server.shutdown()
        server.server_close()
        self._thread.join(JOIN)
