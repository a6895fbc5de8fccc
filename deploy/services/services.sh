#!/usr/bin/env bash
# Starts and stops the real servers that the cluster tests and benchmarks use, as ordinary processes on loopback:
#
#   services.sh up     starts what does not run yet, and prints where each one listens
#   services.sh down   stops them; their data stays
#   services.sh wipe   stops them and removes their data
#
# Each server is one script beside this one (postgres.sh, …) that understands up, down and wipe; what they do alike is in
# server.bash. Everything lies in .services of the checkout, which git ignores. For people with Docker there is compose.yaml,
# which starts the same.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
export SERVICES=${SERVICES:-$(cd "$here/../.." && pwd)/.services}

case ${1:-} in
up | down | wipe) ;;
*)
	echo "usage: $(basename "$0") up|down|wipe" >&2
	exit 2
	;;
esac
for script in "$here"/*.sh; do
	[ "$script" = "$here/services.sh" ] || "$script" "$1"
done
