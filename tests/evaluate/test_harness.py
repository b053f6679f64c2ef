"""lm-evaluation-harness on komt's engines: ids and scores are those of its own model."""

import json
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("lm_eval", reason="lm_eval is not installed")

import yaml
from lm_eval.api.instance import Instance
from lm_eval.models.huggingface import HFLM

from komt.errors import DataError, ModelError, UsageError
from komt.evaluate.choices import log_likelihoods
from komt.evaluate.harness import _SUITE_FOLDERS, KOREAN_SUITE, run_harness
from komt.evaluate.harness_kobest import write_kobest
from komt.evaluate.harness_model import EngineLM
from komt.evaluate.intervals import bootstrap
from komt.evaluate.metrics import ACCURACY, MACRO_F1, Score
from komt.mix.formats_lm_eval import write_lm_eval
from komt.serve.engine import Completion
from komt.serve.transformers_engine import TransformersEngine
from komt.sources import load_source, place
from komt.testing import tiny_model

PAIRS = [
    ("고양이는 왜 물을 싫어하나요? 답변: ", "  예"),
    ("고양이는 왜 물을 싫어하나요? 답변: ", "  아니오"),
    ("다음 글을 읽고 물음에 답하세요.", " 세종은 1443년에 훈민정음을 만들었다."),
    ("다음 글을 읽고 물음에 답하세요.", "\n서울"),
    ("", "한강이 도시를 가로지른다."),
    ("<bos>서울은", " 수도이다."),
    ("서울 ", "부산"),
]
TEXTS = ["서울은 대한민국의 수도이며 한강이 도시를 가로지른다.", "물 " * 90, "a"]


@pytest.fixture(scope="module")
def own(engine):
    """The harness's own model over the same weights."""
    return HFLM(pretrained=engine._model, tokenizer=engine.tokenizer, batch_size=2)


def requests(kind, arguments):
    return [Instance(kind, {}, one, i) for i, one in enumerate(arguments)]


def test_ids_are_the_harnesss_own(engine, own, monkeypatch):
    asked = []
    for model in (EngineLM(engine), own):
        monkeypatch.setattr(
            model, "_loglikelihood_tokens", lambda requests, **_: asked.append(requests) or [(0.0, False)]
        )
        model.loglikelihood(requests("loglikelihood", PAIRS))
    assert asked[0] == asked[1]
    assert len(asked[0]) == len(PAIRS)


def test_likelihoods_are_the_harnesss_own(engine, own):
    asked = requests("loglikelihood", PAIRS)
    found, wanted = EngineLM(engine).loglikelihood(asked), own.loglikelihood(asked, disable_tqdm=True)
    assert [greedy for _, greedy in found] == [greedy for _, greedy in wanted]
    assert [value for value, _ in found] == pytest.approx([value for value, _ in wanted], abs=1e-3)


def test_rolling_likelihoods_are_the_harnesss_own(engine, own, monkeypatch):
    asked = requests("loglikelihood_rolling", [(text,) for text in TEXTS])
    model = EngineLM(engine)
    for length in (4096, 16):
        monkeypatch.setattr(type(engine), "context_tokens", length)
        monkeypatch.setattr(own, "_max_length", length)
        found = model.loglikelihood_rolling(asked)
        assert found == pytest.approx(own.loglikelihood_rolling(asked, disable_tqdm=True), abs=1e-2)


def test_what_is_too_long_loses_its_beginning(engine, own, monkeypatch):
    monkeypatch.setattr(type(engine), "context_tokens", 20)
    monkeypatch.setattr(own, "_max_length", 20)
    asked = requests("loglikelihood", [(TEXTS[0], " 부산"), (TEXTS[0], " 서울은 항구")])
    found, wanted = EngineLM(engine).loglikelihood(asked), own.loglikelihood(asked, disable_tqdm=True)
    assert [value for value, _ in found] == pytest.approx([value for value, _ in wanted], abs=1e-3)


def test_answers_end_at_stop_strings_and_are_the_harnesss_own(engine, own):
    free = {"until": [], "max_gen_toks": 24, "do_sample": False}
    asked = [("고양이는", free), ("질문: 바다", free)]
    # A random model writes parts of characters, which komt's engines leave out.
    whole = [
        text.replace("\ufffd", "")
        for text in own.generate_until(requests("generate_until", asked), disable_tqdm=True)
    ]
    assert EngineLM(engine).generate_until(requests("generate_until", asked)) == whole
    stop = whole[0][4:6]
    asked = [("고양이는", {**free, "until": [stop]}), ("질문: 바다", {**free, "until": stop})]
    found = EngineLM(engine).generate_until(requests("generate_until", asked))
    assert found == [text.split(stop)[0] for text in whole]
    assert len(found[0]) <= 4 < len(whole[0])


def test_an_engine_without_a_tokenizer_answers_conversations(engine):
    class Remote:
        loglikelihood = None

        def answer(self, conversations, *, max_new_tokens, on_done):
            self.asked = conversations, max_new_tokens
            return [Completion((), f"답 {turns[-1].content}|둘", True) for turns in conversations]

    remote = Remote()
    model = EngineLM(remote)
    context = model.apply_chat_template(
        [{"role": "system", "content": "글"}, {"role": "user", "content": "물음"}]
    )
    found = model.generate_until(
        requests("generate_until", [(context, {"until": ["|"], "max_gen_toks": 5}), ("맨글", {})])
    )
    assert found == ["답 물음", "답 맨글|둘"]
    with pytest.raises(ModelError, match="tokenizer"):
        model.loglikelihood(requests("loglikelihood", PAIRS))


# One row of each split is enough for the harness, and a few of test for a score.
ROWS = {
    "boolq": (
        "ID\tText\tQuestion\tAnswer",
        "{n}\t서울은 수도이다. {n}번째 글이다.\t서울은 항구인가요?\t{flag}",
    ),
    "copa": (
        "ID\tsentence\tquestion\t1\t2\tAnswer",
        "{n}\t비가 {n}번 왔다.\t{ask}\t길이 젖었다.\t해가 떴다.\t{side}",
    ),
    "hellaswag": (
        "context\tchoice1\tchoice2\tchoice3\tchoice4\tlabel",
        "고양이가 {n}번 운다.\t밥을 준다.\t물을 준다.\t문을 닫는다.\t집을 나선다.\t{four}",
    ),
}


@pytest.fixture(autouse=True)
def offline(monkeypatch):
    """No test asks the hub, not even for a metric that KoBEST's files name and do not use."""

    def refuse(*_args, **_kwargs):
        raise ConnectionError("no network in tests")

    monkeypatch.setattr("evaluate.load", refuse)
    monkeypatch.setattr("datasets.config.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)


@pytest.fixture
def kobest(tmp_path, monkeypatch):
    """Three KoBEST sources with made-up rows."""
    monkeypatch.setenv("KOMT_DATA", str(tmp_path / "data"))
    for name, (head, line) in ROWS.items():
        source = load_source(f"kobest-{name}")
        monkeypatch.setattr("komt.sources.read.checked_place", place)
        for file in source.files:
            path = place(source, file)
            path.parent.mkdir(parents=True, exist_ok=True)
            lines = [
                line.format(n=n, flag=bool(n % 2), ask=("원인", "결과")[n % 2], side=1 + n % 2, four=n % 4)
                for n in range(12 if file.split == "test" else 1)
            ]
            path.write_text("\n".join([head, *lines]) + "\n", encoding="utf-8")
    return tmp_path


NAMES = ["kobest_boolq", "kobest_copa", "kobest_hellaswag"]


def test_kobest_is_the_harnesss_own_but_for_where_the_rows_are(kobest):
    import lm_eval

    folder = kobest / "tasks"
    folder.mkdir()
    assert write_kobest(folder) == NAMES
    for name in NAMES:
        task = yaml.safe_load((folder / f"{name}.yaml").read_text("utf-8"))
        assert set(task) == {"include", "task", "dataset_path", "dataset_kwargs"}
        assert Path(task["include"]) == Path(lm_eval.__file__).parent / "tasks" / "kobest" / f"{name}.yaml"
    row = json.loads((folder / "copa.test.jsonl").read_text("utf-8").splitlines()[1])
    assert row == {
        "premise": "비가 1번 왔다.",
        "question": "결과",
        "alternative_1": "길이 젖었다.",
        "alternative_2": "해가 떴다.",
        "label": 1,
    }


def test_kobest_scores_by_the_harness_and_by_komt_are_equal(kobest, engine, own):
    """The harness over its own model, over komt's engine, and komt's metrics on the harness's ids."""
    model, asked = EngineLM(engine), []
    tell = model._loglikelihood_tokens

    class Watching(EngineLM):
        def _loglikelihood_tokens(self, requests, **_):
            asked.extend(requests)
            return tell(requests)

    rows = run_harness(engine, NAMES, name="komt")
    samples = _samples(kobest, Watching(engine))
    theirs = _samples(kobest, own)
    for name in NAMES:
        scores = {row["metric"]: row for row in rows if row["task"] == name}
        assert scores["acc"]["n"] == 12
        assert scores["acc"]["by"] == "loglikelihood"
        for one, other in zip(samples["samples"][name], theirs["samples"][name], strict=True):
            assert one["acc"] == other["acc"]
            assert one["f1"] == other["f1"]
        for metric in ("acc", "f1"):
            assert scores[metric]["value"] == theirs["results"][name][f"{metric},none"]
            assert scores[metric]["low"] <= scores[metric]["value"] <= scores[metric]["high"]
    place = 0
    for name in NAMES:
        found = []
        for sample in samples["samples"][name]:
            count = len(sample["arguments"])
            ids = [(context, [continuation]) for _, context, continuation in asked[place : place + count]]
            place += count
            values = [total for (total,) in log_likelihoods(engine, ids)]
            found.append(Score(None, str(_right(sample)), str(int(np.argmax(values)))))
        found = [Score(float(one.expected == one.chosen), one.expected, one.chosen) for one in found]
        for metric, statistic in (("acc", ACCURACY), ("f1", MACRO_F1)):
            (row,) = [row for row in rows if row["task"] == name and row["metric"] == metric]
            value = bootstrap(statistic.statistic(found), len(found)).value
            assert value == pytest.approx(row["value"], abs=1e-12)


def _right(sample) -> int:
    return sample["f1"][0]


def _samples(folder, model, limit=None):
    import lm_eval
    from lm_eval.tasks import TaskManager

    tasks = folder / f"tasks-{type(model).__name__}"
    tasks.mkdir()
    write_kobest(tasks)
    manager = TaskManager(include_path=str(tasks), include_defaults=False)
    return lm_eval.simple_evaluate(
        model=model, tasks=NAMES, task_manager=manager, bootstrap_iters=0, limit=limit
    )


@pytest.mark.slow
@pytest.mark.realdata
def test_ids_of_kobest_are_the_harnesss_own_for_the_packaged_model(realdata, tmp_path, monkeypatch):
    """With the tokenizer that adds BOS and has a vocabulary in which Korean words are one token."""
    from komt.models.load import load_tokenizer
    from komt.models.resolve import resolve

    tokenizer = load_tokenizer(resolve("gemma-3-270m"))
    weights = tiny_model("gemma3", len(tokenizer))
    engine = TransformersEngine(weights, tokenizer)
    asked = []
    for model in (EngineLM(engine), HFLM(pretrained=weights, tokenizer=tokenizer)):
        ids = []
        monkeypatch.setattr(
            model,
            "_loglikelihood_tokens",
            lambda requests, ids=ids, **_: ids.extend(requests) or [(0.0, False)] * len(requests),
        )
        _samples(tmp_path, model, limit=50)
        asked.append(ids)
    engine.close()
    assert len(asked[0]) == 50 * (2 + 2 + 4)
    assert asked[0] == asked[1]
    assert {context[0] for _, context, _ in asked[0]} == {tokenizer.bos_token_id}


def test_exported_tasks_run_in_the_harness(tmp_path, engine):
    records = [
        {
            "id": f"t:{n}",
            "task": "my.topic" if n < 6 else "my.title",
            "family": "topic",
            "source": "s",
            "template": "a",
            "messages": [
                {"role": "user", "content": f"글 {n}의 갈래는?"},
                {"role": "assistant", "content": "정치"},
            ],
            "references": ["정치"],
            "choices": ["정치", "경제"] if n < 6 else [],
            "answer_index": 0 if n < 6 else None,
            "metadata": "{}",
        }
        for n in range(10)
    ]
    folder = write_lm_eval([records], tmp_path / "lm-eval", {})
    rows = run_harness(engine, ["komt"], name="tiny", limit=3, include_path=folder)
    told = {(row["task"], row["metric"]): row for row in rows}
    choice = told["komt_my_topic", "acc"]
    assert (choice["n"], choice["by"], choice["flags"], choice["limit"]) == (
        3,
        "loglikelihood",
        ["limited"],
        3,
    )
    assert told["komt_my_title", "exact_match,trimmed"]["by"] == "generation"
    assert {row["model"] for row in rows} == {"tiny"}


def test_unknown_tasks_are_named(kobest, engine):
    with pytest.raises(UsageError, match="no task 'kobest_bolq'; did you mean 'kobest_boolq'"):
        run_harness(engine, ["kobest_bolq"])


def test_a_folder_of_task_files_that_is_not_there_is_told(engine, tmp_path):
    with pytest.raises(UsageError, match="no such folder"):
        run_harness(engine, ["komt"], name="m", include_path=tmp_path / "none")


def test_nothing_is_said_of_git_outside_a_repository(kobest, engine, tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    run_harness(engine, ["kobest_copa"], name="m", limit=1)
    assert "git" not in capfd.readouterr().err


def test_rows_on_the_hub_are_said_to_be_there(engine):
    with pytest.raises(DataError, match="on the hub, which cannot be reached") as caught:
        run_harness(engine, ["haerae_history"])
    assert "--include-path" in caught.value.cure


def test_a_task_that_fails_is_named(engine, tmp_path):
    task = {
        "task": "mine",
        "dataset_path": "json",
        "dataset_kwargs": {"data_files": {"test": str(tmp_path / "no.jsonl")}},
        "test_split": "test",
        "output_type": "multiple_choice",
        "doc_to_text": "{{a}}",
        "doc_to_target": 0,
        "doc_to_choice": ["예", "아니오"],
    }
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump(task, allow_unicode=True), encoding="utf-8")
    with pytest.raises(DataError, match="cannot run these tasks: FileNotFoundError"):
        run_harness(engine, ["mine"], include_path=tmp_path)


def test_names_of_the_korean_suite_are_those_of_the_installed_harness():
    import lm_eval
    from lm_eval.tasks import TaskManager

    own = Path(lm_eval.__file__).parent / "tasks"
    folders = [str(own / name) for name in _SUITE_FOLDERS]
    known = set(TaskManager(include_path=folders, include_defaults=False).all_tasks)
    assert set(KOREAN_SUITE) <= known
    # docs/harness.md says that there is no Korean IFEval; when there is, it belongs to the suite.
    assert not [path.name for path in own.rglob("*ifeval*ko*.yaml")]
