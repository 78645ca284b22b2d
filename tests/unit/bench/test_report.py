import platform
import re
import sys
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import pytest

from bench.launch import CannotRunError
from bench.machine import Cores
from bench.measuring import Noise
from bench.plan import Plan
from bench.plots import bars
from bench.programs import (
    PYTHON_VARIABLE,
    bench_python,
    commit,
    java_version_in,
    python_build,
    python_versions,
)
from bench.report import noise_lines, put_section, shown, table, with_section
from bench.spread import Spread


def test_a_row_that_is_measured_again_replaces_its_own_section_alone() -> None:
    page = with_section(with_section("# Results\n", "one", "first"), "two", "second")

    again = with_section(page, "one", "third")

    assert again == page.replace("first", "third")
    assert page.index("first") < page.index("second")


def test_a_figure_is_shown_with_its_range_where_it_has_one() -> None:
    assert shown(Spread(2, 1, 3), 1) == "2.0 (1.0–3.0)"  # noqa: RUF001 - what stands in the page
    assert shown(Spread(2, 2, 2), 0) == "2"


def noise(calibration_ms: float) -> Noise:
    return Noise(calibration_ms, others_percent=1, stolen_percent=0, load_percent=5, load_average=1)


def test_where_the_fixed_loop_varied_much_the_section_warns_of_its_figures() -> None:
    quiet, loud = noise_lines([noise(20), noise(22)]), noise_lines([noise(20), noise(90)])

    assert quiet[0] == "| noise |  |"
    assert loud[:3] == [
        "**The machine was not quiet (the fixed loop varied 4.5-fold): "
        "read the ratios, not the figures.**",
        "",
        "| noise |  |",
    ]


COLD = "Node and Java, where they are among these, were not at their speed yet"


@pytest.mark.parametrize(
    ("plan", "has_rounds", "said"),
    [
        pytest.param(
            Plan(1, 8, 10), True, "; rounds: 1, of 8 s. One round: no range, a sample.", id="one"
        ),
        pytest.param(Plan(3, 7.5, 10), True, "; rounds: 3, of 7.5 s.", id="three"),
        pytest.param(
            Plan(3, 8, 1),
            True,
            f"; rounds: 3, of 8 s, after 1 s of warm-up: {COLD}.",
            id="a short warm-up",
        ),
        pytest.param(Plan(1, 8, 1), False, ".", id="a row without rounds"),
    ],
)
def test_a_section_says_of_which_commit_it_is_and_how_much_was_measured(
    tmp_path: Path, plan: Plan, has_rounds: bool, said: str
) -> None:
    plan = replace(plan, command="make bench ROW=one")
    section = put_section(
        tmp_path, "one", ["## One"], Cores(0, 1), [noise(20)], plan, has_rounds=has_rounds
    )

    assert section.count(f", {commit()}, ") == 1
    assert f". By `make bench ROW=one`{said}\n" in section


def test_a_python_that_is_named_and_is_none_is_told_by_its_name(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv(PYTHON_VARIABLE, "/nope")

    with pytest.raises(CannotRunError, match=r"^BENCH_PYTHON names /nope, which is no program$"):
        bench_python()


def test_a_table_is_in_the_form_of_markdown() -> None:
    assert table(("a", "b"), [("1", "2")]) == ["| a | b |", "|---|---|", "| 1 | 2 |"]


def test_a_plot_has_a_bar_for_each_server_as_long_as_its_median() -> None:
    plot = bars("tokens <1>", {"slow": Spread(50, 40, 60), "ours": Spread(100, 90, 200)}, "ours")

    ElementTree.fromstring(plot)  # noqa: S314 - our own
    assert plot.index("ours") < plot.index("slow")
    assert 'width="200.0"' in plot
    assert 'width="100.0"' in plot


def test_the_version_of_a_java_is_read_from_its_own_file() -> None:
    assert java_version_in('IMPLEMENTOR="x"\nJAVA_VERSION="25.0.1"\n') == "25.0.1"
    assert java_version_in("") == ""


@pytest.mark.parametrize(
    ("options", "build"),
    [
        pytest.param(
            "'--prefix=/usr' '--enable-optimizations' '--with-lto'",
            "with PGO",
            id="as images have it",
        ),
        pytest.param("'--prefix=/root' '--enable-shared'", "without PGO", id="as pyenv has it"),
        pytest.param("None", "without PGO", id="unknown to it"),
    ],
)
def test_a_python_is_told_by_how_it_was_compiled(options: str, build: str) -> None:
    assert python_build(options) == build


def test_the_versions_are_those_of_the_python_that_serves() -> None:
    said = python_versions(sys.executable, "Flask", "gunicorn")

    version = platform.python_version()
    assert re.fullmatch(
        rf"Python {version} \(with(out)? PGO\), Flask [\d.]+, gunicorn [\d.]+", said
    )
