"""Run `shadowdiff` with all timeouts for slow peers shortened by the same factor.

`python -m tests.security.hasty FACTOR serve …` multiplies each timeout by FACTOR, and shortens each interval between
checks to match. Nothing else changes.
"""

from __future__ import annotations

import sys

from shadowdiff.cli import main
from shadowdiff.intake import protocol
from shadowdiff.service import limited_http_protocol

BOUNDS = (
    (protocol, ("HEAD_WITHIN_S", "STALLED_S", "REQUEST_WITHIN_S", "_CHECK_EVERY_S")),
    (limited_http_protocol, ("REQUEST_WITHIN_S", "UNREAD_S", "_CHECK_EVERY_S")),
)


def run() -> None:
    """Read the factor, then run the command line with the remaining arguments."""
    factor = float(sys.argv.pop(1))
    for module, names in BOUNDS:
        for name in names:
            setattr(module, name, getattr(module, name) * factor)
    main()


if __name__ == "__main__":
    run()
