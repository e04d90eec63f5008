#!/bin/bash
# A container engine for a machine that has none, and its end: dockerd of Debian 13 in a mount namespace and a root
# of its own, so that nothing is installed on the machine itself but mmdebstrap.
#   engine.sh up FOLDER      make the root at the first call, start the engine, write FOLDER/bin/docker
#   engine.sh down FOLDER    stop it; remove its images, containers, bridges and firewall rules
# Needs root, Linux with overlayfs, and Debian's or Ubuntu's apt with a mirror that has trixie.
set -euo pipefail
command=${1:?up or down} folder=$(realpath -m "${2:?the folder of the engine}")
root=$folder/engine state=$folder/state
packages=ca-certificates,docker.io,docker-cli,docker-buildx,docker-compose,containerd,iptables,iproute2,kmod,pigz,xz-utils

make_root() {
  [ -e "$root/usr/sbin/dockerd" ] && return
  command -v mmdebstrap > /dev/null || {
    apt-get update -qq
    DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends mmdebstrap > /dev/null
  }
  mkdir -p "$folder"
  rm -rf "$root.new"
  mmdebstrap --quiet --variant=minbase --include="$packages" trixie "$root.new"
  mv "$root.new" "$root"
}

# What is as the engine found it when it ends.
remember() {
  mkdir -p "$state"
  cat /proc/sys/net/ipv4/ip_forward > "$state/ip_forward"
  chroot "$root" iptables-save > "$state/iptables"
}

# Runs in the namespace. pivot_root, since with chroot `docker exec` and health checks land in the machine's own root.
enter_and_start() {
  mount --make-rprivate /
  mount --bind "$root" "$root"
  for name in proc sys dev; do mount --rbind "/$name" "$root/$name"; done
  mount -t tmpfs tmpfs "$root/run"
  mkdir -p "$root$folder" "$root/data" "$root/old" "$folder/data"
  mount --bind "$folder" "$root$folder"
  mount --bind "$folder/data" "$root/data"
  cp /etc/resolv.conf "$root/etc/resolv.conf"
  cd "$root"
  pivot_root . old
  umount -l /old
  # Networks of its own range, which is rarely in use.
  exec /usr/sbin/dockerd --data-root /data --exec-root /run/docker --pidfile "$folder/dockerd.pid" \
    -H "unix://$folder/docker.sock" --ip6tables=false \
    --bip 172.31.250.1/24 --default-address-pool base=172.31.192.0/19,size=24
}

# The client and its plugins are of the engine's root as well: this machine's C library may be older.
write_client() {
  mkdir -p "$folder/bin"
  cat > "$folder/bin/docker" <<CLIENT
#!/bin/sh
export DOCKER_HOST=unix://$folder/docker.sock HOME=/root
exec nsenter --target "\$(cat "$folder/dockerd.pid")" --mount --wdns="\$PWD" /usr/bin/docker "\$@"
CLIENT
  chmod +x "$folder/bin/docker"
}

up() {
  make_root
  if [ -e "$folder/dockerd.pid" ] && kill -0 "$(cat "$folder/dockerd.pid")" 2> /dev/null; then return; fi
  remember
  write_client
  setsid unshare --mount "$(realpath "$0")" enter-and-start "$folder" > "$folder/dockerd.log" 2>&1 < /dev/null &
  for _ in $(seq 60); do
    (cd "$folder" && bin/docker info > /dev/null 2>&1) && return
    sleep 1
  done
  tail -20 "$folder/dockerd.log" >&2
  echo "the engine does not start: $folder/dockerd.log" >&2
  exit 1
}

down() {
  [ -e "$folder/dockerd.pid" ] || { rm -rf "$folder/data"; return; }
  pid=$(cat "$folder/dockerd.pid")
  cd "$folder"
  bin/docker ps --all --quiet | xargs --no-run-if-empty bin/docker rm --force > /dev/null
  bin/docker network ls --filter type=custom --quiet | xargs --no-run-if-empty bin/docker network rm > /dev/null
  kill "$pid"
  for _ in $(seq 60); do
    kill -0 "$pid" 2> /dev/null || break
    sleep 1
  done
  ip link delete docker0 2> /dev/null || true
  chroot "$root" iptables-restore < "$state/iptables"
  cat "$state/ip_forward" > /proc/sys/net/ipv4/ip_forward
  rm -rf "$folder/data" "$state" "$folder/dockerd.pid" "$folder/docker.sock"
}

case $command in
  up) up ;;
  down) down ;;
  enter-and-start) enter_and_start ;;
  *) echo "no command $command" >&2; exit 2 ;;
esac
