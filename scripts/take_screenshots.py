"""Take pictures of the pages over the demo's traffic.

In: nothing, or the address of a service that runs.  Out: PNG files in docs/screenshots.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode
from urllib.request import urlopen

from playwright.sync_api import sync_playwright

if TYPE_CHECKING:
    from collections.abc import Generator

FOLDER = Path(__file__).parent.parent / "docs" / "screenshots"
REQUESTS, RATE = "6000", "25"
"""Four minutes, so that there is something to see over time."""
ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
WIDTH, HEIGHT = 1180, 860


@contextmanager
def demo() -> Generator[str]:
    """Run the demo until all is judged, and give its address for as long as the block lasts."""
    command = [
        sys.executable,
        "-m",
        "shadowdiff",
        "demo",
        "--once",
        "--requests",
        REQUESTS,
        "--rate",
        RATE,
        "--keep-running",
        "--any-port",
    ]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        try:
            address = ""
            for line in process.stderr or ():
                found = re.search(r"pages, API\s+(http://\S+?)/?\s", line)
                address = found[1] if found else address
                if "keeps running" in line:
                    break
            if not address:
                raise SystemExit("the demo ended before it served anything")
            yield address
        finally:
            process.send_signal(signal.SIGINT)


def newest(address: str) -> dict[str, dict[str, Any]]:
    """Return the newest sample of each kind of difference."""
    with urlopen(f"{address}/api/v1/samples?target=recommendation&limit=10000", timeout=10) as answer:  # noqa: S310 - the demo's own address
        samples: list[dict[str, Any]] = json.load(answer)["samples"]
    return {found["kind"]: sample for sample in reversed(samples) for found in sample["differences"][:1]}


def addresses(address: str) -> dict[str, str]:
    """Return the address of each page."""
    found = newest(address)
    value = found["value"]
    rule = urlencode(
        {"target": "recommendation", "sample": value["id"], "path": value["differences"][0]["path"], "choice": "0"}
    )
    return {
        "targets": "/",
        "target": "/targets/recommendation",
        "group": f"/fingerprints/{found['type']['fingerprint']}",
        "sample": f"/samples/{value['id']}",
        "sample-unified": f"/samples/{found['type']['id']}?view=unified",
        "rules": f"/rules?{rule}",
        "ledger": "/ledger",
        "doctor": "/doctor",
    }


DARK = ("targets", "target", "sample")
"""Shown dark as well."""


def take(address: str) -> None:
    """Take every picture."""
    pages = addresses(address)
    pictures = {f"{name}-light.png": (path, "light") for name, path in pages.items()}
    pictures |= {f"{name}-dark.png": (pages[name], "dark") for name in DARK}
    chromium = os.environ.get("CHROMIUM") or shutil.which("chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=ARGUMENTS)
        for name, (path, scheme) in pictures.items():
            page = browser.new_page(
                color_scheme="dark" if scheme == "dark" else "light", viewport={"width": WIDTH, "height": HEIGHT}
            )
            page.goto(address + path)
            page.screenshot(path=FOLDER / name)
            page.close()
            print(FOLDER / name)
        browser.close()


if __name__ == "__main__":
    if sys.argv[1:]:
        take(sys.argv[1].rstrip("/"))
    else:
        with demo() as served:
            take(served)
