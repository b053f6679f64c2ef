"""The command line itself: help without heavy imports, unknown verbs, exit statuses."""

import errno
import subprocess
import sys

import pytest

from komt import __version__
from komt.cli import VERBS, main


def test_help_imports_neither_torch_nor_transformers():
    code = (
        "import sys; from komt.cli import main; status = main(['--help']);"
        "print(status, sorted({'torch', 'transformers', 'pydantic', 'pyarrow'} & set(sys.modules)))"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert out.splitlines()[-1] == "0 []"
    assert all(f"\n  {verb} " in out for verb in VERBS)


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_explains_itself_with_an_example(verb, capsys):
    with pytest.raises(SystemExit) as stop:
        main([verb, "--help"])
    assert stop.value.code == 0
    assert f"komt {verb}" in capsys.readouterr().out.partition("example:")[2]


def test_an_unknown_verb_names_the_nearest(capsys):
    assert main(["trian"]) == 2
    assert "did you mean 'train'?" in capsys.readouterr().err
    assert main([]) == 2


def test_version(capsys):
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"komt {__version__}\n"


def test_overrides_may_follow_options(capsys):
    assert main(["build", "no-such-recipe", "--out", "x", "seed=1"]) == 2
    assert "no recipe 'no-such-recipe'" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("raised", "told"),
    [
        (KeyboardInterrupt(), "interrupted"),
        (OSError(errno.ENOSPC, "No space left on device", "/x/y"), "no space left on the disk"),
        (PermissionError(errno.EACCES, "Permission denied", "/x/y"), "not allowed"),
    ],
)
def test_what_stops_a_verb_is_told_in_one_message(raised, told, capsys, monkeypatch):
    def stop(recipe, overrides):
        raise raised

    monkeypatch.setattr("komt.commands._stages.load_recipe", stop)
    assert main(["build", "sample"]) == 1
    error = capsys.readouterr().err
    assert told in error
    assert "Traceback" not in error
