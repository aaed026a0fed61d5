"""Disks that are really full: for tests that write where there is no space."""

import functools
import subprocess
import sys

MOUNT = "mount -t tmpfs -o size={size} tmpfs {folder} && exec {python} -c '{code}'"


@functools.cache
def _own_mounts() -> bool:
    """Whether this machine lets a process mount a small disk that nobody else sees."""
    command = ["unshare", "-rm", "sh", "-c", "mount -t tmpfs tmpfs /mnt"]
    try:
        return subprocess.run(command, capture_output=True).returncode == 0
    except OSError:
        return False


def run_on_a_small_disk(code, folder, size=65536):
    """Runs Python code (without single quotes) with ``folder`` on a disk of ``size`` bytes; where
    mounting is not allowed, under a limit on the size of a file, which fails as a write does."""
    if _own_mounts():
        script = MOUNT.format(size=size, folder=folder, python=sys.executable, code=code)
        command = ["unshare", "-rm", "sh", "-c", script]
    else:
        limit = f"import resource\nresource.setrlimit(resource.RLIMIT_FSIZE, ({size}, {size}))\n"
        command = [sys.executable, "-c", limit + code]
    return subprocess.run(command, capture_output=True, text=True, timeout=300)
