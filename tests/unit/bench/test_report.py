from xml.etree import ElementTree

from bench.plots import bars
from bench.programs import java_version_in
from bench.report import shown, table, with_section
from bench.spread import Spread


def test_a_row_that_is_measured_again_replaces_its_own_section_alone() -> None:
    page = with_section(with_section("# Results\n", "one", "first"), "two", "second")

    again = with_section(page, "one", "third")

    assert again == page.replace("first", "third")
    assert page.index("first") < page.index("second")


def test_a_figure_is_shown_with_its_range_where_it_has_one() -> None:
    assert shown(Spread(2, 1, 3), 1) == "2.0 (1.0–3.0)"  # noqa: RUF001 - what stands in the page
    assert shown(Spread(2, 2, 2), 0) == "2"


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
