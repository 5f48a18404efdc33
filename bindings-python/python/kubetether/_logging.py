"""The engine's log, on request."""

from __future__ import annotations

import logging

from . import _native


def log_to_python(level: int = logging.INFO) -> None:
    """Hands what the engine logs from ``level`` on to the loggers ``kubetether.*`` of :mod:`logging`.

    ``logging.CRITICAL + 1`` ends it. What is below ``level`` costs nothing.
    """
    if level > logging.CRITICAL:
        _native.log_to(None, 0)
        return
    _native.log_to(_log, min(max(level, 0), 50))


def _log(level: int, target: str, text: str) -> None:
    logging.getLogger(target.replace("::", ".")).log(level, "%s", text)
