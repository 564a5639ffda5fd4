"""Recognize a difference that exists because a response repeats headers of its request, and the request is mirrored.

The mesh and shadowdiff send some headers with other values to v2: Host, `x-shadowdiff`, `baggage` and headers of
traces. Services that show their request, such as httpbin's `/headers`, then differ in these places only.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from shadowdiff.model import Difference
    from shadowdiff.report import Sample

_NAME: Final = re.compile(r"(?:header\.|\[')((?:HTTP_)?[A-Za-z0-9_-]+)(?:'\])?(?:\[[^'\]]*\])*$")
_ONLY_MIRRORED: Final = frozenset({
    "b3", "baggage", "grpc-trace-bin", "sentry-trace", "traceparent", "tracestate", "uber-trace-id",
})  # fmt: skip
_PREFIXES: Final = (
    "x-amzn-trace", "x-b3-", "x-cloud-trace", "x-datadog-", "x-envoy-", "x-forwarded-", "x-ot-span", "x-shadowdiff",
)  # fmt: skip
_HOSTS: Final = frozenset({"host", "authority", "http-host"})


def is_echoed_header(sample: Sample, found: Difference) -> bool:
    """Return whether a difference is a request header in the response, which mirroring changes."""
    named = _NAME.search(found.pattern)
    if named is None:
        return False
    name = named[1].lower().replace("_", "-").removeprefix("http-")
    if name in _ONLY_MIRRORED or name.startswith(_PREFIXES):
        return True
    return name in _HOSTS and _is_own_host(sample, found)


def _is_own_host(sample: Sample, found: Difference) -> bool:
    """Return whether each side has the Host that it was sent."""
    host = next((value for name, value in sample.request_headers if name == "host"), "")
    sides = ((found.primary or "").strip('"[]'), (found.candidate or "").strip('"[]'))
    return bool(host) and sides in {(host, sample.authority), (host, sides[1])} and sides[0] != sides[1]
