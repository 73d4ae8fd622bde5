"""The `visitnow` command."""
