"""How often Python looks for cycles: JSON is many containers and not one cycle, so seldom is enough.

Source: `scripts/bench pipeline --body-bytes 20000`, where looking after every 700 containers took a tenth of the time.
"""

from __future__ import annotations

import gc

SERVING_EVERY = 20_000
"""Bounds the cycles that wait in a service to a few MB."""
COMPARING_EVERY = 200_000
"""A process that compares one large pair at a time keeps nothing."""


def collect_seldom(every: int) -> None:
    """Look at young containers each time `every` more were made than dropped, and never again at what is there now."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(every)
