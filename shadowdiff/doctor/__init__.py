"""Find out why requests do not pair: checks turn evidence into findings, each with a fix and two halves to compare.

`evidence` has the input, each module in `checks/` has one family of checks, and `registry` runs all checks.
"""
