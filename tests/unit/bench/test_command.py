import shlex
import sys
from pathlib import Path

import pytest

from bench.__main__ import WHOLE_REPORT, arguments_parser, command, main, report_folder
from bench.programs import CACHE


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        pytest.param(["--only", "nodejs"], "there are: ours; node-oidc-provider;", id="no such"),
        pytest.param(["--quick", "--only", "node"], "there are: ours; bare", id="not a quick one"),
        pytest.param(["--only", "node", "--row", "api"], "not of a --row", id="with a row"),
    ],
)
def test_peers_that_cannot_be_chosen_are_no_reason_to_measure_others(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    said: str,
) -> None:
    monkeypatch.setattr(sys, "argv", ["bench", *arguments])

    with pytest.raises(SystemExit):
        main()

    assert said in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "folder"),
    [
        pytest.param([], WHOLE_REPORT, id="all"),
        pytest.param(["--quick"], CACHE / "quick", id="quick"),
        pytest.param(["--only", "node"], CACHE / "only", id="some peers"),
        pytest.param(["--only", "node", "--out", "elsewhere"], Path("elsewhere"), id="told"),
    ],
)
def test_some_peers_alone_do_not_replace_the_report_on_all(
    arguments: list[str], folder: Path
) -> None:
    assert report_folder(arguments_parser().parse_args(arguments)) == folder


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        pytest.param([], "make bench", id="all"),
        pytest.param(["--out", "elsewhere"], "make bench", id="all, elsewhere"),
        pytest.param(["--quick"], "make bench QUICK=1", id="quick"),
        pytest.param(["--row", "api"], "make bench ROW=api", id="a row"),
        pytest.param(
            ["--quick", "--row", "soak", "--minutes", "0.5"],
            'make bench QUICK=1 ROW=soak BENCH_ARGS="--minutes 0.5"',
            id="a row, in short",
        ),
        pytest.param(
            ["--row", "reconciliation", "--transactions", "1234567"],
            'make bench ROW=reconciliation BENCH_ARGS="--transactions 1234567"',
            id="a number of seven digits",
        ),
        pytest.param(
            ["--rounds", "2", "--seconds", "7.5", "--warm-up", "1", "--only", "bare Authlib"],
            "make bench BENCH_ARGS=\"--rounds 2 --seconds 7.5 --warm-up 1 --only 'bare authlib'\"",
            id="less, of some peers",
        ),
    ],
)
def test_the_command_that_is_told_measures_the_same_again(arguments: list[str], told: str) -> None:
    chosen = arguments_parser().parse_args(arguments)
    name, *words = shlex.split(told.removeprefix("make "))
    variables = dict(word.split("=", 1) for word in words)
    again = arguments_parser().parse_args(
        [
            *(["--quick"] if "QUICK" in variables else []),
            *(["--row", variables["ROW"]] if "ROW" in variables else []),
            *shlex.split(variables.get("BENCH_ARGS", "")),
        ]
    )

    assert (name, command(chosen)) == ("bench", told)
    assert vars(again) | {"out": None} == vars(chosen) | {"out": None}
