"""Draw docs/verdict.svg: how the interval of two releases narrows until it leaves the limit.

Run it with the project's Python after a change of the method; the draws are seeded.
"""

from __future__ import annotations

import random
from pathlib import Path

from shadowdiff.verdict.decide import ALPHA, ALPHA_TARGET, LEAST_MISMATCHES
from shadowdiff.verdict.sequence import exceeds, lower_end, stays_within, upper_end

ALLOWED, PAIRS, TOP = 0.001, 8000, 0.008
LEFT, RIGHT, ABOVE, BELOW = 64, 724, 24, 320
STEP = 40
RELEASES = (
    ("a correct release", 0.0002, 9, "#2f7d4f"),
    ("a release that breaks 0.3 % of responses", 0.003, 4, "#b3362b"),
)


def x(n: float) -> float:
    """Return the horizontal position of a number of pairs."""
    return LEFT + (RIGHT - LEFT) * n / PAIRS


def y(ratio: float) -> float:
    """Return the vertical position of a ratio."""
    return BELOW - (BELOW - ABOVE) * min(ratio, TOP) / TOP


def release(name: str, ratio: float, seed: int, color: str) -> str:
    """Return the band of one release up to its decision, with a mark there."""
    dice, k, mark = random.Random(seed), 0, ""  # noqa: S311 - a picture
    high, low, middle = list[tuple[int, float]](), list[tuple[int, float]](), list[tuple[int, float]]()
    for n in range(1, PAIRS + 1):
        k += dice.random() < ratio
        decision = "fail" if k >= LEAST_MISMATCHES and exceeds(n, k, ALLOWED, ALPHA_TARGET) else ""
        decision = decision or ("pass" if stays_within(n, k, ALLOWED, ALPHA) else "")
        if n % STEP == 0 or decision:
            high.append((n, upper_end(n, k, ALLOWED, ALPHA)))
            low.append((n, lower_end(n, k, ALLOWED, ALPHA_TARGET)))
            middle.append((n, k / n))
        if decision:
            end = high[-1] if decision == "pass" else low[-1]
            at = f'x="{x(n) + 10:.0f}" y="{y(end[1]) - 10:.0f}"'
            mark = f'<circle cx="{x(n):.1f}" cy="{y(end[1]):.1f}" r="5" fill="{color}"/>'
            mark += f'<text {at} fill="{color}" font-weight="600">{decision} after {n:,} pairs</text>'
            break
    band = " ".join(f"{x(n):.1f},{y(r):.1f}" for n, r in [*high, *reversed(low)])
    line = " ".join(f"{x(n):.1f},{y(r):.1f}" for n, r in middle)
    return (
        f'<polygon points="{band}" fill="{color}" fill-opacity="0.16"><title>{name}</title></polygon>'
        f'<polyline points="{line}" fill="none" stroke="{color}" stroke-width="1.5"/>{mark}'
    )


def picture() -> str:
    """Return the whole picture."""
    ticks = "".join(
        f'<text x="{LEFT - 8}" y="{y(r) + 4:.0f}" text-anchor="end">{100 * r:g} %</text>'
        for r in (0, 0.001, 0.002, 0.004, 0.006, 0.008)
    )
    ticks += "".join(
        f'<text x="{x(n):.0f}" y="{BELOW + 18}" text-anchor="middle">{n:,}</text>' for n in range(0, PAIRS + 1, 2000)
    )
    bands = "".join(release(*one) for one in RELEASES)
    return (
        '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 760 372" font-family="system-ui, sans-serif" '
        'font-size="12" fill="#444" role="img" aria-label="Two releases: the interval of each narrows with the pairs; '
        'one comes to lie above the limit and fails, the other below it and passes">'
        '<rect width="760" height="372" fill="#fff"/>'
        f'<path d="M{LEFT} {ABOVE}V{BELOW}H{RIGHT}" fill="none" stroke="#999"/>{ticks}{bands}'
        f'<path d="M{LEFT} {y(ALLOWED):.1f}H{RIGHT}" stroke="#222" stroke-dasharray="5 4"/>'
        f'<text x="{RIGHT}" y="{y(ALLOWED) - 6:.1f}" text-anchor="end" fill="#222">the limit: 0.1 %</text>'
        f'<text x="{(LEFT + RIGHT) / 2:.0f}" y="{BELOW + 40}" text-anchor="middle">'
        "pairs compared since the run started</text>"
        f'<text x="{LEFT + 8}" y="{ABOVE - 10}">'
        "share of answers that differ: line = seen so far, band = where the truth may be</text>"
        "</svg>\n"
    )


if __name__ == "__main__":
    (Path(__file__).parent.parent / "docs" / "verdict.svg").write_text(picture(), encoding="utf-8")
