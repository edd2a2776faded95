#!/usr/bin/env bash
# Tests scripts/services on a set of its own: other ports, a folder that is deleted at the end.
# usage: tests/services.sh
set -euo pipefail
cd "$(dirname "$0")/.."

PANICBUY_SERVICES_DIR=$(mktemp -d)
export PANICBUY_SERVICES_DIR PANICBUY_SERVICES_PORT=27300 PANICBUY_SERVICES_WITH=native
redis_port=$((PANICBUY_SERVICES_PORT + 79))
log=$PANICBUY_SERVICES_DIR/commands.log
stranger=
tidy() {
  local status=$?
  [ $status = 0 ] || cat "$log" >&2
  [ -z "$stranger" ] || kill "$stranger" 2>/dev/null || true
  scripts/services down >>"$log" 2>&1 || true
  rm -rf "$PANICBUY_SERVICES_DIR"
}
trap tidy EXIT

services() { scripts/services "$@" 2>>"$log"; }
pass() { echo "ok: $*"; }
wrong() { echo "WRONG: $*" >&2; exit 1; }
listens() { (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }
redis() { redis-cli -h 127.0.0.1 -p "$redis_port" "$@"; }

settings=$(services up) # a pipe that a server held open would never end here
[ "$(cut -d= -f1 <<<"$settings" | xargs)" = "PANICBUY_DATABASE_URL PANICBUY_REDIS_URL PANICBUY_KAFKA_BROKERS" ] ||
  wrong "up printed: $settings"
services status >/dev/null || wrong "status does not find everything up"
pass "up prints the three settings and nothing else"

[ "$(services up)" = "$settings" ] || wrong "a second up says something else"
[ "$(services up redis)" = "$(grep REDIS <<<"$settings")" ] || wrong "up redis does not print Redis's setting alone"
pass "a second up changes nothing"

MYSQL_PWD=panicbuy mariadb --no-defaults -upanicbuy -h127.0.0.1 -P$((PANICBUY_SERVICES_PORT + 6)) panicbuy \
  -e 'CREATE DATABASE test_services; DROP DATABASE test_services' || wrong "tests cannot make databases of their own"
pass "databases can be made and dropped over TCP"

redis set kept yes >/dev/null
services stop redis
! redis ping >/dev/null 2>&1 || wrong "Redis answers after stop"
! services status >/dev/null || wrong "status finds everything up while Redis is stopped"
services start redis
[ "$(redis get kept)" = yes ] || wrong "Redis lost what it had at stop"
pass "redis stops and starts with its data"

services pause redis
services status >"$PANICBUY_SERVICES_DIR/status" || true # it fails unless all are up
grep -q '^redis *paused' "$PANICBUY_SERVICES_DIR/status" || wrong "status does not see the pause"
services resume redis
[ "$(redis ping)" = PONG ] || wrong "Redis does not answer after resume"
services kill redis
! redis ping >/dev/null 2>&1 || wrong "Redis answers after kill"
pass "redis can be paused, resumed and killed"

python3 -m http.server --bind 127.0.0.1 "$redis_port" >/dev/null 2>&1 &
stranger=$!
until listens "$redis_port"; do sleep 0.05; done
! said=$(scripts/services up redis 2>&1) || wrong "up succeeds on a stranger's port"
[[ $said == *"port $redis_port"*PANICBUY_SERVICES_PORT* ]] || wrong "the error is not clear: $said"
pass "a port in use is named, and how to choose another"

# A pid file from another life: its pid now belongs to a stranger.
read -r _ start boot <"$PANICBUY_SERVICES_DIR/kafka/pid"
echo "$stranger $start $boot" >"$PANICBUY_SERVICES_DIR/redis/pid"
services down
kill -0 "$stranger" || wrong "down ended a process that is not ours"
! listens $((PANICBUY_SERVICES_PORT + 92)) || wrong "Kafka lives after down"
pass "down ends what is ours and nothing else"
