"""`shadowdiff noise` and `shadowdiff calibrate`: what v1 differs in from itself, and how it is learned."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import click
import msgspec
from rich.text import Text

from shadowdiff.cli.author import author
from shadowdiff.cli.remote import ask, json_option, read, target_of, target_option, tell, url_option
from shadowdiff.cli.screen import console, text
from shadowdiff.web.noise import NoiseAsked, NoiseReport
from shadowdiff.web.words import short_path

if TYPE_CHECKING:
    from shadowdiff.verdict import PlaceFinding

_LISTED = 40
_STYLES = {"noise": "dim", "beyond": "red", "constant": "red", "v2": "yellow", "unclear": "dim"}
_REASON = click.option("--reason", required=True, metavar="TEXT", help="Why; it is logged with your name.")


@click.group()
def command() -> None:
    """Show what v1 differs in from itself, as its control shows; learn it anew, or forget it."""


@command.command("show")
@target_option
@url_option
@json_option
def show(target: str | None, url: str, *, as_json: bool) -> None:
    """Show the noise set, and what the triples say of each place."""
    _print(ask(url, "noise", target=target_of(target, url)), url, as_json=as_json)


@command.command("learn")
@target_option
@_REASON
@url_option
@json_option
def learn(target: str | None, reason: str, url: str, *, as_json: bool) -> None:
    """Learn the noise from the control anew; until that is done nothing is decided."""
    _do("learn", target, reason, url, as_json=as_json)


@command.command("forget")
@target_option
@_REASON
@url_option
@json_option
def forget(target: str | None, reason: str, url: str, *, as_json: bool) -> None:
    """Have no noise set any more; where there is a control, it is learned anew."""
    _do("forget", target, reason, url, as_json=as_json)


@click.group()
def calibrate() -> None:
    """Learn v1's own noise without a control: have v2's address be v1 for a while.

    \b
    1. Set candidate.url to a second v1, and reload.
    2. shadowdiff calibrate start --target recommendation --reason "before the rollout of 2.0"
    3. Wait for noise.learn pairs, then: shadowdiff calibrate stop --target recommendation --reason done
    4. Set candidate.url to v2 again, and reload.
    """  # noqa: D301 - click wants the backspace itself


@calibrate.command("start")
@target_option
@_REASON
@url_option
@json_option
def start(target: str | None, reason: str, url: str, *, as_json: bool) -> None:
    """Take whatever differs from now on for noise; until it is stopped nothing is decided."""
    _do("calibrate", target, reason, url, as_json=as_json)


@calibrate.command("stop")
@target_option
@_REASON
@url_option
@json_option
def stop(target: str | None, reason: str, url: str, *, as_json: bool) -> None:
    """Freeze what was learned, and have it in force from a new epoch on."""
    _do("stop", target, reason, url, as_json=as_json)


def _do(
    action: Literal["learn", "calibrate", "stop", "forget"], target: str | None, reason: str, url: str, *, as_json: bool
) -> None:
    asked = NoiseAsked(action=action, author=author(), reason=reason)
    _print(tell(url, msgspec.json.encode(asked), "noise", target=target_of(target, url)), url, as_json=as_json)


def _print(answer: bytes, url: str, *, as_json: bool) -> None:
    if as_json:
        click.echo(answer)
        return
    told, out = read(answer, NoiseReport, url), console()
    out.print(text(_headline(told)))
    if told.version is not None:
        out.print(text(f"left out of the verdict: {told.left_out:,} pairs; {told.triples:,} triples in this epoch"))
    for place in told.places[:_LISTED]:
        out.print(_line(place))
    if len(told.places) > _LISTED:
        out.print(text(f"and {len(told.places) - _LISTED} more places (--json lists all)", "dim"))


def _headline(told: NoiseReport) -> str:
    if told.phase == "off":
        return f"{told.target}: nothing shows v1's noise; configure a control, or calibrate"
    if told.version is None or told.phase != "in force":
        return f"{told.target}: {told.phase}, {told.learned:,} of {told.learn:,}"
    missed = f"{told.missed:,} of {told.checked:,} others differed elsewhere"
    return f"{told.target}: set {told.version}, from {told.learned_from:,} ({told.source}, {told.frozen}); {missed}"


def _line(place: PlaceFinding) -> Text:
    cells = place.cells
    counts = f"  of {place.triples:,}: v2 alone {cells.raw:,}, v1 alone {cells.noise:,}, both {cells.both:,}"
    return Text.assemble(
        text(f"  {place.state:<9}", _STYLES[place.state]),
        text(f"{place.route}  {short_path(place.path)}  {place.kind}: {place.change}"),
        text(counts, "dim"),
    )
