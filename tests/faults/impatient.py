"""`shadowdiff` whose supervisor waits less long, on SIGUSR2, for a worker that says nothing; on another, as long again.

`python -m tests.faults.impatient SECONDS serve …`. Nothing else differs, and the workers that it starts are plain ones.
"""

from __future__ import annotations

import signal
import sys

from shadowdiff.cli import main
from shadowdiff.service import supervisor


def run() -> None:
    """Take the patience in seconds, and run the command line with what follows."""
    patience_s = [supervisor.HUNG_S, float(sys.argv.pop(1))]

    def turn(_number: int, _frame: object) -> None:
        patience_s.reverse()
        supervisor.HUNG_S = patience_s[0]

    signal.signal(signal.SIGUSR2, turn)
    main()


if __name__ == "__main__":
    run()
