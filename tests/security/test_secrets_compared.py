"""Secrets are compared in constant time: every comparison of the package is looked at, by what it names."""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "shadowdiff"
SECRET = re.compile(
    r"(^|_)(token|secret|password|digest|signature|sealed|csrf|mac|hmac|cookie|nonce|credential|authorization|reveal)s?($|_)"
)
NONE = {
    "compare/arrays.py": "tokens of a text",
    "compare/nearest.py": "tokens of a text",
    "compare/sequence.py": "tokens of a text",
    "report/hidden_paths.py": "tokens of JSON",
    "report/redaction.py": "names of what is secret",
    "report/shapes.py": "tokens of JSON",
    "web/curl.py": "names of what is secret",
    "web/json_lines.py": "tokens of JSON",
}
"""Where what is compared is named so, and is no secret."""
TELLING = (ast.Eq, ast.NotEq, ast.In, ast.NotIn)
COMPARING = {"config/values.py", "intake/admission.py", "web/access.py", "web/gates.py", "web/writes.py"}


def compared(path: Path) -> Iterator[str]:
    """Yield the comparisons of a module that name a secret, by what stands on either side or is looked up."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if not isinstance(node, ast.Compare) or not any(isinstance(how, TELLING) for how in node.ops):
            continue
        names = [
            part.id if isinstance(part, ast.Name) else part.attr
            for part in ast.walk(node)
            if isinstance(part, ast.Name | ast.Attribute)
        ]
        if any(SECRET.search(name.lower()) for name in names):
            yield f"{node.lineno}: {ast.unparse(node)}"


def test_no_secret_is_compared_but_in_constant_time() -> None:
    """Neither by ==, nor by looking it up among others."""
    told = {str(path.relative_to(PACKAGE)): list(compared(path)) for path in sorted(PACKAGE.rglob("*.py"))}
    assert {} == {name: lines for name, lines in told.items() if lines and name not in NONE}
    assert [] == [name for name in NONE if not told[name]]


def test_secrets_are_compared_where_they_are_asked_for() -> None:
    """So that none is asked for in vain, or anywhere else without being noticed."""
    calls = {
        str(path.relative_to(PACKAGE))
        for path in PACKAGE.rglob("*.py")
        if "hmac.compare_digest(" in path.read_text(encoding="utf-8")
    }
    assert COMPARING == calls


def test_a_comparison_that_leaks_would_be_seen(tmp_path: Path) -> None:
    """Else the test above could not fail."""
    module = tmp_path / "module.py"
    module.write_text(
        "ok = given == self._token\nok = token in tokens\nok = a.reveal() != b\nok = token is None\nok = a == b"
    )
    assert ["1: given == self._token", "2: token in tokens", "3: a.reveal() != b"] == list(compared(module))
