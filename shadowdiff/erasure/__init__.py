"""Delete all stored data about one request, one value of a path, or one secret.

`matcher` decides whether a text carries the value; `stored` deletes from each kind of data; `erasure` runs an erasure.
"""
