"""Tests of the chart, rendered by helm."""
