"""The vendored scripts are the unmodified npm files listed in CHECKSUMS.json, no more, no less."""

import json
import runpy
from pathlib import Path
from types import SimpleNamespace

TOOL = Path(__file__).resolve().parents[1] / "tools" / "vendor.py"
vendor = SimpleNamespace(**runpy.run_path(str(TOOL), run_name="vendor"))
RECORD = json.loads(vendor.CHECKSUMS.read_text(encoding="utf-8"))


def test_every_vendored_file_is_listed_and_unmodified():
    assert vendor.vendored_files() == RECORD["sha256"]


def test_the_record_names_the_pinned_packages():
    assert set(RECORD["packages"]) == {f"{p.name}@{p.version}" for p in vendor.PACKAGES}
    assert all(p["integrity"].startswith("sha512-") for p in RECORD["packages"].values())


def test_every_package_carries_its_license():
    for package in vendor.PACKAGES:
        assert (vendor.VENDOR / package.folder / "LICENSE").stat().st_size > 100
