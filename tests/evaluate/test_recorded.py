"""A recorded answer is not asked for again; another prompt, limit or record is."""

from komt.evaluate.recorded import RecordedEngine
from komt.serve.engine import Completion


class Counting:
    """Answers with the prompt's length, and remembers what it was asked."""

    def __init__(self):
        self.asked = []

    def generate(self, prompts, *, max_new_tokens, batch_tokens=0, on_done=None):
        self.asked += [tuple(prompt) for prompt in prompts]
        for place in range(len(prompts)):
            if on_done:
                on_done(place)
        return [Completion((len(prompt),), str(len(prompt)), True) for prompt in prompts]


def test_only_what_is_missing_is_computed(tmp_path):
    inner, told = Counting(), []
    record = tmp_path / "answers.json"
    engine = RecordedEngine(lambda: inner, record)
    first = engine.generate([[1, 2], [3]], max_new_tokens=8)
    again = RecordedEngine(lambda: inner, record)
    second = again.generate([[3], [4, 5, 6], [1, 2]], max_new_tokens=8, on_done=told.append)
    assert inner.asked == [(1, 2), (3,), (4, 5, 6)]
    assert [answer.text for answer in second] == ["1", "3", "2"]
    assert second[2] == first[0]
    assert sorted(told) == [0, 1, 2]
    again.generate([[3]], max_new_tokens=9)
    assert inner.asked[-1] == (3,)


def test_a_broken_record_is_made_anew(tmp_path):
    record = tmp_path / "answers.json"
    record.write_text("{", encoding="utf-8")
    inner = Counting()
    assert RecordedEngine(lambda: inner, record).generate([[1]], max_new_tokens=1)[0].text == "1"
    assert inner.asked == [(1,)]
