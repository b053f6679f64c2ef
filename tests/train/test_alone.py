"""One training at a time in a folder."""

import pytest
from filelock import FileLock

from komt.errors import UsageError
from komt.files import locked
from komt.train.alone import alone_in
from komt.train.run import train


def test_a_second_training_in_a_folder_is_refused(toy_recipe, data_folder, tmp_path):
    recipe, out = toy_recipe(data_folder.parent / "model"), tmp_path / "run" / "train"
    with alone_in(out), pytest.raises(UsageError, match="another komt is training in this folder") as error:
        train(recipe, data_folder, out, quiet=True)
    assert str(out) in str(error.value)
    assert not out.exists()


def test_the_folder_is_free_when_a_training_has_ended_or_failed(tmp_path):
    for _ in range(2):
        with pytest.raises(ZeroDivisionError), alone_in(tmp_path / "train"):
            raise ZeroDivisionError
    lock: FileLock = locked(tmp_path / "train")
    lock.acquire(timeout=0)
    lock.release()
