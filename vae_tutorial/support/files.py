"""Files appear whole or not at all, and a place that cannot be written says so in one sentence."""

from __future__ import annotations

import errno
import glob
import json
import os
import tempfile
import time
from pathlib import Path
from typing import Any

STALE = 3600  # seconds
FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


class BrokenFileError(OSError, ValueError):
    """A file is there and does not hold what it should: the file's fault, not the caller's."""


def write(path: str | os.PathLike[str], content: bytes) -> Path:
    """Writes a file beside its place, forces it to the disk and renames it: whatever happens,
    and whenever, ``path`` holds its old content or its new content.

    Raises:
        OSError: the disk is full or the place cannot be written; ``path`` is as it was.
    """
    path = Path(path)
    temporary = ""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
    except BaseException as error:
        if temporary:
            Path(temporary).unlink(missing_ok=True)
        if isinstance(error, OSError):
            raise OSError(_sentence(path, error)) from error
        raise
    return path


def write_json(path: str | os.PathLike[str], content: dict[str, Any]) -> Path:
    """:func:`write` for what JSON can hold."""
    return write(path, (json.dumps(content, indent=1, ensure_ascii=False) + "\n").encode())


def writable(path: str | os.PathLike[str]) -> Path:
    """Returns ``path`` if a file can be written there, which it finds out by writing one: asked
    before hours of work, so that their result has a place. What is there is not touched, but for
    temporary files of this path that are an hour old.

    Raises:
        OSError: the place cannot be written.
    """
    path = Path(path)
    if path.is_dir():
        raise IsADirectoryError(f"{path} is a folder; name a file in it")
    try:
        write(path.with_name(f".{path.name}.try"), b"").unlink(missing_ok=True)  # of any process
    except OSError as error:
        cause = error.__cause__ if isinstance(error.__cause__, OSError) else error
        raise OSError(_sentence(path, cause)) from error
    _sweep(path)
    return path


def _sweep(path: Path) -> None:
    """Removes what processes left that were killed while they wrote this file, long ago enough
    that none can still be writing."""
    for left in path.parent.glob(f".{glob.escape(path.name)}.*"):
        try:
            if time.time() - left.stat().st_mtime > STALE:
                left.unlink()
        except OSError:
            pass  # another process was faster


def _sentence(path: Path, error: OSError) -> str:
    reason = error.strerror or str(error)
    if error.errno in FULL:
        return (
            f"{path} could not be written ({reason}); nothing was changed there: "
            f"free some space and try again, or name another folder"
        )
    return f"{path} cannot be written ({reason}); name a file in a folder where you may write"
