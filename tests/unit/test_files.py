"""Writing: whole or not at all, on a full disk, in unwritable places, under kill -9."""

import os
import signal
import subprocess
import sys

import pytest
from disks import run_on_a_small_disk

from vae_tutorial.support import files


def test_a_file_is_written_and_replaced(tmp_path):
    path = tmp_path / "new" / "folder" / "file"
    assert files.write(path, b"one") == path and path.read_bytes() == b"one"
    files.write(path, b"two")
    assert path.read_bytes() == b"two" and [p.name for p in path.parent.iterdir()] == ["file"]
    assert path.stat().st_mode & 0o777 == 0o644


@pytest.mark.slow
def test_a_full_disk_keeps_the_old_file_and_says_so(tmp_path):
    code = f"""
from pathlib import Path
from vae_tutorial.support import files
path = Path("{tmp_path}") / "file"
files.write(path, b"old")
try:
    files.write(path, bytes(1_000_000))
except OSError as error:
    print(error)
print(path.read_bytes(), [p.name for p in path.parent.iterdir()])
"""
    result = run_on_a_small_disk(code, tmp_path)
    message, state = result.stdout.splitlines()
    assert "could not be written" in message and "free some space" in message, result
    assert state == "b'old' ['file']"


def test_places_that_nobody_can_write_are_refused_even_to_root(tmp_path):
    (tmp_path / "file").write_text("a file, no folder")
    (tmp_path / "folder").mkdir()
    with pytest.raises(OSError, match="cannot be written .*folder where you may write"):
        files.write(tmp_path / "file" / "model", b"")
    with pytest.raises(OSError, match="/file/model cannot be written [(]File exists[)]"):
        files.writable(tmp_path / "file" / "model")
    with pytest.raises(OSError, match="name a file in it"):
        files.writable(tmp_path / "folder")
    with pytest.raises(OSError, match="cannot be written"):
        files.write("/proc/no_such_folder/model", b"")  # a file system without ordinary files
    (tmp_path / "folder").chmod(0o555)
    if os.geteuid() == 0:  # root may write into read-only folders: then the write must succeed
        files.write(tmp_path / "folder" / "model", b"x")
        assert (tmp_path / "folder" / "model").read_bytes() == b"x"
    else:
        with pytest.raises(OSError, match="cannot be written"):
            files.write(tmp_path / "folder" / "model", b"x")


def test_asking_leaves_nothing_behind_and_touches_nothing(tmp_path):
    path = tmp_path / "model"
    path.write_bytes(b"mine")
    assert files.writable(path) == path
    assert path.read_bytes() == b"mine" and list(tmp_path.iterdir()) == [path]


def test_what_a_killed_process_left_is_swept_away_when_nobody_can_be_writing(tmp_path):
    old, new, other = (tmp_path / name for name in (".model.abc", ".model.def", ".models.abc"))
    for left in (old, new, other):
        left.write_bytes(b"half")
    for left in (old, other):
        os.utime(left, (1e9, 1e9))
    files.writable(tmp_path / "model")
    assert sorted(tmp_path.iterdir()) == [new, other]


@pytest.mark.slow
def test_kill_9_while_writing_leaves_one_of_the_two_contents(tmp_path):
    path = tmp_path / "file"
    code = f"""
from vae_tutorial.support import files
contents = [bytes([i]) * 3_000_000 for i in (1, 2)]
print("ready", flush=True)
while True:
    for content in contents:
        files.write("{path}", content)
"""
    for delay in (0.0, 0.003, 0.011, 0.02):
        process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE)
        process.stdout.readline()
        while not path.exists():
            pass
        try:
            process.wait(timeout=delay)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
            process.wait()
        process.stdout.close()
        content = path.read_bytes()
        assert len(content) == 3_000_000 and len(set(content)) == 1
        path.unlink()
