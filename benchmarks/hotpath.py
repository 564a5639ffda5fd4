"""Profile a compared pair: the pipeline's load under py-spy, by stage and by function.

A sample counts for the first stage in the list that any frame of its stack matches. So the kernel, a parser or redis-py
counts for the stage that calls it. A sample also counts for the innermost function of this project on its stack,
including all foreign code that this function calls. `us` is the share of the CPU of a pair in a round without py-spy.
Prints one JSON object; progress goes to standard error.
"""

from __future__ import annotations

import asyncio
import re
import signal
import subprocess
import sys
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rig import BODY_BYTES, V2_SAID_AT, WARM_UP, Load, rounds_of, run, say, stand, v2
from traffic import Served, answers, times_of

if TYPE_CHECKING:
    import argparse

STAGES = {
    "compare: read both bodies": r"^(skimmed|parse_both|_decimals|parse_exact) ",
    "compare: walk, prove, make differences": r"^(Walker\.|compare_values )",
    "compare: heads, rules, the rest": r"^Judge\.compare ",
    "read what was parked": r"^Judge\.read ",
    "counts, runs, fingerprints, samples, redaction": r"^Judge\.judged ",
    "commit": r"^(commit|_operands) ",
    "claim": r"pairing/claim\.py",
    "park": r"pairing/(observation_writer|codec)\.py",
    "sweep for orphans": r"pairing/sweep\.py",
    "ask v2": r"intake/(upstream|connect|connection|http2|http2_connection)\.py",
    "hold and dispatch": r"intake/dispatch\.py",
    "take a mirrored request in": r"intake/mirror\.py",
    "take a record in": r"intake/records\.py",
    "HTTP of mirror and records": r"intake/(protocol|exchange)\.py",
    "the worker's loop": r"shadowdiff/worker/",
    "books, gauges, runs, doctor, pages, metrics": r"shadowdiff/(pairing|verdict|doctor|web|telemetry|service/[d-q])",
}
"""Each stage and the pattern of its functions; stages that others call come first."""
REST = "event loop and Python's own"
OWN = "(shadowdiff/"
FUNCTIONS = 4
LEAST_SHARE = 0.005
RATE_HZ = 250
LEAST_SAMPLES = 200


def stage_of(frames: list[str]) -> str:
    """Return the stage that one sample counts for."""
    return next((stage for stage, pattern in STAGES.items() if any(re.search(pattern, one) for one in frames)), REST)


_WAITING = re.compile(r"epoll|pthread_cond_(timed)?wait|PyThread_acquire_lock")
"""Functions in which a thread waits: sockets, queues, the interpreter."""
_PLACE = re.compile(r"^0x\w+ |:\d+(?=\)$)")
"""An address or a line number, in which two samples of one function can differ."""


def is_waiting(frames: list[str]) -> bool:
    """Return whether a sample shows a waiting thread; its last call may have no symbol name."""
    return any(_WAITING.search(frame) for frame in frames[-3:])


@dataclass
class Seen:
    """Counts of each stage, its innermost functions, and this project's functions."""

    stages: Counter[str] = field(default_factory=Counter[str])
    innermost: dict[str, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))
    own: Counter[str] = field(default_factory=Counter[str])

    @classmethod
    def of(cls, samples: Path) -> Seen:
        """Parse py-spy's output: one stack per line, outermost first, with its count."""
        seen = cls()
        for line in samples.read_text().splitlines():
            stack, _, count = line.rpartition(" ")
            frames = [_PLACE.sub("", frame) for frame in stack.split(";")]
            if not is_waiting(frames):
                seen.add(frames, int(count))
        return seen

    def add(self, frames: list[str], count: int) -> None:
        """Count one stack."""
        stage = stage_of(frames)
        self.stages[stage] += count
        self.innermost[stage][frames[-1]] += count
        self.own[next((frame for frame in reversed(frames) if OWN in frame), REST)] += count


async def bench(options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Run one long round under py-spy."""
    spy = Path(sys.executable).with_name("py-spy")
    if not spy.exists():
        raise SystemExit("py-spy is missing: .venv/bin/python -m pip install --require-hashes -r requirements/dev.txt")
    served = Served()
    times = times_of(options.body_bytes)
    prepared = answers(V2_SAID_AT, faults=True, times=times)
    with stand(folder, await v2(served, prepared)) as service:
        _ = await service.round("warm", Load(WARM_UP, times), served)
        plain = await service.round("plain", Load(options.pairs, times), served)
        say(f"{plain['cpu_us']:.0f} us a pair; now under py-spy")
        samples = folder / "samples"
        command = [str(spy), "record", "--native", "-f", "raw", "-r", str(RATE_HZ), "-d", "3600"]
        with subprocess.Popen(  # noqa: ASYNC220 - before the load
            [*command, "-p", str(service.pid), "-o", str(samples)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        ) as spying:
            _ = await service.round("spied", Load(options.pairs, times), served)
            spying.send_signal(signal.SIGINT)
            _ = await asyncio.to_thread(spying.wait)
    seen = Seen.of(samples)
    total = seen.stages.total()
    if total < LEAST_SAMPLES:
        raise SystemExit(f"py-spy saw {total} samples, too few to tell: more --pairs, or the right to trace processes")
    return {
        "body_bytes": round(sum(len(one.partition(b"\r\n\r\n")[2]) for one in prepared) / len(prepared)),
        "cpu_us_per_pair": round(plain["cpu_us"]),
        "samples": total,
        "stages": {
            stage: {
                "us": round(count / total * plain["cpu_us"]),
                "share": round(count / total, 3),
                "in": {name: round(n / total, 3) for name, n in seen.innermost[stage].most_common(FUNCTIONS)},
            }
            for stage, count in seen.stages.most_common()
        },
        "functions": {
            name: round(count / total * plain["cpu_us"], 1)
            for name, count in seen.own.most_common()
            if count / total >= LEAST_SHARE
        },
    }


def main() -> None:
    """Parse the options, run, print."""
    parser = rounds_of(__doc__, pairs=20_000)
    parser.add_argument("--body-bytes", type=int, default=BODY_BYTES, help="about how long each body is")
    run(bench, parser.parse_args())


if __name__ == "__main__":
    main()
