"""A namespace for one test."""

from __future__ import annotations

import secrets
from collections.abc import Generator

import pytest

from .. import _native, _session
from .._handles import FOLDER, close_json
from ..options import session_json
from .kube import Kube, connected, for_test, keeps, setting, skipping

#: A namespace is gone within this many seconds.
_GONE = 60.0


def fresh(item: pytest.Item) -> Generator[Kube, None, None]:
    """Makes it, and takes it away; that of a failed test stays if --kube-keep-on-failure says so."""
    config = item.config
    name = f"kube-test-{secrets.token_hex(5)}"
    where = session_json({"kubeconfig": setting(config, "kubeconfig"), "context": setting(config, "context")})
    with skipping(config):
        _session._wait(_native.create_namespace(FOLDER, where, name))
    try:
        with connected(config, namespace=name) as session:
            yield from for_test(item, session)
    finally:
        if keeps(item):
            print(f"kubetether: the namespace {name} stays, for --kube-keep-on-failure")
        else:
            _session._wait(_native.delete_namespace(FOLDER, where, name, close_json(_GONE)))
