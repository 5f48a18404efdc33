"""A namespace for one test."""

from __future__ import annotations

import contextlib
import secrets
from collections.abc import Generator

import pytest

from .. import _native, _session
from .._handles import FOLDER, close_json
from ..errors import ForbiddenError, KubeconfigError, KubetetherError, UnauthorizedError, UnreachableError
from ..options import session_json
from .kube import Kube, connected, for_test, keeps, linger, setting, skipping, uncaptured

#: A namespace is gone within this many seconds.
_GONE = 60.0
#: One whose making failed is asked to go within this many.
_UNMADE = 10.0


def fresh(item: pytest.Item) -> Generator[Kube, None, None]:
    """Makes it, and takes it away; that of a failed test stays if --kube-keep-on-failure says so."""
    config = item.config
    name = f"kube-test-{secrets.token_hex(5)}"
    where = session_json({"kubeconfig": setting(config, "kubeconfig"), "context": setting(config, "context")})
    with skipping(config, UnreachableError, KubeconfigError):
        _create(where, name)
    try:
        with connected(config, namespace=name) as session:
            yield from for_test(item, session)
            linger(config, session)
    finally:
        if keeps(item):
            if not hasattr(config, "workerinput"):
                with uncaptured(config):
                    print(f"\nkubetether: the namespace {name} stays, for --kube-keep-on-failure", flush=True)
        else:
            _session._wait(_native.delete_namespace(FOLDER, where, name, close_json(_GONE)))


def _create(where: str, name: str) -> None:
    try:
        _session._wait(_native.create_namespace(FOLDER, where, name))
    except (KubeconfigError, UnreachableError, UnauthorizedError, ForbiddenError):
        # Nothing was made.
        raise
    except BaseException:
        # Too late, or interrupted: it may be there all the same.
        with contextlib.suppress(KubetetherError):
            _session._wait(_native.delete_namespace(FOLDER, where, name, close_json(_UNMADE)))
        raise
