import pytest

from bench.instructions import change, grown, heading, with_the_rest

BEFORE = {"sign": 1000, "parse": 200}


@pytest.mark.parametrize(
    ("counts", "found"),
    [
        pytest.param({"sign": 1000, "parse": 200}, [], id="the same"),
        pytest.param({"sign": 1050, "parse": 150}, [], id="five percent more"),
        pytest.param({"sign": 1051, "parse": 200}, ["sign"], id="more than that"),
        pytest.param({"sign": 1000, "check": 1}, ["check"], id="a stage that nobody counted"),
    ],
)
def test_a_stage_that_takes_over_five_percent_more_is_named(
    counts: dict[str, int], found: list[str]
) -> None:
    assert grown(counts, BEFORE) == found


@pytest.mark.parametrize("rest", ["token ES256 respond", "check RS256 judge"])
def test_a_rest_may_vary_by_twice_as_much(rest: str) -> None:
    assert grown({rest: 1100}, {rest: 1000}) == []
    assert grown({rest: 1101}, {rest: 1000}) == [rest]


def test_how_much_a_stage_differs_is_told_in_percent() -> None:
    assert (change(1100, 1000), change(900, 1000), change(5, None)) == ("+10.0%", "-10.0%", "")


def test_what_is_counted_beside_what_and_whether_it_is_written_is_told_first() -> None:
    compared, new = heading(True, False), heading(False, True)

    assert compared.startswith("Instructions per call, Python 3.")
    assert "differ from bench/instructions.json; nothing is written." in compared
    assert "unknown to bench/instructions.json, where they will be written." in new


def test_what_no_stage_of_a_whole_has_is_a_stage_of_its_own() -> None:
    token = {"parse": 1, "authenticate": 20, "decide": 300, "sign": 4000, "whole": 10000}
    check = {"signature": 70, "whole": 100, "seen before": 5}

    counts = with_the_rest(
        {f"token ES256 {name}": count for name, count in token.items()}
        | {f"check ES256 {name}": count for name, count in check.items()}
    )

    assert (counts["token ES256 respond"], counts["check ES256 judge"]) == (5679, 30)
    assert len(counts) == len(token) + len(check) + 2
