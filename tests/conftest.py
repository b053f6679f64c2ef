from __future__ import annotations

import os
from pathlib import Path

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # as the command line does, before torch is imported

import pytest
import torch

_REAL = os.environ.get("KOMT_DATA", "")


# Tensors as small as those of the tests are faster without a second thread to wait for.
torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def _own_home(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """No test reads or writes a person's KOMT_HOME, nor data that it did not ask for."""
    monkeypatch.setenv("KOMT_HOME", str(tmp_path_factory.mktemp("home")))
    monkeypatch.setenv("KOMT_DATA", str(tmp_path_factory.mktemp("data")))


@pytest.fixture
def realdata(monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder with the real data files, KOMT_DATA."""
    if not (Path(_REAL) / "korquad").is_dir() or not _REAL:
        pytest.skip("KOMT_DATA has no folder korquad")
    monkeypatch.setenv("KOMT_DATA", _REAL)
    return Path(_REAL)
