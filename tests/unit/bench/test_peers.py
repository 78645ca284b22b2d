import json
import runpy
from pathlib import Path

import pytest

from bench.launch import AUDIENCE, FORM, TOKEN_FORM, basic
from bench.peers import all_peers, quick_peers
from bench.programs import PEERS
from bench.rows import clients

SECRET = "of-the-clients"


@pytest.mark.parametrize(
    "file",
    [
        "bare-authlib/app.py",
        "flask-least/app.py",
        "node-oidc-provider/server.js",
        "spring/src/main/java/bench/AuthorizationServer.java",
    ],
)
def test_the_peers_name_the_audience_that_is_judged(file: str) -> None:
    assert AUDIENCE in (PEERS / file).read_text()


def test_keycloak_puts_the_audience_into_the_tokens_of_each_client() -> None:
    realm = json.loads((PEERS / "keycloak" / "realm.json").read_text())

    for client in realm["clients"]:
        (mapper,) = client["protocolMappers"]
        assert mapper["config"]["included.custom.audience"] == AUDIENCE


def test_hello_is_measured_on_our_worker_too() -> None:
    for peers in (quick_peers(), all_peers()):
        assert {"Flask hello", "Flask hello, our worker"} <= {peer.name for peer in peers}


@pytest.mark.parametrize("has_table", [False, True], ids=["in memory", "a read for each token"])
def test_the_least_server_gives_a_token_to_whom_it_knows_and_to_nobody_else(
    has_table: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = tmp_path / "clients.db"
    monkeypatch.setattr(clients, "IN_THE_TABLE", 1)
    monkeypatch.setattr(clients, "bench_secret", lambda: SECRET)
    clients._make_table(table)
    monkeypatch.setenv("ALGORITHM", "ES256")
    monkeypatch.setenv("ISSUER", "http://localhost:9000")
    monkeypatch.setenv("BENCH_SECRET", SECRET)
    monkeypatch.setenv("CLIENTS_DATABASE", str(table) if has_table else "")
    http = runpy.run_path(str(PEERS / "flask-least" / "app.py"))["app"].test_client()

    def status(client: str, secret: str) -> int:
        headers = {"Content-Type": FORM, "Authorization": basic(client, secret)}
        return int(http.post("/token", data=TOKEN_FORM, headers=headers).status_code)

    asked = [("bench", SECRET), ("client-0", SECRET), ("bench", "wrong")]
    assert [status(*one) for one in asked] == [200, 200 if has_table else 401, 401]
