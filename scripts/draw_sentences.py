"""Draw random sentences from everything that people read, for readers to judge.

Run: python scripts/draw_sentences.py [--count 200] [--seed 1] [--json].  The draw is stratified: equally many of each
kind, and within a kind evenly over its packages or folders. Kinds: `docs`, `docstrings` (with comments), `messages`
(log lines, help texts, errors), `pages` (with alerts and the chart).

Each sentence is printed with what its reader sees next to it: the heading, the row and the column of a table cell, the
function or the line of code, and the sentence before. `{name}` in a message is a value that the program fills in.
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
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, cast

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[1]
LEAST_WORDS = 5
MOST_NAME_CHARS = 60
MOST_LINE_ENDS = 3
"""A text in the code with more line ends is a file, not a message."""
KINDS = ("docs", "docstrings", "messages", "pages")
_FENCE = re.compile(r"^\s*(```|~~~).*?^\s*\1|<!--.*?-->", re.MULTILINE | re.DOTALL)
_END = re.compile(r"(?<=[.!?])\s+(?=[A-Z`*(])")
_CELL = re.compile(r"(?<!\\)\|")
_ITEM = re.compile(r"\A\s*(?:[-*+]|\d+\.)\s+")
_RULE = re.compile(r"[\s|:-]+")
_WORD = re.compile(r"[(\"'`]*[A-Za-z][\w'-]*[)\"'`.,;:!?]*")
_LOGS = frozenset({"debug", "info", "warning", "error", "exception", "critical"})
_INLINE = re.compile(r"</?(?:a|abbr|b|code|em|kbd|small|strong|time)\b[^>]*>")
_BRANCH = re.compile(r"\{%-?\s*(?:else|elif|block|macro|set|import|extends|call)\b.*?%\}", re.DOTALL)
_STATEMENT = re.compile(r"\{%.*?%\}", re.DOTALL)
_SHOWN = re.compile(r'(title|placeholder|aria-label|data-confirm)="([^"]+)"')
_EXPRESSION = re.compile(r"\{\{-?\s*(.*?)\s*-?\}\}", re.DOTALL)


class Text(NamedTuple):
    """A paragraph, table cell, docstring or message.  where: file and heading, or file and function."""

    kind: str
    part: str
    where: str
    context: str
    text: str


class Sentence(NamedTuple):
    """A sentence of a text, and the sentence before it in the same text."""

    kind: str
    part: str
    where: str
    context: str
    before: str
    text: str


def main() -> None:
    """Print the draw."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", action="store_true", help="print JSON lines instead of text")
    options = parser.parse_args()
    for number, one in enumerate(draw(options.count, random.Random(options.seed)), 1):  # noqa: S311 - a draw, not a secret
        record = {"id": number, **one._asdict()}
        print(json.dumps(record, ensure_ascii=False) if options.json else _readable(number, one))


def _readable(number: int, one: Sentence) -> str:
    above = "; ".join(part for part in (one.where, one.context) if part)
    before = f"      … {one.before}\n" if one.before else ""
    return f"{number:>4}  [{one.kind}] {above}\n{before}    > {one.text}\n"


def draw(count: int, chance: random.Random) -> list[Sentence]:
    """Return sentences, evenly over kinds and the parts of each."""
    strata: dict[str, dict[str, list[Sentence]]] = {kind: defaultdict(list) for kind in KINDS}
    for one in sorted({(one.kind, one.part, one.text): one for one in sentences()}.values()):
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
    for kind, part, where, context, text in texts():
        before = ""
        for block in re.split(r"\n\s*\n|\n\s*(?=- )", text):
            for sentence in _END.split(block.replace("**", "")):
                shown = " ".join(sentence.split()).removeprefix("- ")
                if len(shown.split()) >= LEAST_WORDS:
                    yield Sentence(kind, part, where, context, before, shown)
                before = shown or before


def texts() -> Iterator[Text]:
    """Yield everything that people read."""
    for page in [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("charts/**/*.md")]:
        yield from _of_markdown(str(page.relative_to(ROOT)), page.read_text(encoding="utf-8"))
    for file in [*ROOT.glob("shadowdiff/**/*.py"), *ROOT.glob("recorder/**/*.py"), *ROOT.glob("tests/**/*.py")]:
        yield from _of_python(file)
    for file in ROOT.glob("shadowdiff/**/*.lua"):
        part = "/".join(file.relative_to(ROOT).parts[:2])
        for context, text in _comments(file, "--"):
            yield Text("docstrings", part, str(file.relative_to(ROOT)), context, text)
    for page in ROOT.glob("shadowdiff/web/templates/*.html"):
        yield from _of_template(page)
    for file in [*ROOT.glob("charts/**/*.yaml"), *ROOT.glob("charts/**/NOTES.txt")]:
        yield from _of_chart(file)
    for panel in json.loads((ROOT / "charts/shadowdiff/files/shadowdiff.json").read_text(encoding="utf-8"))["panels"]:
        yield Text("pages", "charts", "Grafana dashboard", f"panel {panel['title']}", panel.get("description", ""))


def _of_markdown(name: str, source: str) -> Iterator[Text]:
    """Yield paragraphs, list items and table cells, each below its headings."""
    headings: list[str] = []
    intro = ""
    for block in re.split(r"\n\s*\n|\n(?=#+ )|(?<=\n)(?=#+ )", _FENCE.sub("\n", source)):
        lines = [line for line in block.splitlines() if line.strip()]
        if not lines:
            continue
        if lines[0].startswith("#"):
            level = len(lines[0]) - len(lines[0].lstrip("#"))
            headings = [*headings[: level - 1], lines[0].strip("# ")]
            yield Text("docs", name, name, "heading", lines.pop(0).strip("# "))
        where = " › ".join([name, *headings])
        table = [line for line in lines if line.lstrip().startswith("|")]
        rest = "\n".join(line for line in lines if not line.lstrip().startswith("|"))
        for item in re.split(r"\n(?=\s*(?:[-*+]|\d+\.)\s)", rest):
            context = f"list item below: {intro}" if intro and _ITEM.match(item) else ""
            yield Text("docs", name, where, context, _ITEM.sub("", item, count=1))
            intro = item if item.rstrip().endswith(":") and not _ITEM.match(item) else intro if context else ""
        yield from (Text("docs", name, where, context, text) for context, text in _cells(table))


def _cells(table: list[str]) -> Iterator[tuple[str, str]]:
    """Yield each cell with its row and column; a row of short cells as a whole."""
    rows = [[cell.strip() for cell in _CELL.split(line.strip().strip("|"))] for line in table]
    rows = [row for row in rows if not _RULE.fullmatch("|".join(row))]
    for row in rows[1:]:
        long = [at for at, cell in enumerate(row) if len(cell.split()) >= LEAST_WORDS]
        for at in long:
            column = rows[0][at] if at < len(rows[0]) else ""
            yield f"table, row {row[0] if at else 'title'}, column {column or 'without title'}", row[at]
        if not long:
            yield f"table row, columns {' | '.join(rows[0])}", " | ".join(row)


def _of_python(file: Path) -> Iterator[Text]:
    source = file.read_text(encoding="utf-8")
    name = str(file.relative_to(ROOT))
    part = "/".join(file.relative_to(ROOT).parts[:2])
    for context, text in _docstrings(ast.parse(source)):
        yield Text("docstrings", part, name, context, text)
    if file.is_relative_to(ROOT / "shadowdiff"):
        for context, text in _messages(ast.parse(source), [], ""):
            is_file = text.count("\n") > MOST_LINE_ENDS
            if sum(bool(_WORD.fullmatch(word)) for word in text.split()) >= LEAST_WORDS - 1 and not is_file:
                yield Text("messages", part, name, context, text)
    for context, text in _comments(file, "#"):
        if not text.startswith(("type:", "noqa", "pyright", "!")):
            yield Text("docstrings", part, name, context, text)


def _docstrings(module: ast.Module) -> Iterator[tuple[str, str]]:
    """Yield the docstrings of the module, its classes, functions and constants."""
    yield "module", ast.get_docstring(module) or ""
    for node in ast.walk(module):
        if isinstance(node, ast.ClassDef):
            yield f"class {node.name}", ast.get_docstring(node) or ""
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            command = any("command(" in ast.unparse(one) for one in node.decorator_list)
            signature = f"{node.name}({', '.join(one.arg for one in node.args.args + node.args.kwonlyargs)})"
            yield "help of the command" if command else f"function {signature}", ast.get_docstring(node) or ""
        body = cast("list[ast.stmt]", getattr(node, "body", [])) if isinstance(node, ast.Module | ast.ClassDef) else []
        for above, below in pairwise(body):
            if isinstance(above, ast.Assign | ast.AnnAssign) and isinstance(below, ast.Expr):
                yield ast.unparse(above).splitlines()[0][:100], str(getattr(below.value, "value", ""))


def _comments(file: Path, mark: str) -> Iterator[tuple[str, str]]:
    """Yield the comments with the line of code that they are about; adjacent comment lines are one text."""
    source = file.read_text(encoding="utf-8")
    if file.suffix == ".py":
        tokens = tokenize.generate_tokens(io.StringIO(source).readline)
        starts = dict(token.start for token in tokens if token.type == tokenize.COMMENT)
    else:
        starts = {at: line.find(mark) for at, line in enumerate(source.splitlines(), 1) if mark in line}
    block: list[str] = []
    for at, line in enumerate([*source.splitlines(), ""], 1):
        code, comment = line[: starts.get(at, len(line))].strip(), line[starts.get(at, len(line)) :].strip(f"{mark} ")
        if comment and not code:
            block.append(comment)
        else:
            if block:
                yield f"comment above: {code[:100]}", "\n".join(block)
            if comment:
                yield f"comment after: {code[:100]}", comment
            block = []


def _messages(node: ast.AST, parents: list[ast.AST], scope: str) -> Iterator[tuple[str, str]]:
    """Yield every text in the code but docstrings, and what uses it."""
    if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
        return
    if isinstance(node, ast.JoinedStr) or (isinstance(node, ast.Constant) and isinstance(node.value, str)):
        values = node.values if isinstance(node, ast.JoinedStr) else [node]
        yield _use([*parents, node], scope), "".join(_filled(one) for one in values)
        return
    if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
        scope = f"{scope}.{node.name}".strip(".")
    for child in ast.iter_child_nodes(node):
        yield from _messages(child, [*parents, node], scope)


def _filled(part: ast.expr) -> str:
    """Return a part of a message; a value that the program fills in is shown as `{expression}`."""
    if isinstance(part, ast.Constant):
        return str(part.value)
    return "{" + ast.unparse(part.value if isinstance(part, ast.FormattedValue) else part) + "}"


def _use(parents: list[ast.AST], scope: str) -> str:
    """Return what uses a text: an error, a log line, a help text, a mapping, or a function."""
    for node in reversed(parents):
        use = ""
        if isinstance(node, ast.keyword) and node.arg not in {"extra", "refuses", "lines"}:
            use = f"`{node.arg}` in {scope}{_first_argument(parents)}"
        elif isinstance(node, ast.Call):
            use = _use_of_call(node, scope)
        elif isinstance(node, ast.Dict):
            key = next((key for key, value in zip(node.keys, node.values, strict=True) if value in parents), None)
            use = f"text of {_assigned(parents)}" + (f", for {ast.unparse(key)}" if key else "")
        elif isinstance(node, ast.AnnAssign | ast.Assign):
            target = node.target if isinstance(node, ast.AnnAssign) else node.targets[0]
            use = f"text of {f'{scope}.'.lstrip('.')}{ast.unparse(target)}{_first_argument(parents)}"
        if use:
            return use
    return f"text in {scope or 'the module'}"


def _use_of_call(call: ast.Call, scope: str) -> str:
    receiver, _, name = ast.unparse(call.func).rpartition(".")
    where = f" in {scope or 'the module'}{_first_argument([call])}"
    if name in _LOGS and receiver.endswith(("log", "logger")):
        return f"log message{where}, with fields" if call.keywords else f"log message{where}"
    if name == "reading":
        return f"end of the log message 'unreadable data in the store: …'{where}"
    if name.endswith(("rror", "Exception", "Exit")) or name in {"fail", "_fail"}:
        return f"error text ({name}){where}"
    return "" if name in {"setting", "join"} or name.startswith("_") else f"argument of {name}(){where}"


def _assigned(parents: list[ast.AST]) -> str:
    """Return the name that the nearest assignment gives a mapping."""
    for node in reversed(parents):
        if isinstance(node, ast.AnnAssign | ast.Assign):
            return ast.unparse(node.target if isinstance(node, ast.AnnAssign) else node.targets[0])
    return "a mapping"


def _first_argument(parents: list[ast.AST]) -> str:
    """Return the name of an option, metric or setting: the first argument of the nearest call."""
    for node in reversed(parents):
        if isinstance(node, ast.Call):
            first = node.args[0] if node.args else None
            name = first.value if isinstance(first, ast.Constant) else None
            return f", {name}" if isinstance(name, str) and len(name) <= MOST_NAME_CHARS else ""
    return ""


def _of_template(page: Path) -> Iterator[Text]:
    """Yield the texts between tags, below the page's last heading. Each branch of a condition is a text of its own."""
    source = re.sub(r"\{#.*?#\}|<(script|style)\b.*?</\1>", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    where, heading = str(page.relative_to(ROOT)), ""
    for attribute, text in _SHOWN.findall(source):
        yield Text("pages", "templates", where, f"attribute {attribute}", _EXPRESSION.sub(r"{\1}", text))
    plain = _EXPRESSION.sub(lambda found: "{" + re.sub("[<>]", "≶", found[1]) + "}", _INLINE.sub("", source))
    for piece in re.split(r"(?=<)", _STATEMENT.sub(" ", _BRANCH.sub("\n\n", plain))):
        tag = piece[1:].split(">", 1)[0].split(" ")[0] if piece.startswith("<") else ""
        for text in re.sub("<[^>]*>", "", piece).split("\n\n"):
            shown = " ".join(text.split())
            heading = shown if tag in {"h1", "h2", "h3"} and shown else heading
            if re.search("[A-Za-z]", re.sub(r"\{(?:[^{}]|\{[^{}]*\})*\}", "", shown)):
                yield Text("pages", "templates", where, f"below {heading!r}, in <{tag}>", shown)


def _of_chart(file: Path) -> Iterator[Text]:
    """Yield the comments, the alerts' texts, and the notes after an installation."""
    where = str(file.relative_to(ROOT))
    source = file.read_text(encoding="utf-8")
    if file.suffix == ".txt":
        source = re.sub(r"\{\{-? *else.*?\}\}", " / ", source)
        for block in re.split(r"\n\s*\n", re.sub(r"\{\{-? *(?:if|end|range|\$).*?\}\}", "", source)):
            yield Text("pages", "charts", where, "", _EXPRESSION.sub(r"{\1}", block))
        return
    for context, text in _comments(file, "# "):
        yield Text("pages", "charts", where, context, text)
    alert = ""
    for line in source.splitlines():
        key, _, value = line.strip(" -").partition(": ")
        alert = value if key == "alert" else alert
        if key in {"summary", "description"}:
            yield Text("pages", "charts", where, f"{key} of alert {alert}", value)


if __name__ == "__main__":
    main()
