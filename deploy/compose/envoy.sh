#!/bin/sh
# Fill the placeholders of recorder/envoy/envoy.yaml from the environment, and run Envoy on it.
set -eu
sed \
  -e "s|\${LISTEN_ADDRESS}|$LISTEN_ADDRESS|g" -e "s|\${ADMIN_PORT}|$ADMIN_PORT|g" \
  -e "s|\${CLIENT_PORT}|$CLIENT_PORT|g" -e "s|\${INBOUND_PORT}|$INBOUND_PORT|g" \
  -e "s|\${V1_ADDRESS}|$V1_ADDRESS|g" -e "s|\${V1_PORT}|$V1_PORT|g" \
  -e "s|\${SHADOWDIFF_ADDRESS}|$SHADOWDIFF_ADDRESS|g" -e "s|\${RECORD_LUA}|$RECORD_LUA|g" \
  -e "s|\${MIRROR_PORT}|$MIRROR_PORT|g" -e "s|\${RECORDS_PORT}|$RECORDS_PORT|g" \
  "${ENVOY_FILES:-/recorder}/envoy.yaml" > "${TMPDIR:-/tmp}/envoy.yaml"
exec "${ENVOY:-envoy}" -c "${TMPDIR:-/tmp}/envoy.yaml" "$@"
