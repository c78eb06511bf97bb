# SPDX-License-Identifier: GPL-3.0-or-later
"""The relay on a zone host: brings hosts together that nobody can call, and forwards their encrypted datagrams."""
