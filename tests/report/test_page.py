"""The page: whole, self-contained, escaped, with every plot that its folders have something for."""

import re

import pytest
from report_folders import write_evaluation, write_judged, write_run

from komt.report import compare, read_report
from komt.report.page import page
from komt.report.panels import matrix, pair_verdicts
from komt.report.plots import Line, Mark, intervals, scatter


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    folder = tmp_path_factory.mktemp("report")
    pairs = [("a", "b", [("a", "a"), ("a", "b"), ("tie", "tie"), ("a", None)])]
    return read_report(
        [
            write_run(folder / "작은"),
            write_judged(folder / "judge", {"a": [3, 4, 5, None] * 4, "b": [1, 1, 2, 0] * 4}, pairs),
        ]
    )


def test_the_page_has_every_section_and_loads_nothing(report):
    text = page(report, compare(report, "base", "tuned"))
    for name in ("scores", "comparison", "matrix", "judges", "lengths", "curves", "mixture", "examples"):
        assert f'<section id="{name}">' in text, name
        assert f'href="#{name}"' in text
    assert not re.search(r"<script|https?://|url\(", text)
    assert text.count("<svg") == text.count("</svg>")
    assert "sample.qa 물음 0 &lt;b&gt;" in text
    assert "학습 곡선" in text
    assert "순위를 가릴 수 없는 모델은" in text
    assert "verdicts that change with the order" in text
    assert "Training curves" in text
    assert "작은: held-out loss: 2 → 1" in text
    assert "작은: held-out token accuracy: 0 → 1" in text


def test_sections_without_anything_are_left_out(tmp_path):
    text = page(read_report([write_evaluation(tmp_path / "e", {"m": [1.0, 0.0]})]))
    for name in ("comparison", "matrix", "judges", "curves", "mixture"):
        assert f'id="{name}"' not in text
    assert 'id="scores"' in text


def test_the_matrix_counts_tasks_and_judged_pairs(report):
    cells = matrix(report, report.models)
    assert (cells["tuned", "base"].better, cells["tuned", "base"].worse, cells["tuned", "base"].tasks) == (
        1,
        0,
        1,
    )
    assert (cells["base", "tuned"].better, cells["base", "tuned"].worse) == (0, 1)
    # Won; the orders disagree, a tie; a tie; one order unread, no verdict.
    assert [verdict for *_, verdict in sorted(pair_verdicts(report.judgements))] == ["a", "tie", "tie", None]
    assert cells["a", "b"].wins == pytest.approx(2 / 3)
    assert cells["b", "a"].wins == pytest.approx(1 / 3)


def test_intervals_stand_where_their_numbers_say():
    svg = str(intervals([Mark("a", 0.5, 0.25, 0.75), Mark("b", None, None, None)], "t"))
    middle = float(re.search(r'<circle class="s0" cx="([\d.]+)"', svg).group(1))
    left, right = map(float, re.search(r'whisker s0" x1="([\d.]+)" x2="([\d.]+)"', svg).groups())
    assert middle == pytest.approx((left + right) / 2)
    grid = [float(x) for x in re.findall(r'<line class="grid" x1="([\d.]+)"', svg)]
    assert middle == pytest.approx((grid[0] + grid[-1]) / 2, abs=0.1)
    assert "a 0.500 [0.250, 0.750]" in svg


def test_a_plot_of_nothing_is_nothing():
    assert scatter([Line("a", [])], "t", "x") == ""
    assert "<polyline" in scatter([Line("a", [(1, 2), (3, 4)])], "t", "x")


@pytest.mark.parametrize(("scale", "last"), [((0.0, 5.0), "5"), ((1.0, 10.0), "10")])
def test_the_axis_of_a_judges_scores_ends_at_full_marks(scale, last):
    drawn = str(intervals([Mark("a", 3.0, 2.0, 4.0, 0)], "judge", bounds=scale))
    labels = re.findall(r'text-anchor="middle">([^<]+)<', drawn)
    assert (labels[0], labels[-1]) == (f"{scale[0]:g}", last)
