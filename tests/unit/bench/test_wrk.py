from pathlib import Path

import pytest

from bench.wrk import LoadError, LoadResult, answers_in, result_in

GOOD = (
    '{"requests": 30, "microseconds": 2000000, "refused": 0, "broken": 0, "p50": 900, "p99": 2500}'
)


def test_the_last_line_of_wrk_holds_the_figures() -> None:
    result = result_in(f"Running 2s test\n  1 threads\n{GOOD}\n")

    assert result == LoadResult(requests=30, seconds=2.0, p50_ms=0.9, p99_ms=2.5)
    assert result.rate == 15


@pytest.mark.parametrize(
    ("good", "bad"),
    [
        pytest.param('"refused": 0', '"refused": 1', id="a status that is no 2xx"),
        pytest.param('"broken": 0', '"broken": 1', id="a request without an answer"),
        pytest.param('"requests": 30', '"requests": 0', id="no answer at all"),
    ],
)
def test_a_load_with_one_answer_that_is_not_good_counts_for_nothing(good: str, bad: str) -> None:
    with pytest.raises(LoadError):
        result_in(GOOD.replace(good, bad))


def test_answers_are_read_by_their_length_and_one_that_is_cut_off_is_left_out(
    tmp_path: Path,
) -> None:
    file = tmp_path / "answers"
    file.write_bytes(b"200 3\na\nb\n401 0\n\n200 9\ncut")

    assert list(answers_in(file)) == [(200, b"a\nb"), (401, b"")]
