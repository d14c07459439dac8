#!/usr/bin/env bash
# Makes what the Dockerfile and compose.yaml need and this machine cannot get from a registry: images under the names that
# they use, made of what the machine has itself and of Go modules, and the compose plugin where Docker has none.
# What is there, or can be pulled, is left as it is. It says what it makes; the files are not changed for it.
#
#   test/compose/standins.sh            makes what is missing
#   test/compose/standins.sh --remove   removes the stand-ins again
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

cache="${XDG_CACHE_HOME:-$HOME/.cache}/switchback"
label=switchback.standin
compose_version=v2.40.3 # the last of v2: it brings its own builder, and needs no newer engine than 20.10
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT

if [[ ${1:-} == --remove ]]; then
  docker images -q --filter "label=$label" | sort -u | xargs -r docker rmi -f
  exit
fi

# missing tells whether there is no image of that name, here or in a registry.
missing() {
  docker image inspect "$1" >/dev/null 2>&1 && return 1
  ! timeout 120 docker pull -q "$1" >"$tmp/pull" 2>&1
}

# root makes a root file system with a shell: busybox, certificates and an empty /tmp.
root() {
  local dir="$tmp/$1" busybox applet
  mkdir -p "$dir"/{bin,etc/ssl/certs,root,usr/local/bin}
  mkdir -m 1777 "$dir/tmp"
  busybox=$(command -v busybox) || { echo "busybox is missing: apt-get install busybox-static" >&2; return 1; }
  cp "$busybox" "$dir/bin/busybox"
  for applet in $("$busybox" --list); do
    [[ $applet == busybox ]] || ln -s busybox "$dir/bin/$applet"
  done
  cp -L /etc/ssl/certs/ca-certificates.crt "$dir/etc/ssl/certs/"
  echo 'root:x:0:0::/root:/bin/sh' >"$dir/etc/passwd"
  echo 'root:x:0:' >"$dir/etc/group"
  echo "$dir"
}

# import makes the image $1 of the file system $2, with the instructions that follow.
import() {
  local image=$1 dir=$2 change=()
  shift 2
  for c in "$@" "LABEL $label=$image"; do change+=(--change "$c"); done
  tar --xattrs --xattrs-include='*' --owner 0 --group 0 --numeric-owner -C "$dir" -c . | docker import "${change[@]}" - "$image" >/dev/null
  rm -rf "$dir"
}

# tool builds the command of a module once a version, into the user's cache, and says where it is.
tool() {
  local package=$1 version=$2 out
  out="$cache/tools/$(go env GOVERSION)/$(basename "${package%/v[0-9]*}")-$version"
  if [[ ! -x $out ]]; then
    echo "building $package@$version once, into $out" >&2
    mkdir -p "$tmp/gobin" "$(dirname "$out")"
    (cd "$tmp" && GOBIN="$tmp/gobin" GOWORK=off GOFLAGS='' CGO_ENABLED=0 go install -trimpath -ldflags '-s -w' "$package@$version") >&2
    mv "$tmp"/gobin/* "$out"
  fi
  echo "$out"
}

golang() {
  local image=$1 dir
  echo "stand-in for $image: this machine's $(go env GOVERSION), over busybox"
  dir=$(root golang)
  cp -a "$(go env GOROOT)" "$dir/usr/local/go"
  import "$image" "$dir" 'ENV PATH=/usr/local/go/bin:/usr/local/bin:/bin' 'ENV GOPATH=/go' "ENV GOPROXY=$(go env GOPROXY)" 'CMD ["/bin/sh"]'
}

nats() {
  local image=$1 version dir
  version=${image#nats:}
  version=v${version%%-*}
  echo "stand-in for $image: nats-server $version built from its Go module, over busybox"
  dir=$(root nats)
  cp "$(tool github.com/nats-io/nats-server/v2 "$version")" "$dir/usr/local/bin/nats-server"
  import "$image" "$dir" 'ENV PATH=/usr/local/bin:/bin' 'ENTRYPOINT ["nats-server"]' 'EXPOSE 4222 6222 8222'
}

caddy() {
  local image=$1 version dir
  version=${image#caddy:}
  version=v${version%%-*}
  echo "stand-in for $image: Caddy $version built from its Go module, over busybox"
  dir=$(root caddy)
  mkdir -p "$dir"/{usr/bin,config/caddy,data/caddy,etc/caddy,srv}
  cp "$(tool github.com/caddyserver/caddy/v2/cmd/caddy "$version")" "$dir/usr/bin/caddy"
  # As in the image itself: a file that may not be executed where the container may not bind low ports.
  setcap cap_net_bind_service=+ep "$dir/usr/bin/caddy" 2>/dev/null || echo "  (without its file capability: setcap is missing)"
  import "$image" "$dir" 'ENV PATH=/usr/bin:/bin' 'ENV XDG_CONFIG_HOME=/config' 'ENV XDG_DATA_HOME=/data' \
    'CMD ["caddy","run","--config","/etc/caddy/Caddyfile","--adapter","caddyfile"]' 'WORKDIR /srv'
}

# plugin builds `docker compose`, where there is none.
plugin() {
  docker compose version >/dev/null 2>&1 && return
  local out dir
  out="$cache/tools/$(go env GOVERSION)/docker-compose-$compose_version"
  if [[ ! -x $out ]]; then
    echo "building Docker Compose $compose_version from its Go module once, into $out: minutes"
    mkdir -p "$(dirname "$out")"
    dir=$(cd "$tmp" && GOWORK=off go mod download -json "github.com/docker/compose/v2@$compose_version" | sed -n 's/^\s*"Dir": "\(.*\)",$/\1/p')
    # In its own folder: its go.mod excludes versions, and `go install` refuses such modules.
    (cd "$dir" && GOWORK=off GOFLAGS=-buildvcs=false CGO_ENABLED=0 go build -trimpath \
      -ldflags "-s -w -X github.com/docker/compose/v2/internal.Version=$compose_version" -o "$tmp/docker-compose" ./cmd)
    mv "$tmp/docker-compose" "$out"
  fi
  mkdir -p "${DOCKER_CONFIG:-$HOME/.docker}/cli-plugins"
  ln -sfn "$out" "${DOCKER_CONFIG:-$HOME/.docker}/cli-plugins/docker-compose"
  docker compose version
}

plugin
go_version=$(sed -n 's/^ARG GO_VERSION=//p' Dockerfile)
images=$(sed -nE 's/^\s*image: ((nats|caddy):\S+)$/\1/p' compose.yaml | sort -u)
for image in "golang:$go_version-alpine" $images; do
  if missing "$image"; then "${image%%:*}" "$image"; fi
done
