"""Secrets are compared in constant time: the test checks every comparison in the package by its variable names."""

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
NOT_SECRET = {
    "compare/arrays.py": "tokens of a text",
    "compare/sequence.py": "tokens of a text",
    "config/conditions.py": "whether a setting names a header or a cookie",
    "rules/traffic.py": "the name of a header",
    "report/hidden_paths.py": "tokens of JSON",
    "report/redaction.py": "names of what is secret",
    "report/secret_scanner.py": "tokens of JSON",
    "display/curl.py": "names of what is secret",
}
"""Comparisons whose names look like secrets, but are not."""
TELLING = (ast.Eq, ast.NotEq, ast.In, ast.NotIn)
COMPARING = {"intake/admission.py", "model/secret.py", "web/auth_middleware.py"}


def compared(path: Path) -> Iterator[str]:
    """Yield the comparisons of a module that name a secret on either side or in a lookup."""
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


def test_secrets_are_only_compared_in_constant_time() -> None:
    """No secret is compared with == or found by a lookup."""
    comparisons = {str(path.relative_to(PACKAGE)): list(compared(path)) for path in sorted(PACKAGE.rglob("*.py"))}
    assert {} == {name: lines for name, lines in comparisons.items() if lines and name not in NOT_SECRET}
    assert [] == [name for name in NOT_SECRET if not comparisons[name]]


def test_secrets_are_compared_where_they_are_required() -> None:
    """The test fails for a new or missing comparison of a secret."""
    calls = {
        str(path.relative_to(PACKAGE))
        for path in PACKAGE.rglob("*.py")
        if "hmac.compare_digest(" in path.read_text(encoding="utf-8")
    }
    assert COMPARING == calls


def test_a_leaking_comparison_is_found(tmp_path: Path) -> None:
    """The check detects a comparison that leaks a secret."""
    module = tmp_path / "module.py"
    module.write_text(
        "ok = given == self._token\nok = token in tokens\nok = a.reveal() != b\nok = token is None\nok = a == b"
    )
    assert ["1: given == self._token", "2: token in tokens", "3: a.reveal() != b"] == list(compared(module))
