#!/bin/sh
# Makes Temporal's two databases, or brings them to this version's schema. SQL_HOST, SQL_PORT, SQL_USER, SQL_PASSWORD
# and SQL_PLUGIN are read by the tool itself.
set -eu

schema=${TEMPORAL_SCHEMA:-/etc/temporal/schema}/postgresql/v12

prepare() {
  temporal-sql-tool --database "$1" create-database
  temporal-sql-tool --database "$1" setup-schema --version 0.0
  temporal-sql-tool --database "$1" update-schema --schema-dir "$schema/$2/versioned"
}

prepare temporal temporal
prepare temporal_visibility visibility
