"""Run many cases in chunks on several processes, and print one line for each finished chunk.

Each seed has a case of JSON or text, and a case in one of the other formats.

`python -m tests.differential.chunks 1000000` runs cases 0 to 999,999. A second argument sets the first case.
"""

from __future__ import annotations

import os
import sys
from collections import Counter
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import get_context
from random import Random
from typing import TYPE_CHECKING, Final, NamedTuple

from tests.differential.check import case_of, fault, report, shrink, starved, transformed
from tests.differential.formats import check
from tests.differential.reference import expected

if TYPE_CHECKING:
    from collections.abc import Iterator

CHUNK: Final = 2_000
STARVED: Final = 4
"""One in this number of cases is compared again with a work budget below `MOST_UNITS`."""
MOST_UNITS: Final = 997


class Failure(NamedTuple):
    """A seed, and what is wrong with the result of its case.  encoded: the case, if only its encoded form is wrong."""

    seed: int
    fault: str
    encoded: str = ""


class Chunk(NamedTuple):
    """The results of a range of seeds.  formats: the same in other formats, by format and result."""

    results: Counter[str]
    failures: list[Failure]
    formats: Counter[tuple[str, str]]


def run_chunk(seeds: range) -> Chunk:
    """Run the cases of some seeds."""
    results: Counter[str] = Counter()
    failures: list[Failure] = []
    formats: Counter[tuple[str, str]] = Counter()
    for seed in seeds:
        case = case_of(seed)
        results[expected(*case, strict=True)] += 1
        wrong = fault(case)
        if not wrong and seed % STARVED == 0:
            wrong = starved(case, seed % MOST_UNITS) or transformed(case, Random(seed))
        if wrong:
            failures.append(Failure(seed, wrong))
        checked = check(seed, case)
        formats[checked.format, checked.result] += 1
        if checked.fault:
            failures.append(Failure(seed, checked.fault, checked.encoded))
    return Chunk(results, failures, formats)


def run_all(seeds: range, jobs: int) -> Iterator[Chunk]:
    """Yield finished chunks of cases. Each process has its own seeds."""
    chunks = [seeds[start : start + CHUNK] for start in range(0, len(seeds), CHUNK)]
    with ProcessPoolExecutor(jobs, mp_context=get_context("spawn")) as pool:
        for done in as_completed([pool.submit(run_chunk, chunk) for chunk in chunks]):
            yield done.result()


def run_with_progress(seeds: range, jobs: int) -> Chunk:
    """Run all cases, print a line for each chunk, and return the sum."""
    results: Counter[str] = Counter()
    failures: list[Failure] = []
    formats: Counter[tuple[str, str]] = Counter()
    for chunk in run_all(seeds, jobs):
        results += chunk.results
        failures += chunk.failures
        formats += chunk.formats
        for failure in chunk.failures:
            sys.stderr.write(f"\rseed {failure.seed}: {failure.fault}\n")
        sys.stderr.write(f"\rdifferential: {results.total():,} of {len(seeds):,} cases, {len(failures)} failures ")
        sys.stderr.flush()
    sys.stderr.write("\n")
    return Chunk(results, failures, formats)


def minimal(failure: Failure) -> str:
    """Return the smallest case with the same fault, as Python code; an encoded case as it is."""
    if failure.encoded:
        return f"# seed {failure.seed}\n{failure.encoded}"
    case, wrong = case_of(failure.seed), failure.fault
    return report(shrink(case, lambda less: fault(less) == wrong), wrong, failure.seed)


def by_kind(failures: list[Failure]) -> dict[str, list[Failure]]:
    """Return the failures grouped by error, most frequent first."""
    kinds = Counter(failure.fault for failure in failures)
    return {kind: [failure for failure in failures if failure.fault == kind] for kind, _ in kinds.most_common()}


def summary(done: Chunk) -> str:
    """Return the counts, and minimal cases of each kind of failure."""
    lines = [f"{done.results.total():,} cases: {dict(done.results)}, {len(done.failures)} failures"]
    lines += [f"{' '.join(key)}: {count:,}" for key, count in sorted(done.formats.items())]
    for kind, found in by_kind(done.failures).items():
        lines.append(f"\n{len(found)} times: {kind}")
        lines += [minimal(failure) + "\n" for failure in found[:3]]
    return "\n".join(lines)


def main(arguments: list[str]) -> int:
    """Run the given number of cases; return 1 if one fails."""
    count, start = (int(text) for text in [*arguments, "0"][:2])
    done = run_with_progress(range(start, start + count), os.cpu_count() or 1)
    sys.stdout.write(summary(done) + "\n")
    return 1 if done.failures else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
