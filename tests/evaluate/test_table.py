"""The score table in the terminal: side by side where there is room, else a line a model."""

from rich.console import Console

from komt.evaluate.table import table

ROW = {"task": "sample.qa", "metric": "f1", "low": 0.1, "high": 0.2, "n": 20, "unscored": 0}


def printed(models):
    rows = [{**ROW, "model": f"model-{n}", "value": 0.123 + n / 100} for n in range(models)]
    console = Console(width=80, highlight=False)
    with console.capture() as capture:
        table(rows, console)
    return capture.get()


def test_few_models_stand_side_by_side():
    text = printed(3)
    assert any("model-0" in line and "model-2" in line for line in text.split("\n"))


def test_many_models_have_a_line_each_and_nothing_is_cut_off():
    text = printed(9)
    assert "…" not in text
    assert any("model-8" in line and "0.203" in line for line in text.split("\n"))
    assert text.count("[0.100, 0.200]") == 9
