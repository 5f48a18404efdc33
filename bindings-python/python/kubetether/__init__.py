"""kubetether connects this machine and a Kubernetes cluster, both ways, from inside your process.

>>> with kubetether.connect(namespace="shop") as session:                      # doctest: +SKIP
...     with session.exchange("orders", to=8080):            # the Service's traffic comes to port 8080 here
...         database = session.forward("db", 5432).address   # and the cluster's database is reachable here

:mod:`kubetether.aio` has the same for asyncio. Installing the package installs a pytest plugin: see
:mod:`kubetether.pytest_plugin`.

The log goes to the :mod:`logging` of Python with :func:`log_to_python`, else to nobody.
"""

from __future__ import annotations

import sys as _sys
from typing import TYPE_CHECKING as _TYPE_CHECKING

# A `t` among the flags: built without the GIL.
if "t" in getattr(_sys, "abiflags", ""):
    raise ImportError(
        "kubetether does not support free-threaded Python: its native module is built for the stable ABI, which such"
        " interpreters lack. Use an interpreter with the GIL."
    )

# Newer ones refuse the native module in any interpreter but the first; these would load it, and share what is the process's.
if _sys.version_info < (3, 12):
    try:
        import _xxsubinterpreters as _interpreters  # type: ignore[import-not-found, unused-ignore]
    except ImportError:
        # Built without.
        pass
    else:
        if _interpreters.get_current() != _interpreters.get_main():
            raise ImportError(
                "kubetether does not support sub-interpreters: its native module belongs to the first interpreter of a process."
                " With mod_wsgi, for one, that is WSGIApplicationGroup %{GLOBAL}."
            )
        del _interpreters

if _TYPE_CHECKING:
    from . import aio, errors, events, model
    from ._local import asgi, handler, wsgi
    from ._local.http import Headers, Request, Response
    from ._local.stub import StubServer
    from ._logging import log_to_python
    from ._session import Events, Exchange, Forward, Session, clean, connect, recover, status
    from .errors import (
        AgentMissingError,
        AgentStartError,
        AgentUnreachableError,
        AgentVersionError,
        ArgumentError,
        CancelledError,
        ClosedError,
        ClusterError,
        ConfigError,
        DeadlineError,
        ForbiddenError,
        ForkedError,
        HeldError,
        InternalError,
        KubeconfigError,
        KubetetherError,
        LocalAddressError,
        LostError,
        NameNotFoundError,
        NoSuchContextError,
        NoSuchNamespaceError,
        NoSuchPortError,
        NoSuchTargetError,
        NotProvenError,
        NotRestoredError,
        PassThroughError,
        RefusedError,
        UnauthorizedError,
        UnreachableError,
        UnsupportedError,
    )
    from .events import (
        Closed,
        Dropped,
        Event,
        HandleChanged,
        HandleInfo,
        Notice,
        Progress,
        Resumed,
        SafetyChanged,
        SessionChanged,
        Snapshot,
    )
    from .model import (
        Cleaned,
        Deleted,
        Flow,
        FlowEnd,
        Flows,
        Left,
        Port,
        Recovered,
        Restored,
        Safety,
        ServiceStatus,
        SessionStatus,
        State,
        Stats,
        Status,
        Unseen,
    )
    from .options import SessionOptions

    __version__: str

# What is not used costs nothing: a run of pytest without our fixtures must not load the native module.
_MODULES = {
    "_local": ("asgi", "handler", "wsgi"),
    "_local.http": ("Headers", "Request", "Response"),
    "_local.stub": ("StubServer",),
    "_logging": ("log_to_python",),
    "_session": ("Events", "Exchange", "Forward", "Session", "clean", "connect", "recover", "status"),
    "errors": (
        "AgentMissingError",
        "AgentStartError",
        "AgentUnreachableError",
        "AgentVersionError",
        "ArgumentError",
        "CancelledError",
        "ClosedError",
        "ClusterError",
        "ConfigError",
        "DeadlineError",
        "ForbiddenError",
        "ForkedError",
        "HeldError",
        "InternalError",
        "KubeconfigError",
        "KubetetherError",
        "LocalAddressError",
        "LostError",
        "NameNotFoundError",
        "NoSuchContextError",
        "NoSuchNamespaceError",
        "NoSuchPortError",
        "NoSuchTargetError",
        "NotProvenError",
        "NotRestoredError",
        "PassThroughError",
        "RefusedError",
        "UnauthorizedError",
        "UnreachableError",
        "UnsupportedError",
    ),
    "events": (
        "Closed",
        "Dropped",
        "Event",
        "HandleChanged",
        "HandleInfo",
        "Notice",
        "Progress",
        "Resumed",
        "SafetyChanged",
        "SessionChanged",
        "Snapshot",
    ),
    "model": (
        "Cleaned",
        "Deleted",
        "Flow",
        "FlowEnd",
        "Flows",
        "Left",
        "Port",
        "Recovered",
        "Restored",
        "Safety",
        "ServiceStatus",
        "SessionStatus",
        "State",
        "Stats",
        "Status",
        "Unseen",
    ),
    "options": ("SessionOptions",),
}
_HOME = {name: module for module, names in _MODULES.items() for name in names}
_SUBMODULES = ("aio", "errors", "events", "model", "options")

__all__ = [
    "AgentMissingError",
    "AgentStartError",
    "AgentUnreachableError",
    "AgentVersionError",
    "ArgumentError",
    "CancelledError",
    "Cleaned",
    "Closed",
    "ClosedError",
    "ClusterError",
    "ConfigError",
    "DeadlineError",
    "Deleted",
    "Dropped",
    "Event",
    "Events",
    "Exchange",
    "Flow",
    "FlowEnd",
    "Flows",
    "ForbiddenError",
    "ForkedError",
    "Forward",
    "HandleChanged",
    "HandleInfo",
    "Headers",
    "HeldError",
    "InternalError",
    "KubeconfigError",
    "KubetetherError",
    "Left",
    "LocalAddressError",
    "LostError",
    "NameNotFoundError",
    "NoSuchContextError",
    "NoSuchNamespaceError",
    "NoSuchPortError",
    "NoSuchTargetError",
    "NotProvenError",
    "NotRestoredError",
    "Notice",
    "PassThroughError",
    "Port",
    "Progress",
    "Recovered",
    "RefusedError",
    "Request",
    "Response",
    "Restored",
    "Resumed",
    "Safety",
    "SafetyChanged",
    "ServiceStatus",
    "Session",
    "SessionChanged",
    "SessionOptions",
    "SessionStatus",
    "Snapshot",
    "State",
    "Stats",
    "Status",
    "StubServer",
    "UnauthorizedError",
    "UnreachableError",
    "Unseen",
    "UnsupportedError",
    "__version__",
    "aio",
    "asgi",
    "clean",
    "connect",
    "handler",
    "log_to_python",
    "recover",
    "status",
    "wsgi",
]


def __getattr__(name: str) -> object:
    import importlib

    if name in _SUBMODULES:
        return importlib.import_module(f"{__name__}.{name}")
    if name == "__version__":
        from . import _native

        value: object = _native.version()
    elif name in _HOME:
        value = getattr(importlib.import_module(f"{__name__}.{_HOME[name]}"), name)
    else:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__, *_SUBMODULES, "__version__"})
