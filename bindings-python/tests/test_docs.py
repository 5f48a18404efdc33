"""README and examples do what they say."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from cluster import LIMIT, Cluster

HERE = Path(__file__).resolve().parents[1]
BLOCKS = re.findall(r"^```python\n(.*?)^```$", (HERE / "README.md").read_text(), re.MULTILINE | re.DOTALL)
PROGRAMS = [block for block in BLOCKS if not block.startswith("# test_")]
TESTS = [block for block in BLOCKS if block.startswith("# test_")]


@pytest.mark.parametrize("text", PROGRAMS, ids=lambda text: text.splitlines()[0])
def test_programs_of_the_readme(text: str, cluster: Cluster) -> None:
    environment = {**os.environ, "KUBECONFIG": str(cluster.kubeconfig)}
    ended = subprocess.run(
        [sys.executable, "-W", "error", "-c", text], capture_output=True, text=True, env=environment, timeout=2 * LIMIT
    )
    assert ended.returncode == 0 and not ended.stderr, ended.stderr
    for line in re.findall(r"print\(.*\)  # (b'.*)$", text, re.MULTILINE):
        assert line in ended.stdout
    assert cluster.is_original("orders") and cluster.leases() == []


def test_tests_of_the_readme(pytester: pytest.Pytester, cluster: Cluster) -> None:
    assert len(PROGRAMS) == 3 and len(TESTS) == 1
    pytester.makepyfile(TESTS[0])
    result = pytester.runpytest_subprocess("--strict-markers", f"--kube-kubeconfig={cluster.kubeconfig}")
    result.assert_outcomes(passed=2)


def test_the_example(cluster: Cluster) -> None:
    ended = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", f"--kube-kubeconfig={cluster.kubeconfig}"],
        cwd=HERE / "examples" / "orders", capture_output=True, text=True, timeout=2 * LIMIT,
    )
    assert ended.returncode == 0 and " 3 passed" in ended.stdout, ended.stdout


def test_apps_of_frameworks(cluster: Cluster) -> None:
    import fastapi
    import flask

    import kubetether
    from cluster import ask

    wsgi = flask.Flask("a")
    wsgi.add_url_rule("/<name>", "hello", lambda name: f"flask {name}")
    asgi = fastapi.FastAPI()
    asgi.add_api_route("/{name}", lambda name: f"fastapi {name}")
    with kubetether.connect(kubeconfig=cluster.kubeconfig, linger=0) as session:
        url = session.forward("orders:8080").url("/x")
        with session.exchange("orders", to=wsgi):
            assert ask(url) == "flask x"
        with session.exchange("orders", to=asgi):
            assert ask(url) == '"fastapi x"'
