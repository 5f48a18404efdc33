"""Sessions and handles that nobody closed: they are told of, and the cluster is put back all the same."""

from __future__ import annotations

import atexit
import os
import threading
import time
import warnings
import weakref
from typing import Any, Union

from . import _native
from ._local import Endpoints

#: What was not closed when the interpreter ends has this long, in seconds.
_AT_EXIT = 20.0

_Native = Union[_native.Session, _native.Exchange, _native.Forward]

#: What is open. Python owns sessions in one process only: a forked one has nothing to close.
_open: dict[int, Leak] = {}
#: Closes under way in the background.
_closing: set[threading.Thread] = set()


class Leak:
    """Stands for one handle until it is closed."""

    def __init__(
        self, owner: object, native: _Native, what: str, endpoints: Union[Endpoints, None] = None
    ) -> None:
        self.native: Union[_Native, None] = native
        self.what = what
        self.endpoints = endpoints
        self.process = os.getpid()
        self._finalizer = weakref.finalize(owner, _collected, self)
        self._finalizer.atexit = False
        _open[id(self)] = self

    def closed(self) -> None:
        """It was closed as it should be."""
        self._finalizer.detach()
        _open.pop(id(self), None)
        self.native = None


def _collected(leak: Leak) -> None:
    """Its owner is gone, and it is open."""
    _open.pop(id(leak), None)
    native, leak.native = leak.native, None
    if native is None or leak.process != os.getpid():
        return
    if '"closed"' in native.state() or '"lost"' in native.state():
        if leak.endpoints is not None:
            leak.endpoints.stop()
        return
    warnings.warn(f"unclosed {leak.what}; it is closed in the background", ResourceWarning, stacklevel=2)
    thread = threading.Thread(
        target=_close, args=(native, leak.endpoints), name="kubetether-close", daemon=True
    )
    try:
        _closing.add(thread)
        thread.start()
    except RuntimeError:
        # The interpreter ends: dropping the handle is what is left, and the cluster sees to the rest.
        _closing.discard(thread)


def _close(native: Any, endpoints: Union[Endpoints, None]) -> None:
    try:
        native.close("{}").wait(_AT_EXIT)
    finally:
        if endpoints is not None:
            endpoints.stop()
        _closing.discard(threading.current_thread())


@atexit.register
def _at_exit() -> None:
    until = time.monotonic() + _AT_EXIT
    left = [leak for leak in _open.values() if leak.native is not None and leak.process == os.getpid()]
    for leak in left:
        warnings.warn(
            f"unclosed {leak.what}; it is closed now that the interpreter ends", ResourceWarning, stacklevel=1
        )
    # Handles before their sessions: the last that was opened is the first to be closed.
    tasks = [leak.native.close("{}") for leak in reversed(left) if leak.native is not None]
    for task in tasks:
        task.wait(max(until - time.monotonic(), 0.0))
    for thread in list(_closing):
        thread.join(max(until - time.monotonic(), 0.0))
