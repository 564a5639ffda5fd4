"""The dark launch on one machine: v1, v2 with planted faults, users, a real Envoy, and the service between them.

In: `shadowdiff demo`.  Out: a live table, or one outcome that is checked against v2's own journal.
Holds: the demo reads the service through its public API alone, and runs the Envoy files that users take.
"""
