"""LatentExplorer on the static page: torch's own image, by pointer, touch and keys."""

from __future__ import annotations

import statistics

import pytest
import torch
from built_site import Visit

from vae_tutorial.book import pretrained

POINTS = [(0.0, 0.0), (1.0, -0.5), (-1.7, 0.3), (2.4, 2.1), (-0.6, -2.9)]
MAX_MILLISECONDS = 4.0
PHONE = {"viewport": {"width": 375, "height": 812}, "is_mobile": True, "has_touch": True}
PIXELS = """canvas => {
    const {width, height} = canvas;
    const {data} = canvas.getContext('2d').getImageData(0, 0, width, height);
    return Array.from({length: width * height}, (_, i) => 1 - data[4 * i] / 255);
}"""
TIMES = """root => Array.from({length: 200}, (_, i) => {
    root.explorer.moveTo([3 * Math.cos(i / 10), 3 * Math.sin(i / 10)]);
    return Number(root.dataset.ms);
})"""
MNIST_PAGE = "chapters/07_mlp_vae.html"


def explorer(visit: Visit, path: str):
    visit.open(path)
    root = visit.page.locator(".vae-explorer").first
    root.wait_for()
    root.scroll_into_view_if_needed()
    return root


def test_widget_replaces_its_still_picture(visit: Visit, widget_path: str):
    root = explorer(visit, widget_path)
    assert visit.errors == []
    assert root.locator("canvas").count() == 2
    assert not visit.page.locator(".widget-live img").first.is_visible()


@pytest.mark.parametrize("visit", [{"java_script_enabled": False}], indirect=True)
def test_still_picture_stands_without_scripts(visit: Visit, widget_path: str):
    visit.page.goto(visit.site + widget_path)
    picture = visit.page.locator(".widget img").first
    assert picture.is_visible()
    assert len(picture.get_attribute("alt") or "") > 20


def test_image_equals_the_decoder_of_torch(visit: Visit):
    model = pretrained.load("mnist_2d")
    root = explorer(visit, MNIST_PAGE)
    device = next(model.parameters()).device
    for z in POINTS:
        root.evaluate("(root, z) => root.explorer.moveTo(z)", list(z))
        shown = torch.tensor(root.locator(".vx-image").evaluate(PIXELS))
        with torch.no_grad():
            expected = model.decode(torch.tensor([z], device=device)).mean[0].cpu()
        assert float((shown - expected).abs().max()) <= 1 / 255


def test_a_frame_is_decoded_quickly(visit: Visit, widget_path: str):
    root = explorer(visit, widget_path)
    median = statistics.median(root.evaluate(TIMES)[20:])
    print(f"{widget_path}: {median:.3f} ms a frame")
    assert median < MAX_MILLISECONDS


def test_arrow_keys_move_the_point_and_the_image(visit: Visit, widget_path: str):
    root = explorer(visit, widget_path)
    plane, image = root.locator(".vx-plane"), root.locator(".vx-image")
    root.evaluate("root => root.explorer.moveTo([0, 0])")
    before = image.evaluate(PIXELS)
    plane.focus()
    position = visit.page.evaluate("scrollY")
    visit.page.keyboard.press("ArrowRight")
    visit.page.keyboard.press("Shift+ArrowDown")
    assert root.get_attribute("data-z") == "0.1000,-0.5000"
    assert image.evaluate(PIXELS) != before
    assert visit.page.evaluate("scrollY") == position
    visit.page.keyboard.press("Home")
    assert root.get_attribute("data-z") == "0.0000,0.0000"
    status = root.locator("[role=status]")
    visit.page.wait_for_timeout(800)
    assert "0.00" in (status.text_content() or "")


def test_keyboard_focus_is_visible(visit: Visit, widget_path: str):
    root = explorer(visit, widget_path)
    plane = root.locator(".vx-plane")
    plane.focus()
    visit.page.keyboard.press("ArrowUp")
    assert plane.evaluate("e => getComputedStyle(e).outlineStyle") != "none"


def test_pointer_moves_the_point(visit: Visit, widget_path: str):
    root = explorer(visit, widget_path)
    box = root.locator(".vx-plane").bounding_box()
    assert box is not None
    x, y = box["x"] + box["width"] * 0.75, box["y"] + box["height"] * 0.25
    visit.page.mouse.move(x, y)
    visit.page.mouse.down()
    visit.page.mouse.move(x + 10, y)
    visit.page.mouse.up()
    visit.page.wait_for_timeout(100)
    z = [float(v) for v in (root.get_attribute("data-z") or "").split(",")]
    assert z[0] > 1 and z[1] > 1


@pytest.mark.parametrize("visit", [PHONE], indirect=True)
def test_touch_moves_the_point_on_a_phone(visit: Visit, widget_path: str):
    root = explorer(visit, widget_path)
    before = root.get_attribute("data-z")
    box = root.locator(".vx-plane").bounding_box()
    assert box is not None and box["width"] > 250
    visit.page.touchscreen.tap(box["x"] + 0.2 * box["width"], box["y"] + 0.5 * box["height"])
    visit.page.wait_for_timeout(100)
    assert root.get_attribute("data-z") != before


def test_theme_change_redraws(visit: Visit, widget_path: str):
    root = explorer(visit, widget_path)
    for theme in ("dark", "light"):
        visit.page.evaluate("t => { document.documentElement.dataset.theme = t }", theme)
        visit.page.wait_for_timeout(100)
        assert root.get_attribute("data-dark") == str(theme == "dark").lower()
