#!/bin/bash
# Starts mongod as a replica set with access control. The members' shared key must be a file that only mongod reads,
# so it is written to memory from the environment first.
set -euo pipefail
umask 077
printf '%s' "${MONGODB_REPLICA_KEY:?}" > /tmp/replica-key
exec docker-entrypoint.sh mongod --replSet rs0 --keyFile /tmp/replica-key --bind_ip_all "$@"
