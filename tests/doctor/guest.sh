#!/bin/busybox sh
# The only process of a guest with cards on one wire: asks the doctor about them, does what it says, and starts the switch.
export PATH=/sbin:/bin
busybox() { /bin/busybox "$@"; }
busybox mkdir /run
busybox mount -t proc none /proc
busybox mount -t sysfs none /sys
busybox mount -t devtmpfs none /dev
busybox mount -t tmpfs none /run
for module in /modules/*.ko; do busybox insmod "$module"; done
for device in eth0 eth1; do ip link set "$device" up; done
busybox stty raw -echo
busybox dmesg -n 1
cat() { busybox cat "$@"; }

# What it is asked, and the end of what is answered.
tell() {
  echo "== $1"
  shift
  "$@" 2>&1
  echo "== $?"
}

# Asks the doctor about the file; and does what it says.
examine() { tell "$1" rigswitch doctor /run/rig.toml -j; }
mend() {
  rigswitch doctor /run/rig.toml 2>/dev/null | busybox sed -n 's/^    fix:  //p' >/run/fix
  . /run/fix
}

# Starts the switch; and ends it.
start() {
  rigswitch run -c /run/rig.toml --socket /run/sock 2>/run/said &
  switch=$!
  while [ ! -S /run/sock ] && kill -0 "$switch" 2>/dev/null; do busybox usleep 100000; done
}
stop() {
  kill "$switch"
  wait "$switch"
}
refused() { tell "$1" busybox timeout 600 rigswitch run -c /run/rig.toml --socket /run/sock; }
