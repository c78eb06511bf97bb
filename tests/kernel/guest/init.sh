#!/bin/sh
# SPDX-License-Identifier: GPL-3.0-or-later
# Process 1 of the kernel under test. The root stays as it is.
set -eu
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs devtmpfs /dev
mount -t tmpfs tmpfs /run
mount -t tmpfs tmpfs /tmp
mount -t tmpfs tmpfs /srv
# Beside it, and not in the place of it: the shell takes leave of processes whose parents are gone.
python3 /mnt/guest/agent.py
echo o > /proc/sysrq-trigger
sleep 60 # the kernel would panic if its first process ended before
