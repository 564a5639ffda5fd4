"""`shadowdiff erase`: delete all stored data that carries a request id, a value of a path, or a secret."""

from __future__ import annotations

import sys
import threading
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Final

import click

from shadowdiff.cli.remote import Remote, remote_options, user
from shadowdiff.cli.screen import console, text
from shadowdiff.erasure.erasure import KINDS, Erasure, ErasureRequest

if TYPE_CHECKING:
    from collections.abc import Generator

_TIMEOUT_S: Final = 600.0
"""An erasure reads all stored data."""
_PROGRESS_S: Final = 5.0


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
    with _progress():
        response = replace(remote, timeout_s=_TIMEOUT_S).send("POST", request, "erasures")
    remote.show(response, Erasure, _print)


@contextmanager
def _progress() -> Generator[None]:
    """Print a line to standard error every few seconds, so that a long erasure does not look like a hanging one."""
    ended = threading.Event()

    def tell() -> None:
        waited_s = 0.0
        while not ended.wait(_PROGRESS_S):
            waited_s += _PROGRESS_S
            click.echo(f"reading all stored data: {waited_s:g} s of at most {_TIMEOUT_S:g} s", err=True)

    thread = threading.Thread(target=tell, name="progress", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def _print(found: Erasure) -> None:
    verb = "would be erased" if found.dry_run else "erased"
    counts = {
        "samples": found.samples,
        "attributes": found.attributes,
        "waiting observations": found.waiting,
        "fingerprints": found.fingerprints,
        "notes": found.notes,
        "parameters": found.parameters,
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
