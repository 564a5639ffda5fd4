"""Lua scripts; each script begins with a list of its keys and arguments."""
