# SPDX-License-Identifier: GPL-3.0-or-later
"""Captured on the rehearsal WAN: an INFORMATIONAL request of strongSwan 6.0.1, and an ESP packet of libipsec."""

IKE = bytes.fromhex(
    "00000000"  # the non-ESP marker, RFC 3948 section 2.2
    "6eb319d873edaa67 76f9fa342b89b4e1"  # SPIs of initiator and responder
    "2e 20 25 08 00000003 00000071"  # next payload, version 2.0, INFORMATIONAL, flags, message 3, 113 octets
    "29000055a03529a12e2efa596ce12915afeee466afe4e0493a3758c2ab44baa72af5210289dab456dd7d09eebac247f759be2d42"
    "4df7bfb8c3cc7128dcc830e65d0e6d0e2813405f4739f9965b6028d9eb7abf3c36"
)
ESP = bytes.fromhex(
    "cde4f040 00000001"  # SPI, sequence number
    "602ad724fdc35c3492454f683635693df566f57688bf196b30290a5e03c0ec4aacda221e7af3371dc72d0a3880fcb7ff5c8632bcf4995e4c"
    "e44e47a8ab8876f30d374b8ad3743280d1db3ed41380139795db7601f243454009e0be913a80dd5435bdd3a785e0edb4721410ab523c4376"
    "30fbad65d3e06365defcfb4bbc1b330d61d87fbc"
)
