#!/bin/sh
# dpkg: install | upgrade; rpm: 1 (first) | 2 (upgrade).
# An installation after a removal is one like the first, whatever dpkg calls it later.
set -e
case "$1" in
    install) mkdir -p /run/deacon-install ;;
esac
