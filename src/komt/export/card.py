"""The model card: README.md in Korean and English, from what the run says; what is unknown is said to be."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

import yaml
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from komt.export.card_scores import flags_of, model_index, score_rows
from komt.export.gates import Gate
from komt.export.identity import Base, Licence, base_of, is_tuned, licence_named
from komt.export.run_facts import Run
from komt.files import write_atomic
from komt.korean import josa
from komt.models.place import Place
from komt.sources import SOURCES, Source
from komt.tasks import add_folder_beside

Form = Literal["merged", "adapter", "gguf"]
_LIBRARIES = {"merged": "transformers", "adapter": "peft", "gguf": "gguf"}
_RELATIONS = {"merged": "finetune", "adapter": "adapter", "gguf": "quantized"}
_NAMES = {
    "ko": {
        **{"base": "기반 모델", "base-5shot": "기반 모델, 예시 5개", "tuned": "이 모델"},
        **{
            "passage_first": "지문 먼저",
            "instruction_first": "지시 먼저",
            "loglikelihood": "보기의 확률로 고름",
        },
    },
    "en": {
        **{"base": "base", "base-5shot": "base, 5 examples", "tuned": "this model"},
        **{"passage_first": "passage first", "instruction_first": "instruction first"},
        **{"loglikelihood": "choices weighed by their probability"},
    },
}


@dataclass(frozen=True, slots=True)
class SourceFacts:
    """A source as a card tells of it: its tasks and examples in this run, and the terms its data came under.

    Attributes:
        origin: native, translated or generated.
        terms: terms that bar handing the data on, or "".
        hub: id of its data set on the hub, or "".
    """

    name: str
    title: str
    tasks: tuple[str, ...]
    examples: int
    origin: str
    licence: str
    terms: str = ""
    citation: str = ""
    url: str = ""
    hub: str = ""


def sources_of(run: Run | None) -> list[SourceFacts]:
    """The sources that a run was trained on, those with most examples first; none where that is unknown."""
    if run is None or run.manifest is None:
        return []
    beside = run.recipe.data.beside
    if beside and Path(beside).is_dir():
        add_folder_beside(beside)
    trained = {name: task for name, task in run.manifest.tasks.items() if task.examples}
    facts = []
    for name in dict.fromkeys(task.source for task in trained.values()):
        tasks = {key: task for key, task in trained.items() if task.source == name}
        first = next(iter(tasks.values()))
        known = SOURCES.get(name) if name in SOURCES else None
        facts.append(
            SourceFacts(
                name,
                known.title if known else name,
                tuple(tasks),
                sum(task.examples for task in tasks.values()),
                first.origin,
                first.licence,
                run.manifest.terms.get(name, ""),
                *(_where(known) if known else ()),
            )
        )
    return sorted(facts, key=lambda one: -one.examples)


def _where(source: Source) -> tuple[str, str, str]:
    """Citation (unless its title says as much), address and hub id of a source of the catalogue."""
    citation = source.citation
    if citation.rstrip(".").casefold() in source.title.casefold():
        citation = ""
    hub = str(source.reader.get("dataset", "")) if source.reader.get("format") == "hub" else ""
    if hub:
        return citation, f"https://huggingface.co/datasets/{hub}", hub
    if source.login:
        return citation, source.login, ""
    return citation, f"https://github.com/{source.repository}" if source.repository else "", ""


def name_of(place: Place, run: Run | None) -> str:
    """What a model is called in files: the recipe's name, or the last part of its own."""
    if run is not None:
        return run.recipe.name
    return re.sub(r"[^\w.-]+", "-", Path(place.name.rstrip("/")).name).strip("-.") or "model"


def write_card(
    place: Place,
    folder: Path,
    form: Form,
    *,
    run: Run | None,
    gates: Sequence[Gate],
    stored: str = "",
    repository: str = "",
) -> None:
    """Write `README.md` into an exported folder.

    Args:
        place: the exported model.
        folder: with the exported files in it.
        form: what they are.
        run: where it was trained, or None where that is unknown.
        gates: what was measured on the files.
        stored: how weights are stored, for people: "bf16".
        repository: where the folder goes on the hub, or "": the folder's own name is shown.
    """
    base, sources = base_of(place), sources_of(run)
    name = name_of(place, run)
    files = sorted(path.name for path in folder.glob("*.gguf"))
    manifest = run.manifest if run else None
    scores = run.scores if run else []
    models, rows = score_rows(scores)
    text = (
        _environment()
        .get_template("card.md.jinja")
        .render(
            front=_front(place, base, form, sources, name, scores),
            name=name,
            form=form,
            where=repository or name,
            first=_first_file(files),
            files=files,
            stored=stored,
            base=base,
            tuned=is_tuned(place),
            method=_method(place, run),
            run=run,
            lora=run.recipe.train.lora if run else None,
            training=run.training if run else {},
            recipe=_recipe_text(run, base) if run else "",
            sources=sources,
            examples=sum(source.examples for source in sources),
            generated=sum(source.examples for source in sources if source.origin == "generated"),
            terms=[source.name for source in sources if source.terms],
            scores=rows,
            models=models,
            names=_NAMES,
            flags=flags_of(scores, manifest, run.recipe if run else None),
            gates=gates,
            never_ends=any("not learned to end" in gate.measured for gate in gates),
        )
    )
    write_atomic(folder / "README.md", re.sub(r"\n{3,}", "\n\n", text).strip() + "\n")


def _method(place: Place, run: Run | None) -> str:
    if run is not None:
        return run.recipe.train.method
    return "lora" if place.adapter is not None else ""


def _first_file(files: Sequence[str]) -> str:
    return next((name for name in files if "Q4_K_M" in name), files[0] if files else "")


def _front(
    place: Place,
    base: Base,
    form: Form,
    sources: Sequence[SourceFacts],
    name: str,
    scores: Sequence[dict[str, Any]],
) -> str:
    """The YAML header that the hub reads, by huggingface_hub's own class."""
    from huggingface_hub import ModelCardData

    licence = base.licence
    tags = ["komt", "korean", "instruction-tuning"] if is_tuned(place) else ["komt", "korean"]
    own_terms = licence.id == "other"
    results = model_index(scores, quantised=form == "gguf")
    data = ModelCardData(
        base_model=base.hub or None,
        base_model_relation=_RELATIONS[form] if base.hub and (is_tuned(place) or form == "gguf") else None,
        datasets=[source.hub for source in sources if source.hub] or None,
        eval_results=results or None,
        model_name=name if results else None,
        language=["ko"],
        library_name=_LIBRARIES[form],
        license=licence.id,
        license_name=_slug(licence) if own_terms else None,
        license_link=(licence.url or None) if own_terms else None,
        pipeline_tag="text-generation",
        tags=[*tags, *(["lora"] if place.adapter is not None else []), *(["gguf"] if form == "gguf" else [])],
    )
    return data.to_yaml(line_break="\n").strip()


def _slug(licence: Licence) -> str:
    return re.sub(r"[^a-z0-9.]+", "-", licence.name.casefold()).strip("-") or "other"


def _recipe_text(run: Run, base: Base) -> str:
    """The resolved recipe without paths of this machine."""
    values = run.recipe.model_dump(mode="json")
    values["model"]["name"] = base.name
    values["data"].pop("beside", None)
    for part in values["data"]["files"]:
        part["path"] = Path(part["path"]).name
    return yaml.safe_dump(values, allow_unicode=True, sort_keys=False).strip()


@lru_cache(maxsize=1)
def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent / "card_text"),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        autoescape=False,
    )
    environment.filters["josa"] = josa
    environment.filters["cell"] = _cell
    environment.filters["line"] = lambda text: " ".join(str(text).split())
    return environment


def _cell(text: object) -> str:
    """A text as one cell of a Markdown table."""
    return " ".join(str(text).split()).replace("|", "\\|")


def licences_of(sources: Sequence[SourceFacts]) -> dict[str, Licence]:
    """Source -> the licence of its data."""
    return {source.name: licence_named(source.licence) for source in sources}
