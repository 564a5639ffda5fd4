"""`shadowdiff verdict`: whether v2 may go out, as an exit status and as files that a pipeline shows."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click
from rich.text import Text

from shadowdiff.cli.remote import RemoteError, ask, json_option, read, target_of, target_option, url_option
from shadowdiff.cli.screen import VERDICT_STYLES, console, inert, text
from shadowdiff.cli.verdict_files import junit, markdown
from shadowdiff.verdict import Decision, Lack, Verdict
from shadowdiff.web.words import percent, short_path

if TYPE_CHECKING:
    from collections.abc import Iterator

EXIT: Final = {Decision.PASS: 0, Decision.FAIL: 1, Decision.INSUFFICIENT: 3}
POLL_S: Final = 2.0
_TOP: Final = 5
_HOPELESS: Final = frozenset({Lack.NEVER, Lack.ROLLOUT})
"""What no waiting mends."""
_FILE = click.Path(dir_okay=False, writable=True, path_type=Path)


@click.command()
@target_option
@click.option("--revision", metavar="NAME", help="What is rolled out; one not seen before opens its epoch.")
@click.option("--max-mismatch-ratio", type=click.FloatRange(0, 1), metavar="RATIO", help="A stricter limit.")
@click.option("--min-coverage", type=click.FloatRange(0, 1), metavar="RATIO", help="A stricter coverage.")
@click.option("--wait", is_flag=True, help="Wait until the verdict is pass or fail, telling how far it is.")
@click.option("--timeout", type=click.FloatRange(0), default=600, show_default=True, help="Seconds to wait at most.")
@click.option(
    "--junit", "junit_file", type=_FILE, metavar="FILE", help="Write the verdict as JUnit XML, a case a route."
)
@click.option("--markdown", "markdown_file", type=_FILE, metavar="FILE", help="Write it as Markdown, for a summary.")
@url_option
@json_option
@click.pass_context
def command(
    ctx: click.Context,
    *,
    target: str | None,
    revision: str | None,
    max_mismatch_ratio: float | None,
    min_coverage: float | None,
    wait: bool,
    timeout: float,
    junit_file: Path | None,
    markdown_file: Path | None,
    url: str,
    as_json: bool,
) -> None:
    """Say whether v2 answers as v1 does.

    Ends with 0 for pass, 1 for fail, 3 for insufficient, and 2 where the service or the target is not there.

    \b
    Examples:
      shadowdiff verdict --target recommendation --wait && kubectl apply -f v2.yaml
      shadowdiff verdict --target recommendation --junit verdict.xml --markdown "$GITHUB_STEP_SUMMARY"
    """  # noqa: D301 - click wants the backspace itself
    stricter = {"max_mismatch_ratio": max_mismatch_ratio, "min_coverage": min_coverage}
    files = ((junit_file, junit), (markdown_file, markdown))
    for file, _ in files:
        if file is not None and not file.absolute().parent.is_dir():
            raise RemoteError(f"{file} cannot be written: there is no folder {file.absolute().parent}")
    asked = {"target": target_of(target, url), "revision": revision}
    answer, verdict = _waited(url, {**asked, **stricter}, timeout) if wait else _asked(url, {**asked, **stricter})
    for file, write in files:
        if file is not None:
            _write(file, write(verdict))
    for looser in _looser(verdict, max_mismatch_ratio, min_coverage):
        click.echo(f"note: {looser}", err=True)
    if as_json:
        click.echo(answer)
    else:
        _show(verdict)
    ctx.exit(EXIT[verdict.verdict])


def _asked(url: str, arguments: dict[str, str | float | None]) -> tuple[bytes, Verdict]:
    """Return the answer. Raises: RemoteError where the target is not there."""
    answer = ask(url, "verdict", **arguments)
    verdict = read(answer, Verdict, url)
    if verdict.lack is Lack.TARGET:
        raise RemoteError(verdict.reason)
    return answer, verdict


def _waited(url: str, arguments: dict[str, str | float | None], timeout_s: float) -> tuple[bytes, Verdict]:
    """Return the first answer that decides, or the last one before the time is up.

    A service that restarts meanwhile is asked again; one that never answered is an error at once.
    """
    deadline = time.monotonic() + timeout_s
    progress = _Progress()
    answer, verdict = _asked(url, arguments)
    while verdict.verdict is Decision.INSUFFICIENT and verdict.lack not in _HOPELESS:
        left_s = deadline - time.monotonic()
        if left_s <= 0:
            break
        progress.tell(verdict.reason)
        time.sleep(min(POLL_S, left_s))
        try:
            answer, verdict = _asked(url, arguments)
        except RemoteError as error:
            if deadline - time.monotonic() <= 0:
                raise
            progress.tell(error.message)
    progress.end()
    return answer, verdict


class _Progress:
    """One line on standard error: rewritten on a terminal, else written anew where it changed."""

    def __init__(self) -> None:
        self._live = sys.stderr.isatty()
        self._last = ""

    def tell(self, line: str) -> None:
        """Show a line."""
        if line == self._last:
            return
        self._last = line
        shown = f"waiting: {inert(line)}"
        click.echo(f"\r\x1b[2K{shown}" if self._live else shown, err=True, nl=not self._live)

    def end(self) -> None:
        """Leave the terminal's line."""
        if self._live and self._last:
            click.echo("\r\x1b[2K", err=True, nl=False)


def _looser(verdict: Verdict, max_mismatch_ratio: float | None, min_coverage: float | None) -> Iterator[str]:
    """Yield what was asked for and is not what was judged by, since the configuration is stricter."""
    held = verdict.thresholds
    if held and max_mismatch_ratio is not None and max_mismatch_ratio > held.max_mismatch_ratio:
        yield (
            f"--max-mismatch-ratio {max_mismatch_ratio:g} is looser than the configuration's "
            f"{held.max_mismatch_ratio:g}, which holds"
        )
    if held and min_coverage is not None and min_coverage < held.min_coverage:
        yield f"--min-coverage {min_coverage:g} is looser than the configuration's {held.min_coverage:g}, which holds"


def _write(file: Path, whole: str) -> None:
    try:
        file.write_text(whole, encoding="utf-8")
    except OSError as error:
        raise RemoteError(f"{file} cannot be written: {error.strerror or error}") from error


def _show(verdict: Verdict) -> None:
    out = console()
    out.print(Text.assemble((verdict.verdict, VERDICT_STYLES[verdict.verdict]), "  ", text(verdict.reason)))
    if verdict.coverage:
        share = percent(verdict.coverage.ratio if verdict.coverage.eligible else None)
        compared = verdict.pairs["compared"]
        out.print(text(f"{compared:,} {'pair' if compared == 1 else 'pairs'} compared, coverage {share}", "dim"))
    if verdict.epoch:
        out.print(
            text(f"since {verdict.epoch.started} ({verdict.epoch.by}), v2 {verdict.epoch.revision or '–'}", "dim")
        )
    for top in verdict.top[:_TOP] if verdict.verdict is Decision.FAIL else ():
        out.print(
            Text.assemble(
                text(f"  {top.count:,}  ", "red"),
                text(f"{top.route}  {short_path(top.path)}"),
                (f"  {top.kind}", "dim"),
            )
        )
    if verdict.routes_untested:
        untested = ", ".join(verdict.routes_untested[:_TOP])
        more = f" and {len(verdict.routes_untested) - _TOP} more" if len(verdict.routes_untested) > _TOP else ""
        out.print(text(f"too little traffic to vouch for: {untested}{more}", "dim"))
    if verdict.report_url:
        out.print(text(verdict.report_url, "dim"))
