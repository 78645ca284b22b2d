from collections.abc import Iterator

import pytest

from tests.conformance.client_runs import ClientUnderTest, Surroundings
from tests.conformance.container_servers import (
    authorization_server_of,
    bank_in_a_container,
    client_in_a_container,
)
from tests.conformance.given_servers import (
    a_resource_server_is_given,
    an_authorization_server_is_given,
    given_authorization_server,
    given_resource_server,
)
from tests.conformance.http_exchange import get_json
from tests.conformance.local_servers import (
    local_authorization_server,
    local_client_in,
    local_resource_server,
)
from tests.conformance.under_test import (
    AuthorizationServerUnderTest,
    Client,
    OtherResource,
    ResourceServerUnderTest,
)
from tests.stack.container_stack import ContainerStack
from tests.stack.signing_client import SigningClient
from tests.stack.single_containers import SingleContainers, single_containers

GIVEN, LOCAL, DOCKER = "given", "local", "docker"
OURS = [LOCAL, DOCKER]


@pytest.fixture(scope="session", params=[GIVEN] if an_authorization_server_is_given() else OURS)
def server(request: pytest.FixtureRequest) -> AuthorizationServerUnderTest:
    """The authorization server under test: the given one, else ours, of either kind."""
    running: AuthorizationServerUnderTest = request.getfixturevalue(f"{request.param}_server")
    return running


@pytest.fixture(scope="session", params=[GIVEN] if a_resource_server_is_given() else OURS)
def bank(request: pytest.FixtureRequest) -> ResourceServerUnderTest:
    """The resource server under test: the given one, else ours, of either kind."""
    running: ResourceServerUnderTest = request.getfixturevalue(f"{request.param}_bank")
    return running


@pytest.fixture(scope="session", params=OURS)
def client_under_test(request: pytest.FixtureRequest) -> ClientUnderTest:
    """Our client service, of either kind, which each test points at servers of its own."""
    client: ClientUnderTest = request.getfixturevalue(f"{request.param}_client")
    return client


@pytest.fixture(scope="session")
def given_server() -> AuthorizationServerUnderTest:
    return given_authorization_server()


@pytest.fixture(scope="session")
def local_server(
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[AuthorizationServerUnderTest]:
    with local_authorization_server(tmp_path_factory.mktemp("conformance")) as ours:
        yield ours


@pytest.fixture(scope="session")
def docker_server(stack_of_containers: ContainerStack) -> AuthorizationServerUnderTest:
    return authorization_server_of(stack_of_containers)


@pytest.fixture(scope="session")
def given_bank() -> Iterator[ResourceServerUnderTest]:
    with given_resource_server() as given:
        yield given


@pytest.fixture(scope="session")
def local_bank(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ResourceServerUnderTest]:
    with local_resource_server(tmp_path_factory.mktemp("bank")) as ours:
        yield ours


@pytest.fixture(scope="session")
def docker_bank(containers_by_themselves: SingleContainers) -> Iterator[ResourceServerUnderTest]:
    with bank_in_a_container(containers_by_themselves) as ours:
        yield ours


@pytest.fixture(scope="session")
def local_client(tmp_path_factory: pytest.TempPathFactory) -> ClientUnderTest:
    return local_client_in(tmp_path_factory.mktemp("client"))


@pytest.fixture(scope="session")
def docker_client(containers_by_themselves: SingleContainers) -> Iterator[ClientUnderTest]:
    with client_in_a_container(containers_by_themselves) as ours:
        yield ours


@pytest.fixture(scope="session")
def containers_by_themselves(
    containers_can_run: None, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[SingleContainers]:
    """Those of bank and client, which trust servers of the tests' own."""
    with single_containers(tmp_path_factory.mktemp("containers")) as ours:
        yield ours


@pytest.fixture
def jwks(server: AuthorizationServerUnderTest) -> dict[str, object]:
    """The keys of the authorization server, as they are now."""
    return get_json(server.jwks_url)


@pytest.fixture
def narrow_client(server: AuthorizationServerUnderTest) -> Client:
    """A client that may have the first scope alone."""
    return _given(server.narrow_client, "a client of fewer scopes")


@pytest.fixture
def client_without_id_token(server: AuthorizationServerUnderTest) -> Client:
    """A client that may have no id_token."""
    return _given(server.client_without_id_token, "a client that may have no id_token")


@pytest.fixture
def disabled_client(server: AuthorizationServerUnderTest) -> Client:
    """A client that was disabled, with the secret it had."""
    return _given(server.disabled_client, "a disabled client")


@pytest.fixture
def signing_client(server: AuthorizationServerUnderTest) -> SigningClient:
    """A client that authenticates by `private_key_jwt`."""
    if server.signing_client is None:
        pytest.skip("a client that signs was not given")
    return server.signing_client


@pytest.fixture
def other_resource(server: AuthorizationServerUnderTest) -> OtherResource:
    """A second resource, and a client that may use both."""
    if server.other_resource is None:
        pytest.skip("a client of two resources was not given")
    return server.other_resource


@pytest.fixture
def resource_server(server: AuthorizationServerUnderTest) -> Client:
    """A client that may introspect the tokens of the first resource."""
    if "introspection_endpoint" not in server.metadata:
        pytest.skip("the server has no introspection endpoint")
    return _given(server.resource_server, "a client that introspects")


@pytest.fixture
def revocation(server: AuthorizationServerUnderTest) -> None:
    """Asked for by the tests that need a server that revokes tokens."""
    if "revocation_endpoint" not in server.metadata:
        pytest.skip("the server has no revocation endpoint")


@pytest.fixture
def id_tokens(server: AuthorizationServerUnderTest) -> None:
    """Asked for by the tests that need a server that issues id_tokens."""
    if not server.issues_id_tokens:
        pytest.skip("the server issues no id_tokens")


def _given(client: Client | None, what: str) -> Client:
    if client is None:
        pytest.skip(f"{what} was not given")
    return client


@pytest.fixture
def around() -> Iterator[Surroundings]:
    """An authorization server and a bank that record what our client sends."""
    with Surroundings() as servers:
        yield servers


@pytest.fixture(scope="session")
def basic_run(client_under_test: ClientUnderTest) -> Surroundings:
    """What our client sent in a good run in which it authenticated by client_secret_basic."""
    return _recorded(client_under_test, "client_secret_basic")


@pytest.fixture(scope="session")
def post_run(client_under_test: ClientUnderTest) -> Surroundings:
    """What our client sent in a good run in which it authenticated by client_secret_post."""
    return _recorded(client_under_test, "client_secret_post")


@pytest.fixture(scope="session")
def key_run(client_under_test: ClientUnderTest) -> Surroundings:
    """What our client sent in a good run in which it authenticated by private_key_jwt."""
    return _recorded(client_under_test, "private_key_jwt")


@pytest.fixture(params=["client_secret_basic", "client_secret_post"])
def good_run(request: pytest.FixtureRequest, client_under_test: ClientUnderTest) -> Surroundings:
    """Each of the two, one after the other."""
    name = "basic_run" if request.param == "client_secret_basic" else "post_run"
    run: Surroundings = request.getfixturevalue(name)
    return run


def _recorded(client: ClientUnderTest, auth_method: str) -> Surroundings:
    with Surroundings() as servers:
        run = client.run(
            servers,
            CLIENT_SERVICE_AUTH_METHOD=auth_method,
            CLIENT_SERVICE_SCOPE="Read Write",
            CLIENT_SERVICE_RESOURCE="https://api.example/a?b=c&d",
        )
        assert run.error is None, run.report
        return servers
