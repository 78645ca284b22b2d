from collections.abc import Callable, Mapping

import pytest
from flask import Flask

from resource_server.metadata import WELL_KNOWN_PATH
from tests.stack.issuer import OwnIssuer


def named_in_the_challenge(app: Flask, headers: Mapping[str, str] | None = None) -> str:
    """Return the URL that a challenge of ``app`` has as `resource_metadata`."""
    answer = app.test_client().get("/account", headers=headers)
    _, _, rest = answer.headers["WWW-Authenticate"].partition('resource_metadata="')
    return rest.rstrip('"')


def test_the_document_names_the_bank_its_issuer_and_its_scopes(
    bank: Callable[..., Flask], issuer: OwnIssuer
) -> None:
    answer = bank().test_client().get(WELL_KNOWN_PATH)
    document = answer.get_json()

    assert (answer.status_code, answer.mimetype) == (200, "application/json")
    assert answer.headers["Cache-Control"] == "public, max-age=300"
    assert "Read" in document.pop("scopes_supported")
    assert document == {
        "resource": "http://localhost:9001",
        "authorization_servers": [issuer.url],
        "bearer_methods_supported": ["header"],
        "resource_name": "Bank",
    }


def test_the_scopes_are_those_that_the_routes_ask_for(bank: Callable[..., Flask]) -> None:
    app = bank()
    asked_for = {
        view.required_scope
        for view in app.view_functions.values()
        if hasattr(view, "required_scope")
    }

    document = app.test_client().get(WELL_KNOWN_PATH).get_json()

    assert document["scopes_supported"] == sorted(asked_for)


def test_name_and_documentation_are_settings(bank: Callable[..., Flask]) -> None:
    app = bank(resource_name="Bänk", resource_documentation="https://bank.example/docs")
    document = app.test_client().get(WELL_KNOWN_PATH).get_json()

    assert document["resource_name"] == "Bänk"
    assert document["resource_documentation"] == "https://bank.example/docs"


@pytest.mark.parametrize(
    ("resource", "path"),
    [
        pytest.param("http://localhost:9001", WELL_KNOWN_PATH, id="no-path"),
        pytest.param("http://localhost:9001/", WELL_KNOWN_PATH, id="a-slash-alone"),
        pytest.param("https://a.example/b/c", f"{WELL_KNOWN_PATH}/b/c", id="a-path"),
        pytest.param("https://a.example/b/", f"{WELL_KNOWN_PATH}/b/", id="a-slash-at-its-end"),
        pytest.param("https://a.example/b%20c", f"{WELL_KNOWN_PATH}/b%20c", id="escaped"),
        pytest.param("https://a.example/b?c=d", f"{WELL_KNOWN_PATH}/b?c=d", id="a-query"),
    ],
)
def test_the_well_known_path_goes_before_that_of_the_resource(
    resource: str, path: str, bank: Callable[..., Flask]
) -> None:
    app = bank(resource=resource)

    assert named_in_the_challenge(app) == f"http://localhost{path}"
    assert app.test_client().get(path).get_json()["resource"] == resource


@pytest.mark.parametrize(
    ("settings", "headers", "origin"),
    [
        pytest.param({}, {"Host": "localhost:9001"}, "http://localhost:9001", id="as-asked"),
        pytest.param({}, {"Host": "[::1]:9001"}, "http://[::1]:9001", id="by-address"),
        pytest.param(
            {},
            {"X-Forwarded-Proto": "https", "X-Forwarded-Host": "evil.example"},
            "http://localhost",
            id="forwarded-by-a-stranger",
        ),
        pytest.param(
            {"proxies": 1, "trusted_hosts": ("bank.example",)},
            {"X-Forwarded-Proto": "https", "X-Forwarded-Host": "bank.example"},
            "https://bank.example",
            id="forwarded-by-a-proxy",
        ),
        pytest.param(
            {"transport": "tls-in-front", "issuer": "https://issuer.example"},
            {},
            "https://localhost",
            id="a-proxy-that-does-not-say-https",
        ),
    ],
)
def test_the_challenge_names_the_document_by_the_host_that_was_asked(
    settings: dict[str, object],
    headers: dict[str, str],
    origin: str,
    bank: Callable[..., Flask],
) -> None:
    app = bank(**settings)

    assert named_in_the_challenge(app, headers=headers) == origin + WELL_KNOWN_PATH


def test_another_host_gets_no_challenge_that_names_it(bank: Callable[..., Flask]) -> None:
    answer = (
        bank(trusted_hosts=(".bank.example",))
        .test_client()
        .get("/account", headers={"Host": 'a",realm="x.bank.example'})
    )

    assert answer.status_code == 400
    assert "WWW-Authenticate" not in answer.headers


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE"])
def test_the_document_is_only_read(method: str, bank: Callable[..., Flask]) -> None:
    assert bank().test_client().open(WELL_KNOWN_PATH, method=method).status_code == 405
