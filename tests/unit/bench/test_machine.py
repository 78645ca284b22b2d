from bench.machine import CoreTimes, core_times, cores_in
from bench.process import stat_columns

PROC_STAT = """cpu  30 0 30 100 0 0 0 30 0 0
cpu0 100 20 50 9000 5 10 15 40 0 0
cpu1 200 0 100 9000 5 0 0 0 0 0
"""


def test_a_list_of_cores_may_hold_ranges() -> None:
    assert cores_in("0-2,5\n") == {0, 1, 2, 5}


def test_idle_and_stolen_time_of_a_core_is_not_busy_time() -> None:
    ticks = 100

    times = core_times(0, PROC_STAT, ticks)

    assert times == CoreTimes(busy=1.95, stolen=0.4)


def test_a_process_may_have_spaces_and_brackets_in_its_name() -> None:
    columns = stat_columns("7 (a (b) c) S 1 7 9 0")

    assert columns == ["7", "(a (b) c)", "S", "1", "7", "9", "0"]
