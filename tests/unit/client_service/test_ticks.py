from datetime import UTC, datetime
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from client_service.ticks import NONE_MISSED, Cron, Interval, Missed, Ticks, ticks_in

DAY = 86_400
BERLIN = ZoneInfo("Europe/Berlin")
YEAR_2026 = int(datetime(2026, 1, 1, tzinfo=UTC).timestamp())
MOMENTS = st.integers(YEAR_2026 * 10, (YEAR_2026 + 366 * DAY) * 10).map(lambda tenths: tenths / 10)
SCHEDULES = ("every 60s", "every 7m", "every 1d", "* * * * *", "30 2 * * *", "*/15 1-3 * * SUN")
ZONES = ("UTC", "Europe/Berlin", "America/New_York", "Asia/Kathmandu")


def at(text: str) -> int:
    return int(datetime.fromisoformat(text).timestamp())


def ticks(schedule: str, zone: str = "UTC") -> Ticks:
    found = ticks_in(schedule, ZoneInfo(zone))
    assert found is not None
    return found


@settings(deadline=None)
@given(st.sampled_from(SCHEDULES), st.sampled_from(ZONES), MOMENTS)
def test_a_moment_lies_between_the_tick_that_is_due_and_the_following(
    schedule: str, zone: str, now: float
) -> None:
    of_schedule = ticks(schedule, zone)

    due, following = of_schedule.due(now), of_schedule.following(now)

    assert due <= now < following
    assert (of_schedule.due(due), of_schedule.due(following)) == (due, following)
    assert of_schedule.due(following - 0.5) == due


@settings(deadline=None)
@given(st.sampled_from(SCHEDULES), st.sampled_from(ZONES), MOMENTS, st.integers(1, 40))
def test_what_is_missed_is_every_tick_between_two(
    schedule: str, zone: str, now: float, count: int
) -> None:
    of_schedule = ticks(schedule, zone)
    passed = [of_schedule.due(now)]
    for _ in range(count):
        passed.append(of_schedule.following(passed[-1]))

    missed = of_schedule.missed(passed[0], passed[-1])

    assert all(before < after for before, after in pairwise(passed))
    assert missed == (Missed(count - 1, passed[1]) if count > 1 else NONE_MISSED)


@pytest.mark.parametrize(
    ("schedule", "expected"),
    [
        ("every 90s", Interval(90)),
        ("every 5 m", Interval(300)),
        ("every 2h", Interval(7200)),
        ("every 366d", Interval(366 * DAY)),
        ("0 3 * * SUN", Cron("0 3 * * SUN")),
        ("never", None),
    ],
    ids=["seconds", "minutes", "hours", "days", "cron", "never"],
)
def test_a_schedule_is_an_interval_or_a_cron_expression(
    schedule: str, expected: Ticks | None
) -> None:
    assert ticks_in(schedule) == expected


@pytest.mark.parametrize(
    ("schedule", "problem"),
    [
        ("every 0s", "from 1 second to 366 days"),
        ("every 367d", "from 1 second to 366 days"),
        ("every minute", "from 1 second to 366 days"),
        ("", "five fields"),
        ("* * * *", "five fields"),
        ("0 * * * * *", "five fields"),
        ("60 * * * *", "is no cron expression: bad minute"),
        ("0 3 * * SOMEDAY", "is no cron expression: bad day-of-week"),
        ("0 0 31 FEB *", "is no cron expression: bad day-of-month"),
        ("0 0 */31 * MON#5", "is a cron expression that never comes"),
    ],
    ids=[
        "none",
        "too long",
        "words",
        "empty",
        "four fields",
        "six fields",
        "minute 60",
        "no day",
        "no such date",
        "no first is a fifth Monday",
    ],
)
def test_what_is_no_schedule_is_refused_with_the_reason(schedule: str, problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        ticks_in(schedule)


def test_a_daily_job_runs_once_on_the_day_that_has_its_hour_twice() -> None:
    of_berlin = Cron("30 2 * * *", BERLIN)
    summer, winter = at("2026-10-25T02:30:00+02:00"), at("2026-10-25T02:30:00+01:00")

    assert of_berlin.due(winter + 60) == summer
    assert of_berlin.following(summer) == at("2026-10-26T02:30:00+01:00")


def test_a_daily_job_runs_on_the_day_that_lacks_its_hour_when_the_clocks_are_put_forward() -> None:
    of_berlin = Cron("30 2 * * *", BERLIN)

    following = of_berlin.following(at("2026-03-28T02:30:00+01:00"))

    assert following == at("2026-03-29T03:00:00+02:00")
    assert of_berlin.due(following) == following


def test_a_job_of_every_minute_misses_none_while_the_clocks_are_put_back() -> None:
    every_minute = Cron("* * * * *", BERLIN)
    before, after = at("2026-10-25T01:00:00+02:00"), at("2026-10-25T04:00:00+01:00")

    assert every_minute.missed(before, after) == Missed(4 * 60 - 1, before + 60)


def test_an_interval_that_was_changed_counts_the_ticks_of_the_new_one() -> None:
    assert Interval(60).missed(done=90, due=300) == Missed(3, 120)
    assert Interval(60).missed(done=290, due=300) == NONE_MISSED


def test_a_cron_expression_that_was_changed_counts_the_ticks_of_the_new_one() -> None:
    hourly = Cron("0 * * * *")

    assert hourly.missed(YEAR_2026 + 90, YEAR_2026 + 4 * 3600) == Missed(3, YEAR_2026 + 3600)
