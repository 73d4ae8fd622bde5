"""Temporal: the client, the payload codec and the search attributes."""
