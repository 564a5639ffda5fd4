"""`shadowdiff verdict`: whether v2 may go out, as an exit status."""

from __future__ import annotations

import time
from typing import Final

import click
from rich.text import Text

from shadowdiff.cli.remote import RemoteError, ask, json_option, read, url_option
from shadowdiff.cli.screen import VERDICT_STYLES, console, text
from shadowdiff.verdict import Decision, Verdict
from shadowdiff.web.words import percent, short_path

EXIT: Final = {Decision.PASS: 0, Decision.FAIL: 1, Decision.INSUFFICIENT: 3}
POLL_S: Final = 2.0
_TOP: Final = 5


@click.command()
@click.option("--target", required=True, metavar="NAME", help="The target.")
@click.option("--max-mismatch-ratio", type=click.FloatRange(0, 1), metavar="RATIO", help="A stricter limit.")
@click.option("--min-coverage", type=click.FloatRange(0, 1), metavar="RATIO", help="A stricter coverage.")
@click.option("--wait", is_flag=True, help="Wait until the verdict is pass or fail.")
@click.option("--timeout", type=click.FloatRange(0), default=600, show_default=True, help="Seconds to wait at most.")
@url_option
@json_option
@click.pass_context
def command(
    ctx: click.Context,
    *,
    target: str,
    max_mismatch_ratio: float | None,
    min_coverage: float | None,
    wait: bool,
    timeout: float,
    url: str,
    as_json: bool,
) -> None:
    """Say whether v2 answers as v1 does.

    Ends with 0 for pass, 1 for fail, 3 for insufficient, and 2 where the service or the target is not there.

    \b
    Example:
      shadowdiff verdict --target recommendation --wait && kubectl apply -f v2.yaml
    """  # noqa: D301 - click wants the backspace itself
    deadline = time.monotonic() + (timeout if wait else 0)
    while True:
        answer = ask(url, "verdict", target=target, max_mismatch_ratio=max_mismatch_ratio, min_coverage=min_coverage)
        verdict = read(answer, Verdict, url)
        if verdict.thresholds is None:
            raise RemoteError(verdict.reason)
        left_s = deadline - time.monotonic()
        if verdict.verdict is not Decision.INSUFFICIENT or left_s <= 0:
            break
        time.sleep(min(POLL_S, left_s))
    if as_json:
        click.echo(answer)
    else:
        _show(verdict)
    ctx.exit(EXIT[verdict.verdict])


def _show(verdict: Verdict) -> None:
    out = console()
    out.print(Text.assemble((verdict.verdict, VERDICT_STYLES[verdict.verdict]), "  ", text(verdict.reason)))
    if verdict.coverage:
        share = percent(verdict.coverage.ratio if verdict.coverage.eligible else None)
        out.print(text(f"{verdict.pairs['compared']:,} pairs compared, coverage {share}", "dim"))
    for top in verdict.top[:_TOP] if verdict.verdict is Decision.FAIL else ():
        out.print(
            Text.assemble(
                text(f"  {top.count:,}  ", "red"),
                text(f"{top.route}  {short_path(top.path)}"),
                (f"  {top.kind}", "dim"),
            )
        )
    if verdict.report_url:
        out.print(text(verdict.report_url, "dim"))
