#!/usr/bin/env bash
# etcd, built from its own module beside this script, as a process of this checkout: own data, own ports, loopback only, fsync on.
#
#   etcd.sh up|down|wipe|kill|start     (SERVICES names the folder; see services.sh)
#
# up builds the server once, into ./bin of the checkout (about a minute), starts it, and prints its URL, which is also in
# $SERVICES/etcd/url. kill and start are for fault tests: SIGKILL, and again on the same data and port. ETCD_SECURED names a folder with
# server.pem, server.key and ca.pem: the server then speaks TLS alone, to clients with a certificate of that authority;
# ETCD_TOKENS is for how many seconds a login of its users is good.
set -euo pipefail
name=etcd
source "$(dirname "${BASH_SOURCE[0]}")/server.bash"
version=$(awk '$1 == "go.etcd.io/etcd/server/v3" || $2 == "go.etcd.io/etcd/server/v3" { print $(NF) }' "$here/etcd/go.mod")
program=$programs/etcd-$version

release() { echo "etcd ${version#v}"; }

prepare() { [ -x "$program" ] || build; }

# build makes the server under another name first, so that an interrupted build leaves nothing that looks whole.
build() {
	echo "etcd: building $version, once" >&2
	mkdir -p "$programs"
	(cd "$here/etcd" && CGO_ENABLED=0 nice go build -trimpath -o "$program.new" .) || fail "the server could not be built"
	mv "$program.new" "$program"
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
	local port peer
	if [ ! -e "$home/ports" ]; then
		port=$(free_port 17432 18431) peer=$(free_port 18432 19431)
		echo "$port $peer" >"$home/ports"
	fi
	read -r port peer <"$home/ports"
	local scheme=http secured=() asked=$port
	if [ -n "${ETCD_SECURED:-}" ]; then
		scheme=https asked=$(free_port 19432 20431)
		secured=(--cert-file "$ETCD_SECURED/server.pem" --key-file "$ETCD_SECURED/server.key" --trusted-ca-file "$ETCD_SECURED/ca.pem" --client-cert-auth
			--listen-metrics-urls "http://127.0.0.1:$asked" --auth-token-ttl "${ETCD_TOKENS:-300}")
	fi
	# Old revisions are thrown away after five minutes: each lease cycle makes two.
	launch "$asked" "$program" --name aval --data-dir "$home/data" --log-level warn \
		--listen-client-urls "$scheme://127.0.0.1:$port" --advertise-client-urls "$scheme://127.0.0.1:$port" "${secured[@]}" \
		--listen-peer-urls "http://127.0.0.1:$peer" --initial-advertise-peer-urls "http://127.0.0.1:$peer" \
		--initial-cluster "aval=http://127.0.0.1:$peer" \
		--auto-compaction-mode periodic --auto-compaction-retention 5m
	echo "$scheme://127.0.0.1:$port" >"$home/url"
}

act "$@"
