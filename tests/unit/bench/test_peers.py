import json

import pytest

from bench.launch import AUDIENCE
from bench.peers import all_peers, quick_peers
from bench.programs import PEERS


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
