#!/bin/sh
# dpkg: remove | purge | upgrade ...; rpm: 0 (removed) | 1 (upgrade).
# Purging takes the default state folder too, and nothing that is mounted below it.
set -e
if [ -d /run/systemd/system ]; then
    systemctl daemon-reload || true
fi
case "$1" in
    purge) rm -rf --one-file-system /var/lib/deacon /etc/deacon ;;
esac
