# scripts/services with Docker Compose: the servers of docker-compose.yml, published on loopback. Sourced, not run.
# Compose knows what it started by the project's name, which is made from the set's folder; the data is in that project's volumes.

database_login=root:panicbuy
project=panicbuy-services-$(cksum <<<"$home" | cut -d' ' -f1)
export PANICBUY_SERVICES_DATABASE_PORT=$database_port PANICBUY_SERVICES_REDIS_PORT=$redis_port
export PANICBUY_SERVICES_KAFKA_PORT=$kafka_port
# The file will not be read without them, though nothing that is started here uses them.
export PANICBUY_TOKEN_SECRET=unused PANICBUY_ADMIN_EMAIL=unused PANICBUY_ADMIN_PASSWORD=unused
export GRAFANA_PASSWORD=unused MYSQL_PASSWORD=unused

compose() {
  docker compose --project-name "$project" --file docker-compose.yml --file deploy/services.compose.yml "$@" >&2 9>&-
}

# Our names of the servers, as docker-compose.yml calls them.
services_of() { printf '%s\n' "${@/#database/mysql}"; }

each() {
  local services
  mapfile -t services < <(services_of "${@:2}")
  # shellcheck disable=SC2086  # the verb may bring options
  compose $1 "${services[@]}"
}

servers_up() {
  local id
  # A paused server would not answer, and Compose leaves it paused.
  for id in $(docker ps --quiet --filter "label=com.docker.compose.project=$project" --filter status=paused); do
    docker unpause "$id" >/dev/null
  done
  each "up --detach --wait --wait-timeout $wait_s" "$@"
}

servers_stop() { each "stop --timeout $stop_s" "$@"; }
servers_kill() { each kill "$@"; }
servers_pause() { each pause "$@"; }
servers_resume() { each unpause "$@"; }

servers_status() {
  local name id state all_up=0
  for name in "$@"; do
    id=$(docker ps --quiet --filter "label=com.docker.compose.project=$project" \
      --filter "label=com.docker.compose.service=$(services_of "$name")")
    if [ -z "$id" ]; then state=down
    else
      state=$(docker inspect --format '{{if .State.Paused}}paused{{else}}{{.State.Health.Status}}{{end}}' "$id")
      [ "$state" != healthy ] || state=up
    fi
    [ "$state" = up ] || all_up=1
    printf '%-8s %-6s 127.0.0.1:%s container %s\n' "$name" "$state" "$(port_of "$name")" "${id:--}"
  done
  return $all_up
}
