"""`shadowdiff verdict`: report whether v2 may be released, as an exit status and as files for a CI pipeline."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click
from click.core import ParameterSource
from rich.text import Text

from shadowdiff.cli.output_errors import OutputError, write_file
from shadowdiff.cli.remote import FiniteRange, Remote, RemoteError, remote_options, target_option
from shadowdiff.cli.screen import VERDICT_STYLES, console, inert, text
from shadowdiff.cli.verdict_files import junit, markdown
from shadowdiff.display.wording import percent, place_text
from shadowdiff.verdict import Decision, InsufficientReason, Verdict, describe_run

if TYPE_CHECKING:
    from collections.abc import Iterator

    from shadowdiff.verdict import Thresholds

EXIT: Final = {Decision.PASS: 0, Decision.FAIL: 1, Decision.INSUFFICIENT: 3}
POLL_S: Final = 2.0
_TOP: Final = 5
_FINAL: Final = frozenset({InsufficientReason.NEVER, InsufficientReason.ROLLOUT})
"""Reasons that do not change with time."""
_FILE = click.Path(dir_okay=False, writable=True, path_type=Path)


@click.command()
@target_option
@click.option("--revision", metavar="NAME", help="v2's revision in this rollout. A new revision starts a run.")
@click.option(
    "--max-mismatch-ratio", type=FiniteRange(0, 1), metavar="RATIO", help="A lower limit than the configured one."
)
@click.option(
    "--min-coverage", type=FiniteRange(0, 1), metavar="RATIO", help="A higher minimum than the configured one."
)
@click.option("--wait", is_flag=True, help="Wait until the verdict is pass or fail, and show the progress.")
@click.option("--timeout", type=FiniteRange(0), default=600, show_default=True, help="Maximum wait in seconds.")
@click.option(
    "--junit", "junit_file", type=_FILE, metavar="FILE", help="Write the verdict as JUnit XML, one case per route."
)
@click.option(
    "--markdown",
    "markdown_file",
    type=_FILE,
    metavar="FILE",
    help="Write the verdict as Markdown, such as for a job summary.",
)
@remote_options
@click.pass_context
def command(
    ctx: click.Context,
    remote: Remote,
    *,
    target: str | None,
    revision: str | None,
    max_mismatch_ratio: float | None,
    min_coverage: float | None,
    wait: bool,
    timeout: float,
    junit_file: Path | None,
    markdown_file: Path | None,
) -> None:
    """Show whether v2 responds like v1.

    Exits with 0 for pass, 1 for fail, 3 for insufficient, and 2 for an error: the service does not respond, the target
    is unknown, or the output cannot be written.

    \b
    Examples:
      shadowdiff verdict --target recommendation --wait && kubectl apply -f v2.yaml
      shadowdiff verdict --target recommendation --junit verdict.xml --markdown "$GITHUB_STEP_SUMMARY"
    """  # noqa: D301 - click needs the backspace character
    stricter = {"max_mismatch_ratio": max_mismatch_ratio, "min_coverage": min_coverage}
    if not wait and ctx.get_parameter_source("timeout") is ParameterSource.COMMANDLINE:
        click.echo("note: --timeout has no effect without --wait", err=True)
    files = ((junit_file, junit), (markdown_file, markdown))
    for file, _ in files:
        if file is not None and not file.absolute().parent.is_dir():
            raise OutputError(f"{file} cannot be written: there is no folder {file.absolute().parent}")
    query = {"target": remote.target_of(target), "revision": revision, **stricter}
    response, verdict = _wait(remote, query, timeout) if wait else _get(remote, query)
    for file, write in files:
        if file is not None:
            write_file(file, write(verdict).encode())
    for looser in _ineffective_limits(verdict.thresholds, max_mismatch_ratio, min_coverage):
        click.echo(f"note: {looser}", err=True)
    remote.show(response, Verdict, _show)
    ctx.exit(EXIT[verdict.verdict])


def _get(remote: Remote, arguments: dict[str, str | float | None]) -> tuple[bytes, Verdict]:
    """Return the raw and the decoded response. Raises: RemoteError if the target is unknown."""
    response = remote.get("verdict", **arguments)
    verdict = remote.decode(response, Verdict)
    if verdict.insufficient_reason is InsufficientReason.TARGET:
        raise RemoteError(verdict.reason)
    return response, verdict


def _wait(remote: Remote, arguments: dict[str, str | float | None], timeout_s: float) -> tuple[bytes, Verdict]:
    """Return the first response with the verdict pass or fail, or the last response before the timeout.

    The first call must succeed. Later calls are retried, so the service can restart meanwhile.
    """
    deadline = time.monotonic() + timeout_s
    progress = _Progress()
    response, verdict = _get(remote, arguments)
    while verdict.verdict is Decision.INSUFFICIENT and verdict.insufficient_reason not in _FINAL:
        left_s = deadline - time.monotonic()
        if left_s <= 0:
            break
        progress.show(verdict.reason)
        time.sleep(min(POLL_S, left_s))
        try:
            response, verdict = _get(remote, arguments)
        except RemoteError as error:
            if deadline - time.monotonic() <= 0:
                raise
            progress.show(error.message)
    progress.end()
    return response, verdict


class _Progress:
    """A progress line on standard error: overwritten on a terminal, otherwise printed again when it changes."""

    def __init__(self) -> None:
        self._live = sys.stderr.isatty()
        self._last = ""

    def show(self, line: str) -> None:
        """Show a line."""
        if line == self._last:
            return
        self._last = line
        shown = f"waiting: {inert(line)}"
        click.echo(f"\r\x1b[2K{shown}" if self._live else shown, err=True, nl=not self._live)

    def end(self) -> None:
        """Clear the line on a terminal."""
        if self._live and self._last:
            click.echo("\r\x1b[2K", err=True, nl=False)


def _ineffective_limits(limits: Thresholds | None, ratio: float | None, coverage: float | None) -> Iterator[str]:
    """Yield each given limit that has no effect because the configuration is stricter."""
    line = "{} {:g} has no effect, because the configuration's {:g} is stricter"
    if limits and ratio is not None and ratio > limits.max_mismatch_ratio:
        yield line.format("--max-mismatch-ratio", ratio, limits.max_mismatch_ratio)
    if limits and coverage is not None and coverage < limits.min_coverage:
        yield line.format("--min-coverage", coverage, limits.min_coverage)


def _show(verdict: Verdict) -> None:
    out = console()
    out.print(Text.assemble((verdict.verdict, VERDICT_STYLES[verdict.verdict]), "  ", text(verdict.reason)))
    if verdict.coverage:
        share = percent(verdict.coverage.ratio if verdict.coverage.eligible else None)
        compared = verdict.pairs["compared"]
        out.print(text(f"{compared:,} {'pair' if compared == 1 else 'pairs'} compared, coverage {share}", "dim"))
    if verdict.run:
        out.print(text(describe_run(verdict.run), "dim"))
    for top in verdict.top[:_TOP] if verdict.verdict is Decision.FAIL else ():
        pairs = text(f"  {top.count:,} {'pair' if top.count == 1 else 'pairs'}  ", "red")
        out.print(Text.assemble(pairs, text(f"{top.route}: {place_text(top.path, top.kind)}")))
    if verdict.routes_untested:
        untested = ", ".join(verdict.routes_untested[:_TOP])
        more = f" and {len(verdict.routes_untested) - _TOP} more" if len(verdict.routes_untested) > _TOP else ""
        out.print(text(f"not enough traffic yet: {untested}{more}", "dim"))
    if verdict.report_url:
        out.print(text(verdict.report_url, "dim"))
