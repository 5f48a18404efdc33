"""A listener on 127.0.0.1 with a thread for each connection."""

from __future__ import annotations

import socket
import threading
from typing import Optional

from .log import Log

#: Connections that are open at once. A further caller takes the place of the one that has been idle longest; while none is, it
#: waits.
CONNECTIONS = 256
#: A caller that says nothing between two requests is let go after this many seconds: as nginx does, and later than most
#: clients give up connections themselves, who might send a request just then.
IDLE = 75.0
#: After its end nobody waits longer than this for handlers that still run, in seconds.
JOIN = 2.0


class LocalServer:
    """What serves traffic from the cluster inside this process; a subclass says how.

    It listens on a free port of 127.0.0.1 from :meth:`start` to :meth:`stop`.
    """

    def __init__(self) -> None:
        #: What it was asked, where it knows.
        self.log = Log()
        self._listener: Optional[socket.socket] = None
        self._port = 0
        self._free = threading.BoundedSemaphore(CONNECTIONS)
        self._lock = threading.Lock()
        self._open: dict[socket.socket, threading.Thread] = {}
        #: Those between two requests, the longest idle one first.
        self._idle: dict[socket.socket, None] = {}
        self._acceptor: Optional[threading.Thread] = None

    @property
    def port(self) -> int:
        """The port; 0 before the start."""
        return self._port

    def start(self) -> None:
        """Opens the port. Does nothing when it is open."""
        with self._lock:
            if self._listener is not None:
                return
            listener = socket.create_server(("127.0.0.1", 0), backlog=256)
            self._listener = listener
            self._port = listener.getsockname()[1]
            # An abandoned server must not keep the process alive.
            self._acceptor = threading.Thread(
                target=self._accept, args=(listener,), name="kubetether-accept", daemon=True
            )
            self._acceptor.start()

    def stop(self) -> None:
        """Closes the port and all connections; waits a moment for what is still served. Idempotent."""
        with self._lock:
            listener, self._listener = self._listener, None
            acceptor, self._acceptor = self._acceptor, None
            self._port = 0
        if listener is None:
            return
        wake(listener)
        if acceptor is not None:
            acceptor.join(JOIN)
        listener.close()
        with self._lock:
            left = list(self._open.items())
        for connection, _ in left:
            shut(connection)
        for _, thread in left:
            if thread is not threading.current_thread():
                thread.join(JOIN / max(len(left), 1))

    def serve(self, connection: socket.socket) -> None:
        """Serves one connection to its end."""
        raise NotImplementedError

    def idle(self, connection: socket.socket) -> None:
        """A request is waited for: no longer than :data:`IDLE`, and only while there is room."""
        connection.settimeout(IDLE)
        with self._lock:
            self._idle[connection] = None

    def busy(self, connection: socket.socket) -> None:
        """A request is there."""
        with self._lock:
            self._idle.pop(connection, None)
        connection.settimeout(None)

    def _accept(self, listener: socket.socket) -> None:
        while self._listener is listener:
            try:
                connection, _ = listener.accept()
            except OSError:
                if self._listener is listener:
                    # Descriptors have run out, or the caller is gone again: neither is the end.
                    threading.Event().wait(0.05)
                continue
            if not self._room(listener):
                connection.close()
                return
            thread = threading.Thread(
                target=self._run, args=(connection,), name="kubetether-serve", daemon=True
            )
            with self._lock:
                self._open[connection] = thread
            thread.start()

    def _room(self, listener: socket.socket) -> bool:
        """Waits until one more may be served; not beyond the end of the server."""
        limit, told = 0.0, False
        while self._listener is listener:
            if self._free.acquire(timeout=limit):
                return True
            limit = 0.5
            if not self._let_go() and not told:
                told = True
                self.log.note(f"a caller waits: {CONNECTIONS} connections are open, and none is idle")
        return False

    def _let_go(self) -> bool:
        """Ends the connection that has been idle longest, if one is."""
        with self._lock:
            longest = next(iter(self._idle), None)
            if longest is None:
                return False
            del self._idle[longest]
        # What it has sent by now is still read and answered.
        shut(longest, socket.SHUT_RD)
        return True

    def _run(self, connection: socket.socket) -> None:
        try:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self.serve(connection)
        except OSError:
            # The caller went away.
            pass
        finally:
            with self._lock:
                self._open.pop(connection, None)
                self._idle.pop(connection, None)
            connection.close()
            self._free.release()


def wake(listener: socket.socket) -> None:
    """Ends an ``accept`` that waits."""
    try:
        listener.shutdown(socket.SHUT_RDWR)
    except OSError:
        # Not every system ends it so: a caller of our own does.
        try:
            socket.create_connection(listener.getsockname()[:2], timeout=1).close()
        except OSError:
            pass


def shut(connection: socket.socket, what: int = socket.SHUT_RDWR) -> None:
    """Ends reads and writes that wait."""
    try:
        connection.shutdown(what)
    except OSError:
        pass
