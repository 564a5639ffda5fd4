"""Who works at this terminal, for what is noted with a name."""

from __future__ import annotations

import getpass
import os


def author() -> str:
    """Return the user of this machine."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container's user may have no name
        return f"uid {os.getuid()}"
