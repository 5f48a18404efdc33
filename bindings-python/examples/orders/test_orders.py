"""The service is tested where it lives: the cluster's `orders` is this process for the length of each test.

    kubectl --namespace shop apply -f shop.yaml && pytest --kube-namespace=shop

Callers in the cluster, and the local port that stands for one here, get their answers from the Flask app below; what the app
asks of `payments` comes to a stub.
"""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from typing import Any, Optional

import pytest
from service import create_app

from kubetether import StubServer
from kubetether.pytest_plugin import Kube


def call(url: str, body: Optional[dict[str, Any]] = None) -> tuple[int, Any]:
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data, {"Content-Type": "application/json"})
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read()


@pytest.fixture
def payments(kube: Kube) -> StubServer:
    """The cluster's `payments`, which accepts every charge."""
    stub = StubServer().answer("/charges", {"accepted": True}, method="POST")
    kube.exchange("payments", to=stub)
    return stub


@pytest.fixture
def orders(kube: Kube, payments: StubServer) -> str:
    """The cluster's `orders` is the app; its URL as the cluster sees it."""
    kube.exchange("orders", to=create_app(kube.url("payments:8080")))
    return kube.url("orders:8080")


def test_an_order_is_paid(orders: str, payments: StubServer) -> None:
    status, order = call(f"{orders}/orders", {"item": "tea"})
    assert (status, order["paid"]) == (201, True)
    assert call(f"{orders}/orders/{order['id']}") == (200, order)
    (charge,) = payments.wait_for(1)
    assert charge.json() == {"order": order["id"]}


def test_a_charge_that_is_refused(orders: str, payments: StubServer) -> None:
    payments.answer("/charges", {"accepted": False})
    status, _ = call(f"{orders}/orders", {"item": "gold"})
    assert status == 402


def test_an_order_that_there_is_not(orders: str) -> None:
    assert call(f"{orders}/orders/99")[0] == 404
