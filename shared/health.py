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


def health_blueprint(
    checks: Mapping[str, Check], lives: Mapping[str, Check] | None = None
) -> Blueprint:
    """Return the two health views: `/livez` (no new start is needed), `/readyz` (it can work).

    A check returns where all is well and raises NotReadyError where not. `/readyz` answers 200
    or 503 with the name of each check; the reason stands in the log alone. ``lives`` are the
    checks of `/livez`: only of what a new start mends, as that is what a platform then does.
    """
    health = Blueprint("health", __name__)

    @health.get(LIVE_PATH)
    def live() -> ResponseReturnValue:
        if all(_passes("live", name, check) for name, check in (lives or {}).items()):
            return jsonify(status="live")
        return jsonify(status="not live"), 503

    @health.get(READY_PATH)
    def ready() -> ResponseReturnValue:
        results = {name: _passes("ready", name, check) for name, check in checks.items()}
        if all(results.values()):
            return jsonify(status="ready", checks=results)
        return jsonify(status="not ready", checks=results), 503

    return health


def _passes(what: str, name: str, check: Check) -> bool:
    try:
        check()
    except NotReadyError as reason:
        log.warning("not %s: %s: %s", what, name, reason)
        return False
    return True
