"""Write to a terminal, in color if the terminal supports it. Control characters in responses are escaped."""

from __future__ import annotations

import re
import sys
from typing import TYPE_CHECKING, Any, Final

from rich.console import Console
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

    from shadowdiff.display.wording import Segment

PIPED_WIDTH: Final = 140
VERDICT_STYLES: Final = {"pass": "bold green", "fail": "bold red", "insufficient": "bold yellow"}
_CONTROL: Final = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]")


def console() -> Console:
    """Return a console for standard output: as wide as the terminal, or with a fixed width for a pipe."""
    if sys.stdout.isatty():
        return Console(highlight=False, markup=False, emoji=False)
    return _Piped(width=PIPED_WIDTH, highlight=False, markup=False, emoji=False)


class _Piped(Console):
    """A console that removes trailing spaces from lines."""

    def print(self, *objects: Any, **options: Any) -> None:
        with self.capture() as captured:
            super().print(*objects, **options)
        self.file.write("".join(f"{line.rstrip()}\n" for line in captured.get().splitlines()))


def inert(text: str) -> str:
    """Return text with control and direction characters as escapes."""
    return _CONTROL.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def text(content: str, style: str = "") -> Text:
    """Return text without markup or control characters."""
    return Text(inert(content), style=style)


def list_table(*names: str, right: Collection[str] = (), ratios: Mapping[str, int] | None = None) -> Table:
    """Return an empty table without borders.

    right: right-aligned columns.  ratios: relative widths of the columns that wrap; None if all columns wrap.
    """
    table = Table(box=None, header_style="dim", pad_edge=False, padding=(0, 2, 0, 0))
    for name in names:
        ratio, no_wrap = (ratios.get(name), name not in ratios) if ratios else (None, False)
        table.add_column(name, justify="right" if name in right else "left", ratio=ratio, no_wrap=no_wrap)
    return table


def sentence(parts: Iterable[Segment]) -> Text:
    """Return a sentence with its code segments in bold."""
    return Text.assemble(*((inert(part.text), "bold" if part.code else "") for part in parts))
