"""Become another program that ends when its parent does.

In: `python -I -S leash.py PARENT_PID PROGRAM ARGUMENT…`.  Out: that program, under the same process id.
Holds: on Linux the kernel sends SIGTERM when the parent dies, however it dies; elsewhere the parent has to stop it.
Stands alone on the standard library, since it runs without the project's path.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1


def main(arguments: list[str]) -> None:
    """Tie this process to its parent, then run the program in its place."""
    parent, program = int(arguments[0]), arguments[1]
    if sys.platform == "linux":
        _ = ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
        if os.getppid() != parent:  # it died before the line above could be heard
            sys.exit(1)
    os.execv(program, arguments[1:])  # noqa: S606 - the very purpose


if __name__ == "__main__":
    main(sys.argv[1:])
