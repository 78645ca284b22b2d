import pytest
from flask import Flask
from flask.testing import FlaskClient

from shared.health import NotReadyError, health_blueprint


def fine() -> None:
    return


def broken() -> None:
    raise NotReadyError("the database is away, at 10.0.0.5")


def client_of(**checks: object) -> FlaskClient:
    app = Flask("test")
    app.register_blueprint(health_blueprint(checks))  # type: ignore[arg-type]  # they are checks
    return app.test_client()


def test_a_live_process_says_so_whatever_its_checks_say() -> None:
    answer = client_of(database=broken).get("/livez")

    assert (answer.status_code, answer.json) == (200, {"status": "live"})


def test_a_service_whose_checks_pass_is_ready() -> None:
    answer = client_of(database=fine).get("/readyz")

    assert (answer.status_code, answer.json) == (
        200,
        {"status": "ready", "checks": {"database": True}},
    )


def test_a_service_with_a_failing_check_answers_503_and_keeps_the_reason_to_its_log(
    caplog: pytest.LogCaptureFixture,
) -> None:
    answer = client_of(database=broken, vault=fine).get("/readyz")

    assert answer.status_code == 503
    assert answer.json == {"status": "not ready", "checks": {"database": False, "vault": True}}
    assert "10.0.0.5" in caplog.text


def test_what_a_new_start_mends_is_told_by_livez_and_the_reason_by_the_log(
    caplog: pytest.LogCaptureFixture,
) -> None:
    app = Flask("test")
    app.register_blueprint(health_blueprint({"database": fine}, {"scheduler": broken}))

    answer = app.test_client().get("/livez")

    assert (answer.status_code, answer.json) == (503, {"status": "not live"})
    assert "not live: scheduler: the database is away" in caplog.text
