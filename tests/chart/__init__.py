"""The chart, rendered by helm."""
