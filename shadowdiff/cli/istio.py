"""`shadowdiff istio snippets`: what a mesh's own objects need, ready to paste.

In: a configuration, a target, and where the service is.  Out: YAML for the VirtualService or the HTTPRoute that a team
owns, which no chart of ours may change.
Holds: the same words as the chart renders where it may; a test compares them. Reads the file alone, no secret.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click
import yaml

from shadowdiff.config import ConfigError
from shadowdiff.config.document import read_document
from shadowdiff.config.environment import FILE_VARIABLE
from shadowdiff.config.refusal import Place, check

if TYPE_CHECKING:
    from shadowdiff.config.problem import Problem
    from shadowdiff.config.settings import Root, TargetSettings

ID_HEADER: Final = "x-diff-id"
UNIQUE: Final = "%UNIQUE_ID%"
MIRROR_PORT: Final = 8080


@click.group()
def command() -> None:
    """Print what a mesh's own objects need."""


@command.command()
@click.option("--target", required=True, help="A target of the configuration.")
@click.option("--config", "path", metavar="FILE", type=click.Path(path_type=Path), help="Default: SHADOWDIFF_CONFIG.")
@click.option(
    "--service",
    default="shadowdiff.shadowdiff.svc.cluster.local",
    show_default=True,
    help="The service's host: NAME.NAMESPACE.svc.DOMAIN.",
)
@click.option("--into", type=click.Choice(["virtualservice", "httproute", "flagger"]), help="One of them alone.")
@click.option("--timeout", default="15s", show_default=True, help="The route's: it bounds the copy as well.")
@click.option("--recorder-at-gateway", is_flag=True, help="The gateway's own filter sets the id: leave it out here.")
@click.option(
    "--both-sides", is_flag=True, help="v2 is recorded too, and its rollout mirrors to it: name the id alone."
)
def snippets(
    target: str,
    path: Path | None,
    service: str,
    into: str | None,
    timeout: str,
    *,
    recorder_at_gateway: bool,
    both_sides: bool,
) -> None:
    """Print what to paste into the VirtualService, HTTPRoute or Canary of a target's v1.

    What the chart can own (recorder, bounds, grants) it renders: charts/shadowdiff/README.md, "A target's mesh".

    \b
    Examples:
      shadowdiff istio snippets --config shadowdiff.yaml --target orders --into virtualservice
      shadowdiff istio snippets --config shadowdiff.yaml --target orders --into flagger --both-sides
    """  # noqa: D301 - click wants the backspace itself
    if both_sides and recorder_at_gateway:
        raise click.UsageError(
            "--both-sides goes without --recorder-at-gateway: v2's own proxy does not see a gateway's id"
        )
    if service.count(".") < 2:  # noqa: PLR2004 - NAME.NAMESPACE.svc
        raise click.UsageError(f"--service is {service!r}: write NAME.NAMESPACE.svc.cluster.local")
    root = _read(path)
    found = _target(root, target)
    if ID_HEADER not in root.pairing.id_headers:
        raise click.UsageError(
            f"pairing.id_headers lacks {ID_HEADER}, the id that is fresh for each request: add it as the first"
        )
    header = {} if recorder_at_gateway else {ID_HEADER: UNIQUE}
    to = None if both_sides else service
    hosts, also = ", ".join(found.hosts), "" if both_sides else ", and mesh.referenceGrant here"
    made = {
        "virtualservice": (
            f"Into the VirtualService of {hosts}: each http route that goes to v1.",
            virtual_service(to, timeout, header),
        ),
        "httproute": (
            f"Into the HTTPRoute of {hosts}: each rule that goes to v1{also}.",
            http_route(to, timeout, header),
        ),
        "flagger": (
            f"Into spec.service of a Canary{'' if both_sides else ' with the Gateway API'}.",
            flagger(to, timeout, header),
        ),
    }
    parts = [_part(*made[name], both_sides=both_sides) for name in made if into in {None, name}]
    click.echo("---\n".join(parts), nl=False)


def _part(where: str, what: dict[str, Any], *, both_sides: bool) -> str:
    """Return one snippet, with a word on where it goes."""
    mirror = (
        "The mirror is the rollout's own (Flagger's mirror: true, Argo's setMirrorRoute), to v2, which is recorded too."
    )
    all_of_it = "No percentage: v1's halves would stay alone. Draw by id instead (the target's sample)."
    told = [
        where,
        *([mirror] if both_sides else []),
        all_of_it,
        "The timeout bounds the copy as well: keep your own where it is shorter.",
    ]
    return "".join(f"# {line}\n" for line in told) + yaml.safe_dump(what, sort_keys=False)


def virtual_service(service: str | None, timeout: str, header: dict[str, str]) -> dict[str, Any]:
    """Return the keys of a VirtualService's http route; service: None mirrors nowhere."""
    mirrors = [{"destination": {"host": service, "port": {"number": MIRROR_PORT}}}] if service else []
    return {**_named(header), "timeout": timeout, **({"mirrors": mirrors} if mirrors else {})}


def http_route(service: str | None, timeout: str, header: dict[str, str]) -> dict[str, Any]:
    """Return the keys of an HTTPRoute's rule."""
    values = [{"name": name, "value": value} for name, value in header.items()]
    filters: list[dict[str, Any]] = []
    if values:
        filters.append({"type": "RequestHeaderModifier", "requestHeaderModifier": {"set": values}})
    if service:
        filters.append({"type": "RequestMirror", "requestMirror": {"backendRef": _reference(service)}})
    return {"filters": filters, "timeouts": {"request": timeout}}


def flagger(service: str | None, timeout: str, header: dict[str, str]) -> dict[str, Any]:
    """Return the keys of a Canary's service."""
    mirrors = [{"backendRef": _reference(service)}] if service else []
    return {**_named(header), "timeout": timeout, **({"mirror": mirrors} if mirrors else {})}


def _named(header: dict[str, str]) -> dict[str, Any]:
    return {"headers": {"request": {"set": header}}} if header else {}


def _reference(service: str) -> dict[str, Any]:
    name, namespace = service.split(".")[:2]
    return {"name": name, "namespace": namespace, "port": MIRROR_PORT}


def _read(path: Path | None) -> Root:
    """Return the settings of a file; secrets and files that it names are not looked for."""
    source = path or (Path(os.environ[FILE_VARIABLE]) if os.environ.get(FILE_VARIABLE) else None)
    if source is None:
        raise click.UsageError(f"no configuration: name one by --config or {FILE_VARIABLE}")
    problems: list[Problem] = []
    try:
        document = read_document(str(source), source.read_bytes())
    except OSError as error:
        raise click.UsageError(f"{source} cannot be read: {error.strerror}") from error
    except ConfigError as error:
        raise click.UsageError(str(error)) from error
    root = check(document.data, Place(document, {}), problems)
    if root is None or problems:
        raise click.UsageError(str(ConfigError(tuple(problems))))
    return root


def _target(root: Root, name: str) -> TargetSettings:
    found = next((each for each in root.targets if each.name == name), None)
    if found is None:
        known = ", ".join(each.name for each in root.targets) or "none"
        raise click.UsageError(f"no target is called {name!r}: configured are {known}")
    return found
