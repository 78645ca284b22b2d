"""What the bank's token check costs: `python -m bench.token_check`, microseconds of CPU a request.

One route that returns a constant, without a database, once open and once behind
`@require_token`, is asked through the WSGI interface in this process: no socket, and with the
tracing, host check and headers that every service has. A round asks each case the same number of
times, one case after the other; the check's cost is the median, over the rounds, of a case less
the open route of the same round. A CPU that others use too makes all of it dearer.
"""

import io
import sys
import time
from collections.abc import Callable, Iterator
from itertools import islice, repeat
from statistics import median
from wsgiref.util import setup_testing_defaults

from flask import Flask
from flask.typing import ResponseReturnValue

from resource_server.issuer_keys import IssuerKeys
from resource_server.settings import ResourceServerSettings
from resource_server.token_validation import TokenValidator, check_tokens, require_token
from shared.service_app import service_app
from shared.tracing import tracer_provider
from tests.stack.issuer import OwnIssuer

RESOURCE = "http://localhost:9001"
ROUNDS = 60
REQUESTS_A_ROUND = 50
OPEN = "open"

Tokens = Iterator[str | None]
"""What to bring, request for request; None asks the open route."""


def main() -> None:
    """Measure, and print a line for each case."""
    with OwnIssuer(RESOURCE) as issuer:
        app = bank_without_database(issuer)
        seen = issuer.token("rsa")
        cases: dict[str, Tokens] = {
            OPEN: repeat(None),
            "RS256": new_tokens(issuer, "rsa"),
            "ES256": new_tokens(issuer, "ec"),
            "seen before": repeat(seen),
        }
        rounds = [one_round(app, cases) for _ in range(1 + ROUNDS)][1:]  # the first warms up
    print(f"{'':12} {'a request':>10} {'the check':>10}   µs of CPU")
    for name in cases:
        whole = median(costs[name] for costs in rounds)
        check = median(costs[name] - costs[OPEN] for costs in rounds)
        print(f"{name:12} {whole:10.1f} {check:10.1f}")


def bank_without_database(issuer: OwnIssuer) -> Flask:
    """Return an application with the routes `/open` and `/guarded`, which differ in the check."""
    settings = ResourceServerSettings(transport="plain-http", issuer=issuer.url, resource=RESOURCE)
    app = service_app(__name__, settings, tracer_provider("bench"), {})
    check_tokens(app, TokenValidator(issuer.url, RESOURCE, IssuerKeys(issuer.url)), "bench")
    app.add_url_rule("/open", "open", constant)
    app.add_url_rule("/guarded", "guarded", require_token(scope="Read")(constant))
    return app


def constant() -> ResponseReturnValue:
    """Return what both routes answer."""
    return {"balance": 100}


def new_tokens(issuer: OwnIssuer, kid: str) -> Tokens:
    """Return good tokens, each of them once; they are signed before anything is measured."""
    return iter([issuer.token(kid) for _ in range((1 + ROUNDS) * REQUESTS_A_ROUND)])


def one_round(app: Flask, cases: dict[str, Tokens]) -> dict[str, float]:
    """Return what a request of each case costs, in microseconds of this thread's CPU."""
    costs = {}
    for name, tokens in cases.items():
        each = [cost_of(app, request_with(token)) for token in islice(tokens, REQUESTS_A_ROUND)]
        costs[name] = sum(each) / len(each) * 1e6
    return costs


def cost_of(app: Flask, environ: dict[str, object]) -> float:
    """Return the CPU seconds that one answer costs; the request has just been read."""
    started = time.thread_time()
    ask(app, environ)
    return time.thread_time() - started


def request_with(token: str | None) -> dict[str, object]:
    """Return the WSGI environment of a request with ``token``; None asks the open route."""
    environ: dict[str, object] = {"HTTP_HOST": "localhost:9001", "wsgi.input": io.BytesIO()}
    environ["PATH_INFO"] = "/open" if token is None else "/guarded"
    environ |= {} if token is None else {"HTTP_AUTHORIZATION": f"Bearer {token}"}
    setup_testing_defaults(environ)
    return environ


def ask(app: Flask, environ: dict[str, object]) -> None:
    """Answer one request as a WSGI server does; stop the measurement where it is refused."""
    body = app.wsgi_app(environ, _require_200)
    b"".join(body)
    close = getattr(body, "close", None)
    if close is not None:
        close()


def _require_200(status: str, *_: object) -> Callable[[bytes], object]:
    if not status.startswith("200"):
        sys.exit(f"a request was answered {status}")
    return lambda _: None


if __name__ == "__main__":
    main()
