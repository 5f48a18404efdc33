"""What ``to=`` may be, and the servers behind it: standard library only, on free ports of 127.0.0.1."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any, Callable, Protocol, Union

from .log import Log


class Server(Protocol):
    """What serves a ``to=`` that is an object of this process."""

    log: Log

    @property
    def port(self) -> int:
        """The port on 127.0.0.1 while it runs."""
        ...

    def start(self) -> None:
        """Opens the port."""

    def stop(self) -> None:
        """Closes it. Idempotent."""


class Wrapped:
    """A callable whose kind was said."""

    __slots__ = ("make",)

    def __init__(self, make: Callable[[], Server]) -> None:
        self.make = make


def wsgi(app: Callable[..., Any]) -> Wrapped:
    """Says that a callable is a WSGI app, where its signature does not tell."""

    def make() -> Server:
        from .wsgi_server import WsgiServer

        return WsgiServer(app)

    return Wrapped(make)


def asgi(app: Callable[..., Any]) -> Wrapped:
    """Says that a callable is an ASGI app, where its signature does not tell."""

    def make() -> Server:
        from .asgi_server import AsgiServer

        return AsgiServer(app)

    return Wrapped(make)


def handler(function: Callable[..., Any]) -> Wrapped:
    """Says that a callable is a handler of one request, where its signature does not tell."""

    def make() -> Server:
        if _is_async(function):
            from .asgi_server import AsgiServer, asgi_of

            return AsgiServer(asgi_of(function))
        from .callables import HandlerServer

        return HandlerServer(function)

    return Wrapped(make)


class Endpoints:
    """The local ends of one exchange: what the engine takes, and the servers that run for it."""

    def __init__(self, to: Any) -> None:
        #: Servers that were started here and are stopped by :meth:`stop`.
        self._own: list[Server] = []
        #: All servers, also those that ran before.
        self.all: list[Server] = []
        #: As the engine reads it.
        self.entries: Union[str, int, list[str]]
        try:
            if isinstance(to, Mapping):
                if not to:
                    raise ValueError("to= names no port")
                self.entries = [f"{self._entry(end)}:{port}" for port, end in to.items()]
            else:
                self.entries = self._entry(to)
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """Stops the servers, the last one first. Idempotent."""
        while self._own:
            self._own.pop().stop()

    def _entry(self, to: Any) -> Union[str, int]:
        if isinstance(to, bool):
            raise TypeError("to= is no bool")
        if isinstance(to, int):
            return to
        if isinstance(to, str):
            return to
        if isinstance(to, os.PathLike):
            return os.path.abspath(str(os.fspath(to)))
        if isinstance(to, tuple):
            if len(to) != 2 or not isinstance(to[0], str) or not isinstance(to[1], int):
                raise TypeError(f"to= as a tuple is (host, port), not {to!r}")
            host, port = to
            return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        server = server_for(to)
        self.all.append(server)
        if not server.port:
            # One that runs already belongs to whoever started it. Known before, in case the start is interrupted or too late.
            self._own.append(server)
            server.start()
        return f"127.0.0.1:{server.port}"


def server_for(to: Any) -> Server:
    """The server, not started, for an app, handler, handler class or stub."""
    if isinstance(to, Wrapped):
        return to.make()
    from .server import LocalServer

    if isinstance(to, LocalServer):
        return to
    if isinstance(to, type):
        import socketserver

        if issubclass(to, socketserver.BaseRequestHandler):
            from .classes import ClassServer

            return ClassServer(to)
        raise TypeError(f"to= is the class {to.__name__}, which is no handler class of socketserver")
    if not callable(to):
        raise TypeError(
            f"to= is a {type(to).__name__}; it may be a port, (host, port), a path, a WSGI or ASGI app, a function of one"
            " request, a handler class of socketserver or http.server, or a StubServer"
        )
    count = _required_arguments(to)
    if count == 1:
        return handler(to).make()
    if count == 2:
        return wsgi(to).make()
    if count == 3:
        return asgi(to).make()
    raise TypeError(
        f"to= is {to!r}, and its signature does not tell what it is; say it: kubetether.wsgi(app), kubetether.asgi(app) or"
        " kubetether.handler(function)"
    )


def _is_async(function: Callable[..., Any]) -> bool:
    import inspect

    return inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(
        getattr(function, "__call__", None)
    )


def _required_arguments(function: Callable[..., Any]) -> Union[int, None]:
    """How many positional arguments it has to be given; ``None`` when it does not say."""
    import inspect

    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):
        return None
    count = 0
    for parameter in parameters:
        if parameter.kind is parameter.VAR_POSITIONAL:
            return None
        if parameter.kind is parameter.KEYWORD_ONLY and parameter.default is parameter.empty:
            return None
        if parameter.kind in (parameter.POSITIONAL_ONLY, parameter.POSITIONAL_OR_KEYWORD):
            count += parameter.default is parameter.empty
    return count
