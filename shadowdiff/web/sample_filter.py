"""Choose samples by route, kind and path, as the API, the pages and the terminal let people ask.

In: what was asked for.  Out: a predicate over summaries; where it chose none, a line that says what there is.
Holds: reads only.  A path may be written as any view prints it: `price.amount`, `$.price.amount`,
`$['price']['amount']`, `items[*].price`; it chooses all that lies below it as well.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import TYPE_CHECKING, Final

from shadowdiff.model import Result
from shadowdiff.report import newest_samples
from shadowdiff.report.catalogue import without_indexes
from shadowdiff.web.words import short_path

if TYPE_CHECKING:
    from collections.abc import Callable, Container, Sequence

    from shadowdiff.report import Summary
    from shadowdiff.verdict import RouteCounts
    from shadowdiff.web.state import WebState

_PART: Final = re.compile(
    r"\.?(?P<name>[^.\[\]'\"$]+)|\['(?P<single>(?:[^'\\]|\\.)*)'\]|\[\"(?P<double>(?:[^\"\\]|\\.)*)\"\]"
    r"|(?P<index>\[(?:[0-9]+|\*)\])"
)
_ESCAPED: Final = re.compile(r"['\"\\\x00-\x1f\ud800-\udfff]")
"""What a place may write otherwise than whoever asks."""
_SHOWN: Final = 5


async def chosen_samples(
    state: WebState,
    target: str,
    limit: int,
    *,
    route: str | None = None,
    kind: str | None = None,
    path: str | None = None,
    result: Result = Result.MISMATCH,
    fingerprint: str | None = None,
) -> list[Summary]:
    """Return the newest samples that were asked for; those of fingerprints that cannot be meant are not read."""
    wanted = sample_filter(route, kind, path)
    ruled_out: Container[str] = frozenset[str]()
    if wanted is not None and fingerprint is None and result is Result.MISMATCH:
        anywhere = without_indexes(path or "")
        on_place = place_filter(anywhere) if path else None
        ruled_out = await state.fingerprints.ruled_out(target, route, kind, on_place, glance_of(anywhere))
    return await newest_samples(
        state.reader,
        target,
        limit,
        result=result,
        wanted=wanted,
        since_ms=state.since_ms,
        fingerprint=fingerprint,
        ruled_out=ruled_out,
    )


def place_filter(path: str) -> Callable[[str], bool]:
    """Return what chooses the places at or below a path."""
    parts = path_parts(path.strip())
    return lambda place: path_parts(place)[: len(parts)] == parts


def glance_of(path: str) -> str:
    """Return what every place at or below a path contains in lower case, so that most are told at a glance."""
    longest = max(path_parts(path.strip()), key=len, default="")
    return longest.lower() if longest.isascii() and not _ESCAPED.search(longest) else ""


def sample_filter(route: str | None, kind: str | None, path: str | None) -> Callable[[Summary], bool] | None:
    """Return what chooses the samples that were asked for; None where all are."""
    if not (route or kind or path):
        return None

    is_chosen = place_filter(path) if path else None

    def wanted(line: Summary) -> bool:
        return (
            (not route or line.route == route)
            and (not kind or kind in line.kinds)
            and (is_chosen is None or any(is_chosen(one.pattern) or is_chosen(one.path) for one in line.differences))
        )

    return wanted


def on_path(asked: str, *places: str) -> bool:
    """Return whether one of the places is the one that was asked for, or lies below it."""
    return any(map(place_filter(asked), places))


@lru_cache(4096)
def path_parts(path: str) -> tuple[str, ...]:
    """Return a path as its parts, whichever way it is written; what is no path is one part."""
    rest = path.removeprefix("$")
    parts: list[str] = []
    at = 0
    while at < len(rest):
        found = _PART.match(rest, at)
        if found is None:
            return (path,)
        parts.append(next(part for part in found.groups() if part is not None))
        at = found.end()
    return tuple(parts)


def nothing_found(route: str | None, path: str | None, routes: Sequence[RouteCounts]) -> str:
    """Say what there is where a route or path chose no sample; empty where both are known."""
    if route and route not in {known.route for known in routes}:
        names = ", ".join(known.route for known in routes[:_SHOWN])
        return f"no route is called {route!r}: {f'there are {names}' if names else 'none was compared yet'}"
    places = [found.path for known in routes if not route or known.route == route for found in known.paths]
    if path and not any(on_path(path, place) for place in places):
        names = ", ".join(dict.fromkeys(map(short_path, places[:_SHOWN])))
        return f"nothing differs at {path!r}: {f'v2 differs at {names}' if names else 'nothing differs at all'}"
    return ""
