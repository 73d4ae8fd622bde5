#!/bin/sh
# Starts the object storage over its volume, with the stack's bucket and those of backups that go nowhere else.
set -eu
mkdir -p /var/tmp/objects/visitnow /var/tmp/objects/visitnow-backups /var/tmp/objects/visitnow-vault-backups
exec "$(command -v versitygw || echo /app/versitygw)" --quiet --port :7070 --region us-east-1 posix /var/tmp/objects
