#!/usr/bin/env bash
# PostgreSQL from Debian's packages, as a process of this checkout: own data, own port, loopback only, fsync on.
#
#   postgres.sh up|down|wipe|kill|start     (SERVICES names the folder; see services.sh)
#
# up installs the packages when they are missing (that needs root), makes the data once, starts the server, and prints the
# URL of its administrator, which is also in $SERVICES/postgres/url. kill and start are for fault tests: SIGKILL, and again.
# PostgreSQL refuses to run as root: started by root, it runs as the user postgres.
set -euo pipefail
home=${SERVICES:?set it to the folder for the servers, or call services.sh}/postgres

fail() {
	echo "postgres: $*" >&2
	exit 1
}

# binaries finds the newest installed server, for Debian keeps it out of the PATH.
binaries() {
	local newest
	newest=$(find /usr/lib/postgresql -maxdepth 3 -name initdb 2>/dev/null | sort -V | tail -n 1)
	[ -n "$newest" ] && dirname "$newest"
}

install() {
	[ "$(id -u)" = 0 ] || fail "PostgreSQL's server is not installed; run: sudo apt-get install postgresql"
	# Debian makes and starts a cluster of its own when the package is installed; nobody here needs that one.
	mkdir -p /etc/postgresql-common
	[ -e /etc/postgresql-common/createcluster.conf ] || echo "create_main_cluster = false" >/etc/postgresql-common/createcluster.conf
	{ apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq postgresql; } >&2 || fail "apt-get could not install the package postgresql"
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
	if [ -e "$home/data-folder" ]; then
		cat "$home/data-folder"
		return
	fi
	mkdir -p "$home"
	local data=$home/data
	if [ "$(id -u)" = 0 ] && ! runuser -u postgres -- test -x "$home"; then
		data=$(mktemp -d /var/tmp/aval-postgres.XXXXXX)/data
		chown postgres "$(dirname "$data")"
	fi
	echo "$data" | tee "$home/data-folder"
}

free_port() {
	local port
	for port in $(shuf -i 15432-17431 -n 50); do
		(exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null || {
			echo "$port"
			return
		}
	done
	fail "found no free port between 15432 and 17431"
}

running() { [ -e "$data/PG_VERSION" ] && server "$bin/pg_ctl" -D "$data" status >/dev/null 2>&1; }

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

start() {
	local port
	port=$(cat "$home/port" 2>/dev/null || true)
	if [ -z "$port" ]; then
		port=$(free_port)
		echo "$port" >"$home/port"
	fi
	server "$bin/pg_ctl" -D "$data" -l "$data/server.log" -o "-p $port" -w -t 60 start >/dev/null || {
		server tail -n 5 "$data/server.log" >&2 || true
		fail "the server did not start; its log is $data/server.log"
	}
	(umask 077 && echo "postgres://postgres:$(cat "$home/password")@127.0.0.1:$port/postgres?sslmode=disable" >"$home/url")
}

bin=$(binaries) || { [ "${1:-}" != up ] || install; }
bin=$(binaries) || fail "there is no PostgreSQL server; run: make services-up"

case ${1:-} in
up)
	data=$(place)
	[ -e "$data/PG_VERSION" ] || make_data
	running || start
	echo "PostgreSQL $("$bin/postgres" --version | awk '{ print $3 }'): $(cat "$home/url")"
	;;
start)
	data=$(place)
	running || start
	;;
kill)
	data=$(place)
	running || exit 0
	# SIGKILL to the postmaster and to all that it started, as when the machine loses its power.
	pid=$(server head -n 1 "$data/postmaster.pid")
	children=$(pgrep -P "$pid" || true)
	# shellcheck disable=SC2086
	kill -9 "$pid" $children
	while kill -0 "$pid" 2>/dev/null; do sleep 0.02; done
	;;
down | wipe)
	[ -e "$home" ] || exit 0
	data=$(place)
	! running || server "$bin/pg_ctl" -D "$data" -m fast -w stop >/dev/null || fail "the server did not stop"
	if [ "$1" = wipe ]; then
		case $data in /var/tmp/aval-postgres.*) rm -rf "$(dirname "$data")" ;; esac
		rm -rf "$home"
	fi
	;;
*)
	echo "usage: $(basename "$0") up|down|wipe|kill|start" >&2
	exit 2
	;;
esac
