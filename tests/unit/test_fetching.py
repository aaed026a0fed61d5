"""Where files come from: a local server plays the publisher, and behaves as publishers do."""

import gzip
import hashlib
import lzma
import signal
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pooch
import pytest
from disks import run_on_a_small_disk

from vae_tutorial import data
from vae_tutorial.data import CATALOG, fetching, formats

CONTENT = bytes(range(256)) * 2000
SHA256 = hashlib.sha256(CONTENT).hexdigest()
FETCH = """
from vae_tutorial.data import fetching
wanted = [fetching.File("group/name", {size}, "{sha256}", ("{url}",))]
"""


class Publisher(BaseHTTPRequestHandler):
    """The path says how the file is served; every request is counted."""

    requests: list[str] = []  # noqa: RUF012
    both_are_here = threading.Barrier(2)

    def do_GET(self):
        kind = self.path.split("/")[1]
        self.requests.append(kind)
        if kind == "silent":
            time.sleep(30)
            return
        body = gzip.compress(CONTENT) if kind == "packed" else CONTENT
        body = b"<html>moved</html>" if kind == "wrong" else body
        body = CONTENT * 2 if kind == "endless" else body
        self.send_response(404 if kind == "missing" else 200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if kind in ("truncated", "slow", "together"):
            self.wfile.write(body[:1000])
            self.wfile.flush()
            if kind == "slow":
                time.sleep(30)
            if kind == "together":  # nobody gets the rest before both have begun
                self.both_are_here.wait(60)
                self.wfile.write(body[1000:])
            self.close_connection = True
        else:
            self.wfile.write(body)

    def log_message(self, *arguments): ...


@pytest.fixture
def publisher(monkeypatch, tmp_path):
    """The server's address; the cache and the folder are the test's own."""
    monkeypatch.delenv("VAE_TUTORIAL_DATA", raising=False)
    monkeypatch.setenv("VAE_TUTORIAL_CACHE", str(tmp_path / "cache"))
    Publisher.requests = []
    server = ThreadingHTTPServer(("127.0.0.1", 0), Publisher)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def file(*urls):
    return fetching.File("group/name", len(CONTENT), SHA256, urls)


def content(wanted):
    """Of one file."""
    (found,) = fetching.contents([wanted])
    return found


def script(url, then):
    """What a process of its own runs."""
    return FETCH.format(sha256=SHA256, size=len(CONTENT), url=url) + then


def files_in(folder):
    return sorted(str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file())


@pytest.mark.parametrize("kind", ["plain", "packed"])
def test_a_file_is_fetched_once_and_then_cached(publisher, kind):
    for _ in range(2):
        assert content(file(f"{publisher}/{kind}/name")) == CONTENT
    assert Publisher.requests == [kind]


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        ("truncated", "the transfer broke off"),
        ("wrong", r"not the published file \(SHA-256 differs\)"),
        ("endless", r"not the published file \(too long\)"),
        ("missing", "404 Client Error: Not Found"),
    ],
)
def test_a_bad_publisher_leaves_nothing_and_the_next_one_serves(publisher, kind, reason, tmp_path):
    with pytest.raises(FileNotFoundError, match=rf"\(127.0.0.1:\d+: {reason}\): put name "):
        content(file(f"{publisher}/{kind}/name"))
    assert files_in(tmp_path) == []
    both = file(f"{publisher}/{kind}/name", f"{publisher}/plain/name")
    assert content(both) == CONTENT and Publisher.requests == [kind, kind, "plain"]


def test_no_network_says_what_to_put_where_in_one_sentence(publisher):
    with pytest.raises(FileNotFoundError) as caught:
        content(file("http://127.0.0.1:9/name"))
    assert str(caught.value) == (
        "name is not here and could not be downloaded (127.0.0.1:9: no connection): put name "
        "(plain, .gz or .xz) into a folder named group, and set the environment variable "
        "VAE_TUTORIAL_DATA to the folder that holds group"
    )


def test_no_network_names_all_that_is_missing_at_once(publisher, tmp_path, monkeypatch):
    """Of three files one lies in the folder and one in the cache."""
    names = ("mine", "cached", "one", "two")
    files = tuple(fetching.File(f"group/{n}", len(CONTENT), SHA256) for n in names)
    monkeypatch.setenv("VAE_TUTORIAL_DATA", str(tmp_path / "data"))
    for name, place in (("mine.gz", "data"), ("cached", "cache")):
        (tmp_path / place / "group").mkdir(parents=True)
        (tmp_path / place / "group" / name).write_bytes(CONTENT)
    with pytest.raises(FileNotFoundError) as caught:
        fetching.contents(files)
    words = str(caught.value)
    assert "(no address): put one and two (plain, .gz or .xz) into a folder named group" in words
    assert words.endswith(f"that holds group; it is {tmp_path / 'data'} now")


def test_a_fetch_says_what_it_fetches_and_from_where(publisher, caplog):
    pooch.get_logger().addHandler(caplog.handler)
    for _ in range(2):
        content(file(f"{publisher}/plain/name"))
    pooch.get_logger().removeHandler(caplog.handler)
    host = publisher.removeprefix("http://")
    assert caplog.messages == [f"Fetching name (0.5 MB unpacked) from {host}"]


@pytest.mark.parametrize("kind", ["slow", "silent"])
def test_a_publisher_that_says_nothing_more_is_given_up(publisher, kind, monkeypatch, tmp_path):
    """It would break off by itself, which is another reason."""
    monkeypatch.setattr(fetching, "TIMEOUT", 0.5)
    with pytest.raises(FileNotFoundError, match=r": no answer in 0.5 seconds\)"):
        content(file(f"{publisher}/{kind}/name"))
    assert files_in(tmp_path) == []


@pytest.mark.slow
def test_kill_9_in_the_middle_of_a_download_leaves_no_half_file(publisher, tmp_path, monkeypatch):
    (tmp_path / "tmp").mkdir()
    monkeypatch.setenv("TMPDIR", str(tmp_path / "tmp"))
    code = script(f"{publisher}/slow/name", "fetching.contents(wanted)")
    process = subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.DEVNULL)
    while not Publisher.requests:  # until the transfer has begun
        assert process.poll() is None
        time.sleep(0.01)
    time.sleep(0.2)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    assert files_in(tmp_path) == []
    assert content(file(f"{publisher}/plain/name")) == CONTENT


@pytest.mark.slow
def test_two_processes_at_once_both_get_it(publisher, tmp_path):
    code = script(
        f"{publisher}/together/name",
        "import hashlib\nprint(hashlib.sha256(fetching.contents(wanted)[0]).hexdigest())",
    )
    processes = [
        subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    said = [process.communicate(timeout=120)[0].strip() for process in processes]
    assert said == [SHA256] * 2 and Publisher.requests == ["together"] * 2
    assert files_in(tmp_path) == ["cache/group/name"]
    assert content(file()) == CONTENT  # needs no address any more


@pytest.mark.slow
def test_a_full_disk_is_said_and_holds_no_half_file(publisher, tmp_path):
    (tmp_path / "cache").mkdir()
    then = f"""
from pathlib import Path
try:
    fetching.contents(wanted)
except OSError as error:
    print(error)
print([p.name for p in Path("{tmp_path}/cache").rglob("*") if p.is_file()])
"""
    done = run_on_a_small_disk(script(f"{publisher}/plain/name", then), tmp_path / "cache")
    sentence, left = done.stdout.strip().splitlines()
    assert "name could not be written" in sentence and "free some space" in sentence
    assert left == "[]" and Publisher.requests == ["plain"]


def test_a_damaged_cache_is_fetched_again(publisher, tmp_path):
    wanted = file(f"{publisher}/plain/name")
    content(wanted)
    (tmp_path / "cache" / "group" / "name").write_bytes(CONTENT[:-1])
    assert content(wanted) == CONTENT and Publisher.requests == ["plain", "plain"]


def test_a_cache_that_cannot_be_written_is_said_before_the_transfer(publisher, tmp_path):
    (tmp_path / "cache").write_text("a file where the cache should be")  # root may not either
    with pytest.raises(
        OSError, match=r"/name cannot be written .*VAE_TUTORIAL_CACHE; or .*VAE_TUTORIAL_DATA$"
    ):
        content(file(f"{publisher}/plain/name"))
    assert Publisher.requests == []


@pytest.mark.parametrize(
    ("ending", "pack"), [("", bytes), (".gz", gzip.compress), (".xz", lzma.compress)]
)
def test_your_own_folder_comes_first_however_files_are_packed(
    publisher, tmp_path, monkeypatch, ending, pack
):
    monkeypatch.setenv("VAE_TUTORIAL_DATA", str(tmp_path))
    (tmp_path / "group").mkdir()
    mine = tmp_path / "group" / f"name{ending}"
    mine.write_bytes(pack(CONTENT))
    assert content(file(f"{publisher}/plain/name")) == CONTENT
    assert Publisher.requests == [] and not (tmp_path / "cache").exists()
    mine.write_bytes(pack(CONTENT[:-1]))
    with pytest.raises(ValueError, match=r"is not the published file .*SHA-256 differs"):
        content(file(f"{publisher}/plain/name"))


def test_a_file_is_placed_where_it_is_found_first(publisher, tmp_path, monkeypatch):
    wanted = file(f"{publisher}/plain/name")
    assert fetching.place_of(wanted) is None
    content(wanted)
    assert fetching.place_of(wanted) == tmp_path / "cache" / "group" / "name"
    (tmp_path / "group").mkdir()
    (tmp_path / "group" / "name.xz").write_bytes(lzma.compress(CONTENT))
    monkeypatch.setenv("VAE_TUTORIAL_DATA", str(tmp_path))
    assert fetching.place_of(wanted) == tmp_path / "group" / "name.xz"


def test_every_record_says_who_made_it_and_where_it_is_published():
    for name, record in CATALOG.items():
        assert record.name == name and record.license and record.citation and record.title
        assert bool(record.files) == (name != "digits")
        for wanted in record.files:
            assert wanted.urls and len(wanted.sha256) == 64 and wanted.place.count("/") == 1
            assert len(wanted.urls) == len(set(wanted.urls)) >= (1 if "pf00" in name else 2)
            for url in wanted.urls:
                assert url.startswith(("https://", "http://www.cs.toronto.edu"))
                assert url.removesuffix(".gz").endswith(wanted.place.split("/")[1])


def test_sizes_and_places_are_those_of_the_published_files(data_folder):
    for record in CATALOG.values():
        files = (record.packed,) if record.packed else record.files
        for wanted, raw in zip(files, fetching.contents(files), strict=True):
            assert len(raw) == wanted.size and wanted.holds(raw)
        assert [str(p).startswith(str(data_folder)) for p in record.places()] == [True] * len(
            files
        )


@pytest.mark.slow
def test_original_formats_are_read_too(data_folder, tmp_path, monkeypatch):
    """Larochelle's text files, rebuilt from the packed bits, and an unpacked MNIST."""
    packed = data.load("binarized_mnist", device="cpu")
    (tmp_path / "binarized_mnist").mkdir()
    for part in ("train", "valid", "test"):
        x = getattr(packed, part).x.byte().numpy() + ord("0")
        text = bytearray(b" " * (x.size * 2))
        text[::2] = x.tobytes()
        text[2 * 784 - 1 :: 2 * 784] = b"\n" * len(x)
        path = tmp_path / "binarized_mnist" / f"binarized_mnist_{part}.amat"
        path.write_bytes(text)
        (wanted,) = (f for f in CATALOG["binarized_mnist"].files if f.place.endswith(path.name))
        assert wanted.size == len(text)
        assert (formats.amat(path.read_bytes(), path)[:9] == x[:9] - ord("0")).all()
    (tmp_path / "mnist").mkdir()
    for path in (data_folder / "mnist").glob("*.gz"):
        (tmp_path / "mnist" / path.stem).write_bytes(gzip.decompress(path.read_bytes()))
    mnist = data.load("mnist", pixels="grey", device="cpu")
    monkeypatch.setenv("VAE_TUTORIAL_DATA", str(tmp_path))
    assert data.load("binarized_mnist", device="cpu").test.x.equal(packed.test.x)
    texts = sorted((tmp_path / "binarized_mnist").glob("*.amat"))
    assert sorted(CATALOG["binarized_mnist"].places()) == texts and len(texts) == 3
    assert data.load("mnist", pixels="grey", device="cpu").train.x.equal(mnist.train.x)
