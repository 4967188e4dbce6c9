#!/bin/sh
# Unpacks Debian's kernel for virtual machines, without installing it, where tests/oracle.rs looks for one.
set -eu
into=${1:-$(dirname "$0")/../../target/kernel}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
apt-cache show linux-image-cloud-amd64 >/dev/null 2>&1 || apt-get update -qq
package=$(apt-cache depends linux-image-cloud-amd64 | awk '$1 == "Depends:" { print $2; exit }')
(cd "$work" && apt-get download -qq "$package")
rm -rf "$into"
mkdir -p "$into"
dpkg-deb --fsys-tarfile "$work"/*.deb | tar -x -C "$into" --wildcards './boot/vmlinuz-*' \
  './lib/modules/*/kernel/net/*' './lib/modules/*/kernel/drivers/net/*' './lib/modules/*/kernel/drivers/virtio/*'
