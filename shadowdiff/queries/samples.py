"""Find samples by route, kind and path, and export a sample's difference in formats of other tools.

A path can be in any notation that the views print: `price.amount`, `$.price.amount`, `$['price']['amount']`,
`items[*].price`. A path also selects everything below it.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import TYPE_CHECKING, Final

import msgspec

from shadowdiff.compare import NotExportableError, NotJsonError, deep_diff, json_patch, parse_exact
from shadowdiff.display.wording import short_path
from shadowdiff.model import Result
from shadowdiff.queries.errors import RequestError
from shadowdiff.queries.visible import is_visible
from shadowdiff.report import Sample, Summary, newest_samples, sample
from shadowdiff.report.fingerprint_index import without_indexes
from shadowdiff.rules.place import LINE, STEP

if TYPE_CHECKING:
    from collections.abc import Callable, Container, Sequence

    from shadowdiff.queries.targets import Queries
    from shadowdiff.report import Body
    from shadowdiff.verdict import RouteCounts

MAX_SAMPLES: Final = 10_000
EXPORT_FORMATS: Final = ("patch", "deepdiff")
_PART: Final = re.compile(
    r"\.?(?P<name>[^.\[\]'\"$]+)|\['(?P<single>(?:[^'\\]|\\.)*)'\]|\[\"(?P<double>(?:[^\"\\]|\\.)*)\"\]"
    r"|(?P<index>\[(?:[0-9]+|\*)\])"
    rf"|(?={STEP})\[(?P<value>[^\]]*)\]"
)
_ESCAPED: Final = re.compile(r"['\"\\\x00-\x1f\ud800-\udfff]")
"""Characters that can be escaped in a stored path."""
_SHOWN: Final = 5


class Samples(msgspec.Struct, frozen=True):
    """The newest samples, newest first.  note: if there are no samples, whether the route or path is unknown."""

    samples: list[Summary]
    note: str = ""


async def find_sample(queries: Queries, sample_id: str) -> Sample:
    """Return a sample. Raises: RequestError if it has expired, or belongs to a target that is not visible."""
    found = await sample(queries.reader, sample_id, since_ms=queries.since_ms)
    if found is None or not is_visible(found.target):
        raise RequestError(
            404, f"there is no sample with the id {sample_id!r}: it expired, or newer samples replaced it"
        )
    return found


async def find_samples(
    queries: Queries,
    target: str,
    limit: int,
    *,
    route: str | None = None,
    kind: str | None = None,
    path: str | None = None,
    result: Result = Result.MISMATCH,
    fingerprint: str | None = None,
) -> list[Summary]:
    """Return the newest samples that match. Fingerprints that cannot match are not read."""
    matches = sample_filter(route, kind, path)
    ruled_out: Container[str] = frozenset[str]()
    if matches is not None and fingerprint is None and result is Result.MISMATCH:
        any_index = without_indexes(path or "")
        is_at_path = path_filter(any_index) if path else None
        ruled_out = await queries.fingerprints.ruled_out(target, route, kind, is_at_path, common_text(any_index))
    return await newest_samples(
        queries.reader,
        target,
        limit,
        result=result,
        wanted=matches,
        since_ms=queries.since_ms,
        fingerprint=fingerprint,
        ruled_out=ruled_out,
    )


def path_filter(path: str) -> Callable[[str], bool]:
    """Return a function that checks whether a path is at or below this path."""
    parts = path_parts(path.strip())
    return lambda place: path_parts(place)[: len(parts)] == parts


def common_text(path: str) -> str:
    """Return lower-case text that this path and all paths below it contain, for a fast first check; can be empty."""
    longest = max(path_parts(path.strip()), key=len, default="")
    return longest.lower() if longest.isascii() and not _ESCAPED.search(longest) else ""


def sample_filter(route: str | None, kind: str | None, path: str | None) -> Callable[[Summary], bool] | None:
    """Return a function that checks whether a sample matches; None if all samples match."""
    if not (route or kind or path):
        return None
    is_at_path = path_filter(path) if path else None

    def matches(line: Summary) -> bool:
        return (
            (not route or line.route == route)
            and (not kind or kind in line.kinds)
            and (is_at_path is None or any(is_at_path(one.pattern) or is_at_path(one.path) for one in line.differences))
        )

    return matches


@lru_cache(4096)
def path_parts(path: str) -> tuple[str, ...]:
    """Return the parts of a path in any notation. A text that is not a path is one part."""
    if path.startswith(LINE):
        return "text", path.removeprefix(LINE)
    rest = path.removeprefix("$")
    parts = list(_PART.finditer(rest))
    is_path = "".join(part[0] for part in parts) == rest
    return tuple(part[part.lastgroup or 0] for part in parts) if is_path else (path,)


def explain_no_samples(route: str | None, path: str | None, routes: Sequence[RouteCounts]) -> str:
    """Return a text that lists the known routes or paths if one is unknown; empty if both are known."""
    if route and route not in {known.route for known in routes}:
        names = ", ".join(known.route for known in routes[:_SHOWN])
        return f"unknown route {route!r}; {f'known routes: {names}' if names else 'no route has been compared yet'}"
    paths = [found.path for known in routes if not route or known.route == route for found in known.paths]
    if path and not any(path_filter(path)(one) for one in paths):
        names = ", ".join(dict.fromkeys(map(short_path, paths[:_SHOWN])))
        return f"nothing differs at {path!r}; {f'differing paths: {names}' if names else 'no path differs'}"
    return ""


def export_sample(found: Sample, export_format: str) -> str:
    """Return the difference as RFC 6902 patch or DeepDiff report. Raises: RequestError unless both bodies are JSON."""
    try:
        one, other = (parse_exact(_complete(side.body)) for side in (found.primary, found.candidate))
        return json_patch(one, other) if export_format == "patch" else deep_diff(one, other)
    except (NotJsonError, NotExportableError) as error:
        raise RequestError(422, f"{export_format} needs two JSON bodies: {error}") from error


def _complete(body: Body) -> bytes:
    if body.truncated or body.base64:
        raise RequestError(422, "a body was truncated or is not text; the sample itself has the stored part")
    return body.text.encode("utf-8", "surrogatepass")
