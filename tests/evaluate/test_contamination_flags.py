"""Evaluated examples that stand in training data are found: by fingerprint in any phrasing, or by text."""

import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from komt.errors import DataError
from komt.evaluate.asked import Asking
from komt.evaluate.contamination import contaminated, trained_at, trained_of
from komt.mix import fingerprint
from komt.mix.fitting import FINGERPRINTS
from komt.sources import read_rows
from komt.tasks import load_task, render


@pytest.fixture(scope="module")
def asked():
    return [next(Asking(limit=12).ask(load_task(name))) for name in ("sample.qa", "sample.sentiment")]


def write_prints(folder, examples, seed=0):
    folder.mkdir(parents=True)
    columns = [
        [fingerprint(one) for one in examples],
        [one.task for one in examples],
        [one.id for one in examples],
    ]
    pq.write_table(
        pa.Table.from_arrays(list(map(pa.array, columns)), schema=FINGERPRINTS),
        folder / "fingerprints.parquet",
    )
    (folder / "manifest.json").write_text(json.dumps({"seed": seed}), encoding="utf-8")


def test_an_example_is_found_by_its_fingerprint_in_whatever_phrasing(asked, tmp_path):
    one = asked[0]
    task, row = one.whole, one.rows[3]
    others = [template for template in task.templates if template.id != one.examples[3].template]
    trained = [render(task, row, 0, template=template) for template in others[:1]]
    elsewhere = list(read_rows(task.rows_from, "train"))[:5]
    write_prints(tmp_path / "run" / "data", [*trained, *(render(task, row, 0) for row in elsewhere)])
    found = contaminated(asked, trained_at(tmp_path / "run"))
    assert [place for place, flag in enumerate(found[0]) if flag] == [3]
    assert not any(found[1])


def test_the_data_of_the_run_that_trained_a_model_is_found(tmp_path, asked):
    write_prints(tmp_path / "run" / "data", asked[0].examples[:2], seed=7)
    (tmp_path / "run" / "train" / "adapter").mkdir(parents=True)
    for folder in (tmp_path / "run", tmp_path / "run" / "train" / "adapter"):
        trained = trained_of(str(folder))
        assert trained.seed == 7
        assert sum(map(sum, contaminated(asked, trained))) == 2
    assert trained_of("gemma-3-270m") is None


def test_a_text_that_holds_what_a_row_asks_is_found(tmp_path, asked):
    lines = [{"instruction": "무관한 글", "output": "답"}]
    long = [place for place, text in enumerate(asked[0].inputs) if len(text.split()) >= 8]
    assert len(long) >= 2
    for place in long[:2]:  # both in one text
        lines[0]["output"] += f"\n{asked[0].inputs[place]}"
    path = tmp_path / "mine.jsonl"
    path.write_text("\n".join(json.dumps(line, ensure_ascii=False) for line in lines), encoding="utf-8")
    found = contaminated(asked, trained_at(path))
    assert [place for place, flag in enumerate(found[0]) if flag] == long[:2]


def test_what_is_no_training_data_is_refused(tmp_path, asked):
    with pytest.raises(DataError, match="no training data at"):
        trained_at(tmp_path)
    path = tmp_path / "broken.jsonl"
    path.write_text('{"a": 1}\n{', encoding="utf-8")
    with pytest.raises(DataError, match="line 2"):
        contaminated(asked, trained_at(path))


@pytest.mark.parametrize(
    ("name", "encoding"), [("t.jsonl", "cp949"), ("t.jsonl", "utf-16"), ("t.json", "utf-8")]
)
def test_training_texts_in_other_encodings_and_as_one_list_are_read(tmp_path, asked, name, encoding):
    rows = [{"instruction": example.messages[0].content, "output": "답"} for example in asked[0].examples]
    lines = [json.dumps(row, ensure_ascii=False) for row in rows]
    text = json.dumps(rows, ensure_ascii=False, indent=1) if name == "t.json" else "\n".join(lines)
    (tmp_path / name).write_text(text, encoding=encoding)
    assert any(contaminated(asked, trained_at(tmp_path / name))[0])


@pytest.mark.parametrize(
    ("data", "message"),
    [(b"", "empty"), (b"\n \n", "empty"), (bytes(range(256)), "not utf-8 text"), (b"{}\n{", "line 2")],
)
def test_training_texts_that_cannot_be_read_are_told_with_their_file(tmp_path, asked, data, message):
    (tmp_path / "t.jsonl").write_bytes(data)
    with pytest.raises(DataError, match=message):
        contaminated(asked, trained_at(tmp_path / "t.jsonl"))
