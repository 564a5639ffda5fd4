"""Present differences to people: sentences, numbers and times, bodies side by side, and requests as curl commands.

Both the pages and the CLI use this package. Pure: no I/O and no markup; all results are plain text or values.
"""
