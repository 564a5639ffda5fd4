"""Lua scripts of erasures; each script begins with a list of its keys and arguments."""
