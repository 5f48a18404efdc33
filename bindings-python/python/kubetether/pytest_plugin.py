"""The pytest plugin: Services of a cluster exchanged for the length of a test.

Fixtures, all of which cost nothing in a run that does not use them:

``kube``
    A :class:`Kube` for one test: ``kube.exchange("orders", to=app)``, ``kube.forward("db", 5432)``, ``kube.url("shop:8080")``.
    What it began is undone at the end of the test in reverse order, also after a failure, a time-out or Ctrl-C.
``kube_session``
    The :class:`kubetether.Session` behind it: one for the whole run, or for each worker of pytest-xdist.
``kube_namespace``
    A :class:`Kube` in a fresh namespace with a session of its own; both are taken away after the test.

``@pytest.mark.exchange("orders", to="app")`` exchanges before the test begins; a ``to`` that is a word is the name of a fixture.
The handle is ``kube.exchanges["orders"]``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator
    from typing import Any

    from . import Session
    from ._pytest.kube import Kube as Kube

_MARK = "exchange"


def __getattr__(name: str) -> object:
    # For annotations in tests: `from kubetether.pytest_plugin import Kube`.
    if name == "Kube":
        from ._pytest import kube

        return kube.Kube
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("kubetether", "Services of a Kubernetes cluster (kubetether)")
    settings = (
        ("context", "the context of the kubeconfig"),
        ("namespace", "the namespace of the Services"),
        ("kubeconfig", "the kubeconfig file"),
    )
    for name, what in settings:
        group.addoption(f"--kube-{name}", dest=f"kube_{name}", metavar=name.upper(), help=what)
        parser.addini(f"kube_{name}", what)
    parser.addini("kube_wait", "seconds to wait for a Service that somebody else holds (default: 0)", default="0")
    group.addoption(
        "--kube-skip-unreachable",
        dest="kube_skip_unreachable",
        action="store_true",
        help="skip the tests that need a cluster when there is none that can be reached",
    )
    group.addoption(
        "--kube-keep-on-failure",
        dest="kube_keep_on_failure",
        action="store_true",
        help="what a failed test exchanged stays so until the run ends, which at a terminal waits for Enter first; its namespace"
        " stays for good, and at a terminal the run waits for Enter before what is exchanged in there is put back",
    )


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line(
        "markers",
        f"{_MARK}(service, to, *, wait=None, deadline=None): exchange a Service of the cluster for the length of the test;"
        " `to` is what kube.exchange takes, or the name of a fixture",
    )


def pytest_itemcollected(item: pytest.Item) -> None:
    names = getattr(item, "fixturenames", None)
    if names is not None and "_kube_marks" not in names and item.get_closest_marker(_MARK):
        # Last: after the fixtures that the test itself asks for.
        names.append("_kube_marks")


# Of the old style: pluggy before 1.2 knows no other, and ends every run of pytest with it.
@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Generator[None, Any, None]:
    outcome = yield
    report: pytest.TestReport = outcome.get_result()
    if report.failed:
        import sys

        # Whoever made a Kube has loaded it.
        module = sys.modules.get(f"{__package__}._pytest.kube")
        if module is not None:
            module.failed(item, report)


@pytest.fixture(scope="session")
def kube_session(request: pytest.FixtureRequest) -> Iterator[Session]:
    """A session for the whole run, or for each worker of it."""
    from ._pytest.kube import connected, linger

    with connected(request.config) as session:
        yield session
        linger(request.config, session)


@pytest.fixture
def kube(request: pytest.FixtureRequest, kube_session: Session) -> Iterator[Kube]:
    """Exchanges and forwards for one test, undone at its end."""
    from ._pytest.kube import for_test

    yield from for_test(request.node, kube_session)


@pytest.fixture
def kube_namespace(request: pytest.FixtureRequest) -> Iterator[Kube]:
    """A fresh namespace for one test, with a session of its own."""
    from ._pytest.namespace import fresh

    yield from fresh(request.node)


@pytest.fixture
def _kube_marks(request: pytest.FixtureRequest, kube: Kube) -> None:
    from ._pytest.marks import apply

    apply(request, kube, _MARK)
