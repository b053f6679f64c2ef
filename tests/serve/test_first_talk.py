"""The published scripts."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from komt.serve.first_talk import EMBEDDED, default_model
from komt.testing import tiny_model_folder

ROOT = Path(__file__).parents[2]


def adapter(folder: Path, time: int) -> None:
    folder.mkdir(parents=True)
    (folder / "adapter_config.json").write_text("{}")
    os.utime(folder / "adapter_config.json", (time, time))


def test_the_default_model_is_the_newest_output_then_the_sample_run_then_the_embedded(tmp_path):
    assert default_model(tmp_path) == EMBEDDED
    (tmp_path / "runs" / "sample" / "train" / "adapter").mkdir(parents=True)
    assert default_model(tmp_path) == str(tmp_path / "runs" / "sample")
    adapter(tmp_path / "output" / "a", 2_000)
    adapter(tmp_path / "output" / "b", 3_000)
    (tmp_path / "output" / "notes.txt").write_text("")
    assert default_model(tmp_path) == str(tmp_path / "output" / "b")
    (tmp_path / "output" / "adapter_config.json").write_text("{}")
    assert default_model(tmp_path) == str(tmp_path / "output")


@pytest.mark.parametrize("script", ["infer.py", "usage_komt_with_lora.py"])
def test_the_scripts_answer_the_published_question_and_then_what_is_typed(script, tmp_path):
    model = tiny_model_folder(tmp_path / "model", "llama")
    done = subprocess.run(
        [sys.executable, script, "--model_name_or_path", str(model), "--bits", "32"],
        cwd=ROOT,
        input="안녕\n".encode(),
        capture_output=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr.decode()
    shown = done.stdout.decode()
    assert shown.startswith("> 고양이는 왜 물을 싫어하나요?\n")
    assert "\ufffd" not in shown
