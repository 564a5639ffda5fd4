"""Write a sample's request as a curl command, for either side.

All text from the request is quoted. Credentials are not stored, so the command lists them as omitted. The command for
v2 or the control contains the configured changes of the request, except secrets.
"""

from __future__ import annotations

import re
import shlex
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

import msgspec

from shadowdiff.intake.request_edits import RequestEdits
from shadowdiff.report.redaction import HASHED

if TYPE_CHECKING:
    from collections.abc import Iterable

    from shadowdiff.model.sent import Sent
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


def curl_of_side(sample: Sample, sent: Sent) -> str:
    """Return a curl command for the request that v2 or the control received."""
    parts = urlsplit(sent.url)
    edits = sent.headers, sent.query
    public = msgspec.structs.replace(sent, headers=edits[0].without_secrets(), query=edits[1].without_secrets())
    changes = RequestEdits(public, parts.path.rstrip("/"))
    fields = changes.headers([(name.encode(), value.encode()) for name, value in sample.request_headers])
    changed = msgspec.structs.replace(
        sample,
        path=changes.target(sample.path, "utf-8").decode(),
        request_headers=tuple((name.decode(), value.decode()) for name, value in fields),
    )
    return curl(changed, f"{parts.scheme}://{parts.netloc}", [name for each in edits for name in each.secret_names()])


def curl(sample: Sample, base_url: str, unknown: Iterable[str] = ()) -> str:
    """Return a curl command for the request of a sample. unknown: headers and parameters with unknown values."""
    arguments = [f"curl -sS {_word(base_url.rstrip('/') + sample.path)}"]
    if sample.method != "GET":
        arguments.append(f"-X {_word(sample.method)}")
    sent, omitted = _headers(sample)
    omitted += unknown
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
