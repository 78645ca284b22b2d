import logging
from collections.abc import Callable, Sequence
from types import SimpleNamespace
from typing import Any

import pytest
from flask import Blueprint, Flask, Response, after_this_request, request, request_tearing_down
from pydantic_settings import SettingsConfigDict
from werkzeug.test import EnvironBuilder, run_wsgi_app

from shared.service_app import gunicorn_settings, is_trusted, service_app
from shared.settings import ServiceSettings
from shared.tracing import tracer_provider


class BankSettings(ServiceSettings):
    model_config = SettingsConfigDict(env_prefix="BANK_")

    bind: str = "127.0.0.1:9001"
    database_url: str = "sqlite:///bank.db"


def app_with(**settings: object) -> Flask:
    chosen = BankSettings(**settings)  # type: ignore[arg-type]  # checked by pydantic
    app = service_app("bank", chosen, tracer_provider("bank"), {})

    @app.get("/seen")
    def seen() -> dict[str, str | None]:
        return {"url": request.url, "client": request.remote_addr}

    return app


FORWARDED = {
    "X-Forwarded-For": "203.0.113.7",
    "X-Forwarded-Proto": "https",
    "X-Forwarded-Host": "api.example.com",
}


def test_a_request_for_a_host_that_is_not_ours_gets_400() -> None:
    answer = app_with().test_client().get("/seen", headers={"Host": "evil.example"})

    assert answer.status_code == 400


@pytest.mark.parametrize(("protocol", "status"), [("HTTP/1.1", 400), ("HTTP/1.0", 200)])
def test_only_a_request_of_the_old_http_may_name_no_host(protocol: str, status: int) -> None:
    environ = EnvironBuilder("/seen").get_environ()
    del environ["HTTP_HOST"]
    environ["SERVER_PROTOCOL"] = protocol

    assert run_wsgi_app(app_with(), environ)[1].startswith(str(status))


@pytest.mark.parametrize(
    ("host", "is_ours"),
    [
        pytest.param("localhost", True, id="name"),
        pytest.param("LOCALHOST:9001", True, id="capitals and port"),
        pytest.param("[::1]:9001", True, id="IPv6"),
        pytest.param("api.example.com", True, id="sub-domain"),
        pytest.param("example.com", False, id="the domain itself"),
        pytest.param("badexample.com", False, id="a longer name"),
        pytest.param("localhost.evil.example", False, id="our name in front"),
        pytest.param("localhost:x", False, id="no port"),
        pytest.param("localhost:65535", True, id="the highest port"),
        pytest.param("localhost:65536", False, id="a port that no host has"),
        pytest.param('a",realm="x.example.com', False, id="no host"),
        pytest.param("", False, id="empty"),
    ],
)
def test_a_host_is_trusted_by_its_whole_name(host: str, is_ours: bool) -> None:
    settings = BankSettings(trusted_hosts=("localhost", "[::1]", ".example.com"))

    assert is_trusted(host, settings) is is_ours


@pytest.mark.parametrize("path", ["//seen", "seen", ""], ids=["two slashes", "no slash", "empty"])
def test_a_path_that_does_not_begin_with_one_slash_is_unknown(path: str) -> None:
    answer = app_with().test_client().get("/", environ_overrides={"PATH_INFO": path})

    assert answer.status_code == 404


def test_a_health_check_may_name_any_host() -> None:
    answer = app_with().test_client().get("/livez", headers={"Host": "10.0.0.5:9001"})

    assert answer.status_code == 200


def test_what_a_proxy_says_is_ignored_unless_one_is_declared() -> None:
    answer = app_with().test_client().get("/seen", headers=FORWARDED)

    assert answer.json == {"url": "http://localhost/seen", "client": "127.0.0.1"}


def test_a_declared_proxy_says_scheme_host_and_client() -> None:
    app = app_with(proxies=1, trusted_hosts=("api.example.com",))

    answer = app.test_client().get("/seen", headers=FORWARDED)

    assert answer.json == {"url": "https://api.example.com/seen", "client": "203.0.113.7"}


def test_a_server_may_leave_out_what_is_empty() -> None:
    environ = EnvironBuilder("/seen", "http://localhost").get_environ()
    for name in ("SCRIPT_NAME", "QUERY_STRING"):  # PEP 3333, "environ Variables"
        del environ[name]

    _, status, _ = run_wsgi_app(app_with(), environ)

    assert status == "200 OK"


def test_every_answer_carries_the_security_headers() -> None:
    headers = app_with().test_client().get("/livez").headers

    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Content-Security-Policy"] == "default-src 'none'"
    assert headers["Referrer-Policy"] == "no-referrer"


def test_gunicorn_is_told_to_trust_no_header_and_to_log_no_query() -> None:
    settings = gunicorn_settings("bank", BankSettings(transport="plain-http"))

    assert settings["secure_scheme_headers"] == {}
    assert settings["forwarder_headers"] == ""
    assert "%(U)s" in settings["access_log_format"]
    assert "%(q)s" not in settings["access_log_format"]


def test_an_access_line_is_written_where_it_is_asked_for() -> None:
    quiet = gunicorn_settings("bank", BankSettings(transport="plain-http"))
    asked_for = BankSettings(transport="plain-http", log_requests="access")
    talkative = gunicorn_settings("bank", asked_for)

    assert quiet["logger_class"].endswith("LoggerWithoutAccess")
    assert "logger_class" not in talkative


@pytest.mark.parametrize(
    ("transport", "level"), [("plain-http", "WARNING"), ("tls-in-front", "INFO")]
)
def test_a_service_says_at_its_start_how_its_transport_is_protected(
    transport: str, level: str, caplog: pytest.LogCaptureFixture
) -> None:
    settings = BankSettings(transport=transport)  # type: ignore[arg-type]  # one of the two
    caplog.set_level(logging.INFO)

    gunicorn_settings("bank", settings)["on_starting"](SimpleNamespace(log=logging.getLogger()))

    assert caplog.record_tuples[-1][1:] == (
        getattr(logging, level),
        f"the transport of bank is {transport}",
    )


def test_nobody_is_told_the_methods_of_a_route_before_its_check() -> None:
    assert app_with().test_client().options("/seen").status_code == 405


def test_gunicorn_does_not_start_without_a_declared_transport() -> None:
    with pytest.raises(SystemExit, match="BANK_TRANSPORT"):
        gunicorn_settings("bank", BankSettings())


def test_a_view_that_was_found_before_is_found_again_and_only_where_it_is() -> None:
    app = app_with()
    app.add_url_rule("/twice", view_func=lambda: "got", methods=["GET"])
    app.add_url_rule("/of/<name>", "of", lambda name: name)
    client = app.test_client()

    for _ in range(2):
        assert (client.get("/twice").text, client.head("/twice").text) == ("got", "")
        assert client.get("/of/one").text + client.get("/of/two").text == "onetwo"
        refused = client.post("/twice")
        assert (refused.status_code, refused.allow.as_set()) == (405, {"get", "head"})
        assert client.get("/twice/").status_code == 404


def noting(seen: list[str], what: str, answer: str | None = None) -> Callable[..., Any]:
    """Return a hook, which notes ``what`` and returns what it was given, or else ``answer``."""

    def hook(*given: Any) -> Any:
        seen.append(what)
        return given[0] if given else answer

    return hook


HOOKS = ("before_request", "after_request", "teardown_request")
FOR_ALL = ("before_app_request", "after_app_request", "teardown_app_request")


def with_hooks(
    app: Flask, seen: list[str], kinds: Sequence[str] = (), of: Sequence[str] = ("app",)
) -> Flask:
    """Give two hooks to each in ``of``: ``app`` those of each view, a blueprint those of ``kinds``.

    The blueprint `inner` is within `outer`, and `other` is another one.
    """
    inner, outer, other = (Blueprint(name, "bank") for name in ("inner", "outer", "other"))
    for kind in HOOKS if "app" in of else ():
        for number in (1, 2):
            getattr(app, kind)(noting(seen, f"{kind} {number}"))
    for blueprint in (inner, outer, other):
        for kind in kinds if blueprint.name in of else ():
            for number in (1, 2):
                getattr(blueprint, kind)(noting(seen, f"{blueprint.name}'s {kind} {number}"))

        @blueprint.get(f"/{blueprint.name}/<number>")
        def view(number: str) -> str:
            seen.append("view")
            for one in (1, 2):
                after_this_request(noting(seen, f"after this {one}"))
            return str(1 // int(number))

    outer.register_blueprint(inner)
    app.register_blueprint(outer)
    app.register_blueprint(other)
    app.add_url_rule("/<number>", view_func=view)
    return app


def test_what_is_to_be_called_around_each_view_is_called_in_flasks_order() -> None:
    seen: list[str] = []
    with_hooks(app_with(), seen).test_client().get("/1")

    assert seen == [
        "before_request 1",
        "before_request 2",
        "view",
        "after this 1",
        "after this 2",
        "after_request 2",
        "after_request 1",
        "teardown_request 2",
        "teardown_request 1",
    ]


@pytest.mark.parametrize("of", [("app", "inner", "outer", "other"), ("outer",)], ids=" ".join)
@pytest.mark.parametrize("path", ["/1", "/outer/1", "/inner/1", "/unknown", "/outer/0"])
@pytest.mark.parametrize(
    "kinds",
    [[kind] for kind in (*HOOKS, "url_value_preprocessor", *FOR_ALL)] + [[*HOOKS, *FOR_ALL]],
    ids=" ".join,
)
def test_hooks_of_a_blueprint_are_called_as_by_flask_itself(
    kinds: list[str], path: str, of: tuple[str, ...]
) -> None:
    ours: list[str] = []
    theirs: list[str] = []
    answer = with_hooks(app_with(), ours, kinds, of).test_client().get(path)
    expected = with_hooks(Flask("bank"), theirs, kinds, of).test_client().get(path)

    assert ours == theirs
    assert (answer.status, answer.data) == (expected.status, expected.data)
    assert any(kinds[0] in noted for noted in ours if "'s " in noted) is (
        path.startswith(("/outer", "/inner")) or kinds[0] in FOR_ALL
    )


def test_what_is_called_with_the_arguments_of_a_view_is_called_before_anything_else() -> None:
    seen: list[str] = []
    app = with_hooks(app_with(), seen)
    app.url_value_preprocessor(lambda endpoint, values: seen.append(f"{endpoint} {values}"))
    app.test_client().get("/1")

    assert seen[:2] == ["view {'number': '1'}", "before_request 1"]


def test_a_hook_that_answers_ends_the_request() -> None:
    seen: list[str] = []
    app = app_with()
    app.before_request(noting(seen, "before", answer="enough"))
    answer = with_hooks(app, seen).test_client().get("/1")

    assert (answer.status_code, answer.text) == (200, "enough")
    assert seen == [
        "before",
        "after_request 2",
        "after_request 1",
        "teardown_request 2",
        "teardown_request 1",
    ]


def test_an_answer_that_a_hook_puts_in_place_of_another_goes_to_the_next_one() -> None:
    app = app_with()

    def replaced_by(name: str) -> Callable[[Response], Response]:
        return lambda answer: Response(f"{answer.get_data(as_text=True)}, {name}")

    for name in ("last", "second"):
        app.after_request(replaced_by(name))

    @app.get("/replaced")
    def replaced() -> str:
        after_this_request(replaced_by("first"))
        return "view"

    assert app.test_client().get("/replaced").text == "view, first, second, last"


@pytest.mark.parametrize(
    ("path", "failures"), [("/1", [type(None)]), ("/0", [ZeroDivisionError])], ids=["good", "fails"]
)
def test_who_is_called_at_the_end_is_told_what_failed(path: str, failures: list[type]) -> None:
    app = with_hooks(app_with(), [])
    told: list[BaseException | None] = []
    signalled: list[BaseException | None] = []
    app.teardown_request(told.append)

    def receive(_sender: Flask, exc: BaseException | None, **_more: object) -> None:
        signalled.append(exc)

    with request_tearing_down.connected_to(receive, app):
        app.test_client().get(path)

    assert [type(one) for one in told] == failures
    assert signalled == told
