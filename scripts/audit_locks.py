"""Ask for known vulnerabilities of what is locked, by pip-audit.

In: lock files. Out: exit status 1 where a vulnerability is known, or where pip-audit ended without saying either.
Holds: silence is never taken for safety. That an index cannot be reached, or tells nothing of vulnerabilities, is no
fault of the tree: it is said, with how many packages were not looked up.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from typing import Any, NamedTuple

WITHIN_S = 150.0
_NO_INDEX = re.compile(
    r"ConnectionError|ProxyError|ConnectTimeout|ReadTimeout|Max retries exceeded|Could not connect to|"
    r"Name or service not known|Temporary failure in name resolution|Network is unreachable"
)
_VULNERABLE = re.compile(r"\b(?:PYSEC-\d|CVE-\d|GHSA-)|known vulnerabilit|\"vulns\": \[\s*\{")


PASSES, FAILS = 0, 1


class Verdict(NamedTuple):
    """The exit status, and why, in one line or more."""

    status: int
    said: str


def verdict(status: int, out: str, err: str) -> Verdict:
    """Judge what pip-audit said."""
    try:
        told: list[Any] = json.loads(out)["dependencies"]
    except (ValueError, KeyError, TypeError):
        return _without_report(out + err)
    found = [f"{one['name']} {one['version']}: {_ids(one)}" for one in told if one.get("vulns")]
    if found:
        return Verdict(FAILS, "known vulnerabilities:\n" + "\n".join(found))
    if status:
        return Verdict(FAILS, f"pip-audit failed ({status}) beside a report without vulnerabilities:\n{err[-2000:]}")
    if not told:
        return Verdict(FAILS, "pip-audit read no package in the locks")
    unasked = sum("skip_reason" in one for one in told)
    if unasked == len(told):
        return Verdict(PASSES, "skipped: this index tells nothing of vulnerabilities")
    return Verdict(PASSES, f"no known vulnerability in {len(told) - unasked} packages, {unasked} were not looked up")


def _without_report(said: str) -> Verdict:
    if _VULNERABLE.search(said):
        return Verdict(FAILS, f"pip-audit broke off, and named vulnerabilities:\n{said[-4000:]}")
    if _NO_INDEX.search(said):
        return Verdict(PASSES, "skipped: no index that tells of vulnerabilities could be reached")
    return Verdict(FAILS, f"pip-audit said nothing that can be read:\n{said[-4000:]}")


def _ids(one: dict[str, Any]) -> str:
    return ", ".join(
        f"{each['id']} (mended in {', '.join(each['fix_versions']) or 'no version'})" for each in one["vulns"]
    )


def main(locks: list[str]) -> int:
    """Audit the locks; return the exit status."""
    command = ["pip-audit", *(word for lock in locks for word in ("-r", lock)), "--disable-pip", "--require-hashes"]
    command += ["--progress-spinner", "off", "--format", "json"]
    try:
        ran = subprocess.run(command, capture_output=True, text=True, timeout=WITHIN_S, check=False)
    except subprocess.TimeoutExpired:
        told = Verdict(PASSES, f"skipped: the index did not answer within {WITHIN_S:.0f} s")  # its report comes last
    except FileNotFoundError:
        told = Verdict(FAILS, "pip-audit is not installed: scripts/check installs it")
    else:
        told = verdict(ran.returncode, ran.stdout, ran.stderr)
    sys.stderr.write(f"• pip-audit: {told.said}\n")
    return told.status


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
