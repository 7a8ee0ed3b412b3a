#!/bin/sh
# dpkg: configure; rpm: 1 (first) | 2 (upgrade).
# A node that is upgraded is restarted: applications run on. Debian's way is to start
# what was installed, the rpm way is to leave that to whoever installs.
set -e
[ -d /run/systemd/system ] || { rm -rf /run/deacon-install; exit 0; }
systemctl daemon-reload
case "$1" in
    configure)
        if [ -d /run/deacon-install ]; then
            rm -rf /run/deacon-install
            systemctl enable deacon.service
            systemctl restart deacon.service ||
                echo "deacon could not be started; deacon doctor says what is missing" >&2
        else
            systemctl try-restart deacon.service
        fi
        ;;
    1) systemctl preset deacon.service >/dev/null 2>&1 || true ;;
    2) systemctl try-restart deacon.service ;;
esac
