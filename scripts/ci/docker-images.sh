#!/usr/bin/env bash
# The images of the test suite, made from Debian packages alone, since no registry is needed or asked.
#
#   fairlead-test/debian    Python with an ASGI server, PostgreSQL, Redis, HAProxy: what the applications run on
#   fairlead-test/busybox   one static binary of 2 MB, for the tests that only need something to run
#
# Images that exist are left alone; FORCE=1 makes them again.
set -euo pipefail

suite=${SUITE:-bookworm}
mirror=${MIRROR:-http://deb.debian.org/debian}
work=$(mktemp -d "${TMPDIR:-/tmp}/fairlead-ci-images.XXXXXX")
trap 'rm -rf "$work"' EXIT

has() { [ "${FORCE:-}" != 1 ] && docker image inspect "$1" >/dev/null 2>&1; }

if ! has fairlead-test/busybox:latest; then
    echo "building fairlead-test/busybox"
    mkdir -p "$work/busybox/bin" "$work/busybox/tmp" "$work/busybox/etc"
    cp "$(command -v busybox)" "$work/busybox/bin/busybox"
    chmod 1777 "$work/busybox/tmp"
    echo 'root:x:0:0:root:/:/bin/sh' >"$work/busybox/etc/passwd"
    for applet in sh sleep cat echo env ls stat id kill true false httpd wget nslookup hostname head yes dd mount date touch mkdir grep; do
        ln -s busybox "$work/busybox/bin/$applet"
    done
    tar -C "$work/busybox" -cf - . |
        docker import --change 'ENV PATH=/bin' --change 'CMD ["sh"]' - fairlead-test/busybox:latest >/dev/null
fi

if ! has fairlead-test/debian:latest; then
    echo "building fairlead-test/debian (about a minute)"
    packages=python3,python3-starlette,python3-uvicorn,python3-websockets,python3-psycopg2,python3-redis
    packages=$packages,curl,ca-certificates,procps,haproxy,postgresql,redis-server
    mmdebstrap --quiet --variant=minbase --include="$packages" \
        --dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-exclude=/usr/share/man/*' \
        --dpkgopt='path-exclude=/usr/share/locale/*' "$suite" "$work/debian.tar" "$mirror" >"$work/log" 2>&1 ||
        { tail -20 "$work/log" >&2; exit 1; }
    docker import --change 'ENV PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin' \
        --change 'ENV PYTHONUNBUFFERED=1' --change 'CMD ["/bin/bash"]' "$work/debian.tar" fairlead-test/debian:latest >/dev/null
fi

docker images --filter 'reference=fairlead-test/*' --format '{{.Repository}}:{{.Tag}}  {{.Size}}'
