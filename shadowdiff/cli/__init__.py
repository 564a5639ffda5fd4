"""The `shadowdiff` command: a table of commands, each loaded only when it runs.

`--help` imports no command and lists the commands whose module is installed. Exit status 1 is only for a command's
result, such as a verdict of `fail`. Usage errors and failed writes exit with 2, and bugs with 70.
"""

from __future__ import annotations

import difflib
import importlib
import importlib.util
import sys
import traceback
from importlib.metadata import version
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import click

from shadowdiff.cli.output_errors import EXIT_ERROR, discard_output, guard_streams

if TYPE_CHECKING:
    from collections.abc import Callable

EXIT_BUG: Final = 70
"""EX_SOFTWARE in sysexits.h."""
EXIT_INTERRUPTED: Final = 130


class _Command(NamedTuple):
    """A command: its module in `shadowdiff`, and its line in the help overview."""

    module: str
    help: str
    attribute: str = "command"


COMMANDS: Final = {
    "demo": _Command("demo.command", "Run a demo on this machine, with Envoy, v1, and a v2 with planted faults."),
    "serve": _Command("cli.serve", "Run the service."),
    "check-config": _Command("cli.check_config", "Check a configuration and print its effective settings."),
    "verdict": _Command("cli.verdict", "Show whether v2 may be released: pass, fail or insufficient."),
    "run": _Command("cli.runs", "Show the run on which a verdict is based, or start a new run.", "run"),
    "noise": _Command("cli.runs", "Show the places at which two instances of v1 differ, or learn them again.", "noise"),
    "calibrate": _Command("cli.runs", "Learn v1's own noise without a control.", "calibrate"),
    "targets": _Command("cli.targets", "Show the targets, their routes and counts."),
    "fingerprints": _Command("cli.fingerprints", "List differences, grouped by route and path."),
    "fingerprint": _Command(
        "cli.fingerprints", "Show one group of differences with the values in v1 and v2.", "fingerprint"
    ),
    "causes": _Command("cli.causes", "List the causes of mismatches: each change once, over all routes."),
    "cause": _Command("cli.causes", "Show one cause with the values in v1 and v2.", "cause"),
    "samples": _Command("cli.samples", "List the newest pairs that differ."),
    "sample": _Command("cli.samples", "Show one pair that differs.", "sample"),
    "compare": _Command("cli.compare", "Compare two responses that are stored in files."),
    "rules": _Command("cli.rules", "Preview, add and remove rules."),
    "erase": _Command("cli.erase", "Erase stored data by request id, path value or secret."),
    "istio": _Command("cli.istio", "Print YAML to paste into your Istio or Gateway API objects."),
    "capacity": _Command("cli.capacity", "Estimate pods, Redis, memory and network for a load."),
    "doctor": _Command("cli.doctor", "Find out why requests and records do not pair."),
}


class LazyGroup(click.Group):
    """A group that imports a command only when it runs. The group's errors never exit with 1."""

    def main(self, *args: Any, standalone_mode: bool = True, **extra: Any) -> Any:
        """Run a command and exit with its status."""
        if not standalone_mode:
            return super().main(*args, standalone_mode=False, **extra)
        guard_streams()
        try:
            status = _status(lambda: super(LazyGroup, self).main(*args, standalone_mode=False, **extra))
            sys.stdout.flush()
        except click.ClickException as error:
            discard_output()
            error.show()
            status = max(EXIT_ERROR, error.exit_code)
        sys.exit(status)

    def invoke(self, ctx: click.Context) -> Any:
        """Run a command. Report a BrokenPipeError as a bug; click would exit with 1 without a message."""
        try:
            return super().invoke(ctx)
        except BrokenPipeError as error:
            raise RuntimeError("a connection broke, and the command did not handle the error") from error

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names of the installed commands, in the order of the table."""
        del ctx
        return [name for name, entry in COMMANDS.items() if importlib.util.find_spec(f"shadowdiff.{entry.module}")]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Return a command, importing its module."""
        if cmd_name not in self.list_commands(ctx):
            return None
        entry = COMMANDS[cmd_name]
        return getattr(importlib.import_module(f"shadowdiff.{entry.module}"), entry.attribute)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Return the command that the arguments name. For a typo, suggest the nearest name."""
        near = difflib.get_close_matches(args[0], self.list_commands(ctx), n=1)
        if self.get_command(ctx, args[0]) is None and near:
            ctx.fail(f"No such command {args[0]!r}. Did you mean {near[0]!r}?")
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the overview from the table, without importing the commands."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, COMMANDS[name].help) for name in self.list_commands(ctx)])


def _status(run: Callable[[], Any]) -> int:
    """Return a command's exit status. Raises: click.ClickException."""
    try:
        returned = run()
        return returned if isinstance(returned, int) else 0
    except SystemExit as ended:
        if ended.code is None or isinstance(ended.code, int):
            return ended.code or 0
        click.echo(ended.code, err=True)
        return EXIT_ERROR
    except click.Abort:
        return EXIT_INTERRUPTED
    except click.ClickException:
        raise
    except Exception:  # noqa: BLE001 - the top level; without this, Python would exit with 1
        traceback.print_exc()
        return EXIT_BUG


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(version("shadowdiff"), prog_name="shadowdiff", message="%(prog)s %(version)s")
def main() -> None:
    """Compare v2's responses with v1's, on the production traffic that your mesh mirrors.

    Start with `shadowdiff demo`. `shadowdiff COMMAND --help` describes each command.
    """
