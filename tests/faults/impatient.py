"""Run `shadowdiff` with a supervisor whose timeout for silent workers changes on SIGUSR2, between short and default.

`python -m tests.faults.impatient SECONDS serve …` starts the supervisor, whose workers are unmodified.
"""

from __future__ import annotations

import signal
import sys

from shadowdiff.cli import main
from shadowdiff.service import supervisor


def run() -> None:
    """Read the timeout in seconds from the first argument, and run the command line with the other arguments."""
    patience_s = [supervisor.HUNG_S, float(sys.argv.pop(1))]

    def turn(_number: int, _frame: object) -> None:
        patience_s.reverse()
        supervisor.HUNG_S = patience_s[0]

    signal.signal(signal.SIGUSR2, turn)
    main()


if __name__ == "__main__":
    run()
