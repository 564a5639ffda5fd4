"""The request of a sample as a command to repeat it by hand, on either side.

In: a sample and a side's address.  Out: lines for a shell.
Holds: pure; whatever the request held is quoted. Credentials are left out and named: a sample has none to give.
"""

from __future__ import annotations

import re
import shlex
from typing import TYPE_CHECKING, Final

from shadowdiff.web.judged_again import MARK

if TYPE_CHECKING:
    from shadowdiff.report import Sample

_NOT_SENT: Final = frozenset(
    {"connection", "content-length", "expect", "host", "keep-alive", "proxy-connection", "te", "trailer", "upgrade"}
    | {"transfer-encoding", "x-request-id", "x-diff-id", "traceparent", "tracestate", "b3", "x-forwarded-for"}
    | {"x-forwarded-proto", "x-forwarded-host", "accept-encoding", "x-b3-traceid", "x-b3-spanid", "x-b3-sampled"}
)
_OF_THE_MESH: Final = ("x-envoy-", "x-shadowdiff")
_SECRET: Final = frozenset({"authorization", "cookie", "proxy-authorization"})
_SHADOW: Final = re.compile(r"-shadow(?=:\d+$|$)")
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f\u0080-\u009f\u2028\u2029\u202a-\u202e\u2066-\u2069]")


def host_of(sample: Sample) -> str:
    """Return the host that the user asked, without the mark that a mesh puts on the mirrored copy."""
    host = next((value for name, value in sample.request_headers if name == "host"), "")
    return _SHADOW.sub("", host) or sample.target


def curl(sample: Sample, base_url: str) -> str:
    """Return the command."""
    asked = [f"curl -sS {_word(base_url.rstrip('/') + sample.path)}"]
    if sample.method != "GET":
        asked.append(f"-X {_word(sample.method)}")
    kept, left_out = _headers(sample)
    asked += [f"-H {_word(f'{name}: {value}')}" for name, value in kept]
    body = sample.request_body
    if body.base64 or body.truncated or MARK in body.text:
        left_out.append("the body" if body.text else "")
    elif body.text:
        asked.append(f"--data-binary {_word(body.text)}")
    said = [f"# left out: {', '.join(filter(None, left_out))}"] if any(left_out) else []
    if MARK in sample.path:
        said.append("# the address holds a redacted value: put your own in its place")
    return "\n".join([*said, " \\\n  ".join(asked)])


def _headers(sample: Sample) -> tuple[list[tuple[str, str]], list[str]]:
    """Return the headers worth sending, and the names of those that would be credentials."""
    kept: list[tuple[str, str]] = []
    left_out: list[str] = []
    for name, value in sample.request_headers:
        if name in _NOT_SENT or name.startswith(_OF_THE_MESH):
            continue
        if name in _SECRET or MARK in value:
            left_out.append(_CONTROL.sub("?", name))
        else:
            kept.append((name, value))
    return kept, list(dict.fromkeys(left_out))


def _word(text: str) -> str:
    """Return text as one word of a shell; characters that steer a terminal are written out."""
    if not _CONTROL.search(text):
        return shlex.quote(text)
    told = "".join(_written(char) for char in text)
    return f"$'{told}'"


def _written(char: str) -> str:
    if char in "\\'":
        return f"\\{char}"
    if _CONTROL.match(char):
        return "".join(f"\\x{byte:02x}" for byte in char.encode())
    return char
