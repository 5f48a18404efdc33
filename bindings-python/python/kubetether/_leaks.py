"""Sessions that nobody closed: they are told of, and the cluster is put back all the same."""

from __future__ import annotations

import atexit
import os
import threading
import time
import warnings
import weakref

from . import _native
from ._local import Endpoints

#: What was not closed when the interpreter ends has this long, in seconds.
_AT_EXIT = 20.0

#: Sessions that are open. In a forked process those of the parent are none of its business.
_open: dict[int, Leak] = {}
#: Closes under way in the background.
_closing: set[threading.Thread] = set()


class Leak:
    """Stands for one session until it is closed."""

    def __init__(self, owner: object, native: _native.Session, what: str) -> None:
        self.native = native
        self.what = what
        #: The local ends of its exchanges.
        self.endpoints: list[Endpoints] = []
        self.process = os.getpid()
        self._finalizer = weakref.finalize(owner, _collected, self)
        self._finalizer.atexit = False
        _open[id(self)] = self

    def closed(self) -> None:
        """It was closed as it should be."""
        self._finalizer.detach()
        _open.pop(id(self), None)

    def warn(self, when: str) -> None:
        """Tells whoever turned such warnings on."""
        warnings.warn(f"unclosed {self.what}: it is closed {when}", ResourceWarning, stacklevel=3)

    def close(self) -> None:
        """Closes it and waits for that."""
        try:
            self.native.close("{}").wait(_AT_EXIT)
        finally:
            for endpoints in self.endpoints:
                endpoints.stop()


def _collected(leak: Leak) -> None:
    """Its owner is gone, and it is open."""
    if _open.pop(id(leak), None) is None or leak.process != os.getpid():
        return

    def close() -> None:
        try:
            leak.close()
        finally:
            _closing.discard(thread)

    thread = threading.Thread(target=close, name="kubetether-close", daemon=True)
    _closing.add(thread)
    try:
        thread.start()
    except RuntimeError:
        # The interpreter ends: the engine closes what is dropped, as far as it gets, and the cluster does the rest.
        _closing.discard(thread)
    leak.warn("in the background")


@atexit.register
def _at_exit() -> None:
    left = [leak for leak in _open.values() if leak.process == os.getpid()]
    _open.clear()
    for leak in left:
        leak.warn("now that the interpreter ends")
    threads = [threading.Thread(target=leak.close, daemon=True) for leak in left]
    for thread in threads:
        thread.start()
    until = time.monotonic() + _AT_EXIT
    for thread in [*threads, *_closing]:
        thread.join(max(until - time.monotonic(), 0.0))
