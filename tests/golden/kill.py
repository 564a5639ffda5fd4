"""Run golden cases against the first `shadowdiff` on the Python path; print the first error and exit with 1."""

from __future__ import annotations

import sys

from tests.golden.cases import load


def main(names: list[str]) -> int:
    """Return 1 if a case fails or raises, 0 if all pass."""
    for name in names:
        try:
            complaint = load(name).complaint()
        except Exception as error:  # noqa: BLE001  a mutant that raises is dead as well
            complaint = f"{name}: raised {error!r}"
        if complaint:
            sys.stdout.write(complaint + "\n")
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
