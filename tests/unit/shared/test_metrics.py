from pathlib import Path

import pytest
from prometheus_client import values

from shared.metrics import FOLDER_VARIABLE, BoundedNames, Metrics


def lines(metrics: Metrics) -> list[str]:
    return [line for line in metrics.text().decode().splitlines() if line.startswith("runs")]


def test_two_applications_in_one_process_count_each_for_itself() -> None:
    first, second = Metrics(), Metrics()
    first.counter("runs", "Runs.").inc()
    second.counter("runs", "Runs.")

    assert "runs_total 1.0" in lines(first)
    assert "runs_total 0.0" in lines(second)


def test_a_gauge_that_is_read_when_asked_is_read_anew_each_time() -> None:
    metrics, numbers = Metrics(), iter([1, 2])
    metrics.read_when_asked("runs", "Runs.", ["state"], lambda: [(["due"], next(numbers))])

    assert [lines(metrics), lines(metrics)] == [
        ['runs{state="due"} 1.0'],
        ['runs{state="due"} 2.0'],
    ]


def test_what_processes_count_under_their_numbers_is_added_up_and_gone_on_with(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(FOLDER_VARIABLE, str(tmp_path))
    for number in (0, 1, 1):  # the third goes on where the second ended
        value_of_number = values.MultiProcessValue(lambda number=number: number)
        monkeypatch.setattr(values, "ValueClass", value_of_number)
        metrics = Metrics()
        metrics.counter("runs", "Runs.").inc()
        value_of_number.close_all_files()

    assert lines(metrics) == ["runs_total 3.0"]
    assert len(list(tmp_path.iterdir())) == 2


def test_names_beyond_the_limit_are_other() -> None:
    names = BoundedNames(2)

    assert [names.label(name) for name in "abcab"] == ["a", "b", "other", "a", "b"]
