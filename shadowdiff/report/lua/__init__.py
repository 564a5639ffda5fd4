"""Lua scripts of the report; each script begins with a list of its keys and arguments."""
