"""Compare what is ready: claim, compare, commit."""
