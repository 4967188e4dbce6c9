#!/bin/busybox sh
# The only process of the guest: says `ready`, then does what it is told, a line at a time. It ends when nobody speaks.
set -e # its end is the kernel's, and seen
export PATH=/sbin:/bin
busybox() { /bin/busybox "$@"; }
# Not busybox's own.
ip() { /sbin/ip "$@"; }
tc() { /sbin/tc "$@"; }

busybox mount -t proc none /proc
busybox mount -t sysfs none /sys
busybox mount -t devtmpfs none /dev
for module in /modules/*.ko; do busybox insmod "$module"; done

# Nothing is said but what frames make it say, and all of that; what is sent keeps its order.
for knob in net/ipv6/conf/all/disable_ipv6=1 net/ipv6/conf/default/disable_ipv6=1 net/core/default_qdisc=pfifo \
  net/ipv4/conf/all/arp_ignore=8 net/ipv4/icmp_ratelimit=0 net/ipv6/icmp/ratelimit=0 net/ipv6/auto_flowlabels=0 net/ipv6/mld_qrv=1; do
  echo "${knob#*=}" >"/proc/sys/${knob%=*}"
done

# A marker that comes in at one port goes out at all of them, behind what came in before it.
ports=$(busybox seq 0 $(($(echo /sys/class/net/eth* | busybox wc -w) - 1)))
for port in $ports; do
  ip link set "eth$port" name "p$port"
  ip link set "p$port" up
done
for port in $ports; do
  echo "qdisc add dev p$port clsact"
  echo "filter add dev p$port ingress pref 1 protocol 0x88b6 matchall \
    $(for to in $ports; do echo "action mirred egress mirror dev p$to"; done) action drop" |
    busybox tr '\n' ' '
  echo
done | tc -b -

# Waits until every device has found out that it is connected, and who watches it has been told, under the lock that the last
# line takes. A bridge's port forwards only then.
settle() {
  for device in /sys/class/net/*; do
    state=
    [ "$device" = /sys/class/net/lo ] || until [ "$state" = up ] || [ "$state" = unknown ]; do
      read -r state <"$device/operstate"
    done
    read -r state <"$device/duplex" || true # not every device has one
  done 2>/dev/null
}

# As it was in the beginning.
reset() {
  for knob in ipv4/ip_forward=0 ipv6/conf/all/forwarding=0 ipv6/conf/default/disable_ipv6=1; do echo "${knob#*=}" >"/proc/sys/net/${knob%=*}"; done
  {
    for device in /sys/devices/virtual/net/*; do
      [ "$device" = /sys/devices/virtual/net/lo ] || echo "link del ${device##*/}"
    done
    for port in $ports; do
      echo 1 >"/proc/sys/net/ipv6/conf/p$port/disable_ipv6"
      printf '%s\n' "link set p$port down" "addr flush dev p$port" "link set p$port mtu 1500 up"
    done
  } | ip -force -b - 2>/dev/null
  if [ -n "$wired" ]; then
    for port in $ports; do echo "filter del dev p$port ingress pref 9"; done | tc -force -b - 2>/dev/null
  fi
  wired=
  settle
}

busybox stty raw -echo
busybox dmesg -n 1
busybox cat /proc/version
set +e
echo ready
while read -r -t 300 line; do
  eval "$line" 2>&1 || echo "refused: $line"
done
busybox poweroff -f
