"""Draw random sentences from everything that people read, for readers to judge.

Run: python scripts/draw_sentences.py [--count 200] [--seed 1].  Prints JSON lines {id, kind, part, text}. The draw is
stratified: equally many of each kind, and within a kind evenly over its packages or folders. Kinds:
`docs`, `docstrings` (with comments), `messages` (log lines, CLI help and errors), `pages` (with alerts and the chart).
"""

from __future__ import annotations

import argparse
import ast
import io
import json
import random
import re
import tokenize
from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[1]
LEAST_WORDS = 5
KINDS = ("docs", "docstrings", "messages", "pages")
_FENCE = re.compile(r"^\s*(```|~~~).*?^\s*\1", re.MULTILINE | re.DOTALL)
_SENTENCE = re.compile(r"(?<=[.!?:])\s+(?=[A-Z`])|\n\s*\n|\n\s*[-*|#]")
_LOGS = {"debug", "info", "warning", "error", "exception"}
_TAG = re.compile(r"<[^>]*>|\{[{%#].*?[}%#]\}", re.DOTALL)


class Sentence(NamedTuple):
    """A sentence, the kind of text that it is from, and the package or folder."""

    kind: str
    part: str
    text: str


def main() -> None:
    """Print the draw."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    for number, one in enumerate(draw(options.count, random.Random(options.seed)), 1):  # noqa: S311 - a draw, not a secret
        print(json.dumps({"id": number, **one._asdict()}, ensure_ascii=False))


def draw(count: int, chance: random.Random) -> list[Sentence]:
    """Return sentences, evenly over kinds and the parts of each."""
    strata: dict[str, dict[str, list[Sentence]]] = {kind: defaultdict(list) for kind in KINDS}
    for one in sorted(set(sentences())):
        strata[one.kind][one.part].append(one)
    drawn: list[Sentence] = []
    for kind in KINDS:
        parts = list(strata[kind].values())
        for part in parts:
            chance.shuffle(part)
        remaining = count // len(KINDS)
        while remaining and any(parts):
            chance.shuffle(parts)
            for part in parts:
                if part and remaining:
                    drawn.append(part.pop())
                    remaining -= 1
    return drawn


def sentences() -> Iterator[Sentence]:
    """Yield every sentence of a few words or more."""
    for kind, part, text in texts():
        for sentence in _SENTENCE.split(text):
            shown = " ".join(sentence.split()).strip(" |#*-")
            if len(shown.split()) >= LEAST_WORDS:
                yield Sentence(kind, part, shown)


def texts() -> Iterator[tuple[str, str, str]]:
    """Yield kind, part and text of everything that people read."""
    for page in [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("charts/**/*.md")]:
        yield "docs", str(page.relative_to(ROOT)), _FENCE.sub("", page.read_text(encoding="utf-8"))
    for file in [*ROOT.glob("shadowdiff/**/*.py"), *ROOT.glob("recorder/**/*.py"), *ROOT.glob("tests/**/*.py")]:
        yield from _of_python(file)
    for page in ROOT.glob("shadowdiff/web/templates/*.html"):
        yield "pages", "templates", "\n\n".join(_TAG.split(page.read_text(encoding="utf-8")))
    for file in [*ROOT.glob("charts/**/*.yaml"), *ROOT.glob("charts/**/NOTES.txt")]:
        lines = file.read_text(encoding="utf-8").splitlines()
        comments = (line.partition("# ")[2] for line in lines if "# " in line)
        described = (line.partition(": ")[2] for line in lines if re.match(r"\s*(summary|description):", line))
        yield "pages", "charts", "\n\n".join([*comments, *described])


def _of_python(file: Path) -> Iterator[tuple[str, str, str]]:
    source = file.read_text(encoding="utf-8")
    part = "/".join(file.relative_to(ROOT).parts[:2])
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            yield "docstrings", part, ast.get_docstring(node) or ""
        elif isinstance(node, ast.Call) and file.is_relative_to(ROOT / "shadowdiff"):
            yield from (("messages", part, text) for text in _messages(node))
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT and not token.string.startswith(("# type:", "# noqa", "# pyright")):
            yield "docstrings", part, token.string.lstrip("# ")


def _messages(call: ast.Call) -> Iterator[str]:
    """Yield the texts of a call that logs, fails, or declares a command's help."""
    name = call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")
    has_message = name in _LOGS or name.endswith(("Error", "Exception", "Exit", "Finding", "Field")) or name == "fail"
    texts = list(call.args[:2]) if has_message else []
    texts += [keyword.value for keyword in call.keywords if keyword.arg in {"help", "description", "fix", "summary"}]
    for text in texts:
        if isinstance(text, ast.Constant) and isinstance(text.value, str):
            yield text.value
        elif isinstance(text, ast.JoinedStr):
            yield "".join(str(one.value) if isinstance(one, ast.Constant) else "…" for one in text.values)


if __name__ == "__main__":
    main()
