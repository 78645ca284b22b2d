from collections.abc import Callable, Iterator

import pytest
from flask import Flask
from prometheus_client.parser import text_string_to_metric_families
from sqlalchemy import text

from client_service.app import ClientService
from client_service.jobs import RECONCILE
from client_service.metrics import ERROR_CODES_BY_NAME, CountedRetries, TokenMetrics
from client_service.retries import Retries
from client_service.runs import Trigger
from client_service.token_messages import AccessToken, TokenError
from client_service.token_source import TokenSource
from shared.database import Database
from shared.metrics import EXTENSION, Metrics
from tests.stack.loopback import LoopbackServer, Reply
from tests.unit.client_service.conftest import Clock, token_answer

Shown = dict[tuple[str, ...], float]


def shown(metrics: Metrics) -> Shown:
    """Return every sample: its name without ours before it, its label values, and its value."""
    return {
        (sample.name.removeprefix("client_service_"), *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(metrics.text().decode())
        for sample in family.samples
    }


def shown_after_a_run(app: Flask) -> Shown:
    service: ClientService = app.extensions["client_service"]
    lease = service.schedules[RECONCILE].take_now(Trigger.COMMAND)
    assert lease is not None
    service.worker.work(lease)
    return shown(app.extensions[EXTENSION])


def runs(samples: Shown) -> dict[str, float]:
    return {
        labels[2]: value
        for labels, value in samples.items()
        if labels[:2] == ("runs_total", RECONCILE)
    }


def test_before_the_first_run_the_series_are_there_and_zero(app: Flask) -> None:
    samples = shown(app.extensions[EXTENSION])

    assert runs(samples) == {"succeeded": 0, "failed": 0, "interrupted": 0}
    assert samples["merged_ticks_total", RECONCILE] == 0
    assert ("token_age_seconds",) not in samples
    assert ("last_success_timestamp_seconds", RECONCILE) not in samples


def test_a_run_that_succeeds_is_counted_and_measured(app: Flask) -> None:
    samples = shown_after_a_run(app)

    assert runs(samples) == {"succeeded": 1, "failed": 0, "interrupted": 0}
    assert samples["run_seconds_count", RECONCILE] == 1
    assert samples["findings_total", RECONCILE] == 0
    assert samples["last_success_timestamp_seconds", RECONCILE] > 1.7e9


def test_a_run_that_fails_is_counted_with_its_token_and_is_no_success(
    app: Flask, server: LoopbackServer
) -> None:
    server.reply("/token", Reply(401, {"error": "invalid_client", "error_description": "no"}))

    samples = shown_after_a_run(app)

    assert runs(samples) == {"succeeded": 0, "failed": 1, "interrupted": 0}
    assert samples["token_renewals_total", "invalid_client"] == 1
    assert ("last_success_timestamp_seconds", RECONCILE) not in samples


def test_a_run_that_finds_a_difference_succeeded_and_is_a_finding(
    app: Flask, server: LoopbackServer
) -> None:
    members = {"account_id": "a", "currency": "EUR", "balance": 7, "as_of": 0}
    server.reply("/account", Reply(document={**members, "transactions": "/t"}))

    samples = shown_after_a_run(app)

    assert (runs(samples)["succeeded"], samples["findings_total", RECONCILE]) == (1, 1)


def test_ticks_that_a_run_stands_for_are_counted(app: Flask) -> None:
    service: ClientService = app.extensions["client_service"]
    lease = service.schedules[RECONCILE].take_tick()
    assert lease is not None
    service.worker.work(lease)
    with service.database.writing() as session:
        session.execute(text("UPDATE job SET last_due = last_due - 300, done_due = done_due - 300"))

    late = service.schedules[RECONCILE].take_tick()
    assert late is not None
    service.worker.work(late)

    # A minute more where the tests went over a full one.
    assert shown(app.extensions[EXTENSION])["merged_ticks_total", RECONCILE] in {4, 5}


def test_without_its_database_the_last_success_is_absent_and_the_rest_is_shown(
    app: Flask, database: Database
) -> None:
    shown_after_a_run(app)
    with database.writing() as session:
        session.execute(text("DROP TABLE job"))

    samples = shown(app.extensions[EXTENSION])

    assert ("last_success_timestamp_seconds", RECONCILE) not in samples
    assert samples["token_renewals_total", "issued"] == 1


@pytest.fixture
def metrics() -> Metrics:
    return Metrics()


@pytest.fixture
def counting(metrics: Metrics, clock: Clock) -> TokenMetrics:
    return TokenMetrics(metrics, clock)


def test_age_and_lifetime_of_a_token_are_those_of_its_source(
    counting: TokenMetrics, metrics: Metrics, tokens: Callable[..., TokenSource], clock: Clock
) -> None:
    source = tokens(retries=CountedRetries(Retries(0), counting))
    source.token()
    clock.time += 100

    samples = shown(metrics)

    assert samples["token_age_seconds",] == 100
    assert samples["token_lifetime_seconds",] == 300


def test_a_renewal_makes_the_token_young(
    counting: TokenMetrics,
    metrics: Metrics,
    tokens: Callable[..., TokenSource],
    clock: Clock,
    server: LoopbackServer,
) -> None:
    replies = [Reply(document=token_answer(name)) for name in ("first", "second")]
    server.reply("/token", *replies)
    source = tokens(retries=CountedRetries(Retries(0), counting))
    source.token()
    clock.time += 250
    source.token()

    samples = shown(metrics)

    assert samples["token_renewals_total", "issued"] == 2
    assert samples["token_age_seconds",] == 0


def tries(*ends: str) -> Callable[[], AccessToken]:
    """Return what fails with these error codes, one after the other, and issues for `issued`."""
    left: Iterator[str] = iter(ends)

    def ask() -> AccessToken:
        end = next(left)
        if end != "issued":
            raise TokenError(end, "")
        return AccessToken("token", 0, 0)

    return ask


class UpToThreeTimes:
    def until_answered(self, ask: Callable[[], AccessToken]) -> AccessToken:
        for _ in range(2):
            try:
                return ask()
            except TokenError:
                continue
        return ask()


@pytest.mark.parametrize(
    ("ends", "renewals", "retries"),
    [
        (["issued"], {"issued": 1}, {"issued": 0}),
        (["no_answer", "issued"], {"issued": 1}, {"issued": 1}),
        (["a", "b", "issued"], {"issued": 1}, {"issued": 1, "b": 1}),
        (["a", "b", "b"], {"issued": 0, "b": 1}, {"issued": 0, "b": 2}),
    ],
    ids=["at once", "at the second", "at the third", "never"],
)
def test_a_renewal_counts_by_its_end_and_each_of_its_repetitions_by_theirs(
    counting: TokenMetrics,
    metrics: Metrics,
    ends: list[str],
    renewals: dict[str, float],
    retries: dict[str, float],
) -> None:
    if ends[-1] == "issued":
        counting.counted(tries(*ends), UpToThreeTimes())
    else:
        with pytest.raises(TokenError):
            counting.counted(tries(*ends), UpToThreeTimes())

    samples = shown(metrics)
    assert counted(samples, "token_renewals_total") == renewals
    assert counted(samples, "token_retries_total") == retries


def counted(samples: Shown, name: str) -> dict[str, float]:
    return {labels[1]: value for labels, value in samples.items() if labels[0] == name}


def test_error_codes_that_a_server_invents_make_no_series_without_end(
    counting: TokenMetrics, metrics: Metrics
) -> None:
    for number in range(ERROR_CODES_BY_NAME + 10):
        with pytest.raises(TokenError):
            counting.counted(tries(f"code-{number}"), Retries(0))

    renewals = counted(shown(metrics), "token_renewals_total")
    assert (len(renewals), renewals["other"]) == (ERROR_CODES_BY_NAME + 2, 10)


def test_no_metric_holds_a_token_or_a_secret(app: Flask, server: LoopbackServer) -> None:
    server.reply("/token", Reply(document=token_answer("an-opaque-token")))
    shown_after_a_run(app)

    told: str = app.extensions[EXTENSION].text().decode()
    assert [secret for secret in ("an-opaque-token", "s3cret") if secret in told] == []
