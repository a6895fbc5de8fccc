#!/usr/bin/env bash
# etcd, built from its own module beside this script, as a process of this checkout: own data, own ports, loopback only, fsync on.
#
#   etcd.sh up|down|wipe|kill|start     (SERVICES names the folder; see services.sh)
#
# up builds the server once, into ./bin of the checkout (about a minute), starts it, and prints its URL, which is also in
# $SERVICES/etcd/url. kill and start are for fault tests: SIGKILL, and again on the same data and port.
set -euo pipefail
home=${SERVICES:?set it to the folder for the servers, or call services.sh}/etcd
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
version=$(awk '$1 == "go.etcd.io/etcd/server/v3" || $2 == "go.etcd.io/etcd/server/v3" { print $(NF) }' "$here/etcd/go.mod")
program=$(cd "$here/../.." && pwd)/bin/etcd-$version

fail() {
	echo "etcd: $*" >&2
	exit 1
}

# build makes the server under another name first, so that an interrupted build leaves nothing that looks whole.
build() {
	echo "etcd: building $version, once" >&2
	mkdir -p "$(dirname "$program")"
	(cd "$here/etcd" && CGO_ENABLED=0 nice go build -trimpath -o "$program.new" .) || fail "the server could not be built"
	mv "$program.new" "$program"
}

free_port() { # between two numbers
	local port
	for port in $(shuf -i "$1-$2" -n 50); do
		(exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null || {
			echo "$port"
			return
		}
	done
	fail "found no free port between $1 and $2"
}

# running says whether the process that was started last is there and is etcd.
running() {
	local pid
	pid=$(cat "$home/pid" 2>/dev/null) && [ "$(readlink "/proc/$pid/exe" 2>/dev/null | xargs -r basename)" = "$(basename "$program")" ]
}

# ready asks the server whether it serves linearizable reads.
ready() {
	local port=$1
	(
		exec 3<>"/dev/tcp/127.0.0.1/$port"
		printf 'GET /health HTTP/1.0\r\n\r\n' >&3
		timeout 5 cat <&3 | grep -q '"health":"true"'
	) 2>/dev/null
}

start() {
	[ -x "$program" ] || fail "the server is not built; run: make services-up"
	mkdir -p "$home"
	[ -e "$home/ports" ] || echo "$(free_port 17432 18431) $(free_port 18432 19431)" >"$home/ports"
	local port peer
	read -r port peer <"$home/ports"
	# Old revisions are thrown away after five minutes: each lease cycle makes two.
	setsid "$program" --name aval --data-dir "$home/data" --log-level warn --log-outputs "$home/server.log" \
		--listen-client-urls "http://127.0.0.1:$port" --advertise-client-urls "http://127.0.0.1:$port" \
		--listen-peer-urls "http://127.0.0.1:$peer" --initial-advertise-peer-urls "http://127.0.0.1:$peer" \
		--initial-cluster "aval=http://127.0.0.1:$peer" \
		--auto-compaction-mode periodic --auto-compaction-retention 5m </dev/null >>"$home/output.log" 2>&1 &
	local pid=$! tries=0
	echo "$pid" >"$home/pid"
	until ready "$port"; do
		tries=$((tries + 1))
		if ! kill -0 "$pid" 2>/dev/null || [ $tries -gt 600 ]; then
			tail -n 5 "$home/server.log" "$home/output.log" >&2 || true
			fail "the server did not start; its log is $home/server.log"
		fi
		sleep 0.1
	done
	echo "http://127.0.0.1:$port" >"$home/url"
}

# stop ends the server with a signal and waits until it is gone.
stop() {
	running || return 0
	local pid
	pid=$(cat "$home/pid")
	kill "-$1" "$pid"
	while kill -0 "$pid" 2>/dev/null; do sleep 0.02; done
}

case ${1:-} in
up)
	[ -x "$program" ] || build
	running || start
	echo "etcd ${version#v}: $(cat "$home/url")"
	;;
start) running || start ;;
kill) stop KILL ;;
down) stop TERM ;;
wipe)
	stop TERM
	rm -rf "$home"
	;;
*)
	echo "usage: $(basename "$0") up|down|wipe|kill|start" >&2
	exit 2
	;;
esac
