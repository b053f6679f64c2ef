from __future__ import annotations

import gzip
import hashlib
import json
import os
import shutil
import signal
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import web_server as web
from web_server import Site, serve, stall, status

from komt.cli import main
from komt.errors import DataError, UsageError
from komt.files import data_root, home
from komt.sources import SOURCES, Source, load_source, present
from komt.sources.download import Patience
from komt.sources.fetch import Fetched, Onlooker, address, fetch

DATA = bytes(range(256)) * 4000
SHA = hashlib.sha256(DATA).hexdigest()
URL = "/own/train.json"


@pytest.fixture
def site() -> Iterator[Site]:
    with web.website() as site:
        yield site


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)


def own(*paths: str, sha: str = SHA, **values: Any) -> Source:
    files = [{"path": path, "split": "train", "sha256": sha} for path in paths or ("train.json",)]
    base = {
        "name": "own",
        "title": "own",
        "licence": "CC0",
        "origin": "native",
        "reader": {"format": "jsonl"},
    }
    return Source.model_validate({**base, "files": files, "repository": "a/b", **values})


class Outcome(NamedTuple):
    files: list[Fetched]
    slept: list[float]


def get(site: Site, source: Source | None = None, **options: Any) -> Outcome:
    slept: list[float] = []
    patience = Patience(tries=3, silence_s=options.pop("silence_s", 20.0), sleep=slept.append)
    mirror = options.pop("mirror", site.url)
    return Outcome(list(fetch(source or own(), mirror=mirror, patience=patience, **options)), slept)


def target() -> Path:
    return data_root() / "own" / "train.json"


def beside() -> set[str]:
    """Files in the folder of the target."""
    return {path.name for path in target().parent.iterdir()}


def test_a_file_is_fetched_checked_and_alone_in_its_place(site: Site) -> None:
    site.acts[URL] = [serve(DATA)]
    seen: list[tuple[int, int]] = []
    onlooker = Onlooker(begin=lambda path: lambda done, total: seen.append((done, total)))
    (file,) = get(site, onlooker=onlooker).files
    assert target().read_bytes() == DATA
    assert (file.state, file.sha256, file.checked, file.bytes) == ("fetched", SHA, True, len(DATA))
    assert beside() == {"train.json"}
    assert (seen[0], seen[-1]) == ((0, len(DATA)), (len(DATA), len(DATA)))
    assert site.asked[0][1]["Accept-Encoding"] == "identity"


def test_what_is_here_is_not_fetched_again(site: Site) -> None:
    site.acts[URL] = [serve(DATA)]
    get(site)
    assert [file.state for file in get(site).files] == ["present"]
    assert len(site.asked) == 1
    assert [file.state for file in get(site, force=True).files] == ["fetched"]
    assert len(site.asked) == 2


def test_a_file_with_another_checksum_is_replaced(site: Site) -> None:
    target().parent.mkdir(parents=True)
    target().write_bytes(b"half")
    site.acts[URL] = [serve(DATA)]
    assert [file.state for file in get(site).files] == ["replaced"]
    assert target().read_bytes() == DATA


def test_a_file_that_is_here_stays_when_the_new_one_cannot_be_had(site: Site) -> None:
    target().parent.mkdir(parents=True)
    target().write_bytes(b"old")
    site.acts[URL] = [serve(DATA, cut=1000), status(404)]
    with pytest.raises(DataError):
        get(site, own(sha=""), force=True)
    assert target().read_bytes() == b"old"


def test_a_cut_connection_is_gone_on_with(site: Site) -> None:
    site.acts[URL] = [serve(DATA, cut=300_000), serve(DATA, cut=300_000), serve(DATA)]
    outcome = get(site)
    assert target().read_bytes() == DATA
    assert site.ranges(URL) == [None, "bytes=300000-", "bytes=600000-"]
    assert site.asked[1][1]["If-Range"] == web.etag(DATA)
    assert len(outcome.slept) == 2


def test_tries_are_counted_only_while_nothing_new_comes(site: Site) -> None:
    site.acts[URL] = [serve(DATA, cut=100_000)]
    get(site)
    assert target().read_bytes() == DATA
    assert len(site.asked) == 11  # 10.24 pieces, though three tries without a new byte would be the end


def test_a_server_that_ignores_range_sends_the_whole_again(site: Site) -> None:
    site.acts[URL] = [serve(DATA, cut=300_000), serve(DATA, ranges=False)]
    get(site)
    assert target().read_bytes() == DATA
    assert site.ranges(URL) == [None, "bytes=300000-"]


def test_a_file_that_changed_meanwhile_is_begun_anew(site: Site) -> None:
    new = DATA[::-1]
    site.acts[URL] = [serve(DATA, cut=300_000), serve(new)]
    get(site, own(sha=hashlib.sha256(new).hexdigest()))
    assert target().read_bytes() == new


def test_a_server_that_heeds_range_but_not_if_range_does_not_mix_two_versions(site: Site) -> None:
    new = DATA[::-1]

    def careless(to: web.Handler) -> None:
        start = int(to.headers["Range"].removeprefix("bytes=").rstrip("-"))
        span = f"bytes {start}-{len(new) - 1}/{len(new)}"
        to.head(206, len(new) - start, ETag=web.etag(new), Content_Range=span)
        to.wfile.write(new[start:])

    site.acts[URL] = [serve(DATA, cut=300_000), careless, serve(new)]
    get(site, own(sha=""))
    assert target().read_bytes() == new
    assert site.ranges(URL) == [None, "bytes=300000-", None]


def test_another_part_than_the_one_asked_for_is_not_taken(site: Site) -> None:
    wrong = web.raw(206, DATA[5:], len(DATA) - 5, ETag=web.etag(DATA), Content_Range=f"bytes 5-9/{len(DATA)}")
    site.acts[URL] = [serve(DATA, cut=300_000), wrong, serve(DATA)]
    get(site, own(sha=""))
    assert target().read_bytes() == DATA


def test_without_any_version_a_part_is_gone_on_with_only_where_a_checksum_judges(site: Site) -> None:
    site.acts[URL] = [serve(DATA, cut=300_000, tag=""), serve(DATA, tag="")]
    get(site)
    assert site.ranges(URL) == [None, "bytes=300000-"]
    target().unlink()
    site.asked.clear()
    site.acts[URL] = [serve(DATA, cut=300_000, tag=""), serve(DATA, tag="")]
    get(site, own(sha=""))
    assert site.ranges(URL) == [None, None]
    assert target().read_bytes() == DATA


def test_a_weak_version_does_not_stand_for_the_same_bytes(site: Site) -> None:
    site.acts[URL] = [serve(DATA, cut=300_000, tag='W/"1"'), serve(DATA, tag='W/"1"')]
    get(site, own(sha=""))
    assert site.ranges(URL) == [None, None]


def test_a_stalled_connection_is_left_and_the_part_gone_on_with(site: Site) -> None:
    site.acts[URL] = [stall(DATA, 200_000), serve(DATA)]
    get(site, silence_s=0.3)
    assert target().read_bytes() == DATA
    assert site.ranges(URL) == [None, "bytes=200000-"]


def test_a_server_that_stalls_for_ever_ends_in_one_message_and_the_part_is_kept(site: Site) -> None:
    site.acts[URL] = [stall(DATA, 1000), stall(DATA, 0)]
    with pytest.raises(DataError, match="nothing came any more") as error:
        get(site, silence_s=0.2)
    assert "same command" in error.value.cure
    assert not target().exists()
    assert not present(own())


def test_damaged_content_is_fetched_again_from_its_start(site: Site) -> None:
    site.acts[URL] = [serve(b"x" + DATA[1:]), serve(DATA)]
    get(site)
    assert target().read_bytes() == DATA
    assert site.ranges(URL) == [None, None]


def test_the_same_wrong_content_twice_is_another_version(site: Site) -> None:
    other = b"x" + DATA[1:]
    site.acts[URL] = [serve(other)]
    with pytest.raises(DataError, match="another version") as error:
        get(site)
    assert SHA in error.value.what
    assert hashlib.sha256(other).hexdigest() in error.value.what
    assert len(site.asked) == 2
    assert beside() == set()


def test_content_damaged_in_ever_new_ways_ends_after_the_tries(site: Site) -> None:
    site.acts[URL] = [serve(bytes([n]) * len(DATA)) for n in range(9)]
    with pytest.raises(DataError, match="could not be fetched in 3 tries: its content is damaged"):
        get(site)
    assert beside() == set()


def test_errors_of_the_server_are_waited_out_longer_and_longer(site: Site) -> None:
    site.acts[URL] = [status(500), status(503), serve(DATA)]
    first, second = get(site).slept
    assert 0.5 <= first <= 1 <= second <= 2
    target().unlink()
    site.acts[URL] = [status(500), status(503), serve(DATA)]
    assert get(site).slept == [first, second]  # the jitter has a seed


def test_the_pause_has_an_upper_bound_and_heeds_the_server(site: Site) -> None:
    patience = Patience()
    assert max(patience.pause(URL, failed) for failed in range(1, 40)) <= patience.most_s
    site.acts[URL] = [status(429, Retry_After="7"), serve(DATA)]
    assert get(site).slept == [7.0]


def test_a_server_that_stays_broken_ends_in_one_message(site: Site) -> None:
    site.acts[URL] = [status(500)]
    with pytest.raises(DataError, match="in 3 tries: the server answered with HTTP status 500") as error:
        get(site)
    assert error.value.where == site.url + URL
    assert len(site.asked) == 3


def test_nobody_at_the_address_is_said_so(site: Site) -> None:
    with web.website() as gone:
        pass
    with pytest.raises(DataError, match="could not be fetched in 3 tries"):
        get(site, mirror=gone.url)


@pytest.mark.parametrize(("code", "words"), [(404, "no such file"), (403, "does not give"), (401, "login")])
def test_a_refusal_is_not_tried_again(site: Site, code: int, words: str) -> None:
    site.acts[URL] = [status(code)]
    with pytest.raises(DataError, match=f"{words}.*HTTP status {code}"):
        get(site)
    assert len(site.asked) == 1
    assert beside() == set()


def test_a_refused_file_does_not_keep_the_others_from_it(site: Site) -> None:
    site.acts["/own/b.json"] = [serve(DATA)]
    with pytest.raises(DataError, match=r"no such file .*; so for 1 more of its files") as error:
        get(site, own("a.json", "b.json", "c.json"))
    assert error.value.where == f"{site.url}/own/a.json"
    assert (target().parent / "b.json").read_bytes() == DATA
    site.acts["/own/a.json"] = [status(500)]
    site.asked.clear()
    with pytest.raises(DataError, match="in 3 tries"):
        get(site, own("a.json", "c.json"))
    assert {path for path, _ in site.asked} == {"/own/a.json"}  # the whole server may be down


def test_a_redirect_is_followed_and_takes_no_secret_to_another_host(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    monkeypatch.setattr("komt.sources.fetch.address", lambda source, path, mirror: site.url + URL)
    with web.website() as other:
        other.acts["/there"] = [serve(DATA)]
        site.acts[URL] = [status(302, Location=other.url.replace("127.0.0.1", "localhost") + "/there")]
        get(site, own(repository="hf:a/b"), mirror="")
        assert "Authorization" not in other.asked[0][1]
    assert site.asked[0][1]["Authorization"] == "Bearer hf_secret"
    assert target().read_bytes() == DATA


def test_redirects_without_end_are_refused(site: Site) -> None:
    site.acts[URL] = [status(302, Location=URL)]
    with pytest.raises(DataError, match="cannot be fetched"):
        get(site)


def test_more_bytes_than_announced_are_never_taken(site: Site) -> None:
    site.acts[URL] = [web.raw(200, DATA + b"more", len(DATA)), serve(DATA)]
    get(site, own(sha=""))
    assert target().read_bytes() == DATA


def test_fewer_bytes_than_announced_are_no_file_even_without_a_checksum(site: Site) -> None:
    site.acts[URL] = [web.raw(200, DATA[:1000], len(DATA))]
    with pytest.raises(DataError, match="in 3 tries"):
        get(site, own(sha=""))
    assert not target().exists()


def test_a_part_longer_than_the_file_is_begun_anew(site: Site) -> None:
    site.acts[URL] = [serve(DATA, cut=300_000, tag='"a"'), serve(DATA[:1000], tag='"a"')]
    get(site, own(sha=hashlib.sha256(DATA[:1000]).hexdigest()))
    assert site.ranges(URL) == [None, "bytes=300000-", None]
    assert target().read_bytes() == DATA[:1000]


def test_a_server_that_compresses_unasked_gives_the_file_and_a_gz_stays_a_gz(site: Site) -> None:
    packed = gzip.compress(DATA)
    act = web.raw(200, packed, len(packed), Content_Encoding="gzip", ETag='"z"')
    site.acts[URL] = [act]
    get(site)
    assert target().read_bytes() == DATA
    site.acts["/own/train.json.gz"] = [act]
    get(site, own("train.json.gz", sha=hashlib.sha256(packed).hexdigest()))
    assert (target().parent / "train.json.gz").read_bytes() == packed


def test_a_pointer_of_git_lfs_is_refused(site: Site) -> None:
    pointer = b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"0" * 64 + b"\nsize 123\n"
    site.acts[URL] = [serve(pointer)]
    with pytest.raises(DataError, match="Git LFS") as error:
        get(site, own(sha=""))
    assert "git lfs pull" in error.value.cure
    assert beside() == set()


def test_a_web_page_instead_of_the_file_is_refused(site: Site) -> None:
    site.acts[URL] = [serve(b"\n<!DOCTYPE html><title>Sign in</title>")]
    with pytest.raises(DataError, match="web page"):
        get(site, own(sha=""))
    assert beside() == set()


def test_an_interrupted_download_leaves_a_part_that_counts_for_nothing_and_is_gone_on_with(
    site: Site,
) -> None:
    def interrupt(done: int, total: int) -> None:
        if done > 500_000:
            raise KeyboardInterrupt

    site.acts[URL] = [serve(DATA)]
    with pytest.raises(KeyboardInterrupt):
        get(site, onlooker=Onlooker(begin=lambda path: interrupt))
    assert beside() == {"train.json.part", "train.json.part.json"}
    assert not present(own())
    have = (target().parent / "train.json.part").stat().st_size
    get(site)
    assert target().read_bytes() == DATA
    assert site.ranges(URL) == [None, f"bytes={have}-"]
    assert beside() == {"train.json"}


def test_a_whole_part_is_checked_without_asking_the_server_again(site: Site) -> None:
    part = target().with_name("train.json.part")
    part.parent.mkdir(parents=True)
    part.write_bytes(DATA)
    state = {"version": web.etag(DATA), "total": len(DATA), "url": site.url + URL}
    part.with_name("train.json.part.json").write_text(json.dumps(state))
    assert [file.state for file in get(site).files] == ["fetched"]
    assert site.asked == []


def test_a_part_from_elsewhere_is_gone_on_with_where_a_checksum_judges(site: Site) -> None:
    with web.website() as other:
        other.acts[URL] = [serve(DATA, cut=300_000), status(404)]
        with pytest.raises(DataError):
            get(site, mirror=other.url)
    site.acts[URL] = [serve(DATA, tag='"another"')]
    get(site)
    assert site.ranges(URL) == ["bytes=300000-"]
    assert target().read_bytes() == DATA


def test_a_part_of_which_nothing_is_known_is_not_gone_on_with(site: Site) -> None:
    target().parent.mkdir(parents=True)
    target().with_name("train.json.part").write_bytes(b"junk")
    target().with_name("train.json.part.json").write_text("{")
    site.acts[URL] = [serve(DATA)]
    get(site)
    assert site.ranges(URL) == [None]


def test_too_little_space_is_told_before_anything_is_written(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = shutil.disk_usage(data_root())
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage._replace(free=1000))
    site.acts[URL] = [serve(DATA)]
    with pytest.raises(DataError, match="not enough space"):
        get(site)
    assert beside() == set()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full")
def test_a_disk_that_fills_up_is_told_and_nothing_counts_as_here(site: Site) -> None:
    target().parent.mkdir(parents=True)
    part = target().with_name("train.json.part")

    def fill(done: int, total: int) -> None:
        # What is written next goes to a device that is always full.
        if done == 0:
            part.symlink_to("/dev/full")

    site.acts[URL] = [serve(DATA)]
    with pytest.raises(DataError, match="no space left"):
        get(site, onlooker=Onlooker(begin=lambda path: fill))
    assert not target().exists()


def test_two_fetches_at_once_fetch_once(site: Site) -> None:
    begun, told = threading.Event(), threading.Event()

    def slow(to: web.Handler) -> None:
        begun.set()
        assert told.wait(20)  # the other fetch says that it waits
        serve(DATA)(to)

    site.acts[URL] = [slow]
    outcomes: list[Outcome] = []
    first = threading.Thread(target=lambda: outcomes.append(get(site)))
    first.start()
    assert begun.wait(20)
    texts: list[str] = []
    second = get(site, onlooker=Onlooker(tell=lambda text: (texts.append(text), told.set())))  # type: ignore
    first.join()
    assert len(site.asked) == 1
    assert [outcomes[0].files[0].state, second.files[0].state] == ["fetched", "present"]
    assert "another komt" in texts[0]


def test_a_read_only_data_folder_is_named_with_its_cure(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    (data_root() / "file").write_text("")
    monkeypatch.setenv("KOMT_DATA", str(data_root() / "file"))
    with pytest.raises(DataError, match="nothing can be written") as error:
        get(site)
    assert "unset it" in error.value.cure
    assert site.asked == []


@pytest.mark.parametrize("modes", [(0o444, 0o555), (0o444, 0o755), (0o644, 0o555)])
def test_what_nobody_may_write_is_not_replaced_not_even_by_an_administrator(
    site: Site, modes: tuple[int, int]
) -> None:
    target().parent.mkdir(parents=True)
    target().write_bytes(b"former")
    target().chmod(modes[0])
    target().parent.chmod(modes[1])
    try:
        with pytest.raises(DataError, match=r"nothing can be written .* is read-only") as error:
            get(site, force=True)
        assert "unset it" in error.value.cure
        assert site.asked == []
        assert target().read_bytes() == b"former"
        assert beside() == {"train.json"}
    finally:
        target().parent.chmod(0o755)


def test_locks_lie_in_komt_home(site: Site) -> None:
    site.acts[URL] = [serve(DATA)]
    get(site)
    assert {path.name for path in target().parent.iterdir()} == {"train.json"}
    assert [path.name[:11] for path in (home() / "locks").iterdir()] == ["train.json-"]


def test_what_is_here_in_a_read_only_folder_is_present(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    target().parent.mkdir(parents=True)
    target().write_bytes(DATA)
    monkeypatch.setattr("komt.sources.fetch.alone", lambda *_: pytest.fail("wrote a lock"))
    assert [file.state for file in get(site).files] == ["present"]


def test_a_file_used_twice_and_what_is_beside_it_are_fetched_once(site: Site) -> None:
    files = [
        {"path": "a.zip", "split": "train", "member": "train*", "sha256": SHA},
        {"path": "a.zip", "split": "test", "member": "test*"},
        {"path": "t.ko", "split": "dev", "beside": ["t.en"]},
    ]
    for name in ("a.zip", "t.ko", "t.en"):
        site.acts[f"/shared/{name}"] = [serve(DATA)]
    outcome = get(site, own(files=files, folder="shared"))
    assert [(file.path, file.checked) for file in outcome.files] == [
        ("a.zip", True),
        ("t.ko", False),
        ("t.en", False),
    ]
    assert len(site.asked) == 3


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({}, "https://raw.githubusercontent.com/a/b/HEAD/data/%ED%95%9C%20%EA%B8%80.json"),
        (
            {"revision": "c0ffee"},
            "https://raw.githubusercontent.com/a/b/c0ffee/data/%ED%95%9C%20%EA%B8%80.json",
        ),
        (
            {"repository": "hf:a/b", "revision": "c0ffee"},
            "https://huggingface.co/datasets/a/b/resolve/c0ffee/data/%ED%95%9C%20%EA%B8%80.json",
        ),
        ({"repository": "https://x.kr/d/"}, "https://x.kr/d/data/%ED%95%9C%20%EA%B8%80.json"),
    ],
)
def test_the_address_of_a_file(values: dict[str, str], expected: str) -> None:
    assert address(own(**values), "data/한 글.json") == expected


def test_a_missing_file_of_a_repository_names_the_commit_and_both_cures(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("komt.sources.fetch._GITHUB", site.url)
    with pytest.raises(DataError, match="a/b has no such file in commit c0ffee") as error:
        get(site, own(revision="c0ffee"), mirror="")
    assert "--mirror" in error.value.cure
    assert "komt sources import own PATH" in error.value.cure
    assert site.asked[0][0] == "/a/b/c0ffee/train.json"


def test_the_hubs_token_goes_to_the_hub_and_its_gate_is_explained(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    monkeypatch.setattr(
        "komt.sources.fetch.address", lambda source, path, mirror: f"{site.url}/{mirror and 'm'}"
    )
    site.acts["/"] = [status(403)]
    with pytest.raises(DataError, match="accepted its terms") as error:
        get(site, own(repository="hf:a/b"), mirror="")
    assert "https://huggingface.co/datasets/a/b" in error.value.cure
    site.acts["/m"] = [serve(DATA)]
    get(site, own(repository="hf:a/b"))
    assert "Authorization" not in site.asked[1][1]


def test_a_source_behind_a_login_explains_itself(site: Site) -> None:
    values = {"login": "https://example.kr/97", "terms": "Not to be handed on."}
    with pytest.raises(DataError) as error:
        get(site, own(repository="", **values), mirror="")
    text = str(error.value)
    assert "https://example.kr/97" in text
    assert "Not to be handed on." in text
    assert "komt sources import own PATH" in text
    target().parent.mkdir(parents=True)
    target().write_bytes(DATA)
    assert [file.state for file in get(site, own(repository="", **values), mirror="").files] == ["present"]


def test_bundled_sources_are_here(site: Site) -> None:
    assert {file.state for file in get(site, load_source("sample"), mirror="").files} == {"present"}


@pytest.mark.parametrize("mirror", ["/mnt/data", "file:///mnt/data", "ftp://x.kr", "x.kr/data"])
def test_a_mirror_that_is_no_address_is_wrong_usage(site: Site, mirror: str) -> None:
    with pytest.raises(UsageError, match="not an address"):
        get(site, mirror=mirror)


@pytest.mark.parametrize("name", SOURCES.names())
def test_every_source_can_be_fetched_or_says_why_not(name: str) -> None:
    source = load_source(name)
    for file in source.files:
        if source.bundled or source.login:
            continue
        for path, _ in file.paths:
            assert address(source, path).startswith("https://")


def test_the_command_prints_what_it_did(site: Site, capsys: pytest.CaptureFixture[str]) -> None:
    site.acts["/korquad/dataset/KorQuAD_v1.0_train.json"] = [serve(b"{}")]
    site.acts["/korquad/dataset/KorQuAD_v1.0_dev.json"] = [status(404)]
    assert main(["sources", "fetch", "korquad", "sample", "--mirror", site.url, "--json"]) == 1
    out, err = capsys.readouterr()
    printed = json.loads(out)
    assert (printed["files"][0]["source"], printed["files"][0]["state"]) == ("korquad", "fetched")
    assert printed["files"][-1]["source"] == "sample"  # one source's failure does not keep the next from it
    assert "no such file" in printed["failed"]["korquad"]
    assert err.count("komt: ") == 1
    assert "Traceback" not in err


def test_the_command_shows_size_place_and_check(site: Site, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["sources", "fetch", "sample"]) == 0
    assert "present" in capsys.readouterr().out
    assert main(["sources", "fetch", "sampel"]) == 2
    assert "did you mean" in capsys.readouterr().err


@pytest.mark.parametrize(("number", "status"), [(0, 1), (signal.SIGTERM, 143)])
def test_an_interrupted_command_says_what_is_kept(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    number: int,
    status: int,
) -> None:
    def interrupted(*args: object, **options: object) -> Iterator[Fetched]:
        if not number:  # Ctrl-C; a process in the background does not hear the signal
            raise KeyboardInterrupt
        os.kill(os.getpid(), number)
        yield

    monkeypatch.setattr("komt.sources.fetch.fetch", interrupted)
    assert main(["sources", "fetch", "korquad"]) == status
    assert capsys.readouterr().err == (
        "\nkomt: interrupted; what has arrived is kept as .part and counts for nothing; "
        "the same command goes on from there\n"
    )
