"""Backups in object storage: sealed parts, signed manifests, and copies of the installation's files."""
