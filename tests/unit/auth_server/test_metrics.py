import pytest
from prometheus_client.parser import text_string_to_metric_families

from auth_server.metrics import CLIENTS_BY_NAME
from auth_server.signing_keys.life import RETIRED_SECONDS
from tests.unit.auth_server.running import START, Running

REQUESTS = "auth_server_token_requests_total"


def shown(server: Running) -> dict[tuple[str, ...], float]:
    """Return every sample: its name and label values, and its value."""
    text = server.app.extensions["metrics"].text().decode()
    return {
        (sample.name, *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def requests_counted(server: Running) -> dict[tuple[str, ...], float]:
    return {labels[1:]: v for labels, v in shown(server).items() if labels[0] == REQUESTS}


def test_token_requests_are_counted_by_client_and_outcome(server: Running) -> None:
    server.ask()
    server.ask()
    server.ask(("scope", "Admin"))
    server.ask(authorization=server.basic(secret="wrong"))
    server.http.get("/oidc/token")
    assert requests_counted(server) == {
        ("worker", "issued"): 2,
        ("worker", "invalid_scope"): 1,
        ("worker", "invalid_client"): 1,
        ("unknown", "invalid_request"): 1,
    }


def test_client_ids_that_nobody_registered_make_no_new_series(server: Running) -> None:
    for number in range(1000):
        server.ask(authorization=server.basic(f"invented-{number}"))
    assert requests_counted(server) == {("unknown", "invalid_client"): 1000}


def test_only_so_many_clients_have_a_name_and_the_rest_is_other(server: Running) -> None:
    metrics = server.parts.metrics
    for number in range(CLIENTS_BY_NAME + 5):
        metrics.count_token_request(f"client-{number}", "issued", None)
    metrics.count_token_request("client-0", "issued", None)
    counted = requests_counted(server)
    assert len(counted) == CLIENTS_BY_NAME + 1
    assert (counted["other", "issued"], counted["client-0", "issued"]) == (5, 2)


def test_how_long_token_requests_took_is_a_histogram(server: Running) -> None:
    server.ask()
    server.http.get("/livez")
    samples = shown(server)
    assert samples[("auth_server_token_request_seconds_count",)] == 1
    assert samples["auth_server_token_request_seconds_bucket", "10.0"] == 1


def test_failures_that_are_slowed_down_and_look_ups_in_the_cache_can_be_counted(
    server: Running,
) -> None:
    server.parts.metrics.count_throttled_failure()
    server.parts.metrics.count_client_cache(hit=True)
    server.parts.metrics.count_client_cache(hit=False)
    samples = shown(server)
    assert samples[("auth_server_throttled_failures_total",)] == 1
    assert samples["auth_server_client_cache_total", "hit"] == 1
    assert samples["auth_server_client_cache_total", "miss"] == 1


def test_keys_are_shown_by_state_with_the_time_of_their_next_change(server: Running) -> None:
    known_from = START + server.parts.keys.store.rules.pending_seconds
    server.command("keys", "generate")
    samples = shown(server)
    next_change = "auth_server_signing_key_next_change_timestamp_seconds"
    assert samples["auth_server_signing_keys", "RS256", "active"] == 1
    assert (
        samples["auth_server_signing_keys", "RS256", "pending"] == 2
    )  # the next one is among them
    assert samples[next_change, "RS256"] == known_from
    server.clock.time = known_from
    samples = shown(server)
    assert samples["auth_server_signing_keys", "RS256", "retired"] == 1
    assert samples[next_change, "RS256"] == known_from + RETIRED_SECONDS


def test_secrets_whose_end_is_near_are_counted_and_the_first_end_is_told(server: Running) -> None:
    days = server.parts.settings.secret_end_warning_days
    ends = int(START) + days * 86400 - 1
    server.parts.registry.clients.add(
        "ends-soon",
        authentication_method="client_secret_basic",
        may_have_id_token=False,
        expires_at=ends,
    )
    samples = shown(server)
    assert samples[("auth_server_client_secrets_ending",)] == 1
    assert samples[("auth_server_client_secrets_next_end_timestamp_seconds",)] == ends
    server.clock.time = ends
    samples = shown(server)
    assert samples[("auth_server_client_secrets_ending",)] == 0
    assert ("auth_server_client_secrets_next_end_timestamp_seconds",) not in samples


def test_without_its_database_the_rest_is_shown(
    server: Running, caplog: pytest.LogCaptureFixture
) -> None:
    server.ask()
    with server.parts.database.engine.begin() as connection:
        connection.exec_driver_sql("DROP TABLE signing_keys")
        connection.exec_driver_sql("DROP TABLE client_secrets")
    assert requests_counted(server) == {("worker", "issued"): 1}
    assert ("auth_server_client_secrets_ending",) not in shown(server)
    assert "the signing keys cannot be read" in caplog.text
    assert "the secrets that end soon cannot be read" in caplog.text
