# scripts/services without Docker: each server is a process with a folder of its own. Sourced, not run.
# A server is known by its pid, its start time and the machine's boot, so that a reused pid is never taken for ours.

PATH=$PATH:/usr/sbin # mariadbd lies there, and not every user looks there
java=${JAVA_HOME:+$JAVA_HOME/bin/}java
database_login=panicbuy:panicbuy

need() { command -v "$1" >/dev/null || fail "$1 is missing: on Debian, apt-get install $2"; }

# "pid start boot" of a living process; fails for one that is gone, or dead and not yet collected by its parent.
identity() {
  local stat
  stat=$(cat "/proc/$1/stat" 2>/dev/null) || return 1
  read -r -a stat <<<"${stat##*) }" # a program's name may contain anything, so count from behind it
  [ "${stat[0]}" != Z ] && echo "$1 ${stat[19]} $(cat /proc/sys/kernel/random/boot_id)"
}

# The pid of a server that this set started and that still lives.
pid_of() {
  local known
  known=$(cat "$home/$1/pid" 2>/dev/null) || return 1
  [ -n "$known" ] && [ "$(identity "${known%% *}")" = "$known" ] && echo "${known%% *}"
}

paused() { [[ $(cat "/proc/$1/stat" 2>/dev/null) == *") T "* ]]; }

# Starts a program that outlives this shell and holds nothing of it: no terminal, no pipe that somebody reads to its end, no lock.
launch() {
  local name=$1
  shift
  mv -f "$home/$name/log" "$home/$name/log.before" 2>/dev/null || true
  (
    cd "$home/$name"
    for fd in "/proc/$BASHPID/fd/"*; do
      fd=${fd##*/}
      [ "$fd" -le 2 ] || exec {fd}>&-
    done
    exec setsid "$@"
  ) </dev/null >"$home/$name/log" 2>&1 &
  identity $! >"$home/$name/pid" || true # gone already: bring_up notices, and shows the log
}

# Makes a server's folder. One that was interrupted halfway is made again; one that somebody else made is left alone.
made() {
  local name=$1
  [ ! -f "$home/$name/made" ] || return 0
  if [ -e "$home/$name" ] && [ ! -f "$home/$name/make.log" ]; then
    fail "$home/$name is not ours; choose another folder with PANICBUY_SERVICES_DIR"
  fi
  say "making $name's data in $home/$name"
  rm -rf "${home:?}/$name"
  mkdir -p "$home/$name"
  "make_$name" >"$home/$name/make.log" 2>&1 || {
    tail -n 40 "$home/$name/make.log" >&2 # MariaDB's ends with a page of advice
    fail "$name's data could not be made, see $home/$name/make.log"
  }
  touch "$home/$name/made"
}

need_database() { need mariadbd mariadb-server-core; need mariadb mariadb-client-core; }

# Each has a folder for temporary tables of its own: in a shared one a server that starts removes those of all others.
make_database() {
  mkdir "$home/database/tmp"
  mariadb-install-db --no-defaults --user="$(id -un)" --datadir="$home/database/data" --tmpdir="$home/database/tmp" \
    --auth-root-authentication-method=normal --skip-test-db
}

run_database() {
  # Read at every start before anybody is let in; each statement on one line. Tests make databases of their own.
  cat >"$home/database/init.sql" <<'SQL'
CREATE DATABASE IF NOT EXISTS panicbuy CHARACTER SET utf8mb4;
CREATE USER IF NOT EXISTS 'panicbuy'@'127.0.0.1' IDENTIFIED BY 'panicbuy';
GRANT ALL ON *.* TO 'panicbuy'@'127.0.0.1';
SQL
  # What makes a commit durable is left as it is. The socket lies in the data folder by a short name: long paths are refused.
  mkdir -p "$home/database/tmp"
  launch database mariadbd --no-defaults --user="$(id -un)" --datadir="$home/database/data" --tmpdir="$home/database/tmp" --socket=socket \
    --pid-file=mariadbd.pid --init-file="$home/database/init.sql" --bind-address=127.0.0.1 --port="$database_port" \
    --skip-name-resolve --max-connections=500 --character-set-server=utf8mb4
}

answers_database() {
  MYSQL_PWD=panicbuy timeout 2 mariadb --no-defaults --user=panicbuy --host=127.0.0.1 --port="$database_port" \
    --execute='SELECT 1' panicbuy
}

need_redis() { need redis-server redis-server; need redis-cli redis-tools; }

make_redis() { mkdir "$home/redis/data"; }

run_redis() {
  launch redis redis-server --bind 127.0.0.1 --port "$redis_port" --dir "$home/redis/data" --daemonize no \
    --appendonly yes --appendfsync everysec --save ''
}

answers_redis() { [ "$(timeout 2 redis-cli -h 127.0.0.1 -p "$redis_port" ping)" = PONG ]; }

need_kafka() {
  need "$java" openjdk-17-jre-headless
  local version
  version=$("$java" -XshowSettings:properties -version 2>&1 | sed -n 's/^ *java.specification.version = //p')
  [ "${version%%.*}" -ge 17 ] || fail "Kafka needs Java 17, $java is $version: on Debian, apt-get install openjdk-17-jre-headless"
}

# Fetches Kafka's jars, pinned by scripts/kafka/pom.xml, into the folder that all sets share.
kafka_jars() {
  cmp -s scripts/kafka/pom.xml "$jars/pom.xml" && return
  need mvn maven
  mkdir -p "$(dirname "$jars")"
  exec 8>"$jars.lock"
  flock 8
  if ! cmp -s scripts/kafka/pom.xml "$jars/pom.xml"; then
    say "fetching Kafka's jars with Maven into $jars"
    rm -rf "$jars" "$jars.new"
    mvn --quiet --batch-mode -Dstyle.color=never --strict-checksums --file scripts/kafka/pom.xml dependency:copy-dependencies \
      -DoutputDirectory="$jars.new" >&2 || fail "Maven could not fetch Kafka's jars"
    cp scripts/kafka/pom.xml "$jars.new/"
    mv "$jars.new" "$jars"
  fi
  exec 8>&-
}

kafka_properties() {
  cat <<PROPERTIES
# Written by scripts/services at every start.
node.id=1
process.roles=broker,controller
controller.quorum.voters=1@127.0.0.1:$controller_port
listeners=PLAINTEXT://127.0.0.1:$kafka_port,CONTROLLER://127.0.0.1:$controller_port
advertised.listeners=PLAINTEXT://127.0.0.1:$kafka_port
controller.listener.names=CONTROLLER
log.dirs=$home/kafka/data
auto.create.topics.enable=false
group.initial.rebalance.delay.ms=0
# One node has no second replica, and many partitions of Kafka's own topics only cost it time.
offsets.topic.replication.factor=1
offsets.topic.num.partitions=4
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
transaction.state.log.num.partitions=4
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
share.coordinator.state.topic.num.partitions=4
# A node that comes back after SIGKILL is refused until its former life has timed out; the default lets tests wait for 9 s.
broker.session.timeout.ms=3000
broker.heartbeat.interval.ms=500
# The default takes a third of the small heap.
log.cleaner.dedupe.buffer.size=16777216
PROPERTIES
}

make_kafka() {
  kafka_properties >"$home/kafka/server.properties"
  "$java" -Xmx128m -XX:TieredStopAtLevel=1 -cp "$jars/*" -Dlog4j2.configurationFile="$PWD/scripts/kafka/log4j2.xml" kafka.tools.StorageTool \
    format --config "$home/kafka/server.properties" --cluster-id cGFuaWNidXktc2VydmljZQ
}

run_kafka() {
  kafka_properties >"$home/kafka/server.properties"
  # Without the thorough compiler it starts with half the work, which matters more to tests than a faster hour.
  launch kafka "$java" -Xms128m -Xmx384m -XX:+UseSerialGC -XX:TieredStopAtLevel=1 -cp "$jars/*" \
    -Dlog4j2.configurationFile="$PWD/scripts/kafka/log4j2.xml" kafka.Kafka "$home/kafka/server.properties"
}

# Asks for the cluster's brokers (a metadata request, version 1, no topics) and wants at least one that takes requests.
answers_kafka() {
  local reply
  reply=$(timeout 2 bash -c 'exec 3<>"/dev/tcp/127.0.0.1/$1"
    printf "\0\0\0\16\0\3\0\1\0\0\0\1\377\377\0\0\0\0" >&3
    head -c 12 <&3 | od -An -v -tu1' bash "$kafka_port")
  read -r -a reply <<<"$reply"
  [ ${#reply[@]} = 12 ] && [ "${reply[11]}" -gt 0 ]
}

free_port() {
  if (exec 3<>"/dev/tcp/127.0.0.1/$2") 2>/dev/null; then
    fail "port $2 for $1 is in use by a process that this set did not start; choose other ports with PANICBUY_SERVICES_PORT"
  fi
}

bring_up() {
  local name=$1 port pid
  port=$(port_of "$name")
  if pid=$(pid_of "$name"); then
    kill -CONT "$pid"
  else
    "need_$name"
    free_port "$name" "$port"
    if [ "$name" = kafka ]; then
      free_port "kafka's controller" "$controller_port"
      kafka_jars
    fi
    made "$name"
    say "starting $name on 127.0.0.1:$port"
    "run_$name"
  fi
  local until=$((SECONDS + wait_s))
  until "answers_$name" >/dev/null 2>&1; do
    if ! pid_of "$name" >/dev/null; then
      tail -n 20 "$home/$name/log" >&2
      fail "$name ended while it started, see $home/$name/log"
    fi
    [ "$SECONDS" -lt "$until" ] || fail "$name did not answer within $wait_s s (PANICBUY_SERVICES_WAIT_S), see $home/$name/log"
    sleep 0.1
  done
}

servers_up() {
  local name all=() failed=0
  for name in database redis kafka; do
    if pid_of "$name" >/dev/null && [ "$(cat "$home/port" 2>/dev/null)" != "$base" ]; then
      fail "the servers in $home run on other ports: set PANICBUY_SERVICES_PORT=$(cat "$home/port"), or take them down first"
    fi
  done
  echo "$base" >"$home/port"
  for name in "$@"; do
    bring_up "$name" &
    all+=($!)
  done
  for job in "${all[@]}"; do wait "$job" || failed=1; done
  return $failed
}

# Ends a server with a signal and waits until it is gone.
finish() {
  local name=$1 signal=$2 pid until=$((SECONDS + stop_s))
  pid=$(pid_of "$name") || return 0
  say "$name: SIG$signal to $pid"
  kill -"$signal" "$pid"
  kill -CONT "$pid" 2>/dev/null || true # a paused process would never hear of it
  while pid_of "$name" >/dev/null; do
    if [ "$SECONDS" -ge "$until" ]; then
      say "$name did not end within $stop_s s (PANICBUY_SERVICES_STOP_S), so it is killed"
      kill -KILL "$pid" 2>/dev/null || true
      until=$((SECONDS + stop_s))
    fi
    sleep 0.05
  done
  rm -f "$home/$name/pid"
}

each() {
  local name jobs=()
  for name in "${@:2}"; do
    finish "$name" "$1" &
    jobs+=($!)
  done
  for job in "${jobs[@]}"; do wait "$job"; done
}

servers_stop() { each TERM "$@"; }
servers_kill() { each KILL "$@"; }

servers_pause() {
  local name pid
  for name in "$@"; do
    pid=$(pid_of "$name") || fail "$name does not run"
    kill -STOP "$pid"
    while pid_of "$name" >/dev/null && ! paused "$pid"; do sleep 0.01; done
  done
}

servers_resume() {
  local name pid
  for name in "$@"; do
    pid=$(pid_of "$name") || fail "$name does not run"
    kill -CONT "$pid"
  done
}

servers_status() {
  local name pid state all_up=0
  for name in "$@"; do
    if ! pid=$(pid_of "$name"); then state=down pid=-
    elif paused "$pid"; then state=paused
    elif "answers_$name" >/dev/null 2>&1; then state=up
    else state=silent; fi
    [ $state = up ] || all_up=1
    printf '%-8s %-6s 127.0.0.1:%s pid %s\n' "$name" "$state" "$(port_of "$name")" "$pid"
  done
  return $all_up
}
