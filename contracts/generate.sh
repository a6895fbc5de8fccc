#!/bin/sh
# Compiles src/*.sol into artifacts/ with the pinned compiler (needs node and npm; building and testing Aval does not).
#
#   contracts/generate.sh          writes the artifacts
#   contracts/generate.sh verify   compiles again and fails when the committed artifacts differ
set -eu
cd "$(dirname "$0")"
npm ci --ignore-scripts --silent
case "${1:-}" in
"") node compile.cjs artifacts ;;
verify)
	fresh=$(mktemp -d)
	trap 'rm -rf "$fresh"' EXIT
	node compile.cjs "$fresh"
	diff -ru artifacts "$fresh" && echo "contracts/artifacts is up to date" ||
		{ echo "contracts/artifacts differs from src: run contracts/generate.sh and commit what it writes" >&2; exit 1; }
	;;
*)
	echo "usage: contracts/generate.sh [verify]" >&2
	exit 2
	;;
esac
