#!/bin/sh
# Starts a real Apache Kafka (KRaft, loopback only, no Docker) and prints its bootstrap address on stdout.
#
#   deploy/kafka/start.sh [--brokers 1|3]
#
# Run again, it finds the brokers running and prints the same address. deploy/kafka/stop.sh stops them; their data
# stays until `stop.sh --delete`.
#
#   FACEMILL_KAFKA_PORT   port of the first broker (9192); the others and the controllers take the ten after it
#   FACEMILL_KAFKA_DATA   data, logs and pid files (deploy/kafka/run)
#   FACEMILL_KAFKA_HEAP   heap of each broker (512m)
#   FACEMILL_KAFKA_LOG    log level of the brokers (info)
#   FACEMILL_KAFKA_ADVERTISED_PORT   the port that clients are told, where a proxy stands before the only broker
set -eu

here=$(cd "$(dirname "$0")" && pwd)
port=${FACEMILL_KAFKA_PORT:-9192}
data=${FACEMILL_KAFKA_DATA:-$here/run}
heap=${FACEMILL_KAFKA_HEAP:-512m}
log_level=${FACEMILL_KAFKA_LOG:-info}
advertised=${FACEMILL_KAFKA_ADVERTISED_PORT:-}
# Any id will do, but it must stay the same for one data folder.
cluster_id=ZmFjZW1pbGwtbG9jYWwtMQ

say() { echo "kafka: $*" >&2; }
fail() { say "$*"; exit 1; }

brokers=1
while [ $# -gt 0 ]; do
    case "$1" in
        --brokers) brokers=${2:-}; shift ;;
        --brokers=*) brokers=${1#--brokers=} ;;
        *) fail "unknown argument $1 (usage: start.sh [--brokers 1|3])" ;;
    esac
    shift
done
case "$brokers" in 1|3) ;; *) fail "--brokers is '$brokers' (expected 1 or 3)" ;; esac
[ -z "$advertised" ] || [ "$brokers" = 1 ] || fail "FACEMILL_KAFKA_ADVERTISED_PORT is for one broker only"

command -v java >/dev/null || fail "java is missing (Debian, Ubuntu: apt-get install openjdk-17-jre-headless)"
java_major=$(java -XshowSettings:properties -version 2>&1 | sed -n 's/^ *java.specification.version = //p')
[ "$java_major" -ge 17 ] 2>/dev/null ||
    fail "java is version $java_major, Kafka 4 needs 17 (Debian, Ubuntu: apt-get install openjdk-17-jre-headless)"

# --- the jars, once -------------------------------------------------------------------------------------------------
version=$(sed -n 's:.*<kafka.version>\(.*\)</kafka.version>.*:\1:p' "$here/pom.xml")
libs=${XDG_CACHE_HOME:-$HOME/.cache}/facemill/kafka-$version
if [ ! -e "$libs/.complete-$(cksum < "$here/pom.xml" | cut -d' ' -f1)" ]; then
    command -v mvn >/dev/null || fail "mvn is missing, it fetches Kafka (Debian, Ubuntu: apt-get install maven)"
    say "fetching Apache Kafka $version into $libs (once, 55 MB)"
    rm -rf "$libs" && mkdir -p "$libs"
    mvn -B -q -f "$here/pom.xml" dependency:copy-dependencies -DincludeScope=runtime "-DoutputDirectory=$libs" >&2 ||
        fail "Maven could not fetch Kafka (is the network there? run the same again)"
    touch "$libs/.complete-$(cksum < "$here/pom.xml" | cut -d' ' -f1)"
fi

kafka() {
    class=$1; shift
    java -cp "$libs/*" "-Dlog4j2.configurationFile=$here/log4j2.properties" -Dfacemill.log.level=error "$class" "$@"
}

# --- addresses ------------------------------------------------------------------------------------------------------
broker_port() { echo $((port + $1 - 1)); }
controller_port() { echo $((port + 4 + $1)); }

nodes=$(seq 1 "$brokers")
bootstrap= voters=
for n in $nodes; do
    bootstrap=${bootstrap:+$bootstrap,}127.0.0.1:$(broker_port "$n")
    voters=${voters:+$voters,}$n@127.0.0.1:$(controller_port "$n")
done

# A pid may have been given to another process since the file was written.
is_running() {
    [ -f "$data/broker-$1.pid" ] &&
        tr '\0' '\n' < "/proc/$(cat "$data/broker-$1.pid")/cmdline" 2>/dev/null | grep -qxF "$data/broker-$1.properties"
}
is_ready() {
    kafka org.apache.kafka.tools.BrokerApiVersionsCommand --bootstrap-server "$bootstrap" 2>/dev/null |
        grep -c 'id: ' | grep -qx "$brokers"
}

# Whether anybody listens at a port: another cluster there would answer in place of ours.
is_taken() {
    grep -qi "^ *[0-9]*: [0-9A-F]*:$(printf '%04X' "$1") [0-9A-F]*:0000 0A" /proc/net/tcp /proc/net/tcp6 2>/dev/null
}

mkdir -p "$data"
if [ -f "$data/brokers" ] && [ "$(cat "$data/brokers")" != "$brokers@$port" ]; then
    fail "$data holds a cluster of $(cat "$data/brokers") (brokers@port), asked for $brokers@$port
kafka: run deploy/kafka/stop.sh --delete first, or name another FACEMILL_KAFKA_DATA and FACEMILL_KAFKA_PORT"
fi
echo "$brokers@$port" > "$data/brokers"

# --- format and start -----------------------------------------------------------------------------------------------
replication=$brokers
min_insync=$(( brokers > 1 ? 2 : 1 ))
started=
for n in $nodes; do
    is_running "$n" && continue
    for taken in $(broker_port "$n") $(controller_port "$n"); do
        ! is_taken "$taken" || fail "port $taken is taken by another process: name another FACEMILL_KAFKA_PORT"
    done
    cat > "$data/broker-$n.properties" <<EOF
process.roles=broker,controller
node.id=$n
controller.quorum.voters=$voters
controller.listener.names=CONTROLLER
listeners=PLAINTEXT://127.0.0.1:$(broker_port "$n"),CONTROLLER://127.0.0.1:$(controller_port "$n")
advertised.listeners=PLAINTEXT://127.0.0.1:${advertised:-$(broker_port "$n")}
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT
log.dirs=$data/broker-$n
default.replication.factor=$replication
min.insync.replicas=$min_insync
offsets.topic.replication.factor=$replication
offsets.topic.num.partitions=8
transaction.state.log.replication.factor=$replication
transaction.state.log.min.isr=$min_insync
transaction.state.log.num.partitions=4
share.coordinator.state.topic.replication.factor=$replication
share.coordinator.state.topic.min.isr=$min_insync
# topics/*.yaml say what there is; a typing error makes no topic
auto.create.topics.enable=false
# 30 days: a group may be away as long as its jobs are kept
offsets.retention.minutes=43200
# a laptop: no wait for other members, tests with short sessions, a quick end
group.initial.rebalance.delay.ms=0
group.min.session.timeout.ms=1000
controlled.shutdown.enable=true
log.cleaner.dedupe.buffer.size=33554432
num.network.threads=2
num.io.threads=4
EOF
    if [ ! -f "$data/broker-$n/meta.properties" ]; then
        kafka kafka.tools.StorageTool format --ignore-formatted --cluster-id "$cluster_id" \
            --config "$data/broker-$n.properties" > "$data/format-$n.log" 2>&1 ||
            fail "storage of broker $n could not be formatted, see $data/format-$n.log"
    fi
    # A session of its own: Ctrl-C in the terminal that started it does not reach it.
    setsid java "-Xmx$heap" "-Xms128m" -XX:+UseSerialGC -cp "$libs/*" \
        "-Dlog4j2.configurationFile=$here/log4j2.properties" "-Dfacemill.log.level=$log_level" \
        kafka.Kafka "$data/broker-$n.properties" > "$data/broker-$n.log" 2>&1 < /dev/null &
    echo $! > "$data/broker-$n.pid"
    started="$started $n"
done

# --- wait until ready -----------------------------------------------------------------------------------------------
if [ -n "$started" ]; then
    say "Apache Kafka $version: starting broker$started"
fi
deadline=$(( $(date +%s) + 90 ))
until is_ready; do
    for n in $nodes; do
        kill -0 "$(cat "$data/broker-$n.pid")" 2>/dev/null || { tail -n 5 "$data/broker-$n.log" >&2; fail "broker $n ended, see $data/broker-$n.log"; }
    done
    [ "$(date +%s)" -lt "$deadline" ] || fail "not ready after 90 s, see $data/broker-*.log"
    sleep 0.2
done
say "ready, data and logs in $data"
echo "$bootstrap"
