"""Exports: collected from every store, packed while they are read, sealed where they lie."""
