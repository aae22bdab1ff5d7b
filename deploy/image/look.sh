#!/bin/sh
# Runs an image as the chart does, with an engine: the exporter's way it has no capability and
# must start; the prober's way it has NET_RAW and must have ARP; without NET_RAW it must go on
# and say that it has none.
#
#   deploy/image/look.sh IMAGE
set -eu
image=${1:?usage: look.sh IMAGE}
work=$(mktemp -d)
name=pnwatch-look-$$
trap 'docker rm -f "$name" >/dev/null 2>&1 || true; rm -rf "$work"' EXIT
cat >"$work/inventory.yaml" <<'YAML'
pn_cidr: 192.0.2.0/24
nodes: [{ name: one, address: 192.0.2.2 }]
vantages: [{ vantage: node/look, address: 192.0.2.1 }]
targets: []
YAML
cat >"$work/pnwatch.yaml" <<'YAML'
cluster: look
probe:
  vantage: node/${NODE_NAME}
  interface: eth0
  pn_cidr: 192.0.2.0/24
  plan_file: /etc/pnwatch/inventory.yaml
YAML
chmod 755 "$work"
docker network create --internal --subnet 192.0.2.0/24 "$name" >/dev/null
trap 'docker rm -f "$name" >/dev/null 2>&1 || true; docker network rm "$name" >/dev/null 2>&1 || true; rm -rf "$work"' EXIT

restricted="--read-only --user 65532:65532 --security-opt no-new-privileges --cap-drop ALL"
# shellcheck disable=SC2086
docker run --rm $restricted "$image" --version

expect() { # ARP-AVAILABLE OPTIONS…
    wanted=$1
    shift
    # shellcheck disable=SC2086
    docker run -d --name "$name" --network "$name" $restricted "$@" -e NODE_NAME=look \
        -v "$work:/etc/pnwatch:ro" "$image" probe --config /etc/pnwatch/pnwatch.yaml >/dev/null
    # The prober's page is on the container's loopback.
    pid=$(docker inspect --format '{{.State.Pid}}' "$name")
    tries=0
    until sudo nsenter --net --target "$pid" curl -s http://127.0.0.1:9763/metrics |
        grep -q "^pnwatch_prober_arp_available[^ ]* $wanted\$"; do
        tries=$((tries + 1))
        if [ "$tries" -gt 30 ]; then
            docker logs "$name" >&2
            echo "look.sh: pnwatch_prober_arp_available is not $wanted with: $*" >&2
            exit 1
        fi
        sleep 1
    done
    docker rm -f "$name" >/dev/null
}
expect 1 --cap-add NET_RAW
expect 0
echo "look.sh: as in the chart: starts without rights, ARP with NET_RAW, no ARP without"
