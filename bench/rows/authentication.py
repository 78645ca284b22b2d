"""What it costs to authenticate a client: by its secret, and by an assertion that it signs."""

import json
import time
import uuid
from dataclasses import replace
from functools import partial
from itertools import count
from pathlib import Path

from joserfc import jwt
from joserfc.jwk import ECKey, RSAKey

from bench.launch import FORM, TOKEN_FORM, Ask, Launch, Peer, Varied
from bench.machine import Cores
from bench.peers.ours import OurServer
from bench.plan import Plan
from bench.rows.variants import measure_variants
from shared.identifiers import JWKS_PATH, TOKEN_PATH

TOKENS_BY = "ES256"
ASSERTIONS_BY = ("RS256", "ES256")
ASSERTIONS_A_SECOND = 3000
"""More than the server answers, as each assertion is good for one request."""
LIFETIME_SECONDS = 600
ASSERTION_TYPE = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"

LINES = (
    "## Tokens, by the method of authentication",
    "",
    f"The tokens are signed by {TOKENS_BY}. An assertion is verified, and its `jti` is stored "
    "until it expires: each is good once. They are signed beforehand, off the clock. "
    "Each waits until its `jti` is on the disk, so tokens/s are the disk's: read the CPU.",
)


def measure(plan: Plan, cores: Cores, out: Path) -> str:
    """Measure our server with each method."""
    variants = [Peer("client_secret_basic", _with_secret)]
    variants += [
        Peer(f"private_key_jwt, {algorithm}", partial(_with_key, algorithm))
        for algorithm in ASSERTIONS_BY
    ]
    return measure_variants("authentication", LINES, variants, plan, cores, out)


def _server(folder: Path) -> OurServer:
    server = OurServer(folder, {"AUTH_SERVER_ACCESS_TOKEN_ALGORITHM": TOKENS_BY})
    server.set_up()
    return server


def _with_secret(folder: Path) -> Launch:
    server = _server(folder)
    return server.launch((TOKENS_BY, "bench", server.add_client("bench")))


def _with_key(algorithm: str, folder: Path) -> Launch:
    server = _server(folder)
    key = RSAKey.generate_key(2048) if algorithm == "RS256" else ECKey.generate_key("P-256")
    public = folder / "client.jwks"
    members = {**key.as_dict(private=False), "alg": algorithm, "use": "sig", "kid": "one"}
    public.write_text(json.dumps({"keys": [members]}))
    server.add_client("bench", "--auth-method", "private_key_jwt", "--jwks", str(public))
    ask = Ask(
        TOKENS_BY,
        TOKEN_PATH,
        headers={"Content-Type": FORM},
        body=TOKEN_FORM,
        algorithm=TOKENS_BY,
        is_guarded=True,
        varied=partial(_assertions, server.issuer, key, algorithm, folder, count()),
    )
    ready = Ask("ready", JWKS_PATH, method="GET")
    return replace(server.launch(), asks=(ask,), first=ready)


def _assertions(
    issuer: str,
    key: RSAKey | ECKey,
    algorithm: str,
    folder: Path,
    numbers: "count[int]",
    seconds: float,
) -> Varied:
    """Return a file with one request form a line, for so many seconds of load."""
    file = folder / f"forms-{next(numbers)}"
    header = {"alg": algorithm, "kid": "one", "typ": "client-authentication+jwt"}
    claims = {"iss": "bench", "sub": "bench", "aud": issuer}
    expiry = int(time.time()) + LIFETIME_SECONDS
    with file.open("w") as forms:
        for _ in range(round(seconds * ASSERTIONS_A_SECOND)):
            own = {**claims, "exp": expiry, "jti": uuid.uuid4().hex}
            assertion = jwt.encode(header, own, key, algorithms=[algorithm])
            form = f"{TOKEN_FORM}&client_assertion_type={ASSERTION_TYPE}"
            forms.write(f"{form}&client_assertion={assertion}\n")
    return Varied("body", file)
