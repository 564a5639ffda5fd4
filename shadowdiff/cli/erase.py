"""`shadowdiff erase`: delete all stored data that carries a request id, a value of a path, or a secret."""

from __future__ import annotations

import sys
from dataclasses import replace
from typing import Final

import click

from shadowdiff.cli.remote import Remote, remote_options, user
from shadowdiff.cli.screen import console, text
from shadowdiff.erasure.erasure import KINDS, Erasure, ErasureRequest

_TIMEOUT_S: Final = 600.0
"""An erasure reads all stored data."""


@click.command(short_help="Erase stored data by request id, path value or secret.")
@click.argument("kind", metavar="KIND", type=click.Choice([kind.replace("_", "-") for kind in KINDS]))
@click.argument("value")
@click.option("--target", default="", metavar="NAME", help="Only this target's data.")
@click.option("--reason", default="", metavar="TEXT", help="The reason; it is logged with your name.")
@click.option("--dry-run", is_flag=True, help="Only count what would be erased.")
@remote_options
def command(remote: Remote, *, kind: str, value: str, target: str, reason: str, dry_run: bool) -> None:
    """Erase all stored data that carries VALUE. KIND is request-id, path-value or secret-hash.

    A secret-hash is the placeholder of a secret, as samples show it. If VALUE is -, it is read from standard input, so
    that it is not in the shell's history.

    \b
    Example:
      shadowdiff erase path-value 4711 --dry-run
      shadowdiff erase path-value 4711 --reason "request of a customer"
    """  # noqa: D301 - click needs the backspace character
    value = sys.stdin.readline().strip() if value == "-" else value
    request = ErasureRequest(
        **{kind.replace("-", "_"): value}, target=target, reason=reason, dry_run=dry_run, author=user()
    )
    remote.show(replace(remote, timeout_s=_TIMEOUT_S).send("POST", request, "erasures"), Erasure, _print)


def _print(found: Erasure) -> None:
    verb = "would be erased" if found.dry_run else "erased"
    counts = {
        "samples": found.samples,
        "waiting observations": found.waiting,
        "fingerprints": found.fingerprints,
        "notes": found.notes,
        "parameters of changes": found.parameters,
        "examples of the doctor": found.doctor_examples,
        "audit entries": found.audit_entries,
    }
    lines = [f"{verb}: {', '.join(f'{number:,} {name}' for name, number in counts.items())}"]
    if found.pending:
        lines.append(f"{found.pending:,} pairs are not compared yet and may still become samples: repeat in a minute")
    if found.kept_names:
        lines.append(
            f"{found.kept_names:,} names of routes or JSON paths in counts contain the value, and are not erased"
        )
    if found.kept_rules:
        lines.append(f"rules that contain the value, and are not erased: {', '.join(found.kept_rules)}")
    console().print(text("\n".join(lines)))
