"""Pairing: combine observations, in any order of arrival, into exactly one pair per key, and account for all of them.

`request_id` decides which observations form a pair, `observation_writer` stores observations, `claim` takes each pair
out once, `sweep` settles pairs and orphans when they are due, and `ledger` counts all observations and pairs.
"""
