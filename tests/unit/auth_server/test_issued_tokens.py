import json
from base64 import urlsafe_b64encode
from collections.abc import Callable
from threading import Barrier, Thread
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import select
from sqlalchemy.exc import SQLAlchemyError

from auth_server.app import MIGRATIONS
from auth_server.issued_tokens import (
    KEPT_AFTER_THE_END_SECONDS,
    SWEEP_SECONDS,
    InactiveTokenError,
    IssuedTokens,
)
from auth_server.jwk import ALGORITHMS
from auth_server.models import RevokedToken
from auth_server.settings import SigningAlgorithm
from auth_server.signing_keys import SigningKeys
from shared.database import Database, migrate
from tests.stack.postgres import PostgresDatabase
from tests.unit.auth_server.running import BANK, START, Running

GOOD: dict[str, Any] = {
    "iss": "http://localhost:9000",
    "exp": int(START) + 300,
    "aud": BANK,
    "sub": "worker",
    "client_id": "worker",
    "iat": int(START),
    "jti": "a-jti-of-ours",
    "scope": "Read",
}
SWEEP = settings(
    max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


def tokens_of(server: Running) -> IssuedTokens:
    parts = server.parts
    return IssuedTokens(parts.settings.issuer, parts.keys, parts.database, server.clock)


@pytest.fixture
def tokens(server: Running) -> IssuedTokens:
    return tokens_of(server)


def signed(server: Running, typ: str = "at+jwt", **claims: object) -> str:
    """Return a JWT that our own key signed, with ``claims`` in place of good ones."""
    merged = {name: value for name, value in {**GOOD, **claims}.items() if value is not None}
    return server.parts.keys.sign("RS256", typ, merged)


def why_inactive(tokens: IssuedTokens, token: str) -> str:
    with pytest.raises(InactiveTokenError) as refused:
        tokens.claims_of_active(token)
    return str(refused.value)


def segment(value: object) -> str:
    data = value if isinstance(value, bytes) else json.dumps(value).encode()
    return urlsafe_b64encode(data).rstrip(b"=").decode()


def revoked_jtis(server: Running) -> list[str]:
    with server.parts.database.reading() as session:
        return sorted(session.scalars(select(RevokedToken.jti)))


def test_a_token_just_issued_is_active(server: Running, tokens: IssuedTokens) -> None:
    token = server.ask().get_json()["access_token"]
    claims = tokens.claims_of_active(token)
    assert (claims["client_id"], claims["aud"], claims["scope"]) == ("worker", BANK, "Read Write")


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_tokens_of_every_algorithm_are_judged(
    make: Callable[..., Running], algorithm: SigningAlgorithm
) -> None:
    server = make(access_token_algorithm=algorithm)
    token = server.ask().get_json()["access_token"]
    head, _, signature = token.rpartition(".")
    tokens = tokens_of(server)
    flipped = ("A" if signature[0] != "A" else "B") + signature[1:]
    assert tokens.claims_of_active(token)["client_id"] == "worker"
    assert why_inactive(tokens, f"{head}.{flipped}") == "its signature is not good"
    assert why_inactive(tokens, f"{head}.AAAA") == "its signature is not good"
    assert why_inactive(tokens, f"{head}.") == "its signature is not good"


def test_a_token_ends_with_its_last_second(server: Running, tokens: IssuedTokens) -> None:
    token = signed(server)
    server.clock.time = START + 299.9
    last = tokens.claims_of_active(token)["exp"]
    server.clock.time = START + 300
    assert (last, why_inactive(tokens, token)) == (int(START) + 300, "it has expired")


@pytest.mark.parametrize(
    ("claims", "reason"),
    [
        ({"iss": "https://other.example"}, "it is of another issuer"),
        ({"iss": None}, "it is of another issuer"),
        ({"exp": None}, "its exp is no time"),
        ({"exp": "1900000000"}, "its exp is no time"),
        ({"nbf": int(START) + 1}, "it is not valid yet"),
        ({"nbf": "x"}, "its nbf is no time"),
        ({"jti": None}, "its jti is none of ours"),
        ({"jti": "a\x00b"}, "its jti is none of ours"),
        ({"jti": ["a"]}, "its jti is none of ours"),
        ({"client_id": 7}, "its client_id is none of ours"),
        ({"client_id": "nobody"}, "its client is disabled"),
    ],
    ids=str,
)
def test_a_token_of_our_key_that_says_something_else_is_not_active(
    server: Running, tokens: IssuedTokens, claims: dict[str, Any], reason: str
) -> None:
    assert why_inactive(tokens, signed(server, **claims)) == reason


def test_a_token_whose_time_has_come_is_active(server: Running, tokens: IssuedTokens) -> None:
    assert tokens.claims_of_active(signed(server, nbf=int(START)))["nbf"] == int(START)


@pytest.mark.parametrize("typ", ["JWT", "jwt", "at+JWT", "application/at+jwt"])
def test_what_was_signed_as_something_else_is_no_access_token(
    server: Running, tokens: IssuedTokens, typ: str
) -> None:
    assert why_inactive(tokens, signed(server, typ)) == "it is no access token of ours"


def test_an_id_token_is_no_access_token(server: Running, tokens: IssuedTokens) -> None:
    id_token = server.ask(("scope", "openid")).get_json()["id_token"]
    assert why_inactive(tokens, id_token) == "it is no access token of ours"


@pytest.mark.parametrize(
    "changed",
    [
        {"alg": "none"},
        {"alg": "HS256"},
        {"alg": "PS256"},
        {"kid": "unknown"},
        {"kid": ["a"]},
        {"kid": None},
        {"crit": ["exp"]},
        {"crit": 7},
        {"b64": False},
        {"jku": "https://evil.example/jwks"},
        {"jwk": {"kty": "oct", "k": "AAAA"}},
    ],
    ids=str,
)
def test_a_header_that_is_not_as_ours_are_is_refused_before_the_signature(
    server: Running, tokens: IssuedTokens, changed: dict[str, object]
) -> None:
    kid = server.parts.keys.published()[0]["kid"]
    header = {"alg": "RS256", "typ": "at+jwt", "kid": kid, **changed}
    token = f"{segment(header)}.{segment(GOOD)}.AAAA"
    assert why_inactive(tokens, token) == "it is no access token of ours"


@pytest.mark.parametrize(
    "token",
    [
        "",
        ".",
        "..",
        "a.b.c",
        "a.b.c.d.e",
        "Zm9v.Zm9v.Zm9v",
        "é.é.é",
        "\x00",
        segment(b"[" * 5000) + ".e30.AAAA",
        segment(b"7" * 5000) + ".e30.AAAA",
        segment([]) + ".e30.AAAA",
        segment(b"\xff") + ".e30.AAAA",
        "eyJ" * 5000,
    ],
    ids=lambda token: ascii(token[:12]),
)
def test_what_is_no_jwt_is_not_active(tokens: IssuedTokens, token: str) -> None:
    assert why_inactive(tokens, token) == "it is no well-formed JWT"


def test_a_signature_in_another_spelling_is_not_good(server: Running, tokens: IssuedTokens) -> None:
    token = signed(server)
    assert [why_inactive(tokens, f"{token}{more}") for more in ("=", "==", "\n")] == [
        "it is no well-formed JWT"
    ] * 3


@SWEEP
@given(
    st.lists(
        st.one_of(
            st.sampled_from([".", "eyJ", "e30", "=", "-", "_", "A"]),
            st.text(max_size=3),
            st.binary(max_size=30).map(segment),
            st.dictionaries(st.sampled_from(["alg", "typ", "kid"]), st.text(max_size=4)).map(
                segment
            ),
        ),
        max_size=8,
    )
)
def test_no_text_whatever_is_active_or_an_error(tokens: IssuedTokens, pieces: list[str]) -> None:
    assert why_inactive(tokens, "".join(pieces))


@SWEEP
@given(position=st.integers(0, 10_000), character=st.sampled_from("AZaz09-_.=\x00é"))
def test_a_token_with_one_character_changed_is_not_active(
    server: Running, tokens: IssuedTokens, position: int, character: str
) -> None:
    token = signed(server)
    at = position % len(token)
    changed = token[:at] + character + token[at + 1 :]
    if changed != token:
        assert why_inactive(tokens, changed)
    else:
        assert tokens.claims_of_active(changed) == GOOD


def test_a_token_of_a_key_that_is_no_longer_published_is_not_active(
    server: Running, tokens: IssuedTokens
) -> None:
    token = signed(server)
    with server.parts.database.engine.begin() as connection:
        connection.exec_driver_sql("DELETE FROM signing_keys")
    server.clock.time += server.parts.settings.key_reload_seconds
    assert why_inactive(tokens, token) == "it is no access token of ours"


def test_a_token_of_a_retired_key_is_active(server: Running, tokens: IssuedTokens) -> None:
    token = signed(server, exp=int(START) + 3600)
    server.command("keys", "generate")
    server.clock.time += 305
    kid = server.parts.keys.sign("RS256", "JWT", {}).partition(".")[0]
    assert kid != token.partition(".")[0]
    assert tokens.claims_of_active(token)["jti"] == GOOD["jti"]


def test_a_token_of_a_client_that_was_disabled_is_not_active(
    server: Running, tokens: IssuedTokens
) -> None:
    token = signed(server)
    server.parts.registry.clients.disable("worker")
    assert why_inactive(tokens, token) == "its client is disabled"


def test_a_revoked_token_is_not_active_in_any_process(
    make: Callable[..., Running], server: Running
) -> None:
    token = signed(server)
    other = tokens_of(make())
    before = other.claims_of_active(token)["jti"]
    tokens_of(server).revoke(GOOD)
    assert (before, why_inactive(other, token)) == (GOOD["jti"], "it was revoked")


def test_a_token_can_be_revoked_twice(server: Running, tokens: IssuedTokens) -> None:
    tokens.revoke(GOOD)
    tokens.revoke(GOOD)
    assert revoked_jtis(server) == [GOOD["jti"]]


def test_another_token_of_the_client_stays_active(server: Running, tokens: IssuedTokens) -> None:
    tokens.revoke(GOOD)
    assert tokens.claims_of_active(signed(server, jti="another"))["jti"] == "another"


def test_what_ended_is_forgotten_when_others_are_revoked(
    server: Running, tokens: IssuedTokens
) -> None:
    tokens.revoke({"jti": "old", "exp": int(START)})
    server.clock.time = START + KEPT_AFTER_THE_END_SECONDS + 1
    tokens.revoke({"jti": "new", "exp": int(START) + 3600})
    assert revoked_jtis(server) == ["new"]


def test_what_just_ended_is_kept_for_a_process_whose_clock_is_behind(
    server: Running, tokens: IssuedTokens
) -> None:
    tokens.revoke({"jti": "old", "exp": int(START)})
    server.clock.time = START + KEPT_AFTER_THE_END_SECONDS
    tokens.revoke({"jti": "new", "exp": int(START) + 3600})
    assert revoked_jtis(server) == ["new", "old"]


def test_it_is_looked_for_at_most_once_a_minute(server: Running, tokens: IssuedTokens) -> None:
    tokens.revoke({"jti": "first", "exp": int(START)})
    tokens.revoke({"jti": "long-ended", "exp": int(START) - 10_000})
    server.clock.time += SWEEP_SECONDS - 1
    tokens.revoke({"jti": "second", "exp": int(START)})
    within = revoked_jtis(server)
    server.clock.time += 1
    tokens.revoke({"jti": "third", "exp": int(START)})
    assert (within, revoked_jtis(server)) == (
        ["first", "long-ended", "second"],
        ["first", "second", "third"],
    )


def test_the_issuer_is_compared_byte_for_byte(make: Callable[..., Running]) -> None:
    server = make(issuer="http://localhost:9000/Bank")
    token = signed(server, iss="http://localhost:9000/bank")
    assert why_inactive(tokens_of(server), token) == "it is of another issuer"


def revoke_at_once(databases: list[Database], keys: SigningKeys) -> list[Exception]:
    """Revoke one token in as many processes as there are ``databases``; return what went wrong."""
    together, errors = Barrier(len(databases)), list[Exception]()

    def revoke(database: Database) -> None:
        tokens = IssuedTokens("http://localhost:9000", keys, database, lambda: START)
        together.wait()
        try:
            tokens.revoke(GOOD)
        except SQLAlchemyError as error:
            errors.append(error)

    threads = [Thread(target=revoke, args=(database,)) for database in databases]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return errors


def test_processes_that_revoke_one_token_at_once_all_succeed(server: Running) -> None:
    assert revoke_at_once([server.parts.database] * 8, server.parts.keys) == []
    assert revoked_jtis(server) == [GOOD["jti"]]


def test_they_do_so_on_postgresql_too(server: Running, postgres_database: PostgresDatabase) -> None:
    database = Database(postgres_database.url, postgres_database.password)
    migrate(database, MIGRATIONS)
    errors = revoke_at_once([database] * 8, server.parts.keys)
    with database.reading() as session:
        rows = session.scalars(select(RevokedToken.jti)).all()
    database.engine.dispose()
    assert (errors, rows) == ([], [GOOD["jti"]])
