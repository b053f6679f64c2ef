"""What a person names, and the engine that comes of it."""

import shutil

import pytest
import torch

from komt.errors import UsageError
from komt.example import Message
from komt.models.adapt import attach_lora, save_adapter
from komt.models.load import load_model, load_tokenizer
from komt.models.resolve import resolve
from komt.recipe import LoraPart
from komt.serve.engine import Request, Settings
from komt.serve.llama_cpp_engine import LlamaCppEngine
from komt.serve.loading import load_engine
from komt.serve.transformers_engine import TransformersEngine
from komt.testing import tiny_model_folder

ASK = (Message("user", "고양이는 왜 물을 싫어하나요?"),)


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """A model, and a run that trained an adapter on it."""
    root = tmp_path_factory.mktemp("models")
    base = tiny_model_folder(root / "base", "llama")
    place = resolve(str(base))
    tuned = attach_lora(load_model(place, 32), LoraPart(r=4, alpha=256, dropout=0.0), 0)
    torch.manual_seed(0)
    with torch.no_grad():
        for name, parameter in tuned.named_parameters():
            if "lora_B" in name:
                parameter.normal_(0, 0.5)
    save_adapter(tuned, load_tokenizer(place), place, root / "run" / "train" / "adapter")
    return base, root / "run"


def first_token(engine, adapter) -> list[float]:
    settings = Settings(temperature=0, max_new_tokens=1)
    request = Request(tuple(engine.prompt_ids(ASK)), settings, logprobs=3, adapter=adapter)
    [told] = [one for piece in engine.submit(request) for one in piece.logprobs]
    return [value for *_, value in told.top]


def test_adapters_by_name_stand_beside_a_models_own(folders):
    base, run = folders
    plain, tuned = load_engine(str(base), 32), load_engine(str(run), 32)
    both = load_engine(str(base), 32, adapters={"내것": str(run)}, slots=2)
    assert isinstance(both, TransformersEngine)
    assert both.adapters == ("내것",)
    assert first_token(both, "내것") == pytest.approx(first_token(tuned, None), abs=1e-5)
    assert first_token(both, None) == pytest.approx(first_token(plain, None), abs=1e-5)
    assert first_token(tuned, "") == pytest.approx(first_token(plain, None), abs=1e-5)
    assert first_token(tuned, None) != pytest.approx(first_token(plain, None), abs=1e-2)
    for engine in (plain, tuned, both):
        engine.close()


@pytest.mark.parametrize("engine", ["transformers", "llama.cpp"])
def test_an_adapter_that_was_trained_in_another_form_is_refused(folders, tmp_path, engine):
    base, run = folders
    other = shutil.copytree(run / "train" / "adapter", tmp_path / "other")
    text = (other / "chat_template.jinja").read_text()
    (other / "chat_template.jinja").write_text(text.replace("Response:", "답:"))
    with pytest.raises(UsageError, match="'내것' was trained with another chat template") as caught:
        load_engine(str(base), 32, engine=engine, adapters={"내것": str(other)})
    assert caught.value.cure == f"serve it by itself: komt serve {other}"


def test_llama_cpp_takes_a_folder_with_adapters_by_name(folders, tmp_path, monkeypatch):
    base, run = folders
    monkeypatch.setenv("KOMT_HOME", str(tmp_path))
    engine = load_engine(str(base), engine="llama.cpp", adapters={"내것": str(run)}, context=256, slots=1)
    assert isinstance(engine, LlamaCppEngine)
    assert engine.adapters == ("내것",)
    tuned, plain = load_engine(str(run), 32), load_engine(str(base), 32)
    ids = engine.prompt_ids(ASK)
    assert ids == tuned.prompt_ids(ASK)
    drawn = {}
    for name, here in (("내것", tuned), ("", plain)):
        body = {"prompt": ids, "n_predict": 1, "temperature": 0, "return_tokens": True}
        answer = engine.server.post("/completion", {**body, "lora": engine.server.lora(name)})
        drawn[name] = answer["tokens"][:1]
        # Its likeliest token is that of transformers, but for what 16 bits round away.
        [[found]] = here.loglikelihood(ids, [drawn[name]])
        assert found == pytest.approx(max(first_token(here, None)), abs=0.05)
    assert drawn["내것"] != drawn[""]
    assert engine.generate([ids], max_new_tokens=1)[0].ids == tuple(drawn[""])  # off unless asked for
    for one in (engine, tuned, plain):
        one.close()


def test_what_is_no_engine_or_no_adapter_is_said(folders, tmp_path):
    base, _ = folders
    with pytest.raises(UsageError, match="no engine 'vllm2'"):
        load_engine(str(base), engine="vllm2")
    with pytest.raises(UsageError, match="is no adapter"):
        load_engine(str(base), adapters={"a": str(tmp_path)})
    with pytest.raises(UsageError, match="no model 'nothing'"):
        load_engine("nothing")
