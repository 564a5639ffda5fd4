"""Measure the comparison of bodies: one line per case, relative to orjson's parse of both bodies and to DeepDiff.

Run: scripts/bench compare [--json] [--quick].  `vs_parse` is the time from decoded bytes to full difference objects
divided by one orjson parse of both bodies, in turns, the minimum of many rounds; `us` is that time itself.
`vs_deepdiff` is the same for an equally exact result with DeepDiff from the same bytes: numbers as Decimal,
and both values of each difference.  Long arrays run as in the processes for large pairs.
"""

from __future__ import annotations

import argparse
import gzip
import json
import random
import time
from datetime import UTC, datetime
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import msgspec
import orjson
from deepdiff import DeepDiff

from shadowdiff.compare import Limits, compare
from shadowdiff.compare.finding import Findings
from shadowdiff.compare.formats.json import compare_json
from shadowdiff.compare.sequence import by_likeness
from shadowdiff.model import Observation, Pair, Side
from shadowdiff.rules import CompiledRules, compile_rules, parse_rules
from shadowdiff.worker.process_memory import COMPARING_EVERY, collect_garbage_every

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from shadowdiff.compare.sequence import Match

BODIES = Path(__file__).parent / "bodies"
SIZES = ("1.4kB", "10kB", "100kB", "1MB")
NOW = datetime(2026, 1, 1, tzinfo=UTC)
LIMITS = Limits()

AIMS = {
    "reordered": {"vs_parse": 2.2},
    "three-compact-1.4kB": {"vs_parse": 3.0},
    "three-compact-10kB": {"vs_parse": 2.5},
    "three-compact-100kB": {"vs_parse": 2.5},
    "three-spaced": {"vs_parse": 4.0},
    "three-17-digits": {"vs_parse": 6.0},
    "rules-200-over-10": {"ratio": 1.1},
    "identical-1.4kB": {"us": 5.0},
    "identical-10kB": {"us": 5.0},
    "identical-100kB": {"us": 5.0},
    "insertion-20000-integers": {"us": 5_000.0},
    "insertion-20000-objects": {"us": 40_000.0},
    "shuffled-20000": {"us": 200_000.0},
}


def main() -> None:
    """Measure every case and print a line each."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true", help="one JSON object per line")
    parser.add_argument("--quick", action="store_true", help="fewer rounds")
    arguments = parser.parse_args()
    for line in cases(3 if arguments.quick else 15):
        if arguments.json:
            print(json.dumps(line))
        else:
            print(f"{line.pop('case'):32}" + "  ".join(f"{name}={value}" for name, value in line.items()))


def cases(rounds: int) -> Iterator[dict[str, Any]]:
    """Yield one measurement after another."""
    for size in SIZES:
        body = gzip.decompress((BODIES / f"{size}.json.gz").read_bytes())
        document = json.loads(body)
        changed = three_changes(document)
        numbers = {**document, "numbers": [f"~{index}" for index in range(len(document["items"]))]}
        yield identical(size, body, rounds)
        yield identical_but_for_headers(size, body, rounds)
        yield against_parse("reordered", size, body, compact(reordered(document)), rounds)
        yield against_parse("three-compact", size, body, compact(changed), rounds)
        later = {**document, "meta": {**document["meta"], "generatedAt": "2026-01-01T00:00:07Z"}}
        yield against_parse("clock-compact", size, body, compact(later), rounds)
        yield against_parse("clock-spaced", size, spaced(document), spaced(later), rounds)
        yield against_parse("three-spaced", size, spaced(document), spaced(changed), rounds)
        yield against_parse("three-17-digits", size, digits(numbers), digits(three_changes(numbers)), rounds)
        if len(body) <= 12_000:
            yield against_deepdiff(size, body, compact(changed), rounds)
    yield many_rules(rounds)
    yield from leftovers(max(3, rounds // 3))
    yield from long_arrays(rounds)


def identical(size: str, body: bytes, rounds: int) -> dict[str, Any]:
    """Measure a whole comparison of equal bytes under equal headers."""
    same = pair(body, bytes(bytearray(body)))
    rules = compile_rules((), NOW)
    us = fastest([lambda: compare(same, rules, LIMITS)], rounds, 2_000)[0]
    return line(f"identical-{size}", body, us)


USUAL_HEADERS = (
    (b"content-type", b"application/json"),
    (b"cache-control", b"max-age=60"),
    (b"vary", b"accept-encoding"),
    (b"etag", b'"33a64df5"'),
    (b"x-frame-options", b"DENY"),
    (b"x-content-type-options", b"nosniff"),
    (b"strict-transport-security", b"max-age=31536000"),
    (b"access-control-allow-origin", b"*"),
    (b"x-total-count", b"240"),
    (b"content-length", b"1400"),
    (b"server", b"envoy"),
)


def identical_but_for_headers(size: str, body: bytes, rounds: int) -> dict[str, Any]:
    """Measure a whole comparison of equal bytes under many headers: v2's are in another order, with a later Date."""
    one = pair(body, bytes(bytearray(body)))
    dates = [(b"date", b"Thu, 01 Jan 2026 00:00:0%d GMT" % second) for second in (1, 2)]
    primary = msgspec.structs.replace(one.primary, headers=(*USUAL_HEADERS, dates[0]))
    candidate = msgspec.structs.replace(one.candidate, headers=(dates[1], *reversed(USUAL_HEADERS)))
    one = msgspec.structs.replace(one, primary=primary, candidate=candidate)
    rules = compile_rules((), NOW)
    us = fastest([lambda: compare(one, rules, LIMITS)], rounds, 2_000)[0]
    return line(f"headers-reordered-{size}", body, us)


def against_parse(name: str, size: str, one: bytes, other: bytes, rounds: int) -> dict[str, Any]:
    """Measure a comparison of decoded bodies in turns with orjson's parse of both.

    Small bodies take many short turns, so some turns meet an idle machine.
    """
    rules = ten_rules(10).for_route("GET /x", "GET")
    number = max(3, 100_000 // len(one))
    us, parse_us = fastest(
        [
            lambda: compare_json(one, other, rules, Findings(LIMITS)),
            lambda: (orjson.loads(one), orjson.loads(other)),
        ],
        rounds * min(6, max(1, 100_000 // len(one))),
        number,
    )
    return line(f"{name}-{size}", one, us, vs_parse=us / parse_us)


def against_deepdiff(size: str, one: bytes, other: bytes, rounds: int) -> dict[str, Any]:
    """Measure a comparison of decoded bodies in turns with an equally exact DeepDiff."""
    rules = compile_rules((), NOW).for_route("GET /x", "GET")

    def deep() -> None:
        DeepDiff(json.loads(one, parse_float=Decimal), json.loads(other, parse_float=Decimal), verbose_level=2)

    us = fastest([lambda: compare_json(one, other, rules, Findings(LIMITS))], rounds, 100)[0]
    deep_us = fastest([deep], rounds, 3)[0]
    return line(f"deepdiff-{size}", one, us, vs_deepdiff=deep_us / us)


def many_rules(rounds: int) -> dict[str, Any]:
    """Measure 200 rules against 10 over the same bodies."""
    body = gzip.decompress((BODIES / "10kB.json.gz").read_bytes())
    other = compact(three_changes(json.loads(body)))
    few, many = (ten_rules(count).for_route("GET /x", "GET") for count in (10, 200))
    few_us, many_us = fastest(
        [
            lambda: compare_json(body, other, few, Findings(LIMITS)),
            lambda: compare_json(body, other, many, Findings(LIMITS)),
        ],
        rounds,
        60,
    )
    return line("rules-200-over-10", body, many_us, ratio=many_us / few_us)


def leftovers(rounds: int) -> Iterator[dict[str, Any]]:
    """Measure the pairing of leftovers of unordered arrays, by similarity and by DeepDiff's distance.

    right: the share of objects that pair with their original, in which `changed` of nine members are new.
    """
    items = json.loads(gzip.decompress((BODIES / "10kB.json.gz").read_bytes()))["items"]
    for changed in (3, 7):
        drawn = random.Random(changed)
        sets = [shuffled_copies(items, changed, drawn) for _ in range(rounds)]
        found = [
            fastest([partial(by_likeness, one, other), partial(by_distance, one, other)], 1, 1)
            for one, other, _ in sets
        ]
        right, deep_right = (
            sum(len(both[2] & set(pairing(*both[:2]))) for both in sets) / (8 * len(sets))
            for pairing in (by_likeness, by_distance)
        )
        us, deep_us = (sum(times) / len(sets) for times in zip(*found, strict=True))
        more = {"vs_deepdiff": deep_us / us, "right": right, "deepdiff_right": deep_right}
        yield line(f"leftovers-8-changed-{changed}", compact(sets[0][0]), us, **more)


def shuffled_copies(items: list[Any], changed: int, drawn: random.Random) -> tuple[list[Any], list[Any], set[Match]]:
    """Return eight objects, changed copies of them in another order, and their assignment."""
    chosen = drawn.sample(items, 8)
    copies = [
        item | {name: f"new {drawn.random()}" if name in {"id", "sku"} else drawn.choice(items)[name] for name in names}
        for item in chosen
        for names in [drawn.sample(sorted(item), changed)]
    ]
    order = drawn.sample(range(8), 8)
    return chosen, [copies[index] for index in order], {(index, place) for place, index in enumerate(order)}


def by_distance(one: list[Any], other: list[Any]) -> list[Match]:
    """Pair the nearest by DeepDiff's distance."""
    scored: list[tuple[float, int, int]] = sorted(
        (cast("Any", DeepDiff(value, against, get_deep_distance=True)).get("deep_distance", 0), index, place)
        for index, value in enumerate(one)
        for place, against in enumerate(other)
    )
    left, right = set(range(len(one))), set(range(len(other)))
    pairs: list[Match] = []
    for _, index, place in scored:
        if index in left and place in right:
            left.remove(index)
            right.remove(place)
            pairs.append((index, place))
    return pairs


def long_arrays(rounds: int) -> Iterator[dict[str, Any]]:
    """Measure alignments of 20,000 elements, with the garbage collector set as in processes for large pairs."""
    collect_garbage_every(COMPARING_EVERY)
    drawn = random.Random(4)
    integers = list(range(20_000))
    objects = [{"id": index, "name": f"n{index}", "tags": [1, 2]} for index in integers]
    shuffled = drawn.sample(integers, len(integers))
    rules = compile_rules((), NOW).for_route("GET /x", "GET")
    for name, one, other in (
        ("insertion-20000-integers", integers, [*integers[:7000], -1, *integers[7000:]]),
        ("insertion-20000-objects", objects, [*objects[:7000], {"id": -1}, *objects[7000:]]),
        ("shuffled-20000", integers, shuffled),
    ):
        left, right = compact(one), compact(other)

        def run(left: bytes = left, right: bytes = right) -> None:
            compare_json(left, right, rules, Findings(LIMITS))

        yield line(name, left, fastest([run], max(3, rounds // 3), 1)[0])


def fastest(tasks: list[Callable[[], object]], rounds: int, number: int) -> list[float]:
    """Return the least CPU time of each task in µs, in turns, so that all meet the same machine."""
    best = [float("inf")] * len(tasks)
    for _ in range(rounds):
        for index, task in enumerate(tasks):
            began = time.process_time_ns()
            for _ in range(number):
                task()
            best[index] = min(best[index], (time.process_time_ns() - began) / number / 1_000)
    return best


def line(case: str, body: bytes, us: float, **more: float) -> dict[str, Any]:
    """Return a line: the case, its numbers, and whether it meets its aim, if it has one."""
    found: dict[str, Any] = {
        "case": case,
        "body_bytes": len(body),
        "us": round(us, 2),
        "pairs_per_s": round(1e6 / us),
        **{name: round(value, 2) for name, value in more.items()},
    }
    aims = AIMS.get(case) or AIMS.get(case.rpartition("-")[0], {})
    if case.startswith("deepdiff"):
        return {**found, "aim": 100.0, "met": found["vs_deepdiff"] >= 100}
    for name, aim in aims.items():
        found |= {"aim": aim, "met": found[name] <= aim}
    return found


def ten_rules(count: int) -> CompiledRules:
    """Return rules for paths that the bodies have or lack."""
    paths = ["$.meta.generatedAt", "$.items[*].updatedAt", "$..requestId", "$.trace"]
    paths += [f"$.section{index}.field{index}" for index in range(count - len(paths))]
    return compile_rules(parse_rules([{"ignore": path} for path in paths]), NOW)


def three_changes(document: Any) -> Any:
    """Return the document with three values changed."""
    changed = json.loads(json.dumps(document))
    items = changed["items"]
    items[len(items) // 3]["price"] = -1.5
    items[2 * len(items) // 3]["name"] = "another"
    changed["total"] = 1
    return changed


def reordered(value: Any) -> Any:
    """Return the value with its members in another order throughout."""
    if isinstance(value, dict):
        return {name: reordered(value[name]) for name in reversed(value)}  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType]
    return [reordered(element) for element in value] if isinstance(value, list) else value  # pyright: ignore[reportUnknownVariableType]


def compact(value: Any) -> bytes:
    """Return compact JSON."""
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode()


def spaced(value: Any) -> bytes:
    """Return JSON with a space after each comma and colon."""
    return json.dumps(value, ensure_ascii=False).encode()


def digits(value: Any) -> bytes:
    """Return JSON with numbers of 17 digits, which a float cannot represent exactly."""
    text = json.dumps(value, ensure_ascii=False)
    for index in range(len(value["items"])):
        text = text.replace(f'"~{index}"', f"0.{(index + 1) * 7_919_191_919_191_919 % 10**17:017d}")
    return text.encode()


def pair(one: bytes, other: bytes) -> Pair:
    """Return a pair of JSON responses with the usual headers of a service."""
    return Pair(
        key=b"",
        target="t",
        route="GET /x",
        primary=_observation(Side.PRIMARY, one, b"Thu, 01 Jan 2026 00:00:00 GMT"),
        candidate=_observation(Side.CANDIDATE, other, b"Thu, 01 Jan 2026 00:00:01 GMT"),
    )


def _observation(side: Side, body: bytes, date: bytes) -> Observation:
    return Observation(
        side=side,
        target="t",
        id="i",
        id_source="x-diff-id",
        method="GET",
        path="/x",
        host="h",
        status=200,
        headers=(
            (b"content-type", b"application/json"),
            (b"content-length", b"%d" % len(body)),
            (b"date", date),
            (b"server", b"envoy"),
            (b"cache-control", b"no-cache"),
            (b"x-envoy-upstream-service-time", b"3"),
        ),
        body=body,
        body_bytes=len(body),
    )


if __name__ == "__main__":
    main()
