"""A real browser, and the pages of a shop with planted faults served to it.

Debian's chromium, or the one that CHROMIUM names. Where there is none the tests are skipped, and fail with CI=true.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest
from playwright.sync_api import Browser, sync_playwright

from shadowdiff.web import create_web
from tests.conftest import needs_tool
from tests.fakes.serving import served
from tests.fakes.shop import open_shop, web_state

if TYPE_CHECKING:
    from collections.abc import Iterator

ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


@pytest.fixture(scope="package")
def browser() -> Iterator[Browser]:
    """Start a browser for all of these tests: while it lasts, its loop stands in the way of tests with their own."""
    program = os.environ.get("CHROMIUM") or needs_tool("chromium")
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=program, args=ARGUMENTS)
        yield started
        started.close()


@pytest.fixture(scope="package")
def shop() -> Iterator[str]:
    """Serve the pages of the shop."""
    with served(create_web(web_state(open_shop()))) as url:
        yield url
