from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from page_kit import ARGUMENTS, CHROMIUM, TinyApi


@pytest.fixture
def tiny_api() -> Iterator[TinyApi]:
    api = TinyApi()
    yield api
    api.close()


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    # Of a module: while it is open, no test of this thread can run a loop of its own.
    sync_api = pytest.importorskip("playwright.sync_api")
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield browser
        browser.close()
