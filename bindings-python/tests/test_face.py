"""The package as it was built, against the engine's tables."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from cluster import Cluster

import kubetether
from kubetether import _native, errors, options
from kubetether._handles import FOLDER


def definition(name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(_native.schema())["$defs"][name]
    return found


def test_a_class_for_each_code() -> None:
    table = {(number, code, name) for number, code, name in _native.codes()}
    assert table == {(kind.number, kind.code, kind.__name__) for kind in errors.BY_CODE.values()}
    for kind in errors.BY_CODE.values():
        assert getattr(kubetether, kind.__name__) is kind and kind.__doc__
    assert issubclass(kubetether.DeadlineError, TimeoutError)


def test_keywords_are_those_of_the_schema() -> None:
    assert set(options.SessionOptions.__annotations__) == set(definition("SessionOptions")["properties"])
    calls = {
        "ExchangeCall": (kubetether.Session.exchange, {"self"}),
        "ForwardCall": (kubetether.Session.forward, {"self", "to_port"}),
        "CloseCall": (kubetether.Session.close, {"self"}),
        "StatusCall": (kubetether.status, {"options"}),
        "CleanCall": (kubetether.clean, {"options"}),
        "RecoverCall": (kubetether.recover, {"options"}),
    }
    import inspect

    for name, (call, own) in calls.items():
        assert set(inspect.signature(call).parameters) - own == set(definition(name)["properties"]), name


def test_everything_public_is_there_and_documented() -> None:
    assert kubetether.__version__ == _native.version()
    for name in kubetether.__all__:
        thing = getattr(kubetether, name)
        assert name in dir(kubetether)
        if name != "__version__":
            assert thing.__doc__, name
        for each, member in vars(thing).items() if isinstance(thing, type) else ():
            if not each.startswith("_") and callable(member):
                assert member.__doc__, f"{name}.{each}"
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        kubetether.nothing  # noqa: B018


def test_errors_survive_another_process() -> None:
    import pickle

    error = kubetether.HeldError("held", object="services/x", hint="wait", causes=["a"], evidence=["b"])
    again = pickle.loads(pickle.dumps(error))
    assert type(again) is kubetether.HeldError and str(again) == str(error) and again.evidence == ["b"]
    assert type(errors.from_json('{"code": "later", "message": "m"}')) is kubetether.KubetetherError


def test_a_package_carries_the_agent() -> None:
    for name in ("kubetether-agent-x86_64", "kubetether-restore-x86_64"):
        assert (Path(FOLDER) / name).read_bytes()[:4] == b"\x7fELF"


def test_installers_know_which_interpreters_it_is_for() -> None:
    """Every CPython from 3.9 on, and none without the GIL: `tests/others` installs it for those that are here."""
    from importlib.metadata import distribution

    from packaging import tags

    said = re.search(r"^Tag: (.+)$", distribution("kubetether").read_text("WHEEL") or "", re.MULTILINE)
    assert said
    tag, platform = tags.parse_tag(said[1]), [said[1].rpartition("-")[2]]

    def taken(minor: int, abi: str) -> bool:
        return not tag.isdisjoint(tags.cpython_tags((3, minor), [abi], platform))

    assert [minor for minor in range(7, 20) if taken(minor, f"cp3{minor}")] == list(range(9, 20))
    assert [minor for minor in range(13, 20) if taken(minor, f"cp3{minor}t")] == []


def test_ten_thousand_forwards(cluster: Cluster) -> None:
    """Neither memory nor descriptors grow."""

    def held() -> tuple[int, int]:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
        return pages * 4096, len(list(Path("/proc/self/fd").iterdir()))

    with kubetether.connect(kubeconfig=cluster.kubeconfig, linger=0) as session:

        def some(count: int) -> None:
            for _ in range(count):
                session.forward("orders:8080").close()

        some(2500)
        memory, descriptors = held()
        some(7500)
        memory_after, descriptors_after = held()
        assert session._handles == {}
    assert memory_after - memory < 8 << 20, (memory, memory_after)
    assert descriptors_after - descriptors < 8, (descriptors, descriptors_after)
