"""`shadowdiff` whose ports give up on a slow peer sooner, all in the same proportion.

`python -m tests.security.hasty FACTOR serve …`. What may take ten minutes else may take FACTOR times as long here, and
what is looked at every few seconds is looked at the more often. Nothing else differs.
"""

from __future__ import annotations

import sys

from shadowdiff.cli import main
from shadowdiff.intake import protocol
from shadowdiff.service import bounded

BOUNDS = (
    (protocol, ("HEAD_WITHIN_S", "STALLED_S", "REQUEST_WITHIN_S", "_LOOK_EVERY_S")),
    (bounded, ("REQUEST_WITHIN_S", "UNREAD_S", "_LOOK_EVERY_S")),
)


def run() -> None:
    """Take the factor, and run the command line with what follows."""
    factor = float(sys.argv.pop(1))
    for module, names in BOUNDS:
        for name in names:
            setattr(module, name, getattr(module, name) * factor)
    main()


if __name__ == "__main__":
    run()
