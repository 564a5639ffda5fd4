"""`python -m shadowdiff` is the `shadowdiff` command.

Holds: from a clone whose packages this Python does not have, it is one line with the remedy, and exit 2.
"""

import sys

REMEDY = (
    "shadowdiff is not installed for {python} ({missing}): run ./scripts/demo once and use .venv/bin/shadowdiff, "
    "or `pip install .` in the clone\n"
)

try:
    from shadowdiff.cli import main
except ImportError as error:
    # PackageNotFoundError is one: it names the distribution, others the module.
    sys.stderr.write(REMEDY.format(python=sys.executable, missing=f"it lacks {error.name}"))
    sys.exit(2)

main()
