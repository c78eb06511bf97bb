#!/bin/sh
# SPDX-License-Identifier: GPL-3.0-or-later
# Prints name, type and data of all records of both zones on the zone host, but for the SOA, the reverse zone's NS and what
# signing adds; the time in the trace of a lease, and the list of revoked certificates, are other ones each time.
for zone in $(sed -n 's/^zone "\(.*\)".*/\1/p' /etc/bind/btmm/named.conf); do
    dig @127.0.0.1 +noall +answer -k /etc/bind/btmm/admin.key "$zone" AXFR
done | sed -E -e 's/[[:space:]]+[0-9]+[[:space:]]+IN[[:space:]]+/ /' -e 's/\t/ /g' \
    -e 's/refreshed=[0-9]{4}(-[0-9]{2}){2}T[0-9]{2}(:[0-9]{2}){2}Z/refreshed=TIME/' \
    -e 's/"sha256=[0-9a-f]{64}"/"sha256=LIST"/' \
    -e 's/ CERT PKIX 0 0 .*/ CERT PKIX 0 0 LIST/' |
    grep -v -E -e ' (SOA|RRSIG|NSEC|DNSKEY|CDS|CDNSKEY|TYPE65534) ' -e 'ip6.arpa. NS '
