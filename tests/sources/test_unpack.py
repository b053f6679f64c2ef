from __future__ import annotations

import io
import os
import tarfile
import unicodedata
import zipfile
from pathlib import Path

import pytest
from downloads import Files, folder, marked, parts_of, tar_of, zip_of

from komt.errors import DataError
from komt.sources.archives import Skipped, natural
from komt.sources.unpack import Member, chunks, walk

INNER = {"라벨/가.json": b'{"a": 1}' * 5000, "라벨/나.json": b'{"b": 2}' * 9000, "메모.txt": b"x"}


@pytest.fixture
def scratch(tmp_path: Path) -> Path:
    (tmp_path / "scratch").mkdir()
    return tmp_path / "scratch"


def read(path: Path, scratch: Path) -> Files:
    """Name -> content of every file below a path, archives left out."""
    members = [item for item in walk(path, scratch) if isinstance(item, Member) and not item.archive]
    return {member.name: b"".join(chunks(member)) for member in members}


def under(name: str, files: Files) -> Files:
    return {f"{name}/{key}": value for key, value in files.items()}


def skipped(path: Path, scratch: Path) -> dict[str, str]:
    return {item.name: item.reason for item in walk(path, scratch) if isinstance(item, Skipped)}


@pytest.mark.parametrize(
    "files",
    [
        {"TL.zip": zip_of(INNER)},
        {"TL.ZIP": zip_of(INNER)},
        {"TL.zip": zip_of(INNER, stored=True)},
        {"TL.zip": zip_of(INNER, cp949=True)},
        {"TL.zip": zip_of({unicodedata.normalize("NFD", name): data for name, data in INNER.items()})},
        {"TL.tar": tar_of(INNER)},
        {"TL.tar": tar_of(INNER, cp949=True)},
        {"TL.tar.gz": tar_of(INNER, "w:gz")},
        {"TL.tgz": tar_of(INNER, "w:gz")},
        {"TL.tar.bz2": tar_of(INNER, "w:bz2")},
        {"TL.tar.xz": tar_of(INNER, "w:xz")},
        parts_of("TL.zip", zip_of(INNER), 11),
        parts_of("TL.zip", zip_of(INNER), 3, style="number"),
        parts_of("TL.zip", zip_of(INNER), 11, style="byte"),
        parts_of("TL.tar", tar_of(INNER), 11),
    ],
    ids=lambda files: f"{min(files)}-{len(files)}",
)
def test_an_archive_is_a_folder_whatever_its_form(tmp_path: Path, scratch: Path, files: Files) -> None:
    place = folder(tmp_path / "d", files)
    whole = min(files).partition(".part")[0].removesuffix(".001")
    assert read(place, scratch) == under(whole, INNER)
    # The same where the archive itself, or one of its parts, is given.
    assert read(place / min(files), scratch) == under(whole, INNER)
    assert read(place / max(files), scratch) == under(whole, INNER)


@pytest.mark.parametrize("outer", [zip_of, tar_of, lambda files: zip_of(files, stored=True)])
@pytest.mark.parametrize(
    "inner",
    [
        {"TL.zip": zip_of(INNER)},
        {"TL.zip": zip_of({"X.zip": zip_of(INNER)}, stored=True)},
        {"TL.tar": tar_of(INNER)},
        {"TL.tar.gz": tar_of(INNER, "w:gz")},
    ],
    ids=lambda files: str(len(files[min(files)])),
)
def test_archives_in_archives(tmp_path: Path, scratch: Path, outer: object, inner: Files) -> None:
    packed = outer(under("1.Training", inner))  # type: ignore[operator]
    place = folder(tmp_path / "d", {"all.zip" if packed[:2] == b"PK" else "all.tar": packed})
    found = read(place, scratch)
    assert {name.partition("라벨/")[2] for name in found} == {"가.json", "나.json", ""}
    assert sorted(found.values()) == sorted(INNER.values())
    assert all(name.startswith(("all.zip/1.Training/TL", "all.tar/1.Training/TL")) for name in found)


def test_parts_in_a_tar_are_read_where_they_lie(tmp_path: Path, scratch: Path) -> None:
    parts = under("Training/라벨링데이터", parts_of("TL.zip", zip_of(INNER), 12))
    place = folder(tmp_path / "d", {"download.tar": tar_of(parts)})
    assert read(place, scratch) == under("download.tar/Training/라벨링데이터/TL.zip", INNER)
    assert not list(scratch.iterdir())


def open_files() -> int:
    if not Path("/proc/self/fd").is_dir():
        pytest.skip("no list of open files on this system")
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


def test_many_archives_do_not_stay_open(tmp_path: Path, scratch: Path) -> None:
    files = {f"{number}.zip": zip_of({"a.json": b"%d" % number}) for number in range(80)}
    place = folder(tmp_path / "d", files)
    before = open_files()
    members = [item for item in walk(place, scratch) if isinstance(item, Member) and not item.archive]
    assert open_files() - before < 40
    # Opened again when they are read, in whatever order.
    for number, member in reversed(list(enumerate(members))):
        assert b"".join(chunks(member)) == b"%d" % number


def test_the_order_is_that_of_the_numbers_in_names(tmp_path: Path, scratch: Path) -> None:
    place = folder(tmp_path / "d", {f"a{n}.json": b"" for n in (10, 9, 1, 100)})
    assert list(read(place, scratch)) == ["a1.json", "a9.json", "a10.json", "a100.json"]
    assert natural("a2") < natural("a10") < natural("b1")


def test_names_on_the_disk_in_cp949_and_nfd_are_read(tmp_path: Path, scratch: Path) -> None:
    place = tmp_path / "d"
    place.mkdir()
    (place / os.fsdecode("라벨.json".encode("cp949"))).write_bytes(b"1")
    (place / unicodedata.normalize("NFD", "원천.json")).write_bytes(b"2")
    assert read(place, scratch) == {"라벨.json": b"1", "원천.json": b"2"}


def test_folders_reached_by_links_are_walked_once(tmp_path: Path, scratch: Path) -> None:
    place = folder(tmp_path / "d", {"a.json": b"1"})
    folder(tmp_path / "elsewhere", {"b.json": b"2"})
    (place / "up").symlink_to(place)
    (place / "other").symlink_to(tmp_path / "elsewhere")
    assert read(place, scratch) == {"a.json": b"1", "other/b.json": b"2"}


def test_what_systems_leave_behind_is_passed_over(tmp_path: Path, scratch: Path) -> None:
    junk = {"__MACOSX/._a.json": b"x", "._a.json": b"x", ".DS_Store": b"x", "Thumbs.db": b"x"}
    place = folder(tmp_path / "d", {"a.zip": zip_of({"a.json": b"1", **junk}), ".git/config": b"x"})
    assert read(place, scratch) == {"a.zip/a.json": b"1"}
    assert set(skipped(place, scratch).values()) == {"system file"}
    assert len(skipped(place, scratch)) == 4


def test_links_in_archives_are_not_followed(tmp_path: Path, scratch: Path) -> None:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        link = tarfile.TarInfo("passwd.json")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        archive.addfile(link)
    info = zipfile.ZipInfo("link.json")
    info.external_attr = 0o120777 << 16
    zipped = io.BytesIO()
    with zipfile.ZipFile(zipped, "w") as z:
        z.writestr(info, "/etc/passwd")
    place = folder(tmp_path / "d", {"a.tar": out.getvalue(), "b.zip": zipped.getvalue()})
    assert read(place, scratch) == {}
    assert skipped(place, scratch) == {"a.tar/passwd.json": "link", "b.zip/link.json": "link"}


def test_archives_of_other_programs_are_named(tmp_path: Path, scratch: Path) -> None:
    place = folder(tmp_path / "d", {"a.7z": b"7z", "b.egg": b"EGGA"})
    assert skipped(place, scratch) == {
        "a.7z": "packed as .7z: unpack it and give the folder",
        "b.egg": "packed as .egg: unpack it and give the folder",
    }


@pytest.mark.parametrize(
    "name", ["../evil.json", "a/../../evil.json", "/evil.json", "C:\\evil.json", "..\\evil"]
)
@pytest.mark.parametrize("pack", [zip_of, tar_of])
def test_a_name_that_leads_out_is_refused(tmp_path: Path, scratch: Path, name: str, pack: object) -> None:
    data = pack({"ok.json": b"1", name: b"2"})  # type: ignore[operator]
    place = folder(tmp_path / "d", {"a.zip" if data[:2] == b"PK" else "a.tar": data})
    with pytest.raises(DataError, match="leads out of its folder"):
        read(place, scratch)


@pytest.mark.parametrize(
    ("files", "words"),
    [
        ({"a.zip": marked(zip_of(INNER), flag=1)}, "locked with a password"),
        ({"a.zip": marked(zip_of(INNER), method=9)}, "packed in a way that cannot be read"),
        ({"a.zip": zip_of(INNER)[:-30]}, "broken or incomplete"),
        ({"a.zip": b"<html>sign in</html>"}, "broken or incomplete"),
        ({"a.zip": b""}, "broken or incomplete"),
        ({"a.tar": tar_of(INNER)[:30000]}, "broken or incomplete"),
        ({"a.tar.gz": tar_of(INNER, "w:gz")[:200]}, "broken or incomplete"),
        ({"a.zip.part1": b"x", "a.zip.part3": b"y"}, "part 2 of a split archive is missing"),
        ({"a.zip.part2": b"x"}, "part 1 of a split archive is missing"),
        ({"a.zip.part0": b"x", "a.zip.part10": b"x"}, "part 1 of a split archive is missing"),
        ({"a.z01": b"x", "a.zip": b"y"}, "cannot be read in its parts"),
        ({"b.tgz": tar_of({f"a.zip.part{n}": b"x" * 9 for n in (0, 2)}, "w:gz")}, "part 1 of a split"),
    ],
    ids=lambda value: value[:20] if isinstance(value, str) else None,
)
def test_what_cannot_be_read_is_named_with_a_cure(
    tmp_path: Path, scratch: Path, files: Files, words: str
) -> None:
    with pytest.raises(DataError, match=words) as error:
        read(folder(tmp_path / "d", files), scratch)
    assert error.value.cure
    assert error.value.where


def test_damaged_bytes_are_noticed(tmp_path: Path, scratch: Path) -> None:
    data = bytearray(zip_of({"a.json": os.urandom(5000)}, stored=True))
    data[2000] ^= 1
    with pytest.raises(DataError, match=r"broken or incomplete: Bad CRC-32"):
        read(folder(tmp_path / "d", {"a.zip": bytes(data)}), scratch)


def test_archives_do_not_nest_without_end(tmp_path: Path, scratch: Path) -> None:
    data = zip_of({"a.json": b"1"})
    for _ in range(12):
        data = zip_of({"a.zip": data})
    with pytest.raises(DataError, match="more than 8 deep"):
        read(folder(tmp_path / "d", {"a.zip": data}), scratch)


def test_a_missing_path_is_named(tmp_path: Path, scratch: Path) -> None:
    with pytest.raises(DataError, match="no such file or folder"):
        read(tmp_path / "none", scratch)
