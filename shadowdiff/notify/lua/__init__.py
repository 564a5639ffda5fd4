"""Redis scripts for notifications."""
