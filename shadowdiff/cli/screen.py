"""Write to a terminal: colours where it has them, and nothing a response says can steer it.

In: text from anywhere.  Out: rich values whose control characters are shown, not obeyed.
"""

from __future__ import annotations

import re
import sys
from typing import TYPE_CHECKING, Any, Final

from rich.console import Console
from rich.text import Text

if TYPE_CHECKING:
    from collections.abc import Iterable

    from shadowdiff.web.words import Said

PIPED_WIDTH: Final = 140
VERDICT_STYLES: Final = {"pass": "bold green", "fail": "bold red", "insufficient": "bold yellow"}
_STEERING: Final = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]")


def console() -> Console:
    """Return the standard output: a terminal's width, or a fixed one for a pipe."""
    if sys.stdout.isatty():
        return Console(highlight=False, markup=False, emoji=False)
    return _Piped(width=PIPED_WIDTH, highlight=False, markup=False, emoji=False)


class _Piped(Console):
    """A console whose lines end where their text does."""

    def print(self, *objects: Any, **options: Any) -> None:
        """Print without the blanks that fill a line."""
        with self.capture() as held:
            super().print(*objects, **options)
        self.file.write("".join(f"{line.rstrip()}\n" for line in held.get().splitlines()))


def inert(text: str) -> str:
    """Return text with control and direction characters as escapes."""
    return _STEERING.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def text(words: str, style: str = "") -> Text:
    """Return text that is shown as it is."""
    return Text(inert(words), style=style)


def said(parts: Iterable[Said]) -> Text:
    """Return a sentence with what it quotes set apart."""
    whole = Text()
    for part in parts:
        whole.append(inert(part.text), style="bold" if part.code else "")
    return whole
