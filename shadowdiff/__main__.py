"""`python -m shadowdiff` is the `shadowdiff` command."""

from shadowdiff.cli import main

main()
