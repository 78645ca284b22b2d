"""What the bank's token check costs: `python -m bench.token_check`, microseconds of CPU a request.

One route that returns a constant, without a database, once open and once behind
`@require_token`, is asked through the WSGI interface in this process: no socket, and with the
tracing, host check and headers that every service has. A round asks each case the same number of
times, one case after the other; the check's cost is the median, over the rounds, of a case less
the open route of the same round. A CPU that others use too makes all of it dearer.

The floor is what stops it: the same route with nothing but `verify` of the key in `cryptography`
in front, once a request; for a token seen before, with nothing but its digest, sought in a
dictionary, and its end. In a request that costs more than in a loop, as it drives out of the CPU's
caches what Flask needs next, and Flask what it needs.
"""

import argparse
import io
import math
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from hashlib import blake2b
from itertools import islice, repeat
from statistics import median
from wsgiref.util import setup_testing_defaults

from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.hashes import SHA256
from flask import Flask, request
from flask.typing import ResponseReturnValue

from resource_server.issuer_keys import IssuerKeys
from resource_server.settings import ResourceServerSettings
from resource_server.token_validation import TokenValidator, check_tokens, require_token
from shared.gunicorn_worker import keep_what_is_loaded
from shared.service_app import service_app
from shared.tracing import tracer_provider
from tests.stack.issuer import OwnIssuer

RESOURCE = "http://localhost:9001"
ROUNDS = 60
REQUESTS_A_ROUND = 50
OPEN = "open"
SIGNED = bytes(600)
"""As long as what an access token's signature is over."""

Requests = Iterator[dict[str, object]]
"""The WSGI environments of a case, made when they are wanted."""


def main() -> None:
    """Measure, and print a line for each case."""
    argparse.ArgumentParser(description=__doc__).parse_args()
    with OwnIssuer(RESOURCE) as issuer:
        app = bank_without_database(issuer)
        seen = issuer.token("rsa")
        app.add_url_rule("/seen", "seen", after(memory_of(seen)))
        cases: dict[str, Requests] = {
            OPEN: map(request_for, repeat("/open")),
            "RS256": map(partial(request_for, "/guarded"), new_tokens(issuer, "rsa")),
            "ES256": map(partial(request_for, "/guarded"), new_tokens(issuer, "ec")),
            "seen before": map(partial(request_for, "/guarded"), repeat(seen)),
            "RS256 floor": map(request_for, repeat("/rsa")),
            "ES256 floor": map(request_for, repeat("/ec")),
            "seen floor": map(partial(request_for, "/seen"), repeat(seen)),
        }
        keep_what_is_loaded()  # as a worker does
        rounds = [one_round(app, cases) for _ in range(1 + ROUNDS)][1:]  # the first warms up
    print(f"{'':12} {'a request':>10} {'the check':>10}   µs of CPU")
    for name in cases:
        whole = median(costs[name] for costs in rounds)
        check = median(costs[name] - costs[OPEN] for costs in rounds)
        print(f"{name:12} {whole:10.1f} {check:10.1f}")


def bank_without_database(issuer: OwnIssuer) -> Flask:
    """Return an application whose routes differ in what stands before their one answer."""
    settings = ResourceServerSettings(transport="plain-http", issuer=issuer.url, resource=RESOURCE)
    app = service_app(__name__, settings, tracer_provider("bench"), {})
    check_tokens(app, TokenValidator(issuer.url, RESOURCE, IssuerKeys(issuer.url)), "bench")
    app.add_url_rule("/open", "open", constant)
    app.add_url_rule("/guarded", "guarded", require_token(scope="Read")(constant))
    app.add_url_rule("/rsa", "rsa", after(rsa_verification()))
    app.add_url_rule("/ec", "ec", after(ec_verification()))
    return app


def constant() -> ResponseReturnValue:
    """Return what all routes answer."""
    return {"balance": 100}


def after(verify: Callable[[], None]) -> Callable[[], ResponseReturnValue]:
    """Return a view that does nothing but ``verify`` before it answers."""

    def view() -> ResponseReturnValue:
        verify()
        return constant()

    return view


def rsa_verification() -> Callable[[], None]:
    """Return the verification of a good signature, as RS256 has them."""
    key, how = rsa.generate_private_key(65537, 2048), (padding.PKCS1v15(), SHA256())
    return partial(key.public_key().verify, key.sign(SIGNED, *how), SIGNED, *how)


def ec_verification() -> Callable[[], None]:
    """Return the verification of a good signature, as ES256 has them but in DER."""
    key, how = ec.generate_private_key(ec.SECP256R1()), ec.ECDSA(SHA256())
    return partial(key.public_key().verify, key.sign(SIGNED, how), SIGNED, how)


def memory_of(token: str) -> Callable[[], None]:
    """Return the least that knows ``token`` again."""
    ends = {blake2b(token.encode()).digest(): math.inf}

    def look_up() -> None:
        _, _, token = request.environ["HTTP_AUTHORIZATION"].partition(" ")
        if ends[blake2b(token.encode()).digest()] <= time.time():
            sys.exit("the token has expired")

    return look_up


def new_tokens(issuer: OwnIssuer, kid: str) -> Iterator[str]:
    """Return good tokens, each of them once; they are signed before anything is measured."""
    return iter([issuer.token(kid) for _ in range((1 + ROUNDS) * REQUESTS_A_ROUND)])


def one_round(app: Flask, cases: dict[str, Requests]) -> dict[str, float]:
    """Return what a request of each case costs, in microseconds of this thread's CPU."""
    costs = {}
    for name, requests in cases.items():
        each = [cost_of(app, environ) for environ in islice(requests, REQUESTS_A_ROUND)]
        costs[name] = sum(each) / len(each) * 1e6
    return costs


def cost_of(app: Flask, environ: dict[str, object]) -> float:
    """Return the CPU seconds that one answer costs; the request has just been read."""
    started = time.thread_time()
    ask(app, environ)
    return time.thread_time() - started


def request_for(path: str, token: str | None = None) -> dict[str, object]:
    """Return the WSGI environment of a request for ``path``, with ``token`` if there is one."""
    environ: dict[str, object] = {"HTTP_HOST": "localhost:9001", "wsgi.input": io.BytesIO()}
    environ["PATH_INFO"] = path
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
