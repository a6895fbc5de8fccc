#!/usr/bin/env bash
# PostgreSQL from Debian's packages, as a process of this checkout: own data, own port, loopback only, fsync on.
#
#   postgres.sh up|down|wipe|kill|start     (SERVICES names the folder; see services.sh)
#
# up installs the packages when they are missing (that needs root), makes the data once, starts the server, and prints the
# URL of its administrator, which is also in $SERVICES/postgres/url. kill and start are for fault tests: SIGKILL, and again.
# PostgreSQL refuses to run as root: started by root, it runs as the user postgres.
set -euo pipefail
name=postgres
source "$(dirname "${BASH_SOURCE[0]}")/server.bash"

# binaries finds the newest installed server, for Debian keeps it out of the PATH.
binaries() {
	local newest
	newest=$(find /usr/lib/postgresql -maxdepth 3 -name initdb 2>/dev/null | sort -V | tail -n 1)
	[ -n "$newest" ] && dirname "$newest"
}

install() {
	# Debian makes and starts a cluster of its own when the package is installed; nobody here needs that one.
	[ "$(id -u)" != 0 ] || mkdir -p /etc/postgresql-common
	[ "$(id -u)" != 0 ] || [ -e /etc/postgresql-common/createcluster.conf ] || echo "create_main_cluster = false" >/etc/postgresql-common/createcluster.conf
	package postgresql
}

# server runs a command as the user that the server runs as.
server() {
	if [ "$(id -u)" = 0 ]; then
		(cd / && runuser -u postgres -- "$@")
	else
		"$@"
	fi
}

# place chooses where the data lies: in the checkout, unless the server's user cannot come there.
place() {
	mkdir -p "$home"
	local data=$home/data
	if [ "$(id -u)" = 0 ] && ! runuser -u postgres -- test -x "$home"; then
		data=$(mktemp -d /var/tmp/aval-postgres.XXXXXX)/data
		chown postgres "$(dirname "$data")"
	fi
	echo "$data" >"$home/data-folder"
}

make_data() {
	mkdir -p "$data"
	[ "$(id -u)" != 0 ] || chown postgres "$data"
	(umask 077 && od -An -N16 -tx1 /dev/urandom | tr -d ' \n' >"$home/password")
	local copy # for the server's user alone
	copy=$(server mktemp)
	server tee "$copy" <"$home/password" >/dev/null
	server "$bin/initdb" -D "$data" -U postgres -E UTF8 --locale=C --auth=scram-sha-256 --pwfile="$copy" >/dev/null || fail "initdb failed in $data"
	server rm -f "$copy"
	server tee -a "$data/postgresql.conf" >/dev/null <<-CONF
		listen_addresses = '127.0.0.1'
		unix_socket_directories = ''
		fsync = on
		synchronous_commit = on
		max_connections = 300
		shared_buffers = 256MB
		max_wal_size = 2GB
		checkpoint_timeout = 15min
	CONF
}

prepare() {
	[ -n "$bin" ] || install
	bin=$(binaries) || fail "the package postgresql brought no server"
	[ -e "$home/data-folder" ] || place
	data=$(cat "$home/data-folder")
	[ -e "$data/PG_VERSION" ] || make_data
}

release() { echo "PostgreSQL $("$bin/postgres" --version | awk '{ print $3 }')"; }

running() { [ -n "$data" ] && server "$bin/pg_ctl" -D "$data" status >/dev/null 2>&1; }

start() {
	[ -n "$data" ] || fail "there is no data; run: make services-up"
	local port
	[ -s "$home/port" ] || free_port 15432 17431 >"$home/port"
	port=$(cat "$home/port")
	untaken "$port"
	server "$bin/pg_ctl" -D "$data" -l "$data/server.log" -o "-p $port" -w -t 60 start >/dev/null || {
		server tail -n 5 "$data/server.log" >&2 || true
		fail "the server did not start; its log is $data/server.log"
	}
	(umask 077 && echo "postgres://postgres:$(cat "$home/password")@127.0.0.1:$port/postgres?sslmode=disable" >"$home/url")
}

# stop ends the server within a moment, or with KILL at once.
stop() {
	running || return 0
	if [ "$1" != KILL ]; then
		server "$bin/pg_ctl" -D "$data" -m fast -w stop >/dev/null || fail "the server did not stop"
		return
	fi
	# To all that it started as well, as when the machine loses its power.
	local pids
	pids=$(server head -n 1 "$data/postmaster.pid")
	pids="$pids $(pgrep -P "$pids" || true)"
	# shellcheck disable=SC2086
	kill -9 $pids
	# shellcheck disable=SC2086
	while kill -0 $pids 2>/dev/null; do sleep 0.02; done
}

remove() {
	case $data in /var/tmp/aval-postgres.*) rm -rf "$(dirname "$data")" ;; esac
	rm -rf "$home"
}

bin=$(binaries || true)
data=$(cat "$home/data-folder" 2>/dev/null || true)
act "$@"
