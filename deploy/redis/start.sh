#!/bin/sh
# Starts Redis with its password in a file in memory, so that it stands in no list of processes.
set -eu
umask 077
printf 'requirepass %s\n' "${REDISCLI_AUTH:?}" > /data/redis.conf
exec redis-server /data/redis.conf --save '' --appendonly no --maxmemory 256mb --maxmemory-policy allkeys-lru
