from auth_server.authorization_server import TokenRequest
from auth_server.token_form import TokenForm
from tests.unit.auth_server.running import Running


def test_authlib_sees_the_parameters_of_the_form_alone() -> None:
    request = TokenRequest(TokenForm({"grant_type": "client_credentials"}))
    assert request.payload.data == {"grant_type": "client_credentials"}  # type: ignore[attr-defined]


def test_plain_http_off_loopback_is_no_error(server: Running) -> None:
    server.app.before_request_funcs[None].clear()  # the host check
    answer = server.http.post(
        "http://auth.example/oidc/token",
        data={"grant_type": "client_credentials"},
        headers={"Authorization": server.basic()},
    )
    assert answer.status_code == 200
