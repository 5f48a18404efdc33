"""Marks."""

from __future__ import annotations

from typing import Any

import pytest

from .kube import Kube


def apply(request: pytest.FixtureRequest, kube: Kube, mark: str) -> None:
    """Exchanges what the test's marks ask for: those of the module first, the nearest one last."""
    for marker in reversed(list(request.node.iter_markers(mark))):
        service, to, options = _arguments(marker)
        if isinstance(to, str) and to.isidentifier():
            to = request.getfixturevalue(to)
        kube.exchange(service, to, **options)


def _arguments(marker: pytest.Mark) -> tuple[str, Any, dict[str, Any]]:
    """Service, ``to`` and options, or pytest's own error for a mark that makes no sense."""

    def meant(service: str, to: Any, *, wait: Any = None, deadline: Any = None) -> tuple[str, Any, dict[str, Any]]:
        return service, to, {"wait": wait, "deadline": deadline}

    try:
        return meant(*marker.args, **marker.kwargs)
    except TypeError as error:
        raise pytest.UsageError(f"mark exchange(service, to, *, wait, deadline): {error}") from None
