import pytest

from bench.machine import CoreTimes, core_times, cores_in, physical_cores
from bench.process import stat_columns

PROC_STAT = """cpu  30 0 30 100 0 0 0 30 0 0
cpu0 100 20 50 9000 5 10 15 40 0 0
cpu1 200 0 100 9000 5 0 0 0 0 0
"""


def test_a_list_of_cores_may_hold_ranges() -> None:
    assert cores_in("0-2,5\n") == {0, 1, 2, 5}


def test_idle_and_stolen_time_of_a_core_is_not_busy_time() -> None:
    ticks = 100

    times = core_times({0}, PROC_STAT, ticks)

    assert times == CoreTimes(busy=1.95, stolen=0.4)


def test_the_times_of_several_cores_are_added() -> None:
    assert core_times({0, 1}, PROC_STAT, 100) == CoreTimes(busy=4.95, stolen=0.4)


@pytest.mark.parametrize(
    ("threads_of_a_core", "found"),
    [
        pytest.param([{0, 1}, {2, 3}, {4, 5}, {6, 7}], [4, 6], id="neighbours"),
        pytest.param([{0, 4}, {1, 5}, {2, 6}, {3, 7}], [1, 3], id="far apart"),
        pytest.param([{core} for core in range(8)], [1, 3, 4, 5, 6, 7], id="one thread each"),
    ],
)
def test_a_thread_of_a_physical_core_that_is_taken_is_not_chosen(
    threads_of_a_core: list[set[int]], found: list[int]
) -> None:
    def siblings_of(core: int) -> set[int]:
        return next(threads for threads in threads_of_a_core if core in threads)

    assert physical_cores(range(8), {0, 2}, siblings_of) == found


def test_a_process_may_have_spaces_and_brackets_in_its_name() -> None:
    columns = stat_columns("7 (a (b) c) S 1 7 9 0")

    assert columns == ["7", "(a (b) c)", "S", "1", "7", "9", "0"]
