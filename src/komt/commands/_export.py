"""What `komt export` does, step by step: check, measure, write, measure again, show, perhaps push."""

from __future__ import annotations

import argparse
import json
import re
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from komt.errors import UsageError, did_you_mean
from komt.files import staged_folder
from komt.progress import status

if TYPE_CHECKING:
    from komt.export.card import Form
    from komt.export.forms import Work
    from komt.export.merge import Dtype
    from komt.export.push import Term
    from komt.export.run_facts import Run
    from komt.models.place import Place

QUANTS = ("f16", "q8_0", "q4_0", "q4_k_m")
FORMATS = ("merged", "adapter", "gguf")


@dataclass(frozen=True)
class Wishes:
    """What is asked of an export, checked.

    Attributes:
        formats: in the order given; quants: of GGUF.
        push: repository on the hub, or "".
    """

    model: str
    formats: tuple[Form, ...]
    quants: tuple[str, ...]
    dtype: Dtype | None
    shard_size: str
    out: Path | None
    push: str = ""
    dry_run: bool = False
    acknowledged: bool = False
    as_json: bool = False
    remote_code: bool = False


def wishes(args: argparse.Namespace) -> Wishes:
    """The command line, checked before any work.

    Raises:
        UsageError: an unknown format or quantisation, or options that do not belong together.
    """
    from komt.export.push import check_repository

    formats = _chosen(args.format, FORMATS, "--format")
    if args.quant and "gguf" not in formats:
        raise UsageError("--quant is for GGUF", cure="add --format gguf, or leave --quant out")
    if args.push:
        check_repository(args.push)
        if len(formats) > 1:
            raise UsageError(
                f"--push takes one format: a repository holds one of {', '.join(formats)}",
                cure="push each into a repository of its own",
            )
    elif args.dry_run or args.acknowledge_terms:
        raise UsageError(
            f"{'--dry-run' if args.dry_run else '--acknowledge-terms'} belongs to --push ORG/NAME"
        )
    if not re.fullmatch(r"[1-9]\d*(KB|MB|GB)", args.shard_size):
        raise UsageError(f"--shard-size {args.shard_size}: not a size", cure="for example --shard-size 4GB")
    return Wishes(
        args.model,
        cast("tuple[Form, ...]", formats),
        _chosen(args.quant or "q4_k_m", QUANTS, "--quant"),
        args.dtype,
        args.shard_size,
        args.out,
        args.push or "",
        args.dry_run,
        args.acknowledge_terms,
        args.json,
        args.trust_remote_code,
    )


def _chosen(text: str, known: tuple[str, ...], option: str) -> tuple[str, ...]:
    names = tuple(dict.fromkeys(word.strip().lower() for word in text.split(",") if word.strip()))
    for name in names:
        if name not in known:
            raise UsageError(
                f"{option} {name}: unknown{did_you_mean(name, known)}", cure=f"known: {', '.join(known)}"
            )
    if not names:
        raise UsageError(f"{option} names nothing", cure=f"known: {', '.join(known)}")
    return names


def run(asked: Wishes) -> int:
    """Export; exit status 0, or an error before anything is left in the folder."""
    from komt.export.card import sources_of
    from komt.export.forms import Options, begin, write_form
    from komt.export.identity import is_tuned
    from komt.export.push import check_acknowledged, check_reachable, terms_of
    from komt.export.run_facts import run_of
    from komt.export.space import check_space, space_needed
    from komt.models.resolve import resolve

    place = resolve(asked.model, remote_code=asked.remote_code)
    known = run_of(place)
    out = _out_folder(asked, known)
    _check_formats(asked, place)
    check_space(space_needed(place.folder, place.adapter, asked.formats, asked.quants, asked.dtype), out)
    terms: list[Term] = []
    if asked.push:
        manifest = known.manifest if known else None
        terms = terms_of(sources_of(known), tuned=is_tuned(place), known=manifest is not None)
        if not asked.dry_run:
            check_acknowledged(terms, asked.acknowledged)
            check_reachable()
    options = Options(asked.dtype, asked.shard_size, asked.quants, asked.push)
    # Staged first: a place that cannot be written is told before minutes of work.
    with status("exporting") as note, staged_folder(out) as staged:
        work = begin(place, known, options, note)
        for form in asked.formats:
            write_form(work, form, staged / form if len(asked.formats) > 1 else staged)
    return _tell(asked, work, out, terms)


def _out_folder(asked: Wishes, known: Run | None) -> Path:
    """Where the files go: a folder that is not there yet, or empty."""
    out = asked.out
    if out is None:
        if known is None:
            raise UsageError("--out DIR is missing", cure="only for a run folder there is a default")
        out = known.folder / "export" / (asked.formats[0] if len(asked.formats) == 1 else "all")
    if file := next((path for path in (out, *out.parents) if path.exists() and not path.is_dir()), None):
        raise UsageError(f"--out {out}: {file} is a file", cure="name a folder")
    if out.is_symlink():
        out = out.resolve()  # the files go where the link leads, and the link stays
    if out.is_dir() and any(out.iterdir()):
        raise UsageError(
            f"the folder {out} is not empty; an export never overwrites files",
            cure="name another one with --out, or remove it",
        )
    return out


def _check_formats(asked: Wishes, place: Place) -> None:
    """What would fail after minutes fails now."""
    from komt.export.merge import check_mergeable

    if set(asked.formats) - {"adapter"}:
        check_mergeable(place)
    if "adapter" in asked.formats and place.adapter is None:
        raise UsageError(
            f"'{asked.model}' has no adapter: all its weights were trained, or none",
            cure="--format merged exports it whole",
        )


def _tell(asked: Wishes, work: Work, out: Path, terms: list[Term]) -> int:
    """Show files and gates; push, if that is asked."""
    from komt.export.push import files_of, upload

    files, address = files_of(out), ""
    if not asked.as_json:
        _show(asked, work, out, files, terms)
    if asked.push and not asked.dry_run:
        with status(f"sending {len(files)} files to {asked.push}"):
            address = upload(out, asked.push)
    if asked.as_json:
        print(json.dumps(_as_json(asked, work, out, files, terms, address), ensure_ascii=False, indent=1))
    elif address:
        print(f"sent: {address} (a new repository is private: its settings page opens it)")
    return 0


def _show(asked: Wishes, work: Work, out: Path, files: list[tuple[str, int]], terms: list[Term]) -> None:
    from komt.export.gates import show_gates

    for form, gates in work.gates.items():
        if len(work.gates) > 1:
            print(f"{form}:")
        show_gates(gates)
    for name, size in files:
        print(f"{size:>14,}  {name}")
    print(f"{sum(size for _, size in files):>14,}  bytes in {out}")
    if asked.push and asked.dry_run:
        print(f"dry run: these files would go to {asked.push}; nothing was sent")
        for term in terms:
            print(f"before they do, --acknowledge-terms must answer for {term.source}: {term.reason}")
    sys.stdout.flush()


def _as_json(
    asked: Wishes, work: Work, out: Path, files: list[tuple[str, int]], terms: list[Term], address: str
) -> dict[str, Any]:
    return {
        "out": str(out),
        "files": [{"name": name, "bytes": size} for name, size in files],
        "gates": {form: [asdict(gate) for gate in gates] for form, gates in work.gates.items()},
        "push": asked.push,
        "dry_run": asked.dry_run,
        "terms": [asdict(term) for term in terms],
        "address": address,
    }
