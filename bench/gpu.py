"""Training on one GPU, random weights of real shapes: padded, target rows only, TRL packing, komt.

    python bench/gpu.py [--models qwen3-8b] [--bits 4] [--cap 24] [--md FILE] [--json FILE] [--quick]
    python bench/gpu.py --device cpu --tiny     # the same code on tiny shapes; its figures mean nothing

No network: models are built from their published shapes, examples are random tokens. Each cell is one
optimiser step (LoRA r 8 on all linear layers, bf16) over the same examples: passages of PREFIX tokens with
SHARING questions each. Medians of three steps after one to warm up. `of peak` counts the matrix products of
linear layers and head, attention apart, against a large bf16 product in the same run.
"""

from __future__ import annotations

import argparse
import json
import platform
import subprocess
import sys
from datetime import date
from importlib.metadata import version
from pathlib import Path
from typing import Any

import gpu_model as models
import gpu_ways as ways

SHAPES: dict[str, dict[str, Any]] = {
    "llama2-7b": {
        "model_type": "llama",
        "vocab_size": 32000,
        "hidden_size": 4096,
        "intermediate_size": 11008,
        "num_hidden_layers": 32,
        "num_attention_heads": 32,
        "num_key_value_heads": 32,
        "tie_word_embeddings": False,
    },
    "qwen3-8b": {
        "model_type": "qwen3",
        "vocab_size": 151936,
        "hidden_size": 4096,
        "intermediate_size": 12288,
        "num_hidden_layers": 36,
        "num_attention_heads": 32,
        "num_key_value_heads": 8,
        "head_dim": 128,
        "tie_word_embeddings": False,
    },
    "gemma3-270m": {
        "model_type": "gemma3_text",
        "vocab_size": 262144,
        "hidden_size": 640,
        "intermediate_size": 2048,
        "num_hidden_layers": 18,
        "num_attention_heads": 4,
        "num_key_value_heads": 1,
        "head_dim": 256,
        "sliding_window": 512,
    },
    "gemma3-1b": {
        "model_type": "gemma3_text",
        "vocab_size": 262144,
        "hidden_size": 1152,
        "intermediate_size": 6912,
        "num_hidden_layers": 26,
        "num_attention_heads": 4,
        "num_key_value_heads": 1,
        "head_dim": 256,
        "sliding_window": 512,
    },
}
TINY = {
    "vocab_size": 600,
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 16,
}
GIB = 2**30


def shape_of(name: str, tiny: bool) -> dict[str, Any]:
    """A model's configuration; a tiny one keeps its family."""
    positions = {"max_position_embeddings": 16384}
    if not tiny:
        return {**SHAPES[name], **positions}
    window = {"sliding_window": 16} if "sliding_window" in SHAPES[name] else {}
    return {**SHAPES[name], **TINY, **window, **positions}


def train_under_cap(folder: Path, cap_gib: float, tokens: int) -> tuple[float, float]:
    """Bytes that `komt check --memory` predicts for a full bin of this shape in NF4, and those it takes."""
    from komt.train.forecast import TARGET_SHARE, forecast

    recipe = ways.recipe_for(4, checkpointing=True, tokens=tokens, examples=1)
    predicted = forecast(recipe, folder).estimate.total
    models.limit(cap_gib)
    shape = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    model = models.build_model(shape, 4, "cuda", checkpointing=True)
    targets = round(TARGET_SHARE * tokens)
    sequences = ways.examples(1, 1, tokens - targets, shape["vocab_size"], question=0, answer=targets)
    measured = ways.komt(model, sequences, recipe, "cuda", share=True, steps=2)["peak_bytes"]
    return predicted, measured


def measure(args: argparse.Namespace) -> list[dict[str, Any]]:
    """All cells: a row for each model, prefix, sharing and way."""
    rows = []
    for name in args.models.split(","):
        shape = shape_of(name, args.tiny)
        checkpointing = not args.tiny and shape["hidden_size"] >= 4096
        model = models.build_model(shape, args.bits, args.device, checkpointing=checkpointing)
        peak = models.gemm_peak(args.device, 256 if args.tiny else 8192)
        for prefix in map(int, args.prefix.split(",")):
            for sharing in map(int, args.sharing.split(",")):
                sequences = ways.examples(
                    args.passages, sharing, prefix, shape["vocab_size"], args.question, args.answer
                )
                for way in args.ways.split(","):
                    cell = {"model": name, "prefix": prefix, "sharing": sharing, "way": way}
                    found = ways.run(way, model, sequences, args.bits, args.device, checkpointing)
                    rows.append({**cell, **finished(found, model, sequences, peak, checkpointing)})
                    print(f"{cell}: {rows[-1].get('seconds', rows[-1].get('failed'))}", file=sys.stderr)
        del model
        models.release(args.device)
    return rows


def finished(
    found: dict[str, Any], model: Any, sequences: list[Any], peak: float, again: bool
) -> dict[str, Any]:
    """A cell's figures from its seconds, tokens and rows."""
    if "failed" in found:
        return found
    flat = sum(map(len, sequences))
    linear, head = models.multiplications(model)
    # Forward, and back to the activations (frozen weights have no gradient); forward again if checkpointed.
    flops = (6 if again else 4) * linear * found["tokens"] + 4 * head * found["rows"]
    return {
        **found,
        "flat_tokens": flat,
        "tokens_s": flat / found["seconds"],
        "examples_s": len(sequences) / found["seconds"],
        "of_peak": flops / found["seconds"] / peak,
    }


def ratios_of(rows: list[dict[str, Any]]) -> dict[str, float]:
    """komt against the others, by cell; how near it is to the bound; from which sharing on it wins."""
    ratios: dict[str, float] = {}
    cells: dict[tuple[Any, ...], dict[str, Any]] = {}
    for row in rows:
        if "failed" not in row:
            cells.setdefault((row["model"], row["prefix"], row["sharing"]), {})[row["way"]] = row
    for (model, prefix, sharing), found in cells.items():
        at = f"{model}_prefix{prefix}_sharing{sharing}"
        if "komt" not in found:
            continue
        own = found["komt"]
        for other in ("padded", "head", "trl-packing", "unshared"):
            if other in found:
                ratios[f"{at}_{other}"] = own["examples_s"] / found[other]["examples_s"]
        bound = own["flat_tokens"] / own["tokens"]
        ratios[f"{at}_bound"] = bound
        if "unshared" in found:
            ratios[f"{at}_of_bound"] = ratios[f"{at}_unshared"] / bound
        losses = [one["loss"] for one in found.values()]
        ratios[f"{at}_loss_difference"] = (max(losses) - min(losses)) / min(losses)
    for model, prefix in dict.fromkeys(key[:2] for key in cells):
        won = [
            sharing
            for one, other, sharing in cells
            if (one, other) == (model, prefix)
            and ratios.get(f"{model}_prefix{prefix}_sharing{sharing}_trl-packing", 0) >= 1
        ]
        if won:
            ratios[f"{model}_prefix{prefix}_break_even_sharing"] = float(min(won))
    return ratios


def table(rows: list[dict[str, Any]], args: argparse.Namespace) -> list[str]:
    """Heading and table in Markdown."""
    packages = ", ".join(
        f"{name} {version(name)}" for name in ("torch", "transformers", "peft", "bitsandbytes")
    )
    cap = f", at most {args.cap:g} GiB" if args.cap else ""
    lines = [
        f"`python bench/gpu.py {' '.join(args.words)}`",
        "",
        f"{date.today()}, {device_name(args.device)}{cap}, Python {platform.python_version()}, {packages};",
        f"bits {args.bits}, {args.passages} passages, questions of {args.question} and answers of "
        f"{args.answer} tokens",
        "",
        "| model | prefix | sharing | way | tokens/s | examples/s | peak GiB | of peak | computed | loss |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        head = f"| {row['model']} | {row['prefix']} | {row['sharing']} | {ways.TITLES[row['way']]} "
        if "failed" in row:
            lines.append(f"{head}| {row['failed']} | – | – | – | – | – |")
            continue
        memory = f"{row['peak_bytes'] / GIB:.2f}" if row["peak_bytes"] else "–"
        lines.append(
            f"{head}| {row['tokens_s']:,.0f} | {row['examples_s']:.2f} | {memory} | {row['of_peak']:.0%} "
            f"| {row['tokens']:,} | {row['loss']:.4f} |"
        )
    return lines


def device_name(device: str) -> str:
    """GPU, its driver and CUDA; or that it was a CPU."""
    import torch

    if device != "cuda":
        return "CPU (exercises the code only)"
    asked = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
    try:
        driver = subprocess.run(asked, capture_output=True, text=True, check=True).stdout.split()[0]
    except (OSError, subprocess.CalledProcessError, IndexError):
        driver = "unknown"
    return f"{torch.cuda.get_device_name()}, driver {driver}, CUDA {torch.version.cuda}"


def parsed(words: list[str]) -> argparse.Namespace:
    """The options; --quick and --tiny set smaller sizes where none are given."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--models", help=f"of {', '.join(SHAPES)} (default: all; tiny: gemma3-270m)")
    parser.add_argument("--bits", type=int, choices=(4, 16), default=16)
    parser.add_argument("--ways", default="padded,head,trl-packing,unshared,komt")
    parser.add_argument("--sharing", help="questions on a passage (1,2,4,8,16)")
    parser.add_argument("--prefix", help="tokens of a passage (256,1024,2048,8192)")
    parser.add_argument("--passages", type=int, help="in a step (4)")
    parser.add_argument("--question", type=int, help="tokens (32)")
    parser.add_argument("--answer", type=int, help="tokens (16)")
    parser.add_argument("--cap", type=float, default=0.0, help="GiB of the GPU that may be used")
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument("--tiny", action="store_true")
    parser.add_argument("--quick", action="store_true", help="Gemma 3 270M, two lengths, sharing 1 and 5")
    parser.add_argument("--md", type=Path)
    parser.add_argument("--json", type=Path)
    args = parser.parse_args(words)
    full = (",".join(SHAPES), "1,2,4,8,16", "256,1024,2048,8192", 4, 32, 16)
    quick = ("gemma3-270m", "1,5", "256,2048", 4, 32, 16)
    tiny = ("gemma3-270m", "1,4", "48", 2, 8, 4)
    sizes = tiny if args.tiny else quick if args.quick else full
    for name, size in zip(
        ("models", "sharing", "prefix", "passages", "question", "answer"), sizes, strict=True
    ):
        setattr(args, name, getattr(args, name) or size)
    args.words = words
    return args


def main(words: list[str]) -> int:
    """Measure, print table and ratios, write both files; 1 without a GPU."""
    import torch

    args = parsed(words)
    if args.device == "cuda" and not torch.cuda.is_available():
        print(
            "no GPU is here: nothing was measured (--device cpu --tiny exercises the code)", file=sys.stderr
        )
        return 1
    if args.cap and args.device == "cuda":
        models.limit(args.cap)
    rows = measure(args)
    ratios = ratios_of(rows)
    lines = [*table(rows, args), "", *(f"ratio {name} {value:.4g}" for name, value in ratios.items())]
    print("\n".join(lines))
    if args.md:
        args.md.write_text("\n".join(lines) + "\n", encoding="utf-8")
    if args.json:
        args.json.write_text(json.dumps({"ratios": ratios, "rows": rows}, indent=1) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
