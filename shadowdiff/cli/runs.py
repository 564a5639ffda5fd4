"""`shadowdiff run`, `noise` and `calibrate`: manage the run that a verdict rests on, and learn v1's own noise."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import click
from rich.text import Text

from shadowdiff.cli.remote import Remote, remote_options, target_option, user
from shadowdiff.cli.screen import console, text
from shadowdiff.display.wording import short_path
from shadowdiff.queries.runs import CurrentRun, NoiseAction, NoiseReport, StartRun
from shadowdiff.verdict import describe_run

if TYPE_CHECKING:
    from shadowdiff.verdict import PlaceFinding

_LISTED = 40
_STYLES = {"noise": "dim", "beyond": "red", "constant": "red", "v2": "yellow", "unclear": "dim"}


@click.group()
def run() -> None:
    """Show the run on which a verdict is based, or start a new run.

    A run starts automatically when v2's revision, the rules or the noise set change, or when a rollout begins. Start
    a run manually when something else that affects the verdict changes, such as v2's data.
    """


@run.command("show")
@target_option
@remote_options
def show_run(remote: Remote, target: str | None) -> None:
    """Show the current run."""
    remote.show(remote.get("runs", target=remote.target_of(target)), CurrentRun, _print_run)


@run.command("start")
@target_option
@click.option("--reason", default="", metavar="TEXT", help="The reason; it is logged with your name.")
@remote_options
def start(remote: Remote, target: str | None, reason: str) -> None:
    """Start a run now. Pairs compared earlier no longer count in the verdict.

    \b
    Example:
      shadowdiff run start --target recommendation --reason "imported v2's catalog again"
    """  # noqa: D301 - click needs the backspace character
    response = remote.send("POST", StartRun(author=user(), reason=reason), "runs", target=remote.target_of(target))
    remote.show(response, CurrentRun, _print_run)


def _print_run(current: CurrentRun) -> None:
    started = current.run
    console().print(
        text(
            describe_run(started) if started else "There is no run yet, because the service has not reached its store."
        )
    )


@click.group()
def noise() -> None:
    """Show, learn or forget the noise: the places at which two instances of v1 differ."""


@noise.command("show")
@target_option
@remote_options
def show_noise(remote: Remote, target: str | None) -> None:
    """Show the noise set, and the counts of triples for each path."""
    remote.show(remote.get("noise", target=remote.target_of(target)), NoiseReport, _print_report)


@click.group()
def calibrate() -> None:
    """Learn v1's own noise without a control: use a second v1 in place of v2 for a while.

    \b
    1. Set candidate.url to a second v1, and reload.
    2. shadowdiff calibrate start --target recommendation --reason "before the rollout of 2.0"
    3. Wait for noise.learn pairs, then: shadowdiff calibrate stop --target recommendation --reason done
    4. Set candidate.url to v2 again, and reload.
    """  # noqa: D301 - click needs the backspace character


def _add(
    group: click.Group, name: str, action: Literal["learn", "calibrate", "stop", "forget"], description: str
) -> None:
    """Add a command that changes the noise set."""

    @group.command(name, help=description)
    @target_option
    @click.option("--reason", required=True, metavar="TEXT", help="The reason; it is logged with your name.")
    @remote_options
    def run(remote: Remote, target: str | None, reason: str) -> None:
        body = NoiseAction(action=action, author=user(), reason=reason)
        response = remote.send("POST", body, "noise", target=remote.target_of(target))
        remote.show(response, NoiseReport, _print_report)


_add(
    noise, "learn", "learn", "Learn the noise again from the control. Until this is done, the verdict is insufficient."
)
_add(noise, "forget", "forget", "Discard the noise set. If there is a control, shadowdiff learns the noise again.")
_add(
    calibrate,
    "start",
    "calibrate",
    "Learn all differences from now on as noise. Until `calibrate stop`, the verdict is insufficient.",
)
_add(calibrate, "stop", "stop", "Stop learning, and start a new run that ignores the learned noise.")


def _print_report(report: NoiseReport) -> None:
    out = console()
    out.print(text(_headline(report)))
    if report.version is not None:
        out.print(
            text(f"excluded from the verdict: {report.excluded:,} pairs; this run has {report.triples:,} triples")
        )
    for place in report.places[:_LISTED]:
        out.print(_line(place))
    if len(report.places) > _LISTED:
        out.print(text(f"and {len(report.places) - _LISTED} more paths (--json lists all)", "dim"))


def _headline(report: NoiseReport) -> str:
    if report.phase == "off":
        return f"{report.target}: v1's noise is unknown; configure a control, or run `shadowdiff calibrate`"
    if report.version is None or report.phase != "in force":
        return f"{report.target}: {report.phase}, {report.learned:,} of {report.learn:,}"
    missed = f"{report.missed:,} of {report.checked:,} later triples differed at other places"
    learned = f"from {report.learned_from:,} ({report.source}, {report.frozen_at})"
    return f"{report.target}: set {report.version}, {learned}; {missed}"


def _line(place: PlaceFinding) -> Text:
    cells = place.cells
    counts = (
        f"  {place.triples:,} triples: only v2 differs in {cells.raw:,}, only the control in {cells.noise:,}, "
        f"both in {cells.both:,}"
    )
    return Text.assemble(
        text(f"  {place.state:<9}", _STYLES[place.state]),
        text(f"{place.route}  {short_path(place.path)}  {place.kind}: {place.change}"),
        text(counts, "dim"),
    )
