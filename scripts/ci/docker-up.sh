#!/usr/bin/env bash
# A Docker daemon for the test suite: installed from Debian where it is missing, started without systemd where none
# answers. What was started here is written down, and docker-down.sh stops exactly that.
set -euo pipefail

state=${FAIRLEAD_CI_DOCKER:-/tmp/fairlead-ci-docker}
mkdir -p "$state"

as_root() {
    if [ "$(id -u)" -eq 0 ]; then "$@"; else sudo -n "$@"; fi
}

missing=()
command -v dockerd >/dev/null 2>&1 || [ -x /usr/sbin/dockerd ] || missing+=(docker.io)
command -v mmdebstrap >/dev/null 2>&1 || missing+=(mmdebstrap)
command -v busybox >/dev/null 2>&1 || missing+=(busybox-static)
# For the tests that reach the daemon through TLS and SSH.
command -v openssl >/dev/null 2>&1 || missing+=(openssl)
command -v ssh >/dev/null 2>&1 || missing+=(openssh-client)
[ -x /usr/sbin/sshd ] || missing+=(openssh-server)
if [ "${#missing[@]}" -gt 0 ]; then
    echo "installing: ${missing[*]}"
    export DEBIAN_FRONTEND=noninteractive
    as_root apt-get -o Acquire::Retries=3 -qq update
    as_root apt-get -o Acquire::Retries=3 -o Dpkg::Use-Pty=0 -qq install -y --no-install-recommends \
        "${missing[@]}" iptables iproute2 >/dev/null
fi
# Newer Debian has the command in a package of its own.
command -v docker >/dev/null 2>&1 ||
    as_root apt-get -o Acquire::Retries=3 -o Dpkg::Use-Pty=0 -qq install -y --no-install-recommends docker-cli >/dev/null

answers() { docker version --format '{{.Server.Version}}' 2>/dev/null; }

if version=$(answers); then
    echo "a Docker daemon answers already: $version"
    exit 0
fi

echo "starting dockerd, its log is $state/dockerd.log"
as_root setsid nohup "$(command -v dockerd || echo /usr/sbin/dockerd)" \
    --pidfile "$state/dockerd.pid" >"$state/dockerd.log" 2>&1 </dev/null &

for _ in $(seq 150); do
    if version=$(answers); then
        echo "Docker $version is up"
        touch "$state/started-here"
        exit 0
    fi
    sleep 0.2
done
echo "error: dockerd did not answer within 30 s" >&2
tail -20 "$state/dockerd.log" >&2
exit 1
