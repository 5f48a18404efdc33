"""One embedded cluster for the whole suite."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from cluster import LEASES, Cluster, Sim, wait_until

import kubetether

pytest_plugins = ["pytester"]

#: Services of the suite; tests that run beside each other take different ones.
SERVICES = ("orders", "payments")


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    sim = Sim(tmp_path_factory.mktemp("sim"))
    try:
        for name in SERVICES:
            sim.cluster.service(name)
        for name in SERVICES:
            sim.cluster.wait_for(name)
        yield sim.cluster
    finally:
        sim.stop()


@pytest.fixture(scope="session")
def second_cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    sim = Sim(tmp_path_factory.mktemp("second"))
    try:
        sim.cluster.service("orders")
        sim.cluster.wait_for("orders")
        yield sim.cluster
    finally:
        sim.stop()


@pytest.fixture
def session(cluster: Cluster) -> Iterator[kubetether.Session]:
    """Lingers no longer than it must: no traffic goes on after these tests."""
    with kubetether.connect(kubeconfig=cluster.kubeconfig, linger=0) as session:
        yield session


@pytest.fixture(autouse=True)
def _no_session_is_left(request: pytest.FixtureRequest) -> Iterator[None]:
    """A Lease that a test leaves is a failure of that test, not of all that come after it."""
    yield
    if "cluster" not in request.fixturenames:
        return
    cluster: Cluster = request.getfixturevalue("cluster")
    try:
        wait_until("no session is left", lambda: not cluster.leases())
    except AssertionError:
        left = [cluster.lease(name) for name in cluster.leases()]
        for lease in left:
            cluster.api("DELETE", f"{LEASES}/{lease['metadata']['name']}")
        pytest.fail(f"Leases are left: {left}")


@pytest.fixture(autouse=True)
def _no_thread_is_left() -> Iterator[None]:
    """Servers of a test end with it."""
    yield
    ours = ("kubetether-serve", "kubetether-accept", "kubetether-asgi")

    def left() -> list[str]:
        return [thread.name for thread in threading.enumerate() if thread.name in ours]

    wait_until("the threads of local servers end", lambda: not left())
