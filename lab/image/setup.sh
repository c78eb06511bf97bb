#!/bin/sh
# SPDX-License-Identifier: GPL-3.0-or-later
# mmdebstrap customize hook: $1 is the root of the new image.
set -eu
root=$1

# The roles under rehearsal manage these; pages are switched on per host.
chroot "$root" systemctl disable named strongswan nginx nftables krb5-kdc krb5-admin-server smbd nmbd apache2
# A router runs miniupnpd by a unit of the lab; not every release has it.
chroot "$root" systemctl disable miniupnpd 2>/dev/null || true

# Nothing to fetch and no disk to keep: these would fail some time after boot and make the host "degraded".
for unit in apt-daily.timer apt-daily-upgrade.timer dpkg-db-backup.timer e2scrub_all.timer e2scrub_reap.service fstrim.timer \
    systemd-pstore.service; do
    ln -sf /dev/null "$root/etc/systemd/system/$unit"
done
# Privileged containers see the machine's own devices: udev in there would answer for them.
for unit in systemd-udevd.service systemd-udev-trigger.service systemd-udevd-control.socket systemd-udevd-kernel.socket \
    getty@.service console-getty.service sshd-keygen.service; do
    ln -sf /dev/null "$root/etc/systemd/system/$unit"
done

# Somebody whose the hosts are; without a password, as everybody in there.
chroot "$root" useradd --create-home --shell /bin/bash alice

printf 'HostKey /etc/ssh/ssh_host_ed25519_key\n' > "$root/etc/ssh/sshd_config.d/lab.conf"
rm -f "$root"/etc/ssh/ssh_host_*
# Identity and names of the machine that built the image.
rm -f "$root/etc/machine-id" "$root/var/lib/dbus/machine-id" "$root/etc/hostname"
ln -sf ../run/systemd/resolve/stub-resolv.conf "$root/etc/resolv.conf"
printf 'LANG=C.UTF-8\n' > "$root/etc/default/locale"
install -d -m 700 "$root/root/.ssh"
