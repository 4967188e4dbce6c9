#!/bin/sh
# Unpacks Debian's kernels for virtual machines, without installing them, where tests look for them: the one of Debian 12, which tests/oracle.rs
# asks, and the latest backport, whose drivers say what they can and of which virtio's has zero-copy, for tests/doctor.rs.
set -eu
target=${1:-$(dirname "$0")/../../target}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# The kernel that a package without a version stands for; further words are options for apt.
unpack() {
  name=$1 folder=$2
  shift 2
  package=$(apt-cache "$@" depends "$name" | awk '/Depends: linux-image-[0-9]/ { print $2; exit }')
  # Later ones are in parts.
  parts=$(apt-cache "$@" depends "$package" | awk '/Depends: linux-(binary|modules)-[0-9]/ { print $2 }')
  all=$work/$folder
  mkdir "$all"
  # shellcheck disable=SC2086 # words
  (cd "$all" && apt-get "$@" download -qq "$package" $parts)
  for part in "$all"/*.deb; do dpkg-deb -x "$part" "$all"; done
  rm -rf "${target:?}/$folder"
  mkdir -p "$target/$folder/boot" "$target/$folder/lib/modules"
  modules=$(find "$all" -type d -path '*/lib/modules/*' -prune)
  mv "$(find "$all" -type f -name 'vmlinuz*')" "$target/$folder/boot/vmlinuz-${modules##*/}"
  for kind in net drivers/net drivers/virtio; do
    mkdir -p "$target/$folder/lib/modules/kernel/${kind%/*}"
    mv "$modules/kernel/$kind" "$target/$folder/lib/modules/kernel/$kind"
  done
  find "$target/$folder" -name '*.xz' -exec busybox unxz {} +
}

apt-cache show linux-image-cloud-amd64 >/dev/null 2>&1 || apt-get update -qq
unpack linux-image-cloud-amd64 kernel

# From where this machine has Debian, with an apt of its own: nothing of the machine's is changed.
mirror=$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' 'Label: Debian' | head -n 1)
mkdir -p "$work/sources" "$work/state/lists/partial" "$work/cache/archives/partial"
: >"$work/status"
cat >"$work/sources/backports.sources" <<END
Types: deb
URIs: $mirror
Suites: trixie-backports
Components: main
Targets: Packages
Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg
END
set -- -o Dir::Etc::SourceList=/dev/null -o Dir::Etc::SourceParts="$work/sources" -o Dir::State="$work/state" \
  -o Dir::State::status="$work/status" -o Dir::Cache="$work/cache" -o APT::Sandbox::User=root
apt-get "$@" update -qq
unpack linux-image-cloud-amd64 kernel-backport "$@"
