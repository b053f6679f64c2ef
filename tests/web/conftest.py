from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from page_kit import ARGUMENTS, CHROMIUM, LONGEST_WAIT_S, Site, TinyApi


@pytest.fixture
def tiny_api() -> Iterator[TinyApi]:
    api = TinyApi()
    yield api
    api.close()


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    # Of a module: while it is open, no test of this thread can run a loop of its own.
    sync_api = pytest.importorskip("playwright.sync_api")
    sync_api.expect.set_options(timeout=LONGEST_WAIT_S * 1000)  # for machines that have other things to do
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def standing_site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """The page over a small API, with llama.cpp's page said to be at port 9."""
    from komt.web.app import running
    from komt.web.client import Api
    from komt.web.runs import Runs

    api, place = TinyApi(), tmp_path_factory.mktemp("site")
    runs, votes = Runs(place / "runs"), place / "votes.jsonl"
    with running(Api(api.address), runs, votes, llama_page="http://127.0.0.1:9/") as address:
        yield Site(api, place, address)
    api.close()


@pytest.fixture
def site(standing_site: Site) -> Site:
    """The standing page, with nothing left of the test before."""
    standing_site.reset()
    return standing_site
