#!/usr/bin/env bash
# Installs Switchback on this machine, as root: install.sh DIR, where DIR has nats-server, switchback and the services' binaries.
# What is in /etc/switchback already stays. ROOT=/some/dir installs below another folder (tests, images).
set -euo pipefail
from=${1:?"name the folder with the binaries"}
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=${ROOT:-}
etc=$root/etc/switchback

install -d "$root/usr/local/bin" "$root/etc/systemd/system" "$etc/nats/permissions"
for binary in nats-server switchback switchback-listener switchback-runner switchback-gateway; do
  install -m 0755 "$from/$binary" "$root/usr/local/bin/$binary"
done
install -m 0644 "$here"/switchback-{nats,provision,listener,runner,gateway}.service "$root/etc/systemd/system/"
install -m 0644 "$here/../nats/server.conf" "$here/../nats/users.conf" "$etc/nats/"
install -m 0644 "$here"/../nats/permissions/*.conf "$etc/nats/permissions/"
[[ -e $etc/switchback.env ]] || install -m 0644 "$here/switchback.env" "$etc/switchback.env"

# A password for each user, made once. The server takes them in quotes.
umask 077
if [[ ! -e $etc/nats.env ]]; then
  for user in listener runner gateway controller admin; do
    password=$(od -An -N24 -tx1 /dev/urandom | tr -d ' \n')
    echo "NATS_${user^^}_PASSWORD='\"$password\"'" >>"$etc/nats.env.new"
    echo "SWITCHBACK_NATS_PASSWORD=$password" >"$etc/$user.env"
  done
  mv "$etc/nats.env.new" "$etc/nats.env"
fi

cat <<'END'
Now write /etc/switchback/switchback.yaml and start it:

  systemctl daemon-reload
  systemctl enable --now switchback-nats switchback-provision switchback-listener switchback-runner
  systemctl enable --now switchback-gateway    # where the file has a gateway
END
