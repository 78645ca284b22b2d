import math
from threading import Thread

from hypothesis import example, given
from hypothesis import strategies as st

from auth_server.throttling.failure_counts import Failure, Limits
from auth_server.throttling.memory import CountsInMemory

LIMITS = Limits(per_client=3, per_address=5, window_seconds=60)
FAILURE = Failure("address", "address worker")


class Clock:
    def __init__(self) -> None:
        self.time = 1000.0

    def __call__(self) -> float:
        return self.time


def waits(counts: CountsInMemory, times: int, failure: Failure = FAILURE) -> list[float]:
    return [counts.count(failure) for _ in range(times)]


def test_up_to_the_limit_there_is_nothing_to_wait_for() -> None:
    assert waits(CountsInMemory(LIMITS, Clock()), 3) == [0, 0, 0]


def test_past_the_limit_the_wait_is_the_rest_of_the_window() -> None:
    clock = Clock()
    counts = CountsInMemory(LIMITS, clock)
    waits(counts, 3)
    clock.time += 12.5
    assert counts.count(FAILURE) == 47.5


def test_a_flood_does_not_make_its_window_longer() -> None:
    clock = Clock()
    counts = CountsInMemory(LIMITS, clock)
    waits(counts, 4)
    clock.time += 59
    flood = waits(counts, 1)
    clock.time += 1
    assert (flood, waits(counts, 1)) == ([1], [0])


def test_past_the_limit_of_its_address_no_client_is_counted() -> None:
    counts = CountsInMemory(LIMITS, Clock())
    made_up = [counts.count(Failure("address", f"address {n}")) for n in range(100)]
    assert made_up[:6] == [0, 0, 0, 0, 0, 60]
    assert len(counts) == 1 + 5


def test_a_failure_of_no_client_is_counted_for_its_address() -> None:
    counts = CountsInMemory(LIMITS, Clock())
    assert waits(counts, 6, Failure("address", None)) == [0, 0, 0, 0, 0, 60]


def test_there_are_never_more_windows_than_allowed() -> None:
    counts = CountsInMemory(LIMITS, Clock(), most_windows=10)
    for n in range(1000):
        counts.count(Failure(f"address {n}", f"address {n} worker"))
    assert len(counts) == 2 * 10


def test_the_oldest_window_gives_way() -> None:
    clock = Clock()
    counts = CountsInMemory(Limits(1, 1, 60), clock, most_windows=2)
    for address in ("first", "second", "third"):
        counts.count(Failure(address, None))
        clock.time += 1
    again = {name: counts.count(Failure(name, None)) > 0 for name in ("second", "third", "first")}
    assert again == {"second": True, "third": True, "first": False}


def test_threads_lose_no_count() -> None:
    counts = CountsInMemory(Limits(1000, 400, 60), Clock())
    told: list[float] = []
    threads = [Thread(target=lambda: told.extend(waits(counts, 100))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(wait == 0 for wait in told) == 400


@given(st.lists(st.tuples(st.integers(0, 3), st.floats(0, 30)), max_size=60))
@example([(1, 0.025)] + [(0, 0.0)] * 5)
def test_a_wait_is_never_longer_than_the_window_and_ends_it(
    steps: list[tuple[int, float]],
) -> None:
    clock = Clock()
    counts = CountsInMemory(Limits(2, 4, 60), clock, most_windows=3)
    for number, passing in steps:
        failure = Failure(f"{number}", None)
        wait = counts.count(failure)
        assert 0 <= wait <= 60
        clock.time += passing
    for number in range(4):
        wait = counts.count(Failure(f"{number}", None))
        clock.time += math.ceil(wait)  # as the answer says it
        assert counts.count(Failure(f"{number}", None)) == 0 or wait == 0
