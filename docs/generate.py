"""Writes docs/cli.md from --help, the table of keys in docs/recipes.md from the types of a recipe,
docs/catalogue.md from the catalogue of sources, docs/families.md from tiny models of each family, and
docs/tasks.md from the tasks over real rows (KOMT_DATA).

With --check it compares instead (exit status 1 when something is out of date). The last column of the table,
what a key means, is written by hand in the table itself; the others are generated.
"""

from __future__ import annotations

import importlib
import json
import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

os.environ["COLUMNS"] = "100"

import generate_catalogue
import generate_families
import generate_tasks

from komt.cli import VERBS, build_parser, overview
from komt.recipe import Recipe

HERE = Path(__file__).parent
TABLE = re.compile(r"(?<=<!-- keys -->\n).*?(?=<!-- /keys -->)", re.DOTALL)


def reference() -> str:
    """The whole command-line reference as Markdown."""
    parts = [
        "# Command line",
        "",
        "Generated from `--help` by `make docs`.",
        "",
        "```text",
        overview(),
        "```",
    ]
    for verb in VERBS:
        text = build_parser(verb, importlib.import_module(f"komt.commands.{verb}")).format_help()
        parts += ["", f"## komt {verb}", "", "```text", text.rstrip(), "```"]
    return "\n".join(parts) + "\n"


def recipe_guide(text: str) -> str:
    """docs/recipes.md with its table made anew.

    Raises:
        SystemExit: a key has no meaning yet.
    """
    meanings = dict(re.findall(r"^\| `([^`]+)` \|.*\| ([^|]+) \|$", text, re.MULTILINE))
    schema = Recipe.model_json_schema()
    lines = ["| key | default | values | meaning |", "|---|---|---|---|"]
    for key, default, values in recipe_keys(schema, schema["$defs"]):
        meaning = meanings.get(key)
        if not meaning:
            raise SystemExit(f"docs/recipes.md: add a row '| `{key}` | | | MEANING |' to the table")
        lines.append(f"| `{key}` | {default} | {values} | {meaning} |")
    return TABLE.sub("\n".join(lines).replace("\\", r"\\") + "\n", text)


def recipe_keys(
    schema: dict[str, Any], parts: dict[str, Any], above: str = ""
) -> Iterator[tuple[str, str, str]]:
    """Every key of a recipe with its default and its values."""
    for name, field in schema["properties"].items():
        key = f"{above}{name}"
        if part := _part(field):
            yield from recipe_keys(parts[part], parts, f"{key}.")
        elif part := _part(field.get("additionalProperties") or {}):
            yield from recipe_keys(parts[part], parts, f"{key}.NAME.")
        elif part := _part(field.get("items") or {}):
            yield from recipe_keys(parts[part], parts, f"{key}[].")
        else:
            needed = name in schema.get("required", ())
            default = "needed" if needed else f"`{json.dumps(field.get('default'), ensure_ascii=False)}`"
            yield key, default, values_of(field)


def _part(field: dict[str, Any]) -> str:
    """The part that a field is, "" for anything else; a part that may be left out is one too."""
    refs = [str(each.get("$ref", "")) for each in (field, *field.get("anyOf", ()))]
    return next((ref.rpartition("/")[2] for ref in refs if ref), "")


def values_of(field: dict[str, Any]) -> str:
    """What a key takes, in words."""
    if "anyOf" in field:
        return " or ".join(values_of(option) for option in field["anyOf"])
    if "enum" in field:
        return ", ".join(f"`{json.dumps(value)}`" for value in field["enum"])
    if field["type"] == "array":
        return f"list of {values_of(field['items'])}"
    words = {"string": "text", "boolean": "`true`, `false`", "null": "`null`"}.get(
        field["type"], field["type"]
    )
    signs = {"exclusiveMinimum": ">", "minimum": "≥", "exclusiveMaximum": "<", "maximum": "≤"}
    bounds = [f"{sign} {field[bound]:g}" for bound, sign in signs.items() if bound in field]
    return " ".join([words, ", ".join(bounds)]).strip()


def pages(checking: bool) -> dict[Path, str]:
    """What every generated file should hold, but for a page whose data is not here, which is named."""
    guide, tasks = HERE / "recipes.md", HERE / "tasks.md"
    made = {
        HERE / "cli.md": reference(),
        HERE / "catalogue.md": generate_catalogue.page(),
        HERE / "families.md": generate_families.page(),
        guide: recipe_guide(guide.read_text(encoding="utf-8")),
    }
    shown = generate_tasks.sources_shown(tasks.read_text(encoding="utf-8")) if tasks.is_file() else []
    here = generate_tasks.sources_here()
    if missing := [name for name in shown if name not in here]:
        what = "compared" if checking else "made"
        print(f"docs/tasks.md is not {what}, since rows are not here: {', '.join(missing)}", file=sys.stderr)
    else:
        made[tasks] = generate_tasks.page(shown if checking else here)
    return made


def main() -> int:
    """Write or compare."""
    checking = "--check" in sys.argv[1:]
    made = pages(checking)
    stale = [
        path for path, text in made.items() if not path.is_file() or path.read_text(encoding="utf-8") != text
    ]
    if checking:
        for path in stale:
            print(f"docs/{path.name} is out of date: run `make docs`", file=sys.stderr)
        return 1 if stale else 0
    for path in stale:
        path.write_text(made[path], encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
