# SPDX-License-Identifier: GPL-3.0-or-later
"""Documentation of the action plugin of the same name; the host sees only Ansible's copy."""

from __future__ import annotations

DOCUMENTATION = r"""
---
module: daemon_zipapp
short_description: Install the daemon btmm, or a command of the zone host, as one file
version_added: 0.1.0
description:
  - Builds, on the controller, one zipapp (PEP 441) of the watcher, the library files it uses, dnspython and vici with
    their licences, and copies it when the host's differs. The host needs nothing but its own Python 3.11 or later.
  - The sweeper and the relay run on zone hosts, and use the dnspython of their distribution.
  - The notifier brings its own.
  - The same sources make the same file. It is built once and kept in C(~/.cache/btmm-fleet) (or below
    C($XDG_CACHE_HOME)), so a large fleet costs one build.
options:
  app:
    description: Which command.
    type: str
    choices: [watcher, sweeper, notifier, relay]
    default: watcher
  dest:
    description: Path on the host.
    type: path
    default: /usr/local/bin/btmm
  state:
    description: Whether the file should be there.
    type: str
    choices: [present, absent]
    default: present
attributes:
  check_mode:
    support: full
    description: The file is built, and compared, but not installed.
  diff_mode:
    support: none
    description: A diff of a zip helps nobody.
author:
  - The btmm.fleet maintainers
"""

EXAMPLES = r"""
- name: Install the daemon
  btmm.fleet.daemon_zipapp:

- name: Install the sweeper on a zone host
  btmm.fleet.daemon_zipapp: {app: sweeper, dest: /usr/local/sbin/btmm-sweep}
"""

RETURN = r"""
checksum:
  description: SHA-1 of the file, as Ansible's copy tells it.
  returned: when O(state=present)
  type: str
"""
