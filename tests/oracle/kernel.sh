#!/bin/sh
# Unpacks Debian's kernels for virtual machines, without installing them, where tests look for them: the one of Debian 12, which tests/oracle.rs
# asks, and a later one, whose drivers say what they can, for tests/doctor.rs.
set -eu
target=${1:-$(dirname "$0")/../../target}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# The kernel that a package without a version stands for.
unpack() {
  apt-cache show "$1" >/dev/null 2>&1 || apt-get update -qq
  package=$(apt-cache depends "$1" | awk '$1 == "Depends:" { print $2; exit }')
  mkdir "$work/$2"
  (cd "$work/$2" && apt-get download -qq "$package")
  rm -rf "${target:?}/$2"
  mkdir -p "$target/$2"
  dpkg-deb --fsys-tarfile "$work/$2"/*.deb | tar -x -C "$target/$2" --wildcards './boot/vmlinuz-*' \
    './lib/modules/*/kernel/net/*' './lib/modules/*/kernel/drivers/net/*' './lib/modules/*/kernel/drivers/virtio/*'
  find "$target/$2" -name '*.xz' -exec busybox unxz {} +
}

unpack linux-image-cloud-amd64 kernel
unpack linux-image-6.12-cloud-amd64 kernel-6.12
