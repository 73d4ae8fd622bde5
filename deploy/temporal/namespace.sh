#!/bin/sh
# Makes the product's namespace, once. Its retention is how long the history of an ended workflow can be looked at.
set -eu

namespace=${TEMPORAL_NAMESPACE:?}
if temporal operator namespace describe --namespace "$namespace" > /dev/null 2>&1; then
  temporal operator namespace update --namespace "$namespace" --retention "${TEMPORAL_RETENTION:?}"
else
  temporal operator namespace create --namespace "$namespace" --retention "${TEMPORAL_RETENTION:?}"
fi
