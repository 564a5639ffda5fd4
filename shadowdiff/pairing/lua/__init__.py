"""Lua scripts; each opens by naming its keys and arguments."""
