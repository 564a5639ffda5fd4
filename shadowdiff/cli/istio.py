"""`shadowdiff istio snippets`: print YAML for the VirtualService or HTTPRoute that a team owns.

The chart renders the same YAML for objects that it owns; a test compares the two. Secrets are not read.
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
from shadowdiff.config.validate import validate

if TYPE_CHECKING:
    from shadowdiff.config.problem import Problem
    from shadowdiff.config.settings import Root

ID_HEADER: Final = "x-diff-id"
UNIQUE: Final = "%UNIQUE_ID%"
MIRROR_PORT: Final = 8080


@click.group()
def command() -> None:
    """Print YAML to paste into your Istio or Gateway API objects."""


@command.command()
@click.option("--target", required=True, help="The name of a target in the configuration.")
@click.option("--config", "path", metavar="FILE", type=click.Path(path_type=Path), help="The configuration.")
@click.option(
    "--service",
    default="shadowdiff.shadowdiff.svc.cluster.local",
    show_default=True,
    help="The host of shadowdiff's Service: NAME.NAMESPACE.svc.DOMAIN.",
)
@click.option(
    "--into", type=click.Choice(["virtualservice", "httproute", "flagger"]), help="Print the YAML for this object only."
)
@click.option("--timeout", default="15s", show_default=True, help="Timeout of the route and of the mirrored copy.")
@click.option(
    "--recorder-at-gateway", is_flag=True, help="The recorder is at the gateway and sets the id: print no id."
)
@click.option(
    "--both-sides", is_flag=True, help="The rollout mirrors to v2, and v2 has a recorder: print the id, and no mirror."
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
    """Print the YAML to paste into the VirtualService, HTTPRoute or Canary of a target's v1.

    The chart renders the objects that it can own (recorder, limits, grants). See "A target's mesh" in its README.

    \b
    Examples:
      shadowdiff istio snippets --config shadowdiff.yaml --target orders --into virtualservice
      shadowdiff istio snippets --config shadowdiff.yaml --target orders --into flagger --both-sides
    """  # noqa: D301 - click needs the backspace character
    if both_sides and recorder_at_gateway:
        raise click.UsageError(
            "--both-sides and --recorder-at-gateway cannot be combined: v2's proxy does not see the gateway's id"
        )
    if service.count(".") < 2:  # noqa: PLR2004 - NAME.NAMESPACE.svc
        raise click.UsageError(f"--service is {service!r}: write NAME.NAMESPACE.svc.cluster.local")
    root = _read(path)
    found = next((each for each in root.targets if each.name == target), None)
    if found is None:
        known = ", ".join(each.name for each in root.targets) or "none"
        raise click.UsageError(f"unknown target {target!r}; configured: {known}")
    if ID_HEADER not in root.pairing.id_headers:
        raise click.UsageError(
            f"pairing.id_headers does not contain {ID_HEADER}, which is unique per request: add it as the first header"
        )
    hosts, grant = (
        ", ".join(found.hosts),
        "" if both_sides else "; also set mesh.referenceGrant of the target in the chart",
    )
    places = {
        "virtualservice": f"Add this to each http route to v1 in the VirtualService of {hosts}.",
        "httproute": f"Add this to each rule with v1 as backend in the HTTPRoute of {hosts}{grant}.",
        "flagger": f"Add this to spec.service of the Canary{'' if both_sides else ', if it uses the Gateway API'}.",
    }
    mirror = "The rollout itself mirrors requests to v2 (Flagger: mirror: true, Argo: setMirrorRoute). Record v2 too."
    comments = [
        *([mirror] if both_sides else []),
        "Do not mirror a percentage, because responses to other requests have no partner. Set the target's `sample`.",
        "The timeout also applies to the mirrored copy. If your route has a shorter timeout, keep it.",
    ]
    parts = [
        "".join(f"# {line}\n" for line in [places[name], *comments]) + yaml.safe_dump(made, sort_keys=False)
        for name, made in _objects(service, timeout, sets_id=not recorder_at_gateway, mirrors=not both_sides).items()
        if into in {None, name}
    ]
    click.echo("---\n".join(parts), nl=False)


def _objects(service: str, timeout: str, *, sets_id: bool, mirrors: bool) -> dict[str, dict[str, Any]]:
    """Return the keys to add to a VirtualService's http route, an HTTPRoute's rule, and a Canary's service."""
    name, namespace = service.split(".")[:2]
    host = {"destination": {"host": service, "port": {"number": MIRROR_PORT}}}
    backend = {"backendRef": {"name": name, "namespace": namespace, "port": MIRROR_PORT}}
    header = {"headers": {"request": {"set": {ID_HEADER: UNIQUE}}}} if sets_id else {}
    set_id = {"type": "RequestHeaderModifier", "requestHeaderModifier": {"set": [{"name": ID_HEADER, "value": UNIQUE}]}}
    mirror = {"type": "RequestMirror", "requestMirror": backend}
    filters = [*([set_id] if sets_id else []), *([mirror] if mirrors else [])]
    return {
        "virtualservice": {**header, "timeout": timeout, **({"mirrors": [host]} if mirrors else {})},
        "httproute": {"filters": filters, "timeouts": {"request": timeout}},
        "flagger": {**header, "timeout": timeout, **({"mirror": [backend]} if mirrors else {})},
    }


def _read(path: Path | None) -> Root:
    """Return the settings in a file, without reading secrets or referenced files."""
    source = path or (Path(os.environ[FILE_VARIABLE]) if os.environ.get(FILE_VARIABLE) else None)
    if source is None:
        raise click.UsageError(f"no configuration: set --config or {FILE_VARIABLE}")
    problems: list[Problem] = []
    try:
        document = read_document(str(source), source.read_bytes())
    except OSError as error:
        raise click.UsageError(f"{source} cannot be read: {error.strerror}") from error
    except ConfigError as error:
        raise click.UsageError(str(error)) from error
    root = validate(document, problems)
    if root is None or problems:
        raise click.UsageError(str(ConfigError(tuple(problems))))
    return root
