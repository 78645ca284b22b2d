from dataclasses import replace
from pathlib import Path

import pytest

from bench.client_calls import CALLS_A_BLOCK, PLAIN, above, one_round
from bench.comparison import OURS, Measurement
from bench.measuring import Noise
from bench.reconciliation import memory_mib
from bench.rows import api, client, reconciliation, soak
from bench.rows.index import ROWS
from bench.rows.reconciliation import Run

README = Path(__file__).parents[3] / "bench" / "README.md"
STATUS = "Name:\tpython\nVmHWM:\t  143360 kB\nVmRSS:\t  102400 kB\n"
RUN = Run(
    "from the beginning",
    1_000_000,
    seconds=60,
    cpu_seconds=30,
    bank_cpu_seconds=25,
    peak_mib_over_idle=3.25,
    stages={"save": [10, 4], "ask for pages": [40, 12]},
    noise=Noise(20, 1, 0, 50, 1),
)


@pytest.mark.parametrize("row", ROWS)
def test_each_row_stands_in_the_readme_with_its_command(row: str) -> None:
    assert README.read_text().count(f"| `make bench ROW={row}` |") == 1


def test_the_stage_that_limits_a_run_is_the_one_that_takes_longest() -> None:
    assert reconciliation.limit(RUN) == (
        "What limits the pass is the stage `ask for pages`: 40.0 s of its 60.0 s, of which the "
        "client computes 12.0 s. The bank computes 25.0 s in all."
    )


def test_the_section_on_the_reconciliation_has_each_run_and_the_stages_of_the_first() -> None:
    audit = replace(RUN, name="full audit", stages={"check": [1, 1]})

    section = reconciliation.lines(idle=95.4, runs=[RUN, audit])

    assert "| from the beginning | 1,000,000 | 60.0 | 30.0 | 25.0 | 3.2 |" in section
    assert "| full audit | 1,000,000 | 60.0 | 30.0 | 25.0 | 3.2 |" in section
    assert section[-2:] == ["| save | 10.0 | 4.0 |", "| ask for pages | 40.0 | 12.0 |"]


def test_the_memory_of_a_process_is_what_it_has_and_the_most_that_it_had() -> None:
    assert memory_mib(STATUS) == (100, 140)


def test_a_call_costs_above_a_plain_one_what_the_blocks_of_one_turn_differ_by() -> None:
    assert above([11, 42, 33], [10, 40, 30]) == 2


def test_each_round_has_all_calls_equally_often() -> None:
    called: list[str] = []
    calls = {name: lambda name=name: called.append(name) for name in (PLAIN, "ours")}

    costs = one_round(calls, seconds=0.01)

    assert costs.keys() == calls.keys()
    assert called.count(PLAIN) == called.count("ours") >= CALLS_A_BLOCK


def test_the_section_on_the_client_has_a_line_for_each_call_over_all_rounds() -> None:
    rounds = [{PLAIN: [500, 0], "ours": [520, 20]}, {PLAIN: [510, 0], "ours": [550, 40]}]

    section = client.lines(rounds)

    assert section[-1] == "| ours | 535 (520–550) | 30 (20–40) |"  # noqa: RUF001 - stands there


def test_a_soak_is_no_longer_than_it_was_asked_to_be() -> None:
    assert list(soak.lengths(12)) == [12]
    assert list(soak.lengths(75)) == [30, 30, 15]


def test_a_soak_of_one_slice_is_compared_with_nothing() -> None:
    first = soak.Slice(30, 500, 20, memory_mib=100, open_files=22, noise=RUN.noise)
    last = soak.Slice(60, 505, 20, memory_mib=101, open_files=23, noise=RUN.noise)

    assert soak.changes([first]) == "That is too short to compare its beginning with its end."
    assert soak.changes([first, last]) == (
        "From the first row to the last: memory +1.0 %, open files +1, rate +1.0 %."
    )


def test_a_request_costs_above_the_open_one_what_the_two_of_one_turn_differ_by() -> None:
    open_us, guarded_us = (100, 140, 110), (150, 191, 162)
    measurements = [
        Measurement(OURS, ask, 1, 1, 1, 1, us, 1, 1, 1, Noise(1, 0, 0, 100, 1), turn)
        for ask, all_us in ((api.OPEN, open_us), ("RS256", guarded_us))
        for turn, us in enumerate(all_us)
    ]

    of_open, guarded = api._rows(measurements)

    assert [part.split(" ")[0] for part in of_open[-2:]] == ["110", ""]
    assert [part.split(" ")[0] for part in guarded[-2:]] == ["162", "51"]
