"""The notebooks run from top to bottom, on a tiny model; they are kept without outputs."""

import os
import re
import sys
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient
from tiny_run import ANSWER, BASE_ANSWER, shared_place

ROOT = Path(__file__).parents[1]
PATHS = {path.stem: path for path in [*ROOT.glob("*.ipynb"), *ROOT.glob("notebooks/*.ipynb")]}
every_notebook = pytest.mark.parametrize("name", sorted(PATHS))


def read(name):
    return nbformat.read(PATHS[name], as_version=4)


@pytest.fixture
def execute(tmp_path, monkeypatch):
    """Run a notebook in an empty folder, with settings in the environment; returns what its cells printed."""
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setenv("HF_HUB_DISABLE_PROGRESS_BARS", "1")

    def run(name, **settings):
        for key, value in settings.items():
            monkeypatch.setenv(key, str(value))
        notebook = read(name)
        NotebookClient(notebook, timeout=3600, resources={"metadata": {"path": str(tmp_path)}}).execute()
        cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
        assert cells[0].outputs == []  # nothing is installed where komt is there
        return [
            "".join(out.text for out in cell.outputs if out.output_type == "stream" and out.name == "stdout")
            for cell in cells
        ]

    return run


def test_using_a_lora_shows_the_answers_of_base_and_adapter(execute):
    place = shared_place()
    printed = execute("usage_komt_with_lora", KOMT_RUN=place / "runs" / "sample")
    assert [printed[i].strip() for i in (4, 5)] == [BASE_ANSWER, ANSWER]
    assert printed[6].startswith("> 고양이는 왜 물을 싫어하나요?\n")


def test_fine_tuning_goes_from_a_table_to_answers(execute, tmp_path):
    printed = execute("finetune_with_lora", KOMT_MODEL=shared_place() / "base")
    work = tmp_path / "my-inquiries"
    assert (work / "run" / "train" / "adapter" / "adapter_model.safetensors").is_file()
    assert "asked about: 문의" in printed[2]
    assert "macro_f1" in printed[3]
    losses = [float(line.split()[-1]) for line in printed[4].splitlines()]
    assert losses[-1] < losses[0]
    assert printed[5].count(" -> ") == 3


def test_llama_cpp_answers_as_the_model_does(execute):
    printed = execute("llama_cpp", KOMT_MODEL=shared_place() / "base")
    assert printed[2].startswith("gguf/base-Q8_0.gguf ")
    assert printed[3].strip() == BASE_ANSWER
    assert [line for line in printed[4].splitlines() if line and line[0] != ">"] == [BASE_ANSWER] * 2


@pytest.mark.slow
def test_the_notebooks_run_on_the_embedded_model(execute, monkeypatch, tmp_path):
    monkeypatch.setenv("OMP_NUM_THREADS", str(os.cpu_count()))
    printed = execute(
        "usage_komt_with_lora", KOMT_RUN=tmp_path / "runs" / "sample", KOMT_MODEL="gemma-3-270m"
    )
    # A year of the passage and nothing else: which of the two is more than so small a model can be held to.
    assert printed[5].strip() in {"1443년", "1446년"}
    assert printed[4].strip() != printed[5].strip()
    printed = execute("finetune_with_lora")
    assert [line.split(" -> ")[1] for line in printed[5].splitlines()] == ["배송", "환불", "교환"]
    printed = execute("llama_cpp", KOMT_MODEL=tmp_path / "runs" / "sample", KOMT_QUANT="q4_k_m")
    assert len(printed[3].strip()) > 1


@every_notebook
def test_a_notebook_is_kept_without_outputs(name):
    for cell in read(name).cells:
        if cell.cell_type == "code":
            assert cell.outputs == []
            assert cell.execution_count is None
        assert cell.metadata == {}


def test_all_three_are_there_and_name_no_place_of_one_machine():
    assert sorted(PATHS) == ["finetune_with_lora", "llama_cpp", "usage_komt_with_lora"]
    for path in PATHS.values():
        assert re.findall(r"/(?:home|root|work|Users|content|tmp)/", path.read_text(encoding="utf-8")) == []


@every_notebook
def test_the_first_cell_installs_what_there_is_from_the_address_in_the_readme(name):
    first = next(cell.source for cell in read(name).cells if cell.cell_type == "code")
    extras, address = re.search(
        r'%pip install --quiet "komt\[([\w,]+)\] @ git\+(https://[\w./-]+)"', first
    ).groups()
    assert 'if importlib.util.find_spec("komt") is None:' in first
    # Colab has a torchao beside which peft does not start; it must go before anything imports peft.
    assert "\n    %pip uninstall --quiet --yes torchao\n" in first
    assert f"({address})" in (ROOT / "README.md").read_text(encoding="utf-8")
    project = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    assert [
        extra for extra in extras.split(",") if not re.search(rf"^{extra} = \[", project, re.MULTILINE)
    ] == []


@every_notebook
def test_links_lead_somewhere_and_the_badge_to_the_notebook(name):
    text = "\n".join(cell.source for cell in read(name).cells if cell.cell_type == "markdown")
    targets = re.findall(r"\]\(([^)\s]+)\)", text)
    path = PATHS[name].relative_to(ROOT).as_posix()
    assert f"https://colab.research.google.com/github/davidkim205/komt/blob/main/{path}" in targets
    # On Colab nothing lies beside a notebook: links are whole addresses.
    repository = "https://github.com/davidkim205/komt/blob/main/"
    ours = [one.removeprefix(repository) for one in targets if one.startswith(repository)]
    assert [one for one in targets if not one.startswith("https://")] == []
    assert ours
    assert [one for one in ours if not (ROOT / one).is_file()] == []
