"""Decide which response headers are compared.

All headers are compared, except a documented list of headers that differ between any two deployments. The configuration
adds headers to that list (`exclude`) or removes headers from that list (`compare`). Each decision is made once per name
and cached; the cache has a size limit.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from shadowdiff.model import Target

_HOP_BY_HOP: Final = (
    "alt-svc", "connection", "keep-alive", "proxy-authenticate", "proxy-connection", "te", "trailer",
    "transfer-encoding", "upgrade",
)  # fmt: skip
_OF_THE_SERVER: Final = ("age", "date", "server", "via")
_TRACING: Final = (
    "b3", "baggage", "cf-ray", "correlation-id", "elastic-apm-traceparent", "grpc-server-stats-bin", "grpc-tags-bin",
    "grpc-trace-bin", "ot-tracer-*", "request-id", "sentry-trace", "span-id", "trace-id", "traceparent",
    "traceresponse", "tracestate", "uber-trace-id", "uberctx-*", "x-amz-cf-id", "x-amz-id-2", "x-amz-request-id",
    "x-amzn-requestid", "x-amzn-trace-id", "x-b3-*", "x-client-trace-id", "x-cloud-trace-context", "x-correlation-id",
    "x-datadog-*", "x-diff-id", "x-ms-request-id", "x-ot-span-context", "x-request-id", "x-span-id", "x-trace-id",
)  # fmt: skip
_ENVOY: Final = ("x-envoy-*",)
_INSTANCE: Final = (
    "x-backend-server", "x-hostname", "x-instance", "x-instance-id", "x-pod", "x-pod-name", "x-server-id",
    "x-served-by",
)  # fmt: skip
"""Headers that name the process that responded. v1 and v2 always differ in them."""
_REVISION: Final = ("x-version",)
"""The default of `candidate.revision_header`, which differs by design."""
_CODINGS: Final = ("content-encoding", "grpc-accept-encoding", "grpc-encoding")
_GRPC: Final = ("grpc-message", "grpc-status", "grpc-status-details-bin")
"""Headers with the result of a call. They are excluded only by their exact names."""
BODY_HEADERS: Final = ("content-digest", "content-length", "content-md5", "digest", "repr-digest")
"""Sizes and digests of a body. Comparing the body covers them, so they count only if there is no body."""
EXCLUDED_HEADERS: Final = (
    *_HOP_BY_HOP, *_OF_THE_SERVER, *_TRACING, *_ENVOY, *_INSTANCE, *_REVISION, *_CODINGS, *BODY_HEADERS,
)  # fmt: skip
"""Headers that are not compared unless `compare` names them. A name that ends in `*` is a prefix."""
EXCLUDED, NEEDED, COMPARED = range(3)
"""The header is ignored, is needed to read the body, or is compared."""
_MAX_DECISIONS: Final = 4096
_USUAL_NAME_BYTES: Final = 64
_BODY_NEEDS: Final = frozenset({b"content-encoding", b"content-type"})


class ComparedHeaders:
    """Which headers are compared. Two instances that were created from the same lists are equal.

    An exact name has priority over a prefix, and a longer prefix has priority over a shorter prefix. usual: the
    decision for each header name, in bytes. bodiless: the decision if the response has no body (HEAD, 304).
    """

    __slots__ = ("bodiless", "compare", "exclude", "usual")

    def __init__(self, compare: Iterable[str] = (), exclude: Iterable[str] = ()) -> None:
        """Take lower-case names, or prefixes that end in `*`; if a name is in both lists, `compare` has priority."""
        self.compare: Final = tuple(sorted(compare))
        self.exclude: Final = tuple(sorted(exclude))
        stated = dict.fromkeys(_GRPC, True) | dict.fromkeys(self.exclude, False) | dict.fromkeys(self.compare, True)
        self.usual: Final = _Decisions(dict.fromkeys(EXCLUDED_HEADERS, False) | stated)
        without_body = [name for name in EXCLUDED_HEADERS if name not in BODY_HEADERS]
        self.bodiless: Final = _Decisions(dict.fromkeys(without_body, False) | stated)

    def __contains__(self, name: object) -> bool:
        """Whether a header (lower-case name) is compared in any response."""
        return isinstance(name, str) and COMPARED in {self.usual[name.encode()], self.bodiless[name.encode()]}

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ComparedHeaders) and (self.compare, self.exclude) == (other.compare, other.exclude)

    def __hash__(self) -> int:
        return hash((self.compare, self.exclude))

    def __reduce__(self) -> tuple[Callable[..., ComparedHeaders], tuple[tuple[str, ...], tuple[str, ...]]]:
        return _made, (self.compare, self.exclude)


@lru_cache(maxsize=64)
def _made(compare: tuple[str, ...], exclude: tuple[str, ...]) -> ComparedHeaders:
    return ComparedHeaders(compare, exclude)


class _Decisions(dict[bytes, int]):
    """The decision for each header; it is made at the first lookup."""

    def __init__(self, stated: Mapping[str, bool]) -> None:
        super().__init__()
        self._names: Final = {name.encode(): holds for name, holds in stated.items() if not name.endswith("*")}
        prefixes = [(name[:-1].encode(), holds) for name, holds in stated.items() if name.endswith("*")]
        self._prefixes: Final = sorted(prefixes, key=lambda each: -len(each[0]))

    def __missing__(self, name: bytes) -> int:
        holds = self._names.get(name)
        if holds is None:
            holds = next((holds for prefix, holds in self._prefixes if name.startswith(prefix)), True)
        decision = COMPARED if holds else NEEDED if name in _BODY_NEEDS else EXCLUDED
        if len(name) <= _USUAL_NAME_BYTES:
            if len(self) >= _MAX_DECISIONS:
                self.clear()
            self[name] = decision
        return decision


ALL_HEADERS: Final = ComparedHeaders()
"""The choice without configuration."""


def headers_of(target: Target) -> ComparedHeaders:
    """Return a target's compared headers. The header with v2's revision always differs, so it is excluded."""
    revision = target.candidate.revision_header
    excluded = (*target.exclude_headers, *(() if revision in target.compare_headers else (revision,)))
    return ComparedHeaders(target.compare_headers, excluded)
