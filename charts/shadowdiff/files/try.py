"""What `helm test` runs: each port does what it is for, and the targets are those of the configuration.

In: HOST, TARGETS (names, comma-separated), TOKEN where one is asked for, WEB (`closed`: of the pod's own loopback),
HTTPS and MTLS (ports that speak TLS, and of these the ones that ask for a certificate), and the ports where they are
others.  Out: exit 0, or the first thing wrong.
Holds: sends nothing that is counted for a target; needs the standard library alone. Whose certificates are trusted is
not known here, so that none is checked: the pod runs once, in the namespace of the service.
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


def ask(port: int, path: str, data: bytes | None = None) -> tuple[int, bytes]:
    """Return the status and the body of a request to one of the ports."""
    number = os.environ.get(f"PORT_{port}", str(port))
    try:
        scheme = "https" if str(port) in HTTPS else "http"
        request = urllib.request.Request(f"{scheme}://{HOST}:{number}{path}", data)
        if port == WEB_PORT and os.environ.get("TOKEN"):
            request.add_header("Authorization", f"Bearer {os.environ['TOKEN']}")
        with urllib.request.urlopen(request, timeout=5, context=UNCHECKED) as answer:
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
if "8080" not in MTLS:
    expect("8080 takes copies", 202, ask(8080, "/shadowdiff-helm-test")[0])
if "8081" not in MTLS:
    expect("8081 refuses an empty record by name", 400, ask(8081, "/record", b"")[0])
for port in sorted(MTLS - {""}):
    sys.stdout.write(f"skipped: {port} asks for a certificate, and there is none here\n")
if str(WEB_PORT) in MTLS:
    pass
elif os.environ.get("WEB") == "closed":
    sys.stdout.write("skipped: 8082 is reached by kubectl port-forward alone, until `access` says who may come in\n")
else:
    status, listed = ask(WEB_PORT, "/api/v1/targets")
    expect("8082 answers", 200, status)
    names = sorted(one["name"] for one in json.loads(listed)["targets"])
    expect("8082 knows the targets", sorted(TARGETS), names)
status, metrics = ask(9090, "/metrics")
expect("9090 has metrics", 200, status)
expect("the store answers", b"1", (re.findall(rb"^shadowdiff_store_up (\d)", metrics, re.MULTILINE) or [b""])[0])
