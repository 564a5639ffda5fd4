"""Measure how well shadowdiff explains the differences between two releases of real services.

For each pair in `releases_data`, installs both releases, sends the committed requests through a real Envoy, and
compares what shadowdiff shows with the labels of the pair: without a control, and with one. Prints one JSON object.
"""

from __future__ import annotations

import asyncio
import json
import shutil
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from release_labels import read_labels
from release_pairs import DATA, PairError, names, read_pair
from release_reading import figures
from release_run import observe, sides
from release_services import CACHE, SetupError

from shadowdiff.demo.process import DemoError

if TYPE_CHECKING:
    from release_pairs import Pair

MODES = {"no-control": (False,), "control": (True,), "both": (False, True)}
SUMMED = (
    "reachable", "found", "causes", "noise_causes", "extra_causes", "rules_needed", "fingerprints", "mismatches",
    "explained_by_top_ten",
)  # fmt: skip


def say(line: str) -> None:
    """Print progress to standard error."""
    click.echo(line, err=True)


async def measure(pair: Pair, modes: tuple[bool, ...], requests: int, cache: Path) -> dict[str, Any]:
    """Return the figures of one pair, for each mode. Raises: SetupError, DemoError, PairError."""
    labels = read_labels(pair.folder / "labels.yaml")
    result: dict[str, Any] = {"versions": list(pair.versions)}
    with tempfile.TemporaryDirectory(prefix="shadowdiff-releases-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        async with sides(pair, folder, cache, control=any(modes)) as running:
            for control in modes:
                mode = "control" if control else "no_control"
                began = time.monotonic()
                shown = await observe(pair, running, folder / mode, requests, control=control)
                result[mode] = figures(shown, labels)
                took = time.monotonic() - began
                found = "{found} of {reachable} changes in {causes} causes, {noise_causes} noise, {extra_causes} extra"
                say(f"{pair.name} {mode}: {found.format_map(result[mode])}; {shown.sent} requests, {took:.0f} s")
    return result


def total(pairs: dict[str, Any], mode: str) -> dict[str, Any]:
    """Return the sums of all pairs in one mode."""
    measured = [pair[mode] for pair in pairs.values() if mode in pair]
    sums: dict[str, Any] = {name: sum(one[name] for one in measured) for name in SUMMED}
    found = sum(one["found"] for one in measured)
    per_change = sum(one["causes_per_change"] * one["found"] for one in measured)
    return sums | {
        "recall": round(found / max(1, sums["reachable"]), 3),
        "causes_per_change": round(per_change / max(1, found), 2),
    }


async def run(chosen: list[str], modes: tuple[bool, ...], requests: int, cache: Path) -> dict[str, Any]:
    """Measure the pairs one after the other. Raises: SetupError, DemoError, PairError."""
    pairs = {name: await measure(read_pair(DATA / name), modes, requests, cache) for name in chosen}
    return {
        "pairs": pairs,
        "total": {mode: total(pairs, mode) for mode in (("control" if one else "no_control") for one in modes)},
    }


@click.command()
@click.option("--pair", "chosen", multiple=True, type=click.Choice(names()), help="Only this pair; can be repeated.")
@click.option("--mode", type=click.Choice(list(MODES)), default="both", show_default=True)
@click.option("--requests", default=320, show_default=True, help="The least number of requests in a run.")
@click.option("--cache", type=click.Path(path_type=Path), default=CACHE, show_default=True, help="Installed releases.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object (the default).")
def main(chosen: tuple[str, ...], mode: str, requests: int, cache: Path, as_json: bool) -> None:
    """Measure how well shadowdiff explains the differences between releases."""
    _ = as_json
    for program in ("npm", "git"):
        if shutil.which(program) is None:
            raise click.ClickException(f"{program} is missing; install it")
    try:
        result = asyncio.run(run(list(chosen) or names(), MODES[mode], requests, cache))
    except (SetupError, DemoError, PairError) as problem:
        raise click.ClickException(str(problem)) from problem
    click.echo(json.dumps(result))


if __name__ == "__main__":
    main()
