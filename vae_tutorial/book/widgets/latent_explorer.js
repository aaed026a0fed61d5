// The front end of LatentExplorer: a point on the latent plane, and the decoder's image of it.
// The decoder runs here, in plain JavaScript: no kernel, no network. Weights arrive as float16.

const STEP = 0.1, BIG_STEP = 0.5;            // arrow keys, in units of z
const TILES = 9, TILE_INK = 0.35;             // the map behind a plane without points
const KEYS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] };

const ACTIVATIONS = {
  identity: (s) => s,
  tanh: Math.tanh,
  relu: (s) => (s > 0 ? s : 0),
  softplus: (s) => (s > 20 ? s : Math.log1p(Math.exp(s))),
  sigmoid: (s) => 1 / (1 + Math.exp(-s)),
};

function fromHalf(h) {                        // one IEEE 754 half-precision number
  const sign = h & 0x8000 ? -1 : 1, e = (h >> 10) & 31, f = h & 1023;
  if (e === 0) return sign * f * 2 ** -24;
  if (e === 31) return f ? NaN : sign * Infinity;
  return sign * (1 + f / 1024) * 2 ** (e - 15);
}

function halves(view) {                       // a DataView of little-endian float16
  const out = new Float32Array(view.byteLength / 2);
  for (let i = 0; i < out.length; i++) out[i] = fromHalf(view.getUint16(2 * i, true));
  return out;
}

export function makeDecoder(layers, weights) {
  let at = 0;
  const take = (n) => weights.subarray(at, (at += n));
  const net = layers.map(({ inputs, outputs, activation }) => ({
    inputs, W: take(inputs * outputs), b: take(outputs),
    f: ACTIVATIONS[activation], h: new Float32Array(outputs),
  }));
  const start = new Float32Array(2);
  return (z) => {                             // h = f(W h + b), layer by layer
    start.set(z);
    let x = start;
    for (const { inputs, W, b, f, h } of net) {
      for (let i = 0, r = 0; i < h.length; i++) {
        let s = b[i], j = 0;
        for (; j + 3 < inputs; j += 4, r += 4) {
          s += W[r] * x[j] + W[r + 1] * x[j + 1] + W[r + 2] * x[j + 2] + W[r + 3] * x[j + 3];
        }
        for (; j < inputs; j++) s += W[r++] * x[j];
        h[i] = f(s);
      }
      x = h;
    }
    return x;
  };
}

const number = (v) => (Math.abs(v) < 0.005 ? 0 : v).toFixed(2).replace("-", "\u2212");
const pair = (z) => `(${number(z[0])}, ${number(z[1])})`;
const clamp = (v, R) => Math.max(-R, Math.min(R, v));

function rgb(color) {                         // "#rrggbb" or "rgb(...)" to three numbers
  if (color[0] === "#") return [1, 3, 5].map((i) => parseInt(color.slice(i, i + 2), 16));
  return (color.match(/[\d.]+/g) ?? [0, 0, 0]).slice(0, 3).map(Number);
}
const mix = (c, to, t) => `rgb(${rgb(c).map((v, i) => Math.round(v + (to[i] - v) * t)).join(" ")})`;

const HTML = `
<div class="vx-side"><canvas class="vx-plane" tabindex="0" role="application"
  aria-roledescription="two-dimensional slider"></canvas></div>
<div class="vx-side vx-result"><canvas class="vx-image" role="img"></canvas>
  <p class="vx-caption"><span class="vx-z"></span><span class="vx-near"></span></p></div>
<p class="vx-hint">Drag the point, or use the arrow keys: Shift takes larger steps,
  Home returns to the origin.</p>
<p class="vx-live" role="status" aria-live="polite"></p>`;

function render({ model, el }) {
  const R = model.get("extent"), [rows, cols] = model.get("image_shape");
  const decode = makeDecoder(model.get("layers"), halves(model.get("weights")));
  const points = halves(model.get("points")), classes = model.get("classes");
  const labels = new Uint8Array(model.get("labels").buffer, model.get("labels").byteOffset,
    model.get("labels").byteLength);
  const root = document.createElement("div");
  root.className = "vae-explorer";
  root.innerHTML = HTML;
  el.append(root);
  const $ = (name) => root.querySelector(`.vx-${name}`);
  const plane = $("plane"), image = $("image"), live = $("live");
  plane.setAttribute("aria-label", "Latent plane: arrow keys move the point whose decoded image "
    + "is shown; Shift takes larger steps, Home returns to the origin.");
  image.width = cols;
  image.height = rows;
  image.style.aspectRatio = `${cols} / ${rows}`;
  const ink = image.getContext("2d"), pixels = ink.createImageData(cols, rows);
  const pen = plane.getContext("2d"), backdrop = document.createElement("canvas");
  pixels.data.fill(255);
  let z = [...model.get("z")], size = 0, scale = 1, frame = 0, quiet = 0;
  const px = (u) => ((u + R) / (2 * R)) * size, py = (u) => px(-u);

  function drawMap(g, fg) {                   // what the decoder draws there, faintly
    const side = size / TILES, step = (2 * R) / TILES, tile = document.createElement("canvas");
    tile.width = cols;
    tile.height = rows;
    const t = tile.getContext("2d"), p = t.createImageData(cols, rows), [red, green, blue] = rgb(fg);
    for (let k = 0; k < TILES * TILES; k++) {
      const [i, j] = [k % TILES, Math.floor(k / TILES)];
      const x = decode([-R + (i + 0.5) * step, R - (j + 0.5) * step]);
      for (let d = 0; d < x.length; d++) p.data.set([red, green, blue, 255 * x[d]], 4 * d);
      t.putImageData(p, 0, 0);
      g.drawImage(tile, i * side, j * side, side, side);
    }
  }

  function drawBackdrop() {                   // map, axes, encoded images: when size or theme change
    size = plane.clientWidth;
    if (!size) return;                        // not laid out yet (another slide, a folded box)
    scale = window.devicePixelRatio || 1;
    for (const c of [plane, backdrop]) c.width = c.height = Math.round(size * scale);
    const g = backdrop.getContext("2d"), fg = getComputedStyle(root).color;
    const dark = rgb(fg).reduce((a, b) => a + b) > 380, font = size < 300 ? 9 : 11;
    root.dataset.dark = dark;
    g.setTransform(scale, 0, 0, scale, 0, 0);
    g.globalAlpha = TILE_INK;
    if (!points.length) drawMap(g, fg);
    g.strokeStyle = g.fillStyle = fg;
    g.font = `${font}px system-ui, sans-serif`;
    g.textAlign = "center";
    for (let t = -Math.floor(R); t <= R; t++) {
      g.globalAlpha = t ? 0.1 : 0.35;
      g.beginPath();
      g.moveTo(px(t), 0); g.lineTo(px(t), size); g.moveTo(0, py(t)); g.lineTo(size, py(t));
      g.stroke();
      g.globalAlpha = 0.75;
      if (t % 2 === 0 && t) {
        g.fillText(String(t).replace("-", "\u2212"), px(t), py(0) + font + 3);
        g.fillText(String(t).replace("-", "\u2212"), px(0) - font, py(t) + 4);
      }
    }
    g.globalAlpha = 1;
    g.font = `italic ${font + 3}px serif`;
    g.fillText("z\u2081", size - 12, py(0) - 6);
    g.fillText("z\u2082", px(0) + 12, 14);
    g.font = `600 ${font - 1}px system-ui, sans-serif`;
    g.textBaseline = "middle";
    for (let i = 0; i < points.length / 2; i++) {   // a class is a numeral: color is not all there is
      const [x, y] = [px(points[2 * i]), py(points[2 * i + 1])];
      const k = labels[i] ?? 0, color = model.get("palette")[k];
      g.fillStyle = dark ? mix(color, [255, 255, 255], 0.45) : color;
      if (classes[k]?.length === 1) g.fillText(classes[k], x, y);
      else { g.beginPath(); g.arc(x, y, 2, 0, 7); g.fill(); }
    }
  }

  function nearest() {
    let best = Infinity, at = 0;
    for (let i = 0; i < points.length / 2; i++) {
      const d = (points[2 * i] - z[0]) ** 2 + (points[2 * i + 1] - z[1]) ** 2;
      if (d < best) [best, at] = [d, i];
    }
    return classes.length && labels.length ? classes[labels[at]] : "";
  }

  function paint() {
    frame = 0;
    const start = performance.now(), x = decode(z);
    for (let i = 0; i < x.length; i++) {      // ink on paper; the array clamps and rounds
      pixels.data[4 * i] = pixels.data[4 * i + 1] = pixels.data[4 * i + 2] = 255 * (1 - x[i]);
    }
    ink.putImageData(pixels, 0, 0);
    root.dataset.ms = (performance.now() - start).toFixed(3);
    root.dataset.z = z.map((v) => v.toFixed(4)).join(",");
    const near = nearest();
    $("z").textContent = `decoded at z = ${pair(z)}`;
    $("near").textContent = near && `nearest encoded image: class ${near}`;
    image.setAttribute("aria-label", `Decoded image at z = ${pair(z)}`);
    clearTimeout(quiet);                      // speak when the point rests, not along a drag
    quiet = setTimeout(() => { live.textContent = `z = ${pair(z)}${near && `, near class ${near}`}`; }, 500);
    if (!size) return;
    const [cx, cy] = [px(z[0]), py(z[1])], fg = getComputedStyle(root).color;
    pen.setTransform(1, 0, 0, 1, 0, 0);
    pen.clearRect(0, 0, plane.width, plane.height);
    pen.drawImage(backdrop, 0, 0);
    pen.setTransform(scale, 0, 0, scale, 0, 0);
    const paper = root.dataset.dark === "true" ? "#000" : "#fff";
    for (const [color, width] of [[paper, 5], [fg, 2.5]]) {
      pen.strokeStyle = color;
      pen.lineWidth = width;
      pen.beginPath();
      pen.arc(cx, cy, 8, 0, 7);
      pen.stroke();
    }
  }
  const redraw = () => { drawBackdrop(); paint(); };
  const later = () => { frame ||= requestAnimationFrame(paint); };

  function move(to, when) {
    z = to.map((v) => clamp(v, R));
    model.set("z", z);
    model.save_changes();
    when();
  }
  const toPoint = (e) => {
    const box = plane.getBoundingClientRect();
    move([((e.clientX - box.left) / box.width * 2 - 1) * R,
      -((e.clientY - box.top) / box.height * 2 - 1) * R], later);
  };
  plane.addEventListener("pointerdown", (e) => {
    if (e.button) return;
    plane.setPointerCapture(e.pointerId);
    toPoint(e);
  });
  plane.addEventListener("pointermove", (e) => {
    if (plane.hasPointerCapture(e.pointerId)) toPoint(e);
  });
  plane.addEventListener("keydown", (e) => {
    const d = KEYS[e.key], step = e.shiftKey ? BIG_STEP : STEP;
    if (e.ctrlKey || e.metaKey || e.altKey || !(d || e.key === "Home")) return;
    e.preventDefault();
    e.stopPropagation();                      // slides and notebooks use these keys, too
    move(d ? [z[0] + d[0] * step, z[1] + d[1] * step] : [0, 0], paint);
  });

  const changed = () => { z = [...model.get("z")]; later(); };
  model.on("change:z", changed);
  const resized = new ResizeObserver(() => { if (plane.clientWidth !== size) redraw(); });
  resized.observe(plane);
  const themed = new MutationObserver(redraw);
  for (const node of [document.documentElement, document.body]) {
    themed.observe(node, { attributeFilter: ["data-theme", "data-jp-theme-light", "class"] });
  }
  root.explorer = { decode, get z() { return z; }, moveTo: (to) => move(to, paint) };
  redraw();
  return () => {
    model.off("change:z", changed);
    resized.disconnect();
    themed.disconnect();
    clearTimeout(quiet);
  };
}

export default { render };
