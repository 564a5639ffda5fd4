"""The test that `helm test` runs: each port responds as it should, and the configured targets are there.

Variables: HOST; TARGETS (names, comma-separated); TOKEN, if the web port needs one; WEB=closed, if the web port listens
on the pod's loopback; HTTPS and MTLS, the ports with TLS and those that require a client certificate; PORT_8080 and so
on, if a port differs. Exits with 0, or prints the first failure. Nothing that it sends counts for a target. It does not
verify certificates, because it does not know the CAs and runs once, in the namespace of the service.
"""

import json
import os
import re
import ssl
import sys
import time
import urllib.error
import urllib.request

HOST = os.environ["HOST"]
TARGETS = [name for name in os.environ["TARGETS"].split(",") if name]
WITHIN_S = 60.0
WEB_PORT = 8082
HTTPS, MTLS = (frozenset(os.environ.get(name, "").split(",")) for name in ("HTTPS", "MTLS"))
UNCHECKED = ssl.create_default_context()
UNCHECKED.check_hostname, UNCHECKED.verify_mode = False, ssl.CERT_NONE


def fetch(port: int, path: str, data: bytes | None = None) -> tuple[int, bytes]:
    """Return the status and the body of a request to one of the ports."""
    number = os.environ.get(f"PORT_{port}", str(port))
    try:
        scheme = "https" if str(port) in HTTPS else "http"
        request = urllib.request.Request(f"{scheme}://{HOST}:{number}{path}", data)
        if port == WEB_PORT and os.environ.get("TOKEN"):
            request.add_header("Authorization", f"Bearer {os.environ['TOKEN']}")
        with urllib.request.urlopen(request, timeout=5, context=UNCHECKED) as response:
            return response.status, response.read()
    except urllib.error.HTTPError as error:
        return error.code, error.read()


def wait_until_ready() -> None:
    """Wait until the service is ready."""
    deadline = time.monotonic() + WITHIN_S
    while True:
        try:
            if fetch(9090, "/readyz")[0] == 200:  # noqa: PLR2004
                return
            reason = "not ready"
        except OSError as error:
            reason = str(error)
        if time.monotonic() > deadline:
            sys.exit(f"{HOST}:9090/readyz: {reason} after {WITHIN_S:g} s")
        time.sleep(0.5)


def check(what: str, expected: object, actual: object) -> None:
    """Exit with 1 if a value is not the expected one."""
    if expected != actual:
        sys.exit(f"{what}: expected {expected!r}, got {actual!r}")
    sys.stdout.write(f"ok: {what}\n")


wait_until_ready()
if "8080" not in MTLS:
    check("8080 accepts copies", 202, fetch(8080, "/shadowdiff-helm-test")[0])
if "8081" not in MTLS:
    check("8081 rejects an empty record", 400, fetch(8081, "/record", b"")[0])
for port in sorted(MTLS - {""}):
    sys.stdout.write(f"skipped: {port} requires a client certificate, which this test does not have\n")
if str(WEB_PORT) in MTLS:
    pass
elif os.environ.get("WEB") == "closed":
    sys.stdout.write("skipped: only kubectl port-forward reaches 8082 until `access` is set\n")
else:
    status, listed = fetch(WEB_PORT, "/api/v1/targets")
    check("8082 responds", 200, status)
    names = sorted(target["name"] for target in json.loads(listed)["targets"])
    check("8082 lists the targets", sorted(TARGETS), names)
status, metrics = fetch(9090, "/metrics")
check("9090 serves metrics", 200, status)
check("the store responds", b"1", (re.findall(rb"^shadowdiff_store_up (\d)", metrics, re.MULTILINE) or [b""])[0])
