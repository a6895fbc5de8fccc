# shellcheck shell=bash disable=SC2154,SC2034 # the scripts give name, and use programs
# What every server's script does alike. A script sets name, sources this file, defines what is its own, and ends with: act "$@"
#
#   prepare   makes what the server needs and does not have yet: its program, its data
#   start     starts it, waits until it answers, and writes where it listens to $home/url
#   running   says whether the server that was started last is there
#   release   prints its name and version
#
# SERVICES names the folder for all servers; a script called by services.sh has it. Ports are chosen once: a server that is started
# again listens where it did before.
home=${SERVICES:?set it to the folder for the servers, or call services.sh}/$name
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
programs=$(cd "$here/../.." && pwd)/bin

fail() {
	echo "$name: $*" >&2
	exit 1
}

# package installs a Debian package. That needs root.
package() {
	[ "$(id -u)" = 0 ] || fail "what is in the package $1 is not installed; run: sudo apt-get install $1"
	{ apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq "$1"; } >&2 || fail "apt-get could not install the package $1"
}

taken() { (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }

free_port() { # between two numbers
	local port
	for port in $(shuf -i "$1-$2" -n 50); do
		taken "$port" || {
			echo "$port"
			return
		}
	done
	fail "found no free port between $1 and $2"
}

# untaken fails when somebody else listens where the server would: the somebody might answer in its stead.
untaken() {
	! taken "$1" || fail "its port $1 is taken by another program; end that one, or let this one begin anew on another port, without its data: $name.sh wipe"
}

# launch runs the server's command, and waits until `ready PORT` says that it answers there.
launch() { # PORT COMMAND...
	local port=$1 pid tries=0
	shift
	untaken "$port"
	setsid "$@" </dev/null >>"$home/server.log" 2>&1 &
	pid=$!
	echo "$pid" >"$home/pid"
	until ready "$port"; do
		tries=$((tries + 1))
		if ! kill -0 "$pid" 2>/dev/null || [ $tries -gt 600 ]; then
			tail -n 5 "$home/server.log" >&2
			fail "the server did not start; its log is $home/server.log"
		fi
		sleep 0.1
	done
}

# stop ends a server that was launched with a signal, and waits until it is gone.
stop() {
	running || return 0
	local pid
	pid=$(cat "$home/pid")
	kill "-$1" "$pid"
	while kill -0 "$pid" 2>/dev/null; do sleep 0.02; done
}

remove() { rm -rf "$home"; }

act() {
	case ${1:-} in
	up)
		prepare
		running || start
		echo "$(release): $(cat "$home/url")"
		;;
	start) running || start ;;
	kill) stop KILL ;;
	down) stop TERM ;;
	wipe)
		stop TERM
		remove
		;;
	*)
		echo "usage: $name.sh up|down|wipe|kill|start" >&2
		exit 2
		;;
	esac
}
