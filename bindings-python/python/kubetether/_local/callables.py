"""Callables as servers: one request in, an answer out."""

from __future__ import annotations

from typing import Any, Callable

from .http import Request, Response
from .threads import Answer, BodyReader, HttpServer


class HandlerServer(HttpServer):
    """Serves ``handler(request)``, in a thread for each connection."""

    def __init__(self, handler: Callable[[Request], Any]) -> None:
        super().__init__()
        self._handler = handler

    def respond(self, request: Request, body: BodyReader, answer: Answer) -> None:
        request.body = body.whole()
        answer.whole(Response.of(self._handler(request)))
