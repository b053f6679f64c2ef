from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Sequence
from html.parser import HTMLParser
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from komt.example import Example, Message, examples_table
from komt.mix import build, read_manifest
from komt.mix.manifest import Evaluation, Manifest, TaskCounts
from komt.mix.reasons import REASONS
from komt.mix.report import page, words, write_report
from komt.mix.report_data import CLASSES, Measured, lengths_of, measure
from komt.mix.report_plots import bars_of, class_names
from komt.recipe import load_recipe
from komt.tasks import TASKS

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), "")


class Reader(HTMLParser):
    """The words of a page, and what it asks the browser to load."""

    def __init__(self) -> None:
        super().__init__()
        self.text: list[str] = []
        self.tags: list[str] = []
        self.loads: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.loads += [value or "" for name, value in attrs if name in {"src", "href"}]

    def handle_data(self, data: str) -> None:
        self.text.append(data)


def read(text: str) -> Reader:
    reader = Reader()
    reader.feed(text)
    return reader


def example(
    number: int, prompt: str, answer: str = "답", task: str = "t.ask", group: str = "", **more: str
) -> Example:
    return Example(
        id=f"{task}:{number}",
        task=task,
        family=more.get("family", "closed_book_qa"),
        kind="plain",
        source="t",
        licence="CC0-1.0",
        origin="native",
        split="train",
        template=more.get("template", f"a{number}"),
        group=group,
        messages=(Message("user", prompt), Message("assistant", answer, supervised=True)),
    )


def measured(tmp_path: Path, examples: Sequence[Example], tokenizer: Words | None = None) -> Measured:
    pq.write_table(examples_table(examples), tmp_path / "train.parquet", row_group_size=3)
    return measure(tmp_path / "train.parquet", tokenizer)


class Words:
    """A tokenizer whose tokens are words, one more for the end."""

    model = "words"

    def tokens(self, examples: Sequence[Example]) -> list[tuple[list[int], int]]:
        texts = [" ".join(message.content for message in item.messages).split() for item in examples]
        answers = [len(item.messages[-1].content.split()) for item in examples]
        return [([hash(word) for word in text] + [0], n + 1) for text, n in zip(texts, answers, strict=True)]


def test_lengths_are_counted_in_characters_and_eojeol(tmp_path: Path) -> None:
    prompts = ["하나 둘\n\n셋", "  끝  ", "ab cd", "🙂\t가", ""]
    found = measured(tmp_path, [example(n, text, "네, 네.") for n, text in enumerate(prompts)])
    assert set(found.prompts) == {"characters", "eojeol"}
    assert found.prompts["characters"] == lengths_of_all([len(text) for text in prompts])
    assert found.prompts["eojeol"] == lengths_of_all([len(text.split()) for text in prompts])
    assert found.answers["characters"] == lengths_of_all([5] * 5)
    assert found.answers["eojeol"] == lengths_of_all([2] * 5)


def lengths_of_all(values: list[int]) -> object:
    import numpy as np

    return lengths_of(np.array(values, np.int64))


def test_classes_of_lengths_hold_their_upper_bound() -> None:
    lengths = lengths_of_all([1, 4, 5, 6, 8000, 8001])
    assert class_names()[:4] == ["1", "2", "3", "4–5"]
    counts = dict(zip(class_names(), lengths.counts, strict=True))  # type: ignore[attr-defined]
    assert {name: n for name, n in counts.items() if n} == {
        "1": 1,
        "4–5": 2,
        "6–8": 1,
        "5,001–8,000": 1,
        "8,000<": 1,
    }
    assert len(counts) == len(CLASSES) + 1


def test_few_shot_turns_belong_to_the_prompt(tmp_path: Path) -> None:
    turns = [
        Message("user", "하나"),
        Message("assistant", "1"),
        Message("user", "둘이요"),
        Message("assistant", "22", True),
    ]
    item = Example(
        **{**{name: getattr(example(0, ""), name) for name in Example.__slots__}, "messages": tuple(turns)}
    )
    found = measured(tmp_path, [item])
    assert (found.prompts["characters"].most, found.answers["characters"].most) == (6, 2)


def test_beginnings_are_shared_within_a_passage_only(tmp_path: Path) -> None:
    texts = [
        ("가나다 라", "p1"),
        ("가나다 마", "p1"),
        ("가나다 라", "p2"),
        ("가나다 라", ""),
        ("가나다 라", ""),
    ]
    found = measured(tmp_path, [example(n, text, "x", group=group) for n, (text, group) in enumerate(texts)])
    # In characters, with the line between prompt and answer: 7 each, of which p1 has "가나다 " in common.
    assert (found.together.flat, found.together.trie, found.tokenizer) == (35, 31, "")
    assert found.sharing["t.ask"].gain == pytest.approx(35 / 31)


def test_tasks_share_a_passage_together_but_not_each_by_itself(tmp_path: Path) -> None:
    examples = [
        example(n, "글이 길다 물음", "x", task=task, group="p") for n, task in enumerate(["t.a", "t.b"])
    ]
    found = measured(tmp_path, examples, Words())
    assert found.sharing["t.a"].gain == found.sharing["t.b"].gain == 1
    assert (found.together.flat, found.together.trie) == (10, 5)
    assert found.tokenizer == "words"
    assert (found.prompts["tokens"].most, found.answers["tokens"].most) == (3, 2)


def test_samples_are_of_different_phrasings(tmp_path: Path) -> None:
    examples = [example(n, f"물음 {n}", template="ab"[n % 2]) for n in range(9)]
    examples += [example(n, f"과제 {n}", task="t.other") for n in range(9)]
    found = measured(tmp_path, examples)
    assert [item.messages[0].content for item in found.samples["t.ask"]] == ["물음 0", "물음 1"]
    assert [item.messages[0].content for item in found.samples["t.other"]] == ["과제 0", "과제 1", "과제 2"]


def manifest(**more: object) -> Manifest:
    known = {"source": "t", "family": "closed_book_qa", "licence": "CC0-1.0", "origin": "native"}
    task = TaskCounts(
        examples=2,
        read=9,
        kinds={"plain": 2},
        templates={"a": 2},
        rejected={"filter": {"duplicate": 4, "a_new_reason": 1}, "mixture": {"cap": 2}},
        evaluation=Evaluation(split="test", examples=5),
        **known,
    )
    values = {
        "examples": 2,
        "seed": 0,
        "resplit": [],
        "comparable": True,
        "licences": [],
        "inputs": {},
        "version": 1,
    }
    return Manifest(**{**values, "tasks": {"t.ask": task}, **more})  # type: ignore[arg-type]


def test_what_rows_hold_is_never_markup(tmp_path: Path) -> None:
    evil = '<script>alert(1)</script><img src="http://x/y.png">'
    found = measured(tmp_path, [example(0, evil, evil), example(1, "둘")])
    reader = read(page(manifest(), found))
    assert "script" not in reader.tags
    assert "img" not in reader.tags
    assert "".join(reader.text).count(evil) == 3  # as prompt, as answer, and where the sample is closed


def test_everything_that_must_be_known_is_on_the_page(tmp_path: Path) -> None:
    found = measured(tmp_path, [example(0, "하나"), example(1, "둘")])
    told = manifest(
        resplit=["korquad"],
        note="not comparable with published results: x",
        terms={"t": "No handing on."},
        held_out={"t.held": "family intent"},
        absent={"t.gone": "its file is not here"},
    )
    told.tasks["t.ask"].conflicts = 7
    text = " ".join("".join(read(page(told, found)).text).split())
    for words_ in (
        "Not comparable with published results",
        "공개된 점수와 비교할 수 없습니다",
        "No handing on.",
        "t.held: family intent",
        "t.gone: its file is not here",
        "t.ask 7",
        "똑같은 예제 duplicate",
        "a_new_reason",
        "읽은 9행 가운데 7행이",
        "characters (an estimate: no tokenizer measured)",
    ):
        assert words_ in text, words_


def test_tasks_that_share_nothing_are_named_apart(tmp_path: Path) -> None:
    shared = [example(n, f"긴 글이다. 물음 {n}", group="p") for n in range(2)]
    found = measured(tmp_path, [*shared, example(2, "하나", task="t.alone")])
    text = page(manifest(), found).partition('id="sharing"')[2].partition("</section>")[0]
    table, _, rest = text.partition("</table>")
    assert ("t.ask" in table, "t.alone" in table) == (True, False)
    assert ("t.ask" in rest, "t.alone" in rest) == (False, True)


def test_a_task_of_which_nothing_is_left_is_named(tmp_path: Path) -> None:
    told = manifest()
    told.tasks["t.none"] = told.tasks["t.ask"].model_copy(
        update={"examples": 0, "kinds": {}, "templates": {}}
    )
    text = "".join(read(page(told, measured(tmp_path, [example(0, "하나"), example(1, "둘")]))).text)
    assert "Read, but nothing is left: t.none" in " ".join(text.split())


def test_a_plain_build_raises_no_alarm(tmp_path: Path) -> None:
    text = page(manifest(), measured(tmp_path, [example(0, "하나"), example(1, "둘")]))
    assert 'class="warn"' not in text


def test_bars_are_ordered_and_make_up_the_whole() -> None:
    bars = bars_of({"b": 1, "a": 1, "c": 6, "none": 0})
    assert [(bar.name, bar.share) for bar in bars] == [("c", 0.75), ("a", 0.125), ("b", 0.125)]


def test_every_family_kind_and_reason_has_a_korean_name() -> None:
    families = {TASKS.get(name).family for name in TASKS.names()}
    kinds = {kind for name in TASKS.names() for kind in TASKS.get(name).kinds}
    assert families - words()["families"].keys() == set()
    assert kinds - words()["kinds"].keys() == set()
    assert {reason for _, reason in REASONS[1:]} - words()["reasons"].keys() == set()


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A build of the sample, without a tokenizer."""
    folder = tmp_path_factory.mktemp("build") / "data"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("KOMT_HOME", str(tmp_path_factory.mktemp("home")))
        build(load_recipe("sample", ["evaluate.tasks=[]"]), folder)
    return folder


def test_a_build_leaves_its_report_always_the_same(data: Path, tmp_path: Path) -> None:
    first = (data / "report.html").read_bytes()
    shutil.copy(data / "train.parquet", tmp_path)
    assert write_report(tmp_path, read_manifest(data)).read_bytes() == first


def test_the_page_asks_for_nothing_from_elsewhere(data: Path) -> None:
    text = (data / "report.html").read_text(encoding="utf-8")
    reader = read(text)
    assert {load for load in reader.loads if not load.startswith("#")} == {"data:,"}
    assert not {"script", "img", "iframe", "object", "embed"} & set(reader.tags)
    assert not re.search(r"@import|url\(", text)
    assert {load[1:] for load in reader.loads if load.startswith("#")} <= set(re.findall(r'id="(\w+)"', text))


def test_the_page_shows_the_counts_of_the_manifest(data: Path) -> None:
    told = read_manifest(data)
    text = (data / "report.html").read_text(encoding="utf-8")
    assert f"<dd>{told.examples:,}</dd>" in text
    for name, task in told.tasks.items():
        (row,) = re.findall(rf'<tr><th scope="row"><code>{re.escape(name)}</code></th><td>[^<]*</td>.*', text)
        cells = re.findall(r'<td class="n">([\d,]+)', row)
        assert cells[1:3] == [f"{task.examples:,}", f"{task.read:,}"], name


@pytest.mark.browser
@pytest.mark.skipif(not CHROMIUM, reason="Chromium is not installed")
def test_a_browser_shows_the_page_without_a_complaint(data: Path, tmp_path: Path) -> None:
    bad = tmp_path / "bad.html"
    bad.write_text("<script>console.error('found')</script>")
    assert "found" in console(bad, tmp_path)
    assert console(data / "report.html", tmp_path) == ""


def console(page_: Path, tmp_path: Path) -> str:
    """What a page writes to the browser's console."""
    options = ["--headless=new", "--no-sandbox", "--disable-gpu", "--enable-logging=stderr", "--v=0"]
    options += [f"--user-data-dir={tmp_path / 'profile'}", "--virtual-time-budget=2000", "--dump-dom"]
    done = subprocess.run(
        [CHROMIUM, *options, page_.as_uri()], capture_output=True, text=True, check=True, timeout=120
    )
    assert "<html" in done.stdout
    return "\n".join(line for line in done.stderr.splitlines() if ":CONSOLE" in line)
