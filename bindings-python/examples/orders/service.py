"""A small service: it takes orders, and has them paid by the Service `payments`."""

from __future__ import annotations

import itertools
import json
import urllib.request
from typing import Any

from flask import Flask, Response, abort, jsonify, request


def create_app(payments: str) -> Flask:
    """`payments` is the URL of the payment service."""
    app = Flask("orders")
    orders: dict[int, dict[str, Any]] = {}
    numbers = itertools.count(1)

    @app.post("/orders")
    def take() -> tuple[Response, int]:
        order = {"id": next(numbers), "item": request.json["item"], "paid": False}
        charge = urllib.request.Request(f"{payments}/charges", json.dumps({"order": order["id"]}).encode(), method="POST")
        with urllib.request.urlopen(charge, timeout=10) as answer:
            order["paid"] = json.load(answer)["accepted"]
        orders[order["id"]] = order
        return jsonify(order), 201 if order["paid"] else 402

    @app.get("/orders/<int:number>")
    def look_up(number: int) -> Response:
        if number not in orders:
            abort(404)
        return jsonify(orders[number])

    return app
