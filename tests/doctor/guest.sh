#!/bin/busybox sh
# The only process of a guest with two cards on one wire: asks the doctor about them, does what it says, and starts the switch.
export PATH=/sbin:/bin
busybox() { /bin/busybox "$@"; }
busybox mkdir /run
busybox mount -t proc none /proc
busybox mount -t sysfs none /sys
busybox mount -t devtmpfs none /dev
busybox mount -t tmpfs none /run
for module in /modules/*.ko; do busybox insmod "$module"; done
for device in eth0 eth1; do ip link set "$device" up; done

cat() { busybox cat "$@"; }
cat >/run/rig.toml <<END
port = [{ name = "p0", xdp = "eth0" }, { name = "p1", xdp = "eth1" }]
bridge = [{ name = "br0", port = [{ device = "p0" }, { device = "p1" }] }]
END

busybox stty raw -echo
busybox dmesg -n 1
# What it is asked, and the end of what is answered.
tell() {
  echo "== $1"
  shift
  "$@" 2>&1
  echo "== $?"
}

tell before rigswitch doctor /run/rig.toml -j
tell mend ethtool -K eth1 lro off
tell after rigswitch doctor /run/rig.toml -j
rigswitch run -c /run/rig.toml --socket /run/sock 2>/run/said &
for _ in $(busybox seq 600); do
  [ -S /run/sock ] || busybox usleep 100000
done
tell ports rigswitch --socket /run/sock show ports -j
tell running rigswitch --socket /run/sock doctor -j
tell said cat /run/said
busybox poweroff -f
