"""What the documents say exists: commands, links, paths, recipes."""

import importlib
import re
import shlex
import subprocess
from pathlib import Path

import pytest
import yaml

from komt.cli import VERBS, build_parser
from komt.commands import _published
from komt.judge.rubric import Rubric
from komt.recipe import load_recipe, parse_part, parse_recipe
from komt.sources import Source
from komt.tasks import Task

ROOT = Path(__file__).parents[1]
READMES = [ROOT / "README.md", ROOT / "README.ko.md"]
DOCUMENTS = [*READMES, ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").glob("*.md"))]
FENCE = re.compile(r"^```(\w*)[^\n]*\n(.*?)^```$", re.DOTALL | re.MULTILINE)

every_document = pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)


def fenced(path, language=""):
    """Texts of a document's blocks, of one language or of all."""
    found = FENCE.findall(path.read_text(encoding="utf-8"))
    return [text for name, text in found if language in ("", name)]


def inline(path):
    """Code spans outside the blocks."""
    return re.findall(r"`([^`\n]+)`", FENCE.sub("", path.read_text(encoding="utf-8")))


def command_lines(path):
    """Lines of blocks that start with komt, python or make, after `$` or `#`; and such code spans."""
    lines = [line for text in fenced(path) for line in text.splitlines()]
    matches = [re.match(r"^\s*(?:[$#] )?((?:komt|python|make) .+)$", line) for line in lines]
    spans = [span for span in inline(path) if re.match(r"(komt|python|make) ", span)]
    return [match[1] for match in matches if match] + spans


def check_komt(verb, words):
    assert verb in VERBS, f"no verb {verb}"
    if not words:
        return
    args = build_parser(verb, importlib.import_module(f"komt.commands.{verb}")).parse_args(words)
    if getattr(args, "overrides", None):
        # Recipes of one's own are not here: their overrides must at least fit a shipped one.
        load_recipe("sample" if args.recipe.endswith(".yaml") else args.recipe, args.overrides)


@every_document
def test_every_command_shown_is_one(path):
    for line in command_lines(path):
        words = shlex.split(re.split(r" [<>|] ", line)[0], comments=True)
        try:
            if words[0] == "komt":
                check_komt(words[1], words[2:])
            elif words[0] == "python":
                assert (ROOT / words[1]).is_file()
                if words[1] == "finetune_with_lora.py":
                    _published.build_parser().parse_args(words[2:])
            else:
                assert re.search(rf"^{words[1]}:", (ROOT / "Makefile").read_text(), re.MULTILINE)
        except SystemExit:
            pytest.fail(f"{path.name}: not accepted: {line}")


def test_a_wrong_command_would_be_found():
    with pytest.raises(AssertionError):
        check_komt("exprot", ["runs/sample"])
    with pytest.raises(SystemExit):
        check_komt("chat", ["runs/sample", "--no-such-option"])


@every_document
def test_every_relative_link_leads_somewhere(path):
    text = FENCE.sub("", path.read_text(encoding="utf-8"))
    headings = {slug(line) for line in re.findall(r"^#+ (.+)$", text, re.MULTILINE)}
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if not target.startswith(("http://", "https://")):
            file, _, anchor = target.partition("#")
            assert not file or (path.parent / file).exists(), target
            assert file or anchor in headings, target


def slug(heading):
    """A heading's anchor, as GitHub makes it."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


def test_both_readmes_show_the_same_commands():
    english, korean = READMES
    assert fenced(english, "sh") == fenced(korean, "sh")
    assert sorted(set(command_lines(english))) == sorted(set(command_lines(korean)))


def test_both_readmes_have_the_same_places_for_recorded_output():
    marks = [re.findall(r"<!-- .+? -->", path.read_text(encoding="utf-8")) for path in READMES]
    assert marks[0] == marks[1]


def tree(path):
    """The paths that a README's file tree names, relative to the root."""
    (text,) = [text for text in fenced(path, "text") if text.startswith("README.md")]
    paths, above = [], ""
    for line in text.splitlines():
        names = re.split(r"\s{2,}", line.strip())[0].split(", ")
        prefix = above if line.startswith(" ") else ""
        paths += [prefix + name for name in names]
        above = prefix or names[0]
    return paths


@pytest.mark.parametrize("path", READMES, ids=lambda path: path.name)
def test_the_file_tree_names_what_is_there(path):
    named = tree(path)
    assert [name for name in named if not (ROOT / name).exists()] == []
    package = ROOT / "src" / "komt"
    here = {entry.name for entry in package.iterdir() if not entry.name.startswith("__pycache__")}
    shown = {name.removeprefix("src/komt/").rstrip("/") for name in named if name.startswith("src/komt/")}
    assert shown - {""} == here


@pytest.mark.parametrize("path", READMES, ids=lambda path: path.name)
def test_the_file_tree_names_everything_at_the_top(path):
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=False)
    if listed.returncode or not listed.stdout:
        pytest.skip("no git repository")
    tops = {name.partition("/")[0] for name in listed.stdout.splitlines()}
    assert tops <= {name.partition("/")[0] for name in tree(path)}


@every_document
def test_yaml_examples_are_valid(path):
    for text in fenced(path, "yaml"):
        values = yaml.safe_load(text)
        if "templates" in values:
            assert parse_part(Task, values, path.name, "the task").name == values["name"]
        elif "prompt" in values:
            assert parse_part(Rubric, {"name": "own", **values}, path.name, "the rubric").title
        elif "reader" in values:
            assert parse_part(Source, values, path.name, "the source").options()
        else:
            assert parse_recipe(values, path.name).name == values["name"]
