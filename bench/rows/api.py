"""What it costs to check a token: a guarded GET beside the same route unguarded.

All APIs trust one issuer, which runs here and signs the same tokens for all of them. `RS256` and
`ES256` are tokens that come round so seldom that nobody remembers them; `seen` is one that is sent
again and again, as a client does that uses its token until it expires. The open route is asked with
that token too: what the server takes for the longer head is no part of the check.
"""

import time
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

from bench.comparison import Comparison, Measurement, compare
from bench.launch import Ask, Varied
from bench.machine import Cores
from bench.peers.apis import AUDIENCE, TrustedIssuer, api_peers
from bench.plan import Plan
from bench.report import put_section, shown, table
from bench.spread import Spread
from tests.stack.issuer import OwnIssuer

OPEN, HEAD, SEEN = "open", "open, with the token", "RS256, seen"
KIDS = {"RS256": "rsa", "ES256": "ec"}
TOKENS = 3000
"""More than any API remembers: ours keeps 1,000."""
LIFETIME_SECONDS = 6 * 3600
TURNS = 12
"""How many turns each request has in a round."""

Turn = tuple[int, int]
"""A round, and a turn in it."""

TEXT = (
    "`RS256, seen` is one token that comes again and again; of the others each is a new one. "
    "`open, with the token` is the open route, asked with a token that it does not look at: the "
    "longer head costs that, the check the rest of what a request takes above the open route. "
    "Spring alone verifies it there as well. The requests of an API take turns, "
    f"{TURNS} a round, which share its seconds; the last column is the median of the differences "
    "within a turn, and a range is over all turns.",
)


def measure(plan: Plan, cores: Cores, out: Path) -> str:
    """Measure our token check and the peers'."""
    with OwnIssuer(AUDIENCE, client_id="bench") as issuer:
        tokens = {name: _tokens(issuer, kid) for name, kid in KIDS.items()}
        trusted = TrustedIssuer(issuer.url, issuer.jwks())
        comparison = compare(api_peers(trusted, partial(_asks, tokens)), plan, cores, TURNS)
    noises = [one.noise for one in comparison.measurements]
    return put_section(out, "api", _lines(comparison), cores, noises, plan)


def _tokens(issuer: OwnIssuer, kid: str) -> list[str]:
    claims = {"exp": int(time.time()) + LIFETIME_SECONDS, "scope": "Read"}
    return [issuer.token(kid, claims=claims) for _ in range(TOKENS)]


def _asks(
    tokens: Mapping[str, list[str]], guarded: Mapping[str, str], folder: Path
) -> tuple[Ask, ...]:
    """Return what an API is asked: the open route, then the guarded ones, by their algorithms."""
    asks = [Ask(OPEN, "/open", method="GET")]
    for name, path in guarded.items():
        file = folder / name
        file.write_text("\n".join(f"Bearer {token}" for token in tokens[name]))
        asks.append(Ask(name, path, "GET", is_guarded=True, varied=partial(_same, file)))
    headers = {"Authorization": f"Bearer {tokens['RS256'][0]}"}
    asks.append(Ask(HEAD, "/open", "GET", headers))
    return (*asks, Ask(SEEN, guarded["RS256"], "GET", headers, is_guarded=True))


def _same(file: Path, _: float) -> Varied:
    return Varied("authorization", file)


def _lines(comparison: Comparison) -> list[str]:
    return [
        "## The token check, above the same route without it",
        "",
        *TEXT,
        "",
        *table(
            ("API", "request", "answers/s", "p99 ms", "CPU µs", "above the open route, CPU µs"),
            _rows(comparison.measurements),
        ),
        "",
        *(f"- {peer}: {versions}" for peer, versions in comparison.versions.items()),
        *(f"- {peer}: left out, {why}" for peer, why in comparison.left_out.items()),
    ]


def _rows(measurements: Sequence[Measurement]) -> list[tuple[str, ...]]:
    groups: dict[tuple[str, str], dict[Turn, Measurement]] = {}
    for one in measurements:
        groups.setdefault((one.peer, one.ask), {})[one.round, one.turn] = one
    return [
        (
            *key,
            shown(Spread.of(one.rate for one in rounds.values()), 0),
            shown(Spread.of(one.p99_ms for one in rounds.values()), 1),
            shown(Spread.of(one.cpu_us for one in rounds.values()), 0),
            "" if key[1] == OPEN else shown(_check(rounds, groups[key[0], OPEN]), 0),
        )
        for key, rounds in groups.items()
    ]


def _check(asked: Mapping[Turn, Measurement], unguarded: Mapping[Turn, Measurement]) -> Spread:
    """Return what a request costs more than the open one of the same turn."""
    return Spread.of(one.cpu_us - unguarded[turn].cpu_us for turn, one in asked.items())
