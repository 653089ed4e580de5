#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# guest.sh makes a machine for tests of a fresh Debian tree; `scripts/deps SUITE` runs it in there, as root. Its network
# is one address, its names lead to what stands around it, and at boot it starts the agent that the second disk brings.
set -eu
echo machine >/etc/hostname
cat >/etc/hosts <<EOF
127.0.0.1 localhost machine registry.example
192.0.2.100 prometheus.example target.example
192.0.2.101 other.example
EOF
echo '/dev/vda / ext4 defaults 0 1' >/etc/fstab
cat >/etc/systemd/network/lan.network <<EOF
[Match]
Type=ether
[Network]
Address=192.0.2.15/24
Gateway=192.0.2.2
EOF
cat >/etc/systemd/system/agent.service <<EOF
[Unit]
Description=What the test outside asks for
After=basic.target
RequiresMountsFor=/
[Service]
Environment=HOME=/root
ExecStartPre=mkdir -p /media/host
ExecStartPre=mount -o ro /dev/vdb /media/host
ExecStart=/media/host/agent /dev/virtio-ports/agent
KillMode=process
[Install]
WantedBy=multi-user.target
EOF
systemctl enable agent systemd-networkd
# Nothing of what a machine does now and then on its own: the tests count.
systemctl mask apt-daily.timer apt-daily-upgrade.timer dpkg-db-backup.timer fstrim.timer e2scrub_all.timer \
	modprobe@drm.service modprobe@fuse.service systemd-networkd-wait-online.service serial-getty@ttyS0.service getty@tty1.service
systemctl disable docker-registry
# AppArmor's profiles of a hundred programs that are not here are half a minute of an emulated boot.
for profile in /etc/apparmor.d/*; do
	if [ -f "$profile" ] && ! command -v "${profile##*/}" >/dev/null; then rm "$profile"; fi
done
# dracut, which later suites have, would make an initrd for the system that it runs on.
if command -v dracut >/dev/null; then
	for kernel in /lib/modules/*; do dracut --force --no-hostonly --kver "${kernel##*/}"; done
fi
useradd -m -s /bin/bash rootless
groupadd -f docker
useradd -m -s /bin/bash -G docker member
apt-get clean
# Nothing has changed since, the first boot need not see to it.
touch /etc/.updated /var/.updated
