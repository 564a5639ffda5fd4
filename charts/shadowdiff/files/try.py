"""What `helm test` runs: each port does what it is for, and the targets are those of the configuration.

In: HOST, TARGETS (names, comma-separated), and the ports where they are others.  Out: exit 0, or the first thing wrong.
Holds: sends nothing that is counted for a target; needs the standard library alone.
"""

import json
import os
import re
import sys
import time
import urllib.error
import urllib.request

HOST = os.environ["HOST"]
TARGETS = [name for name in os.environ["TARGETS"].split(",") if name]
WITHIN_S = 60.0


def ask(port: int, path: str, data: bytes | None = None) -> tuple[int, bytes]:
    """Return the status and the body of a request to one of the ports."""
    number = os.environ.get(f"PORT_{port}", str(port))
    try:
        with urllib.request.urlopen(f"http://{HOST}:{number}{path}", data, timeout=5) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as refusal:
        return refusal.code, refusal.read()


def ready() -> None:
    """Wait until the service says that it is ready."""
    deadline = time.monotonic() + WITHIN_S
    while True:
        try:
            if ask(9090, "/readyz")[0] == 200:  # noqa: PLR2004
                return
            said = "not ready"
        except OSError as error:
            said = str(error)
        if time.monotonic() > deadline:
            sys.exit(f"{HOST}:9090/readyz: {said} after {WITHIN_S:g} s")
        time.sleep(0.5)


def expect(what: str, wanted: object, got: object) -> None:
    """End with 1 where something is not as it should be."""
    if wanted != got:
        sys.exit(f"{what}: expected {wanted!r}, got {got!r}")
    sys.stdout.write(f"ok: {what}\n")


ready()
expect("8080 takes copies", 202, ask(8080, "/shadowdiff-helm-test")[0])
expect("8081 refuses an empty record by name", 400, ask(8081, "/record", b"")[0])
status, listed = ask(8082, "/api/v1/targets")
expect("8082 answers", 200, status)
expect("8082 knows the targets", sorted(TARGETS), sorted(one["name"] for one in json.loads(listed)["targets"]))
status, metrics = ask(9090, "/metrics")
expect("9090 has metrics", 200, status)
expect("the store answers", b"1", (re.findall(rb"^shadowdiff_store_up (\d)", metrics, re.MULTILINE) or [b""])[0])
