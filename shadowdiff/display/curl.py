"""Write a sample's request as a curl command, for either side.

All text from the request is quoted. Credentials are not stored, so the command lists them as omitted.
"""

from __future__ import annotations

import re
import shlex
from typing import TYPE_CHECKING, Final

from shadowdiff.report.redaction import HASHED

if TYPE_CHECKING:
    from shadowdiff.report import Sample

_NOT_SENT: Final = frozenset(
    {"connection", "content-length", "expect", "host", "keep-alive", "proxy-connection", "te", "trailer", "upgrade"}
    | {"transfer-encoding", "x-request-id", "x-diff-id", "traceparent", "tracestate", "b3", "x-forwarded-for"}
    | {"x-forwarded-proto", "x-forwarded-host", "accept-encoding", "x-b3-traceid", "x-b3-spanid", "x-b3-sampled"}
)
_MESH_PREFIXES: Final = ("x-envoy-", "x-shadowdiff")
_SECRET: Final = frozenset({"authorization", "cookie", "proxy-authorization"})
_SHADOW: Final = re.compile(r"-shadow(?=:\d+$|$)")
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f\u0080-\u009f\u2028\u2029\u202a-\u202e\u2066-\u2069]")


def host_of(sample: Sample) -> str:
    """Return the host of the user's request, without the suffix that Envoy adds to mirrored requests."""
    host = next((value for name, value in sample.request_headers if name == "host"), "")
    return _SHADOW.sub("", host) or sample.target


def curl(sample: Sample, base_url: str) -> str:
    """Return a curl command for the request of a sample."""
    arguments = [f"curl -sS {_word(base_url.rstrip('/') + sample.path)}"]
    if sample.method != "GET":
        arguments.append(f"-X {_word(sample.method)}")
    sent, omitted = _headers(sample)
    arguments += [f"-H {_word(f'{name}: {value}')}" for name, value in sent]
    body = sample.request_body
    if body.base64 or body.truncated or HASHED in body.text:
        omitted.append("the body" if body.text else "")
    elif body.text:
        arguments.append(f"--data-binary {_word(body.text)}")
    comments = [f"# omitted: {', '.join(filter(None, omitted))}"] if any(omitted) else []
    if HASHED in sample.path:
        comments.append("# the URL contains a redacted value; replace it with your own")
    return "\n".join([*comments, " \\\n  ".join(arguments)])


def _headers(sample: Sample) -> tuple[list[tuple[str, str]], list[str]]:
    """Return the headers to send, and the names of the omitted headers with credentials."""
    sent: list[tuple[str, str]] = []
    omitted: list[str] = []
    for name, value in sample.request_headers:
        if name in _NOT_SENT or name.startswith(_MESH_PREFIXES):
            continue
        if name in _SECRET or HASHED in value:
            omitted.append(_CONTROL.sub("?", name))
        else:
            sent.append((name, value))
    return sent, list(dict.fromkeys(omitted))


def _word(text: str) -> str:
    """Return a text as one shell word, with control characters escaped."""
    if not _CONTROL.search(text):
        return shlex.quote(text)
    quoted = re.sub(r"['\\]", r"\\\g<0>", text)
    escaped = _CONTROL.sub(lambda found: "".join(f"\\x{byte:02x}" for byte in found[0].encode()), quoted)
    return f"$'{escaped}'"
