import sys
from pathlib import Path

import pytest

from bench.__main__ import WHOLE_REPORT, arguments_parser, main, report_folder
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
