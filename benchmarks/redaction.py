"""What redaction costs: time and work units of usual and hostile texts, a line each, the dearest unit last.

Run: scripts/bench redaction.  `units_per_ms` is how many units a millisecond of processor time paid for. The budgets of
`shadowdiff/report/secret_span.py` rest on the smallest of them.
"""

from __future__ import annotations

import json
import time

from shadowdiff.report import Redactor
from tests.unit.report.test_nested_secrets import HOSTILE
from tests.unit.report.test_samples import HOSTILE_TEXTS

CHARS = 16_000
ROUNDS = 5
PLENTY = 10**12
REDACTOR = Redactor(b"a key")


def main() -> None:
    """Measure every text and print a line each."""
    lines = [measure(name, text) for name, text in texts().items()]
    for name, ms, units in sorted(lines, key=lambda line: -line[2] / line[1]):
        print(f"{name:40} {ms:8.2f} ms {units:8.0f} units  units_per_ms={units / ms:.0f}")


def texts() -> dict[str, str]:
    """Return usual JSON with and without a secret, and for each scanner a text that repeats its steps."""
    item = {"id": 1, "name": "Rain jacket", "price": 59.95, "tags": ["outdoor"], "url": "https://shop.example/1?a=b"}
    usual = json.dumps([item] * (2 * CHARS // len(json.dumps(item))))
    found = {"usual JSON, 32 kB": usual, "the same with a secret": f'{{"token": "x", "items": {usual}}}'}
    for part in (*HOSTILE, *HOSTILE_TEXTS.values()):
        found[repr(part)[:40]] = "token pin " + part * (CHARS // len(part))
    return found


def measure(name: str, text: str) -> tuple[str, float, float]:
    """Return the name, the least time in milliseconds, and the units."""
    best, units = float("inf"), 0.0
    for _ in range(ROUNDS):
        redactor = REDACTOR.limited(PLENTY)
        started = time.process_time()
        redactor.body(text, "application/json")
        best = min(best, time.process_time() - started)
        units = PLENTY - redactor.work_left
    return name, best * 1000, units


if __name__ == "__main__":
    main()
