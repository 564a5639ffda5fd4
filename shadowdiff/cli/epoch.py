"""`shadowdiff epoch`: the stretch of time that a verdict rests on, and how to begin a new one."""

from __future__ import annotations

import click
import msgspec

from shadowdiff.cli.author import author
from shadowdiff.cli.remote import ask, json_option, read, target_of, target_option, tell, url_option
from shadowdiff.cli.screen import console, text
from shadowdiff.web.gates import Opened, OpenEpoch


@click.group()
def command() -> None:
    """Show the epoch that a verdict rests on, or open a new one.

    An epoch opens by itself when v2's revision, the rules or the noise set change, and with a rollout. Open one by hand
    when something else changed that the verdict rests on, such as the data behind v2.
    """


@command.command("show")
@target_option
@url_option
@json_option
def show(target: str | None, url: str, *, as_json: bool) -> None:
    """Show the epoch that is open."""
    _print(ask(url, "epochs", target=target_of(target, url)), url, as_json=as_json)


@command.command("open")
@target_option
@click.option("--reason", default="", metavar="TEXT", help="Why; it is logged with your name.")
@url_option
@json_option
def open_(target: str | None, reason: str, url: str, *, as_json: bool) -> None:
    """Open an epoch now: what was counted before is no part of the verdict any more.

    \b
    Example:
      shadowdiff epoch open --target recommendation --reason "v2's catalogue was imported again"
    """  # noqa: D301 - click wants the backspace itself
    asked = msgspec.json.encode(OpenEpoch(author=author(), reason=reason))
    _print(tell(url, asked, "epochs", target=target_of(target, url)), url, as_json=as_json)


def _print(answer: bytes, url: str, *, as_json: bool) -> None:
    if as_json:
        click.echo(answer)
        return
    epoch = read(answer, Opened, url).epoch
    if epoch is None:
        console().print(text("No epoch is open yet: the service has not reached its store."))
        return
    named = f", v2 {epoch.revision}" if epoch.revision else ""
    console().print(text(f"epoch {epoch.id}, open since {epoch.started} by {epoch.by}{named}"))
