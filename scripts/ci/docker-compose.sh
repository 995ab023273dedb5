#!/usr/bin/env bash
# Docker Compose as the file that is named: Debian's plugin, unpacked and not installed. Debian 12 has none for Docker
# 20.10, trixie's works with it. One that exists is left alone.
set -euo pipefail

target=$1
mirror=${MIRROR:-http://deb.debian.org/debian}
[ ! -x "$target" ] || exit 0

work=$(mktemp -d "${TMPDIR:-/tmp}/fairlead-ci-compose.XXXXXX")
trap 'rm -rf "$work"' EXIT
# apt gives up root to download, and has to be able to write here all the same.
chmod 755 "$work"
mkdir -p "$work/lists/partial" "$work/cache/archives/partial"
echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $mirror trixie main" >"$work/list"
options=(-qq -o Acquire::Retries=3 -o "Dir::Etc::sourcelist=$work/list" -o Dir::Etc::sourceparts=-
    -o "Dir::State::lists=$work/lists" -o "Dir::Cache=$work/cache" -o APT::Sandbox::User=root)
apt-get "${options[@]}" update
(cd "$work" && apt-get "${options[@]}" download docker-compose && dpkg -x docker-compose_*.deb root)
mkdir -p "$(dirname "$target")"
mv "$work/root/usr/libexec/docker/cli-plugins/docker-compose" "$target.new"
mv "$target.new" "$target"
