"""The Lua scripts that store runs, as package files."""
