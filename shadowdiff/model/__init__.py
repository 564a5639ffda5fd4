"""The values of the domain, as frozen types. This package imports no other package of the project.

`Incr` and all types after it are writes, which a stage returns for a pair. The worker passes the writes of all stages
to one script. The script applies them only if XACK of the pair's entry returns 1, so the stages commit atomically and
no write happens twice. The keys in writes are relative: the store adds its prefix and hash tag.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum
from typing import Any, Final, Literal, NamedTuple

import msgspec

from shadowdiff.model.condition import Condition
from shadowdiff.model.relation import Parameters
from shadowdiff.model.sent import Sent

Headers = tuple[tuple[bytes, bytes], ...]
"""Header fields in the order received, with lower-case names. Duplicates are kept."""


class Side(StrEnum):
    """The service that responded: v1 (to its user), v2 (to the mirrored copy), or a second v1 (to another copy)."""

    PRIMARY = "primary"
    CANDIDATE = "candidate"
    CONTROL = "control"


class Failure(StrEnum):
    """The reason why a side sent no complete response. A failure counts against the side, unless it is `WITHHELD`.

    WITHHELD: shadowdiff did not send the request, because its GraphQL operation is not a query.
    """

    REFUSED = "refused"
    UNRESOLVED = "unresolved"
    TIMEOUT = "timeout"
    RESET = "reset"
    TLS_UNTRUSTED = "tls_untrusted"
    TLS_EXPIRED = "tls_expired"
    TLS_NAME_MISMATCH = "tls_name_mismatch"
    TLS_CLIENT_CERTIFICATE_REQUIRED = "tls_client_certificate_required"
    TLS_FAILED = "tls_failed"
    MALFORMED = "malformed"
    SATURATED = "saturated"
    BREAKER_OPEN = "breaker_open"
    WITHHELD = "withheld"


class Observation(msgspec.Struct, frozen=True, array_like=True, gc=False, kw_only=True):
    """One side's response to one request.

    path: the request target as sent, including the query.
    status: 100 to 599; 0 if there is no response, and then `failure` is set.
    body: the body as sent (still content-encoded), up to a size limit.
    body_bytes: the full size as sent; if it is larger than `len(body)`, the body is truncated.
    attempt: the number of the proxy's attempt, starting at 1; 0 if unknown.
    duration_ms: the duration that the recorder or shadowdiff measured; negative if unknown.
    at_ms: the time at which the service received the observation, in Unix milliseconds.
    authority: the Host that shadowdiff sent to this side; empty for a recorded response, which has only `host`.
    prefixes: v1's prefixes of paths, and the prefixes in their place in the paths that this side gets.
    request_headers, request_body: complete only in the candidate's observation. A recorded response has the trace
        headers of its request, if its recorder sends them.
    """

    side: Side
    target: str
    id: str
    id_source: str
    method: str
    path: str
    host: str
    status: int
    failure: Failure | None = None
    headers: Headers = ()
    body: bytes = b""
    body_bytes: int = 0
    trailers: Headers = ()
    attempt: int = 0
    duration_ms: float = -1.0
    at_ms: int = 0
    request_headers: Headers = ()
    request_body: bytes = b""
    authority: str = ""
    prefixes: tuple[tuple[str, str], ...] = ()

    @property
    def truncated(self) -> bool:
        """Whether `body` is truncated."""
        return self.body_bytes > len(self.body)


REVALIDATION: Final = (b"x-shadowdiff", b"revalidation")
"""Marks the request of an observation in which v2 did not answer 304 to its own ETag. No user can send this field."""


WITHHELD: Final = Failure.WITHHELD.value
"""The reason of a pair whose request was not sent to v2 because it is not safe."""
OUTSIDE_COVERAGE: Final = frozenset({WITHHELD, "not_modified"})
"""The reasons of pairs that coverage does not count: the request, or v1's 304, leaves no response to compare."""
GRAPHQL_ERRORS: Final = "graphql.errors"
"""The path of a difference: only one side's GraphQL response has errors."""


class Pair(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """The observations of one request, with the pair's key (16 bytes) and route."""

    key: bytes
    target: str
    route: str
    primary: Observation
    candidate: Observation
    control: Observation | None = None


ObservationSink = Callable[[Observation, Callable[[bool], None], float], bool]
"""Queues an observation between intake and the store. Returns False immediately if a limit rejects it.

The callback is called once, later, with True if the observation reached the store. The number is the time in seconds
that the pair waits for the control's response; 0 if no request was sent to a control.
"""


MOST_WORKERS: Final = 2
"""A pair is `poison` after this many workers died or hung while they compared it. It is not compared again."""


class Kind(StrEnum):
    """How two values differ."""

    STATUS = "status"
    HEADER = "header"
    TYPE = "type"
    VALUE = "value"
    ADDED = "added"
    REMOVED = "removed"
    ORDER = "order"
    TEXT = "text"
    BYTES = "bytes"


class Severity(StrEnum):
    """The effect of a difference on clients of v1."""

    BREAKING = "breaking"
    VALUE = "value"
    ADDITIVE = "additive"


class Result(StrEnum):
    """The outcome for one pair. A pair with a failed response is never a match."""

    MATCH = "match"
    IGNORED = "ignored"
    MISMATCH = "mismatch"
    INCOMPARABLE = "incomparable"


class Difference(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """One difference between the candidate and the primary.

    path: RFC 9535 normalized path (`$['items'][3]['price']`), or `status`, `header.<name>`, `text[line]`,
        `bytes[offset]`. Plain `text` and `bytes` are the whole body.
    pattern: the place, which is the same for the same thing in all pairs; differences are grouped by it. It is the path
        with `[*]` for an index and `[{uuid}]` for a member name that is a value, or a line's template (`rules.place`).
    primary, candidate: the value's JSON text exactly as the side sent it, up to a length limit. The value is plain text
    if the body is not JSON, and None if the side has no value.
    rule: the label of the rule that covers this difference; None if the difference counts.
    relations: how the candidate's value follows from the primary's, as the bits of `Relation`; 0 if a rule covers it.
    """

    path: str
    pattern: str
    kind: Kind
    primary: str | None
    candidate: str | None
    severity: Severity
    rule: str | None = None
    relations: int = 0
    parameters: Parameters = ()


class Comparison(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """The result of one pair, and its differences up to a limit.

    reason: why the pair is incomparable; empty if it is comparable.
    unlisted: the number of differences beyond the limit; unless 0, `differences` is incomplete.
    """

    result: Result
    reason: str = ""
    differences: tuple[Difference, ...] = ()
    unlisted: int = 0


UNKNOWN_TARGET = "_unknown"
"""The ledger's target name for requests whose host does not belong to a target."""


class HostPolicy(StrEnum):
    """The Host header that v2 receives: v2's own host (with X-Forwarded-Host), or the host that the user sent."""

    CANDIDATE = "candidate"
    PRESERVE = "preserve"


class Candidate(Sent, frozen=True, kw_only=True):
    """The address for requests to v2, and how they are sent.

    revalidate: the share of conditional requests that v2 receives again, with its own ETag.
    """

    queue_timeout_s: float = 5.0
    concurrency: int = 128
    queue: int = 1024
    host: HostPolicy = HostPolicy.CANDIDATE
    revision_header: str = "x-version"
    revalidate: float = 0.1


class Control(Sent, frozen=True, kw_only=True):
    """A second v1 without users, which receives a share of the mirrored requests."""

    sample: float = 0.05


class Gate(msgspec.Struct, frozen=True, kw_only=True):
    """The limits of a verdict. Without `max_p99_increase_s`, latency does not affect the verdict."""

    max_mismatch_ratio: float = 0.001
    min_coverage: float = 0.95
    max_p99_increase_s: float | None = None


class Target(msgspec.Struct, frozen=True, kw_only=True):
    """A service whose versions are compared.

    sample: the share of requests that is compared, sampled by id on both sides.
    methods: upper-case methods that are sent on every route, and methods of one route (`POST /search`). Other requests
    are acknowledged and counted, but not forwarded.
    include, exclude: a request is compared if it meets a condition of the first, or the first is empty, and it meets no
    condition of the second.
    learn: the number of triples (or pairs, while calibrating) from which v1's own noise is learned.
    compare_headers, exclude_headers: lower-case names of response headers, or prefixes that end in `*`. These override
    the default.
    routes: templates such as `/products/{id}`, optionally with a method before them.
    body_types: media types of response bodies by route (`GET /feed`, `/feed`, or `*`), which replace the Content-Type.
    graphql: templates of the paths with GraphQL operations, without a method.
    causes: whether changes are counted, so that people see the causes of mismatches; does not change any result.
    built_in_off: the names of the built-in rules that are turned off, sorted.
    """

    name: str
    hosts: tuple[str, ...]
    candidate: Candidate
    control: Control | None = None
    sample: float = 1.0
    learn: int = 1000
    methods: tuple[str, ...] = ("GET", "HEAD", "OPTIONS")
    include: tuple[Condition, ...] = ()
    exclude: tuple[Condition, ...] = ()
    routes: tuple[str, ...] = ()
    graphql: tuple[str, ...] = ()
    compare_headers: tuple[str, ...] = ()
    exclude_headers: tuple[str, ...] = ()
    body_types: tuple[tuple[str, str], ...] = ()
    causes: bool = True
    built_in_off: tuple[str, ...] = ()
    gate: Gate = Gate()


class Backoff:
    """Exponential backoff: each wait is twice as long as the previous wait, up to a limit. Does not read a clock."""

    def __init__(self, first_s: float, longest_s: float) -> None:
        self._first_s = self._next_s = first_s
        self._longest_s = longest_s

    def next_s(self) -> float:
        """Return how long to wait before the next attempt, in seconds."""
        wait_s = self._next_s
        self._next_s = min(wait_s * 2, self._longest_s)
        return wait_s

    def reset(self) -> None:
        """Start again with the first wait."""
        self._next_s = self._first_s


OTHER: Final = "_other"
"""The field, member or route for everything beyond a limit."""


class Incr(msgspec.Struct, frozen=True, gc=False):
    """Add `by` to `field` of the hash `key`. A new field beyond `cap` fields adds to `_other` (0: no cap)."""

    key: str
    field: str
    by: int = 1
    cap: int = 0


class Push(msgspec.Struct, frozen=True, gc=False):
    """Put `value` at the head of the list `key`, and keep only the newest `keep` values."""

    key: str
    value: bytes
    keep: int


class Put(msgspec.Struct, frozen=True, gc=False):
    """Set the string `key` to `value` for `ttl_s` seconds."""

    key: str
    value: bytes
    ttl_s: int


class Expire(msgspec.Struct, frozen=True, gc=False):
    """Make `key` expire `ttl_s` seconds from now."""

    key: str
    ttl_s: int


class Score(msgspec.Struct, frozen=True, gc=False):
    """Set the score of `member` in the sorted set `key`: keep the `greatest` or the `first` score, or `add` to it.

    A new member beyond `cap` members is not added; with `add`, its score is added to `_other` (0: no cap).
    """

    key: str
    member: str
    score: int
    how: Literal["greatest", "first", "add"]
    cap: int = 0


class Describe(msgspec.Struct, frozen=True, gc=False):
    """Set `field` of the hash `key` to `value`, unless the field is set or the hash has `cap` fields (0: no cap)."""

    key: str
    field: str
    value: bytes
    cap: int = 0


GROUP_CHARS: Final = 12
NAME_CHARS: Final = 16
SAMPLE_SET_PARTS: Final = ("order", "times", "sizes", "lines", "values", "bytes")
"""The parts of a sample set. A part's key is the set's key, a colon, and the part."""


class Keep(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """Store `value` under `name`, and a `line` about it, in the sample set `key`.

    The set keeps a value for `ttl_s` seconds. It keeps the first `of_group` values of each `group`, sorted by `order`,
    and at most `of_all` values and `bytes_of_all` bytes in total. Beyond the total, the largest group loses values.
    All groups have the same length, and so do all orders and all names.
    """

    key: str
    group: str
    order: str
    name: str
    line: bytes
    value: bytes
    at_ms: int
    of_group: int
    of_all: int
    bytes_of_all: int
    ttl_s: int

    @property
    def member(self) -> str:
        """The member of the sorted set for this value."""
        return self.group + self.order + self.name


BOTTOM_SAMPLE_PARTS: Final = ("members", "sizes", "cuts", "groups")
"""The parts of a bottom sample. A part's key is the sample's key, a colon, and the part."""
RANK_CHARS: Final = 12


class Draw(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """Add `value` with `rank` to the bottom sample `key`, if the rank is among the lowest of its `group`.

    A rank is a hash, so the values of a group are a uniform sample of all values that were offered. The sample keeps
    at most `of_group` values of a group and `of_all` in total. Beyond the total, the largest group loses the value
    with its highest rank. It stores `about` for at most `groups` groups, and no values of later groups. All keys
    expire `ttl_s` seconds after the last write. All groups have `GROUP_CHARS` characters, and all ranks `RANK_CHARS`.
    """

    key: str
    group: str
    about: bytes
    rank: str
    value: bytes
    of_group: int
    of_all: int
    groups: int
    ttl_s: int


Write = Incr | Push | Put | Expire | Score | Describe | Keep | Draw


class Later(NamedTuple):
    """Writes that take too long to compute on the event loop. A process runs `function`; `writes` uses its result.

    Both are sent to that process, so keep them small. If the process fails, the pair is committed without these writes.
    """

    function: Callable[..., Any]
    arguments: tuple[Any, ...]
    writes: Callable[[Any], tuple[Write, ...]]
