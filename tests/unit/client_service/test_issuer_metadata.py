from collections.abc import Callable
from typing import Any

import pytest
import requests

from client_service.issuer_metadata import IssuerMetadata
from client_service.token_messages import TokenError
from tests.stack.loopback import LoopbackServer, Reply

PATH = "/.well-known/openid-configuration"
Metadata = Callable[..., IssuerMetadata]


@pytest.fixture
def metadata(server: LoopbackServer, session: requests.Session, clock: Any) -> Metadata:
    def make(**changes: Any) -> IssuerMetadata:
        fields = {"issuer": server.url, "session": session, "now": clock}
        return IssuerMetadata(**{**fields, **changes})

    return make


def test_the_token_endpoint_is_the_one_published(
    metadata: Metadata, server: LoopbackServer
) -> None:
    assert metadata().token_endpoint() == server.url + "/token"


def test_an_issuer_may_end_in_a_slash(server: LoopbackServer) -> None:
    issuer = server.url + "/"
    server.reply(PATH, Reply(document={"issuer": issuer, "token_endpoint": server.url + "/token"}))

    assert IssuerMetadata(issuer).token_endpoint() == server.url + "/token"


def test_what_was_found_is_kept_for_an_hour(
    metadata: Metadata, server: LoopbackServer, clock: Any
) -> None:
    found = metadata()
    found.token_endpoint()
    clock.time += 3599
    found.token_endpoint()
    assert len(server.asked) == 1

    clock.time += 1
    found.token_endpoint()
    assert len(server.asked) == 2


def test_the_endpoint_known_serves_while_a_new_look_up_fails(
    metadata: Metadata, server: LoopbackServer, clock: Any
) -> None:
    found = metadata()
    found.token_endpoint()
    server.reply(PATH, Reply(503))
    clock.time += 3600

    assert found.token_endpoint() == server.url + "/token"


@pytest.mark.parametrize(
    "difference",
    ["/", "?", "#", " ", "\u200b"],
    ids=["slash", "query", "fragment", "space", "zwsp"],
)
def test_a_document_of_an_issuer_that_differs_in_one_character_is_not_used(
    metadata: Metadata, server: LoopbackServer, difference: str
) -> None:
    document = {"issuer": server.url + difference, "token_endpoint": server.url + "/token"}
    server.reply(PATH, Reply(document=document))

    with pytest.raises(TokenError, match="is not of issuer"):
        metadata().token_endpoint()


def test_the_metadata_url_is_asked_in_place_of_the_issuer(
    metadata: Metadata, server: LoopbackServer
) -> None:
    issuer = "http://localhost:9000"
    document = {"issuer": issuer, "token_endpoint": server.url + "/token"}
    server.reply("/inside", Reply(document=document))

    found = metadata(issuer=issuer, metadata_url=server.url + "/inside")

    assert found.token_endpoint() == server.url + "/token"


@pytest.mark.parametrize(
    "endpoint",
    [None, 5, "", "/token", "ftp://x/token", "http://auth.example/token", "http://x:99999/token"],
    ids=str,
)
def test_an_endpoint_that_is_not_fit_for_credentials_is_refused(
    metadata: Metadata, server: LoopbackServer, endpoint: object
) -> None:
    server.reply(PATH, Reply(document={"issuer": server.url, "token_endpoint": endpoint}))

    with pytest.raises(TokenError, match="no usable token_endpoint"):
        metadata().token_endpoint()


def test_plain_http_is_taken_where_it_is_declared(
    metadata: Metadata, server: LoopbackServer
) -> None:
    document = {"issuer": server.url, "token_endpoint": "http://auth-server/token"}
    server.reply(PATH, Reply(document=document))

    found = metadata(allow_plain_http=True)

    assert found.token_endpoint() == "http://auth-server/token"


def test_a_redirect_is_not_followed(metadata: Metadata, server: LoopbackServer) -> None:
    server.reply(PATH, Reply(302, headers={"Location": server.url + "/elsewhere"}))

    with pytest.raises(TokenError) as caught:
        metadata().token_endpoint()

    assert (caught.value.status, caught.value.code) == (302, "invalid_metadata")
    assert server.paths() == [PATH]


def test_a_server_that_does_not_answer_leaves_no_endpoint(
    metadata: Metadata, server: LoopbackServer
) -> None:
    server.stop()

    with pytest.raises(TokenError) as caught:
        metadata().token_endpoint()

    assert (caught.value.status, caught.value.code) == (None, "no_answer")
