#!/bin/sh
# dpkg: remove | upgrade | deconfigure; rpm: 0 (removed) | 1 (upgrade).
# Whoever removes the package stops the applications too: without an agent nobody
# would look after them. What can't be stopped keeps the package.
set -e
case "$1" in
    remove | 0) ;;
    *) exit 0 ;;
esac
if [ -d /run/systemd/system ]; then
    systemctl disable deacon.service >/dev/null 2>&1 || true
    systemctl stop deacon.service || true
fi
[ -e /etc/deacon/config.hcl ] || exit 0
if ! /usr/bin/deacon agent -c /etc/deacon/config.hcl --shutdown; then
    echo "deacon: not everything could be stopped, so the package stays;" \
        "try: deacon agent -c /etc/deacon/config.hcl --shutdown" >&2
    exit 1
fi
