#!/usr/bin/env bash
# Apache Kafka from its Maven artifacts (kafka/pom.xml beside this script), as a process of this checkout: broker and controller
# in one (KRaft), own data, own ports, loopback only.
#
#   kafka.sh up|down|wipe|kill|start     (SERVICES names the folder; see services.sh)
#
# up fetches the artifacts once, into ./bin of the checkout, starts the server, waits until it answers, and prints its address,
# which is also in $SERVICES/kafka/url. It needs Java 17 or newer, and Maven to fetch; as root it installs both from Debian's
# packages when they are missing. kill and start are for fault tests: SIGKILL, and again on the same data and port; KAFKA_PORT
# names the port and KAFKA_ADVERTISED the address that clients are told, for a way of one's own to it. KAFKA_SECURED names a file of
# settings (certificates, logins, rights) for a listener with TLS and SASL: it is the one whose address is printed then, and the one
# without, for whoever may do everything, is in $SERVICES/kafka/inner.
set -euo pipefail
name=kafka
source "$(dirname "${BASH_SOURCE[0]}")/server.bash"
version=$(sed -n 's,^  <version>\(.*\)</version>,\1,p' "$here/kafka/pom.xml")
jars=$programs/kafka-$version

release() { echo "Kafka $version"; }

prepare() {
	command -v java >/dev/null || package default-jre-headless
	[ -d "$jars" ] || fetch
}

# fetch copies the artifacts under another name first, so that an interrupted one leaves nothing that looks whole.
fetch() {
	command -v mvn >/dev/null || package maven
	echo "kafka: fetching $version, once" >&2
	rm -rf "$jars.new"
	(cd "$here/kafka" && mvn -B -q dependency:copy-dependencies -DoutputDirectory="$jars.new") >&2 || fail "Maven could not fetch the artifacts"
	mv "$jars.new" "$jars"
}

# running says whether the process that was started last is there and is this server.
running() {
	local pid
	pid=$(cat "$home/pid" 2>/dev/null) && { tr '\0' ' ' <"/proc/$pid/cmdline"; } 2>/dev/null | grep -qF "kafka.Kafka $home/server.properties"
}

# ready asks the server which requests it knows (ApiVersions, version 0); it answers with the number of the question.
ready() {
	(
		exec 3<>"/dev/tcp/127.0.0.1/$1"
		printf '\x00\x00\x00\x0a\x00\x12\x00\x00\x00\x00\x00\x07\xff\xff' >&3
		[ "$(timeout 5 head -c 10 <&3 | tail -c 6 | od -An -tx1 | tr -d ' \n')" = 000000070000 ]
	) 2>/dev/null
}

# Topics are made by aval cluster init and never by chance; what is small on this server is what one broker does not need large.
# Members of groups may be given up after a second: tests kill them.
configure() {
	mkdir -p "$home"
	local port controller id inner ways advertised protocols=
	port=${KAFKA_PORT:-$(free_port 19432 20431)} controller=$(free_port 20432 21431)
	ways=PLAINTEXT://127.0.0.1:$port advertised=PLAINTEXT://${KAFKA_ADVERTISED:-127.0.0.1:$port}
	if [ -n "${KAFKA_SECURED:-}" ]; then
		inner=$(free_port 21432 22431) protocols=SECURED:SASL_SSL,
		ways=SECURED://127.0.0.1:$port,PLAINTEXT://127.0.0.1:$inner advertised=$ways
		echo "127.0.0.1:$inner" >"$home/inner"
	fi
	cat >"$home/server.properties" <<-CONF
		process.roles=broker,controller
		node.id=1
		listeners=$ways,CONTROLLER://127.0.0.1:$controller
		advertised.listeners=$advertised,CONTROLLER://127.0.0.1:$controller
		listener.security.protocol.map=${protocols}PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT
		controller.listener.names=CONTROLLER
		controller.quorum.bootstrap.servers=127.0.0.1:$controller
		log.dirs=$home/data
		auto.create.topics.enable=false
		group.initial.rebalance.delay.ms=0
		group.min.session.timeout.ms=1000
		offsets.topic.num.partitions=4
		offsets.topic.replication.factor=1
		transaction.state.log.num.partitions=4
		transaction.state.log.replication.factor=1
		transaction.state.log.min.isr=1
		share.coordinator.state.topic.num.partitions=1
		share.coordinator.state.topic.replication.factor=1
		share.coordinator.state.topic.min.isr=1
		log.cleaner.dedupe.buffer.size=16777216
	CONF
	[ -z "${KAFKA_SECURED:-}" ] || cat "$KAFKA_SECURED" >>"$home/server.properties"
	until id=$(head -c 16 /dev/urandom | base64 | tr '+/' '-_' | tr -d '=') && [ "${id#-}" = "$id" ]; do :; done
	java -Xmx128m -cp "$jars/*" -Dlog4j2.configurationFile="$here/kafka/log4j2.properties" kafka.tools.StorageTool format \
		--standalone -t "$id" -c "$home/server.properties" >"$home/format.log" 2>&1 || {
		tail -n 5 "$home/format.log" >&2
		rm -f "$home/server.properties"
		fail "its data folder could not be made"
	}
	echo "$port" >"$home/port"
}

start() {
	[ -d "$jars" ] || fail "the artifacts are not there; run: make services-up"
	[ -e "$home/port" ] || configure
	local port asked
	port=$(cat "$home/port") asked=$(cat "$home/inner" 2>/dev/null || echo ":$port")
	launch "${asked#*:}" java -Xms256m -Xmx512m -XX:+UseSerialGC -XX:+ExitOnOutOfMemoryError -Djava.awt.headless=true -cp "$jars/*" \
		-Dlog4j2.configurationFile="$here/kafka/log4j2.properties" kafka.Kafka "$home/server.properties"
	echo "127.0.0.1:$port" >"$home/url"
}

act "$@"
