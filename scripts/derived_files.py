"""Write files that are derived from declarations in the code, or check that they are current."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

ROOT = Path(__file__).parents[1]


def write_or_check(texts: Mapping[Path, str], script: str) -> None:
    """Write each text to its file. With --check write nothing, and exit with the stale files and the script to run."""
    if "--check" in sys.argv[1:]:
        stale = [str(path.relative_to(ROOT)) for path, text in texts.items() if path.read_text("utf-8") != text]
        if stale:
            sys.exit(f"stale: {', '.join(stale)}; run `python scripts/{script}`")
        return
    for path, text in texts.items():
        path.write_text(text, encoding="utf-8")
