"""Compare two versions of the code: this checkout and another commit, in interleaved rounds.

Run: scripts/bench against REVISION [--rounds 20] [--pipeline] [--pairs 1000].  Prints one JSON object: for each case
the ratio of this checkout's time to the other's, paired by round, and the 95 % interval of its mean from a bootstrap.
Without `--pipeline` the cases are whole comparisons in one process per version. With it they are the CPU time per pair
of two running services that take turns under the load of `scripts/bench pipeline`; the first one alternates.
`--restarts` is the number of rounds until both services restart, because two processes of one version differ too.
"""

from __future__ import annotations

import argparse
import asyncio
import gzip
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from shadowdiff.model import Pair

ROOT = Path(__file__).parents[1]
BODIES = Path(__file__).parent / "bodies"
NOW = datetime(2026, 1, 1, tzinfo=UTC)
RESAMPLES = 10_000
WARM_UP_PAIRS = 2_000

Sample = dict[str, float]
Headers = tuple[tuple[bytes, bytes], ...]


def main() -> None:
    """Measure both versions in turns and print the ratios."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("revision", help="the commit to compare with")
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--pipeline", action="store_true")
    parser.add_argument("--pairs", type=int, default=1000, help="of each round of the pipeline")
    parser.add_argument("--restarts", type=int, default=5, help="rounds until both services start again")
    parser.add_argument("--worker", action="store_true", help="for this script's own use")
    options = parser.parse_args()
    if options.worker:
        work_pipeline(options) if options.pipeline else work()
        return
    samples: tuple[list[Sample], list[Sample]] = [], []
    with tempfile.TemporaryDirectory() as folder:
        other = Path(folder) / "other"
        subprocess.run(["git", "worktree", "add", "-q", "--detach", str(other), options.revision], cwd=ROOT, check=True)
        try:
            at_once = options.restarts if options.pipeline else options.rounds
            for done in range(0, options.rounds, at_once):
                measure(other, options, min(at_once, options.rounds - done), samples)
        finally:
            subprocess.run(["git", "worktree", "remove", "--force", str(other)], cwd=ROOT, check=True)
    print(file=sys.stderr)
    print(json.dumps({"revision": options.revision, "rounds": options.rounds, "cases": ratios(*samples)}, indent=1))


def measure(other: Path, options: argparse.Namespace, rounds: int, into: tuple[list[Sample], list[Sample]]) -> None:
    """Add the samples of this version and of the other, from a process each; the first round warms both up."""
    command = [sys.executable, "-P", __file__, options.revision, "--worker", "--pairs", str(options.pairs)]
    processes = [
        subprocess.Popen(
            command + ["--pipeline"] * options.pipeline,
            cwd=tree,
            env={**os.environ, "PYTHONPATH": f"{tree}{os.pathsep}{tree / 'benchmarks'}"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for tree in (ROOT, other)
    ]
    try:
        for done in range(rounds + 1):
            for index in (0, 1) if done % 2 else (1, 0):
                sample = _sample_of(processes[index])
                if done:
                    into[index].append(sample)
            print(f"\rround {len(into[0])} of {options.rounds}", end="", file=sys.stderr)
    finally:
        for process in processes:
            process.communicate(timeout=60)


def _sample_of(process: subprocess.Popen[str]) -> Sample:
    """Have a worker measure every case once."""
    if process.stdin is None or process.stdout is None:
        raise RuntimeError("the worker was started without pipes")
    process.stdin.write("round\n")
    process.stdin.flush()
    return json.loads(process.stdout.readline())


def work_pipeline(options: argparse.Namespace) -> None:
    """Send one round of pairs for each line that comes in, to a service of the version on the path."""
    from rig import Load, run, stand, v2
    from traffic import Served, answers

    async def rounds(options: argparse.Namespace, folder: Path) -> dict[str, float]:
        served = Served()
        v2_url = await v2(served, answers("2026-11-23T10:00:00.009Z", faults=True))
        with stand(folder, v2_url) as service:
            await service.round("warm", Load(pairs=WARM_UP_PAIRS), served)
            number = 0
            while await asyncio.to_thread(sys.stdin.readline):
                number += 1
                measured = await service.round(f"a{number:03d}", Load(pairs=options.pairs), served)
                found = {"cpu_us_per_pair": measured["cpu_us"], "redis_cpu_us_per_pair": measured["redis_us"]}
                print(json.dumps(found), flush=True)
        return {}

    run(rounds, options)


def ratios(ours: list[Sample], theirs: list[Sample]) -> dict[str, dict[str, float]]:
    """Return for each case the mean of the paired ratios, and its interval."""
    drawn = random.Random(1)
    found: dict[str, dict[str, float]] = {}
    for case in ours[0]:
        paired = [one[case] / other[case] for one, other in zip(ours, theirs, strict=True)]
        means = sorted(statistics.fmean(drawn.choices(paired, k=len(paired))) for _ in range(RESAMPLES))
        found[case] = {
            "ratio": round(statistics.fmean(paired), 3),
            "lower": round(means[RESAMPLES // 40], 3),
            "upper": round(means[-RESAMPLES // 40], 3),
            "us": round(statistics.median(sample[case] for sample in ours), 2),
        }
    return found


def work() -> None:
    """Measure every case once for each line that comes in."""
    measured = list(cases())
    for _ in sys.stdin:
        print(json.dumps({name: _least(call, number) for name, call, number in measured}), flush=True)


def _least(call: Callable[[], object], number: int) -> float:
    """Return the least processor time of a few turns, in microseconds."""
    turns: list[float] = []
    for _ in range(5):
        begun = time.process_time()
        for _ in range(number):
            call()
        turns.append((time.process_time() - begun) / number * 1e6)
    return min(turns)


def cases() -> Iterator[tuple[str, Callable[[], object], int]]:
    """Yield whole comparisons, with as many calls as take a few milliseconds."""
    from shadowdiff.compare import Limits, compare
    from shadowdiff.rules import compile_rules, parse_rules

    rules = compile_rules(
        parse_rules([{"ignore": "$.meta.generatedAt"}, *({"ignore": f"$.items[*].x{at}"} for at in range(9))]), NOW
    )
    limits = Limits()
    for name, size, one, other in bodies():
        pair = _pair(one, other)
        yield name, lambda pair=pair: compare(pair, rules, limits), max(3, 200_000 // size)


def bodies() -> Iterator[tuple[str, int, bytes, bytes]]:
    """Yield pairs of bodies."""
    for size in ("1.4kB", "10kB", "100kB"):
        body = gzip.decompress((BODIES / f"{size}.json.gz").read_bytes())
        document: dict[str, Any] = json.loads(body)
        later = {**document, "meta": {**document["meta"], "generatedAt": "2026-01-01T00:00:07Z"}}
        items: list[dict[str, Any]] = [{**item} for item in document["items"]]
        for at in (0, len(items) // 2, -1):
            items[at]["price"] = -1
        yield f"equal-{size}", 20_000, body, bytes(bytearray(body))
        yield f"clock-{size}", len(body), body, _compact(later)
        yield f"three-{size}", len(body), body, _compact({**later, "items": items})
        yield f"reordered-{size}", len(body), body, _compact(dict(reversed(document.items())))
        yield f"inserted-{size}", len(body) * 2, body, _compact({**document, "items": [{"id": 0}, *document["items"]]})


def _compact(value: object) -> bytes:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode()


def _pair(one: bytes, other: bytes) -> Pair:
    from shadowdiff.model import Observation, Pair, Side

    def side(which: Side, body: bytes, headers: Headers) -> Observation:
        return Observation(
            side=which, target="t", id="i", id_source="x", method="GET", path="/x", host="h", status=200,
            headers=headers, body=body, body_bytes=len(body),
        )  # fmt: skip

    return Pair(
        key=b"k",
        target="t",
        route="GET /x",
        primary=side(Side.PRIMARY, one, _headers(one, 1)),
        candidate=side(Side.CANDIDATE, other, _headers(other, 2)),
    )


def _headers(body: bytes, second: int) -> Headers:
    """Return usual response headers; date and request id differ."""
    return (
        (b"date", b"Mon, 01 Jun 2026 10:00:0%d GMT" % second),
        (b"content-type", b"application/json; charset=utf-8"),
        (b"content-length", b"%d" % len(body)),
        (b"cache-control", b"no-store, max-age=0"),
        (b"vary", b"accept, accept-encoding"),
        (b"x-frame-options", b"DENY"),
        (b"x-content-type-options", b"nosniff"),
        (b"strict-transport-security", b"max-age=31536000; includeSubDomains"),
        (b"x-request-id", b"%032d" % second),
        (b"server", b"envoy"),
        (b"x-envoy-upstream-service-time", b"%d" % second),
        (b"set-cookie", b"sid=%016d; Path=/; HttpOnly" % second),
    )


if __name__ == "__main__":
    main()
