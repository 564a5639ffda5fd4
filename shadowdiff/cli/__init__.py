"""The `shadowdiff` command: a table of commands, each loaded only when it is asked for.

In: the command line.  Out: an exit status; usage errors end with 2.
Holds: `--help` imports no command, and lists those whose module is installed.
"""

from __future__ import annotations

import difflib
import importlib
import importlib.util
from importlib.metadata import version
from typing import Final, NamedTuple

import click


class _Entry(NamedTuple):
    """Where a command is, and what the overview says of it."""

    module: str
    help: str
    attribute: str = "command"


COMMANDS: Final = {
    "demo": _Entry(
        "shadowdiff.demo.command", "Watch a dark launch on this machine: a real Envoy, v1, v2, faults found."
    ),
    "serve": _Entry("shadowdiff.cli.serve", "Run the service."),
    "check-config": _Entry("shadowdiff.cli.check_config", "Check a configuration and print what it comes to."),
    "verdict": _Entry("shadowdiff.cli.verdict", "Say whether v2 may go out: pass, fail or insufficient."),
    "epoch": _Entry("shadowdiff.cli.epoch", "Show the epoch that a verdict rests on, or open a new one."),
    "noise": _Entry("shadowdiff.cli.noise", "Show what v1 differs in from itself, and learn it anew."),
    "calibrate": _Entry("shadowdiff.cli.noise", "Learn v1's own noise without a control.", "calibrate"),
    "targets": _Entry("shadowdiff.cli.targets", "Show the targets, their routes and counts."),
    "fingerprints": _Entry("shadowdiff.cli.fingerprints", "List mismatches, grouped by where they differ."),
    "fingerprint": _Entry("shadowdiff.cli.fingerprint", "Show one group of mismatches, and what each side said."),
    "samples": _Entry("shadowdiff.cli.samples", "List the newest differing pairs."),
    "sample": _Entry("shadowdiff.cli.sample", "Show one differing pair."),
    "compare": _Entry("shadowdiff.cli.compare", "Compare two responses in files, as diff(1) would."),
    "rules": _Entry("shadowdiff.cli.rules", "Try rules on the pairs that were sampled."),
    "istio": _Entry("shadowdiff.cli.istio", "Print what a mesh's own objects need."),
    "capacity": _Entry("shadowdiff.cli.capacity", "Say how much a load takes: pods, Redis, memory, network."),
    "doctor": _Entry("shadowdiff.cli.doctor", "Say why nothing pairs."),
}


class LazyGroup(click.Group):
    """A group whose commands are imported when they run."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names of the commands that are installed, in the order of the table."""
        del ctx
        return [name for name, entry in COMMANDS.items() if _installed(entry.module)]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Return a command, importing its module."""
        if cmd_name not in self.list_commands(ctx):
            return None
        entry = COMMANDS[cmd_name]
        command = getattr(importlib.import_module(entry.module), entry.attribute)
        if not isinstance(command, click.Command):
            raise TypeError(f"{entry.module}:{entry.attribute} is no click command")
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Return the command that the arguments name; a typo is answered with the nearest name."""
        near = difflib.get_close_matches(args[0], self.list_commands(ctx), n=1)
        if self.get_command(ctx, args[0]) is None and near:
            ctx.fail(f"No such command {args[0]!r}. Did you mean {near[0]!r}?")
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the overview from the table, so that help is quick."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, COMMANDS[name].help) for name in self.list_commands(ctx)])


def _installed(module: str) -> bool:
    return importlib.util.find_spec(module) is not None


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(version("shadowdiff"), prog_name="shadowdiff", message="%(prog)s %(version)s")
def main() -> None:
    """Compare v2 with the answers v1 really gave, on the live traffic your mesh already mirrors.

    Try `shadowdiff demo` first. `shadowdiff COMMAND --help` says more of each command.
    """
