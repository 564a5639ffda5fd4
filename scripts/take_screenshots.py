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
from urllib.request import urlopen

from playwright.sync_api import sync_playwright

if TYPE_CHECKING:
    from collections.abc import Generator

FOLDER = Path(__file__).parent.parent / "docs" / "screenshots"
REQUESTS = "2500"
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


def faults(address: str) -> dict[str, str]:
    """Return the page of a sample for each kind of difference."""
    with urlopen(f"{address}/api/v1/samples?target=recommendation&limit=10000", timeout=10) as answer:  # noqa: S310 - the demo's own address
        samples: list[dict[str, Any]] = json.load(answer)["samples"]
    return {found["kind"]: f"/samples/{sample['id']}" for sample in samples for found in sample["differences"][:1]}


def take(address: str) -> None:
    """Take every picture."""
    found = faults(address)
    pictures = {
        "targets-light.png": ("/", "light"),
        "targets-dark.png": ("/", "dark"),
        "sample-light.png": (found["value"], "light"),
        "sample-dark.png": (found["removed"], "dark"),
    }
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
