"""Liveness and readiness, as container platforms ask for them."""

import logging
from collections.abc import Callable, Mapping

from flask import Blueprint, jsonify
from flask.typing import ResponseReturnValue

log = logging.getLogger(__name__)

LIVE_PATH = "/livez"
READY_PATH = "/readyz"
HEALTH_PATHS = frozenset({LIVE_PATH, READY_PATH})


class NotReadyError(Exception):
    """A check's word that the service cannot do its work now; its text says why."""


Check = Callable[[], None]


def health_blueprint(checks: Mapping[str, Check]) -> Blueprint:
    """Return the two health views: `/livez` (the process answers), `/readyz` (it can work).

    A check returns where all is well and raises NotReadyError where not. `/readyz` answers 200
    or 503 with the name of each check; the reason stands in the log alone.
    """
    health = Blueprint("health", __name__)

    @health.get(LIVE_PATH)
    def live() -> ResponseReturnValue:
        return jsonify(status="live")

    @health.get(READY_PATH)
    def ready() -> ResponseReturnValue:
        results = {name: _passes(name, check) for name, check in checks.items()}
        if all(results.values()):
            return jsonify(status="ready", checks=results)
        return jsonify(status="not ready", checks=results), 503

    return health


def _passes(name: str, check: Check) -> bool:
    try:
        check()
    except NotReadyError as reason:
        log.warning("not ready: %s: %s", name, reason)
        return False
    return True
