#!/usr/bin/env bash
# Stops the Docker daemon that docker-up.sh started, and nothing else.
set -euo pipefail

state=${FAIRLEAD_CI_DOCKER:-/tmp/fairlead-ci-docker}
[ -e "$state/started-here" ] || exit 0

as_root() {
    if [ "$(id -u)" -eq 0 ]; then "$@"; else sudo -n "$@"; fi
}

pid=$(cat "$state/dockerd.pid")
# Containers are ended first: a daemon that is told to end waits for them.
containers=$(docker ps -q)
[ -z "$containers" ] || docker kill $containers >/dev/null
as_root kill "$pid"
for _ in $(seq 150); do
    [ -d "/proc/$pid" ] || break
    sleep 0.2
done
rm -f "$state/started-here"
[ ! -d "/proc/$pid" ] || { echo "error: dockerd ($pid) does not end" >&2; exit 1; }
