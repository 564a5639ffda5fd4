"""Diagnose hosts: those that requests and records bear and no target names.

In: evidence.  Out: findings; and whether two hosts are one, or look like it.
Holds: pure.
"""

from __future__ import annotations

from difflib import SequenceMatcher
from typing import TYPE_CHECKING, Final

from shadowdiff.doctor.evidence import gathered
from shadowdiff.doctor.finding import Example, Finding, Gravity, Row, listed, plural

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from shadowdiff.doctor.evidence import Evidence, Misfit, Patient

_ALIKE: Final = 0.6
_SHOWN: Final = 3


def unknown_hosts(evidence: Evidence) -> Iterator[Finding]:
    """Find hosts that requests or records bear and no target names."""
    known = [host for patient in evidence.patients for host in patient.target.hosts]
    sides = (
        ("mirrored", gathered(process.unknown_mirrored for process in evidence.processes)),
        ("recorded", gathered(process.unknown_recorded for process in evidence.processes)),
    )
    seen = {side: [misfit for misfit in misfits if misfit.what not in known] for side, misfits in sides}
    came = {side: _came(evidence, side) for side in seen}
    seen = {side: misfits for side, misfits in seen.items() if misfits and came[side] > 0}
    if not seen:
        return
    hosts = list(dict.fromkeys(misfit.what for misfits in seen.values() for misfit in misfits))
    patient = next((one for host in hosts for one in evidence.patients if resembles(host, one)), None)
    said = " and ".join(f"{plural(came[side], 'request')} {side}" for side in seen)
    yield Finding(
        code="unknown_host",
        gravity=Gravity.ERROR if patient is None or not (patient.mirrored and patient.recorded) else Gravity.WARNING,
        target=patient.target.name if patient else "",
        title=f"No target is named by the host {listed(hosts)}: {said} under hosts that nobody configured.",
        explanation=(
            "A request belongs to the target whose `hosts` hold its Host header (Envoy's `-shadow` and the port do not "
            f"matter). Configured {'is' if len(known) == 1 else 'are'} {listed(known) or 'none'}."
        ),
        way_out="If it is the service you mean, name this host too, and reload. If not, mirror fewer routes.",
        lines=_hosts_yaml(patient, hosts),
        examples=tuple(_host_example(seen, at) for at in range(min(_SHOWN, len(hosts)))),
    )


def _came(evidence: Evidence, side: str) -> int:
    """Return how many came for an unknown host; a malformed record, whose host may be unreadable, is none of them."""
    return evidence.unknown.get(f"{side}.received", 0) - evidence.unknown.get(f"{side}.refused", 0)


def resembles(host: str, patient: Patient) -> bool:
    """Return whether a host looks like another name of a target's."""

    def alike(known: str) -> bool:
        ours, theirs = _bare(known).lower(), _bare(host).lower()
        return ours.split(".")[0] == theirs.split(".")[0] or SequenceMatcher(None, ours, theirs).ratio() >= _ALIKE

    return any(alike(known) for known in patient.target.hosts)


def same_host(authority: str, host: str) -> bool:
    """Return whether two authorities are one, the port counting only where both have one."""
    if ":" in authority and ":" in host:
        return authority.lower() == host.lower()
    return _bare(authority).lower() == _bare(host).lower()


def _bare(host: str) -> str:
    """Return a host without its port."""
    name, colon, port = host.rpartition(":")
    return name if colon and port.isdigit() else host


def _hosts_yaml(patient: Patient | None, hosts: Sequence[str]) -> tuple[str, ...]:
    if patient is None:
        return ()
    new = [host for host in map(_bare, hosts) if host and resembles(host, patient)]
    every = list(dict.fromkeys([*patient.target.hosts, *new]))
    return ("targets:", f"  - name: {patient.target.name}", f"    hosts: [{', '.join(every)}]")


def _host_example(seen: dict[str, list[Misfit]], at: int) -> Example:
    """Return what each half bears; a half that did not come bears nothing."""
    recorded_one = seen.get("recorded", [])[at : at + 1]
    mirrored_one = seen.get("mirrored", [])[at : at + 1]

    def half(misfits: Sequence[Misfit]) -> tuple[str, str]:
        return (misfits[0].what, misfits[0].last_path) if misfits else ("–", "–")

    (ours, our_path), (theirs, their_path) = half(recorded_one), half(mirrored_one)
    return Example(rows=(Row("host", ours, theirs), Row("path", our_path, their_path)))
