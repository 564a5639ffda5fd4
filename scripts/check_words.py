"""Reject words and phrases of `scripts/words.txt` in code, docs and pages, and name the better word.

Run: python scripts/check_words.py [FILE …].  Without files it reads all text files that git tracks.
codespell was not taken: its dictionaries hold single words only, and most bad habits are phrases.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import re2

ROOT = Path(__file__).parents[1]
WORDS = ROOT / "scripts" / "words.txt"
SUFFIXES = {".py", ".md", ".html", ".js", ".lua", ".yaml", ".yml", ".toml", ".sh", ".tpl", ".txt", ""}
EXCLUDED = ("fixtures/", "requirements/", "tests/fuzz/corpus/", "CHANGELOG.md", "scripts/words.txt", "LICENSE")
"""Bodies of test cases, locked packages, and the list of old names."""


class Rule(NamedTuple):
    """A pattern and the word to use instead."""

    pattern: str
    better: str


def rules() -> list[Rule]:
    """Return the rules of the list."""
    lines = (line.strip() for line in WORDS.read_text(encoding="utf-8").splitlines())
    return [Rule(*line.split(" => ", 1)) for line in lines if line and not line.startswith("#")]


def tracked() -> list[Path]:
    """Return the text files that git tracks and that the list applies to."""
    names = subprocess.run(
        ["git", "ls-files"], cwd=ROOT, check=True, capture_output=True, text=True
    ).stdout.splitlines()
    return [ROOT / name for name in names if not name.startswith(EXCLUDED) and Path(name).suffix in SUFFIXES]


def findings(files: list[Path], listed: list[Rule]) -> list[str]:
    """Return one line per match: the place, the match, the better word."""
    each = [(re2.compile(rf"(?i)\b(?:{rule.pattern})\b"), rule.better) for rule in listed]
    found: list[str] = []
    for file in files:
        text = file.read_text(encoding="utf-8", errors="replace") if file.is_file() else ""
        for pattern, better in each:
            for first, last in (match.span() for match in pattern.finditer(text)):
                line = text.count("\n", 0, first) + 1
                found.append(f"{file.relative_to(ROOT)}:{line}: {text[first:last]!r}: write {better}")
    return sorted(found)


def main() -> None:
    """Print what was found; exit with 1 if there is anything."""
    files = [Path(name).resolve() for name in sys.argv[1:]] or tracked()
    found = findings(files, rules())
    print("\n".join(found) or f"no rejected words in {len(files)} files")
    sys.exit(bool(found))


if __name__ == "__main__":
    main()
