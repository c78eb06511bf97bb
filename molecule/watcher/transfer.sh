#!/bin/sh
# SPDX-License-Identifier: GPL-3.0-or-later
# Prints name, type and data of all records of both zones on the zone host, but for the SOA and the reverse zone's NS.
for zone in $(sed -n 's/^zone "\(.*\)".*/\1/p' /etc/bind/btmm/named.conf); do
    dig @127.0.0.1 +noall +answer -k /etc/bind/btmm/admin.key "$zone" AXFR
done | sed -E -e 's/[[:space:]]+[0-9]+[[:space:]]+IN[[:space:]]+/ /' -e 's/\t/ /g' | grep -v -e ' SOA ' -e 'ip6.arpa. NS '
