#!/bin/sh
# Starts the object storage over its volume, with the one bucket that the stack uses.
set -eu
mkdir -p /var/tmp/objects/visitnow
exec "$(command -v versitygw || echo /app/versitygw)" --quiet --port :7070 --region us-east-1 posix /var/tmp/objects
