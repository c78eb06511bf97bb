# SPDX-License-Identifier: GPL-3.0-or-later
"""Files on their way into a container."""

import io
import tarfile
import time
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class File:
    """A file's content, or what it links to."""

    content: str = ""
    mode: int = 0o644
    link: str | None = None


def archive(files: dict[str, File]) -> bytes:
    """The files as a tar archive, owned by root."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for path, file in files.items():
            info = tarfile.TarInfo(path)
            info.mode = file.mode
            info.mtime = int(time.time())
            data = file.content.encode()
            if file.link is None:
                info.size = len(data)
            else:
                info.type, info.linkname = tarfile.SYMTYPE, file.link
            tar.addfile(info, io.BytesIO(data))
    return buffer.getvalue()
