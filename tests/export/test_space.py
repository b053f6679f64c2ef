"""Room on the disk, before an export begins."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from komt.cli import main
from komt.errors import KomtError
from komt.export.space import check_space, space_needed, weights_in
from komt.models.load import load_model
from komt.models.place import Place

Make = Callable[..., Place]
MIB = 1 << 20


def test_weights_are_counted_by_the_headers_of_their_files(base: Make) -> None:
    place = base("llama")
    assert weights_in(place.folder) == sum(one.numel() for one in load_model(place, 32).parameters())


def test_each_format_needs_its_own_files_and_gguf_for_a_while_more(base: Make, adapted: Make) -> None:
    place = adapted(base())
    count = weights_in(place.folder)

    def needed(*forms: str, quants: tuple[str, ...] = ("f16",), dtype: str | None = None) -> int:
        files = sum(path.stat().st_size for path in place.folder.glob("tokenizer*"))
        return space_needed(place.folder, place.adapter, forms, quants, dtype) - (MIB + files) * len(forms)

    assert needed("merged") == 4 * count  # where bf16 fails its gates
    assert needed("merged", dtype="bf16") == 2 * count
    assert needed("gguf") == (2 + 4) * count
    assert needed("gguf", quants=("q8_0",)) == int(1.07 * count + (4 + 2) * count)
    assert needed("merged", "gguf") == (4 + 2 + 4) * count
    assert needed("adapter") == (place.adapter / "adapter_model.safetensors").stat().st_size


def test_a_full_disk_is_told_before_anything_is_loaded(
    base: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    check_space(1, tmp_path / "a" / "b")
    with pytest.raises(KomtError, match=r"needs up to 1,000,000\.0 GB") as caught:
        check_space(10**15, tmp_path / "a" / "b")
    assert caught.value.where == str(tmp_path)
    monkeypatch.setattr("komt.export.space.shutil.disk_usage", lambda _: type("", (), {"free": MIB}))
    out = tmp_path / "out"
    assert main(["export", str(base().folder), "--format", "merged", "--out", str(out)]) == 1
    assert "point --out to another disk" in capsys.readouterr().err
    assert not out.exists()
