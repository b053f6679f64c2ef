"""A model in two processes: the answers and likelihoods of one, and errors that come through."""

import pytest

from komt.errors import ModelError
from komt.models.load import load_model, load_tokenizer
from komt.models.resolve import resolve
from komt.serve.lanes import in_lanes
from komt.serve.processes_engine import ProcessesEngine, fitting_processes
from komt.serve.transformers_engine import TransformersEngine
from komt.testing import tiny_model_folder

PROMPTS = [[5, 9, 7], [5, 9, 8, 40], [60, 61], [5, 9, 7, 3, 99]]


def test_two_processes_answer_as_one_does(tmp_path):
    folder = str(tiny_model_folder(tmp_path / "model", "gemma3"))
    place = resolve(folder)
    alone = TransformersEngine(load_model(place, 32), load_tokenizer(place))
    several = ProcessesEngine(folder, 32, 2)
    told = []
    batches = [PROMPTS[:2], PROMPTS[2:]]
    found = {
        batches.index(batch): answers
        for batch, answers in in_lanes(
            several,
            lambda batch: several.generate(batch, max_new_tokens=6, on_done=told.append),
            batches,
        )
    }
    assert [*found[0], *found[1]] == alone.generate(PROMPTS, max_new_tokens=6)
    assert sorted(told) == [0, 0, 1, 1]
    asked = [([5, 9], [[7, 8], [40]])]
    [[one, other]] = several.loglikelihoods(asked)
    [[first, second]] = alone.loglikelihoods(asked)
    assert [one.total, other.total] == pytest.approx([first.total, second.total], abs=1e-5)
    with pytest.raises(ModelError, match="context"):
        several.generate([[5] * 5000], max_new_tokens=4)
    assert several.generate([PROMPTS[2]], max_new_tokens=6) == [found[1][0]]
    for worker, _ in several._workers:
        worker.kill()
    with pytest.raises(ModelError, match="a process that computed answers was ended"):
        several.generate(PROMPTS, max_new_tokens=6)
    several.close()
    several.close()
    alone.close()
    assert fitting_processes(folder) >= 1


def test_work_in_lanes_is_all_done_and_an_error_ends_it():
    class Engine:
        lanes = 3

    assert sorted(in_lanes(Engine(), lambda job: job * job, [1, 2, 3, 4])) == [
        (1, 1),
        (2, 4),
        (3, 9),
        (4, 16),
    ]
    assert list(in_lanes(object(), str, [2, 1])) == [(2, "2"), (1, "1")]
    with pytest.raises(ZeroDivisionError):
        list(in_lanes(Engine(), lambda job: 1 // job, [1, 0, 2]))
