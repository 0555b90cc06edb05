// Pictures side by side at one zoom and place: drag, wheel, pinch or keys move all of them; swipe, blink and difference compare two.
//
// `mount(root, options)` builds the viewer in an element, in a page without a kernel; the default export is the same for
// anywidget. Options, each of which `set` can change later:
//   pictures   [{label, src or canvas, resample, unscored}]: src is any URL of an image; resample: enlarge smoothly, not in
//              squares; unscored: no PSNR, as under a heat map
//   reference  index of the ground truth, or -1: PSNR of the visible part is written under each picture of its size
//   color      "y" (BT.601 luma, 16..235) or "rgb"; rounded: luma is rounded to whole numbers before PSNR
//   point      [x, y], the chosen pixel of the reference, or null; onpoint(x, y) is called for a click
//   onhover    called with the pixel under the mouse, and without one where it leaves
//   pair       indices of the two that swipe, blink and difference begin with
//   columns    most pictures in a row; rows hold that many or a divisor of it, so that pictures stay under each other
//   least      smallest width of a picture, in CSS pixels
//   legend     what the numbers under the pictures are
// Coordinates are pixels of the first picture, of which smaller pictures (LR) are enlarged to the size.

const MODES = ["side by side", "swipe", "blink", "difference"];
const KEYS = "drag or arrows: move · wheel, pinch, + and −: zoom · 0: whole picture · click: choose a pixel · 1 to 4: modes · L: lens";
const BLINK = 700; // ms
const LENS = 4; // times
const PANEL = 200; // smallest width of a picture, in CSS pixels

const CSS = `
.srv{font:13px/1.4 system-ui,sans-serif;color:inherit;outline-offset:2px}
.srv .bar{display:flex;flex-wrap:wrap;gap:6px 12px;align-items:center;margin:0 0 6px}
.srv button,.srv select{font:inherit;padding:3px 8px;border:1px solid #8888;border-radius:4px;background:transparent;color:inherit;cursor:pointer}
.srv button[aria-pressed=true]{background:#3568a8;color:#fff;border-color:#3568a8}
.srv select option{color:#000}
.srv .panels{display:flex;flex-wrap:wrap;gap:8px}
.srv figure{margin:0}
.srv canvas{display:block;background:#8882;touch-action:none;cursor:grab;border-radius:2px}
.srv canvas:active{cursor:grabbing}
.srv figcaption{white-space:pre-line;min-height:2.8em;padding-top:2px}
.srv .below{display:flex;gap:12px;align-items:flex-end;margin-top:4px;flex-wrap:wrap}
.srv .overview{cursor:crosshair}
.srv .help{opacity:.7;font-size:12px;flex:1 1 240px}
.srv label{display:inline-flex;gap:6px;align-items:center}
.srv input[type=range]{width:130px}`;

const clamp = (value, low, high) => Math.min(Math.max(value, low), Math.max(low, high));

function element(tag, properties = {}, ...children) {
  const made = Object.assign(document.createElement(tag), properties);
  made.append(...children);
  return made;
}

function decode(src) {
  return new Promise((resolve, reject) => {
    const image = new Image();
    image.onload = () => resolve(image);
    image.onerror = () => reject(new Error("a picture could not be decoded"));
    image.src = src;
  });
}

// The pixels of a picture as bytes, or null where the browser does not give them.
function pixels(image) {
  const canvas = element("canvas", { width: image.width, height: image.height });
  const context = canvas.getContext("2d", { willReadFrequently: true });
  if (!context) return null;
  context.drawImage(image, 0, 0);
  try {
    return context.getImageData(0, 0, canvas.width, canvas.height);
  } catch {
    return null; // a picture of another origin
  }
}

// Luma as in `srlib.core.color`, or all three channels, of every pixel of an ImageData: a Float32Array.
function planes(data, color, rounded) {
  const { data: rgba } = data;
  const count = rgba.length / 4;
  if (color === "rgb") {
    const out = new Float32Array(3 * count);
    for (let i = 0; i < count; i++) for (let c = 0; c < 3; c++) out[3 * i + c] = rgba[4 * i + c];
    return out;
  }
  const out = new Float32Array(count);
  for (let i = 0; i < count; i++) {
    const y = 16 + (65.481 * rgba[4 * i] + 128.553 * rgba[4 * i + 1] + 24.966 * rgba[4 * i + 2]) / 255;
    out[i] = rounded ? Math.round(y) : y;
  }
  return out;
}

// PSNR in dB of two arrays of planes over a rectangle of pixels; infinite for equal ones.
export function psnr(a, b, width, box, channels) {
  let sum = 0;
  for (let y = box.top; y < box.bottom; y++) {
    for (let i = (y * width + box.left) * channels; i < (y * width + box.right) * channels; i++) sum += (a[i] - b[i]) ** 2;
  }
  const count = (box.bottom - box.top) * (box.right - box.left) * channels;
  return 10 * Math.log10((255 ** 2 * count) / sum);
}

// A picture of the viewer; its pixels are read when something asks for them.
class Loaded {
  constructor(source, image, color, rounded) { Object.assign(this, { source, image, color, rounded }); }
  get data() { return this.bytes === undefined ? (this.bytes = pixels(this.image)) : this.bytes; }
  get planes() {
    if (!this.values) this.values = this.data && planes(this.data, this.color, this.rounded);
    return this.values;
  }
}

class Viewer {
  constructor(root, options) {
    this.root = root;
    this.options = { pictures: [], reference: -1, color: "y", rounded: false, point: null, onpoint: null, onhover: null,
      pair: null, columns: 0, least: PANEL, legend: "" };
    this.view = null; // {x, y: centre in pixels; zoom: CSS pixels per pixel}
    this.mode = MODES[0];
    this.pair = null; // indices of the two that are compared
    this.split = 0.5;
    this.gain = 4;
    this.lens = false;
    this.pointer = null; // under the lens, in pixels of the picture
    this.touches = new Map();
    this.loaded = [];
    this.turn = 0; // of blinking
    this.paused = false;
    this.build();
    this.observer = new ResizeObserver(() => this.layout());
    this.observer.observe(root);
    this.ready = this.set(options);
  }

  build() {
    this.root.classList.add("srv");
    this.root.tabIndex = 0;
    this.root.setAttribute("role", "group");
    this.root.setAttribute("aria-label", "pictures to compare; " + KEYS);
    const press = (name, action, title = "") => element("button", { type: "button", textContent: name, onclick: action, title });
    this.buttons = MODES.map((mode) => press(mode, () => this.choose(mode)));
    this.lensButton = press("lens", () => this.toggleLens());
    this.selects = [0, 1].map((which) =>
      element("select", { ariaLabel: which ? "second picture" : "first picture", onchange: (e) => this.pick(which, +e.target.value) })
    );
    this.slider = element("input", { type: "range", min: 0, max: 100, value: 50, ariaLabel: "where the two pictures meet" });
    this.slider.oninput = () => { this.split = this.slider.value / 100; this.draw(); };
    this.gains = element("input", { type: "range", min: 1, max: 32, value: this.gain, ariaLabel: "gain of the difference" });
    this.gains.oninput = () => { this.gain = +this.gains.value; this.draw(); };
    this.two = element("span", { className: "bar", style: "margin:0" }, ...this.selects);
    this.splitLabel = element("label", {}, "place", this.slider);
    this.gainLabel = element("label", {}, "gain", this.gains);
    const zoom = [
      press("−", () => this.zoomBy(0.5), "smaller"), press("+", () => this.zoomBy(2), "larger"), press("whole", () => this.fit()),
    ];
    const bar = element("div", { className: "bar" }, ...this.buttons, this.two, this.splitLabel, this.gainLabel, ...zoom, this.lensButton);
    this.panels = element("div", { className: "panels" });
    this.overview = element("canvas", { className: "overview" });
    this.overview.setAttribute("role", "img");
    this.overview.setAttribute("aria-label", "the whole picture with the visible part framed");
    const jump = (event) => {
      if (!event.buttons) return;
      const box = this.overview.getBoundingClientRect();
      this.view.x = ((event.clientX - box.left) / box.width) * this.width;
      this.view.y = ((event.clientY - box.top) / box.height) * this.height;
      this.draw();
    };
    this.overview.onpointerdown = this.overview.onpointermove = jump;
    this.legend = element("div", { className: "help", ariaLive: "polite" });
    this.root.replaceChildren(element("style", { textContent: CSS }), bar, this.panels,
      element("div", { className: "below" }, this.overview, this.legend));
    this.root.onkeydown = (event) => this.key(event);
  }

  async set(options) {
    Object.assign(this.options, options);
    if (options.pictures || options.color !== undefined || options.rounded !== undefined) {
      const call = (this.calls = (this.calls || 0) + 1);
      const { pictures, color, rounded } = this.options;
      const before = new Map(this.loaded.map((one) => [one.source, one]));
      const loaded = await Promise.all(pictures.map(async ({ src, canvas }) => {
        const source = canvas || src;
        const known = before.get(source);
        if (known && known.color === color && known.rounded === rounded) return known;
        return new Loaded(source, known ? known.image : canvas || (await decode(src)), color, rounded);
      }));
      if (call !== this.calls) return; // newer pictures have come meanwhile
      this.loaded = loaded;
      if (loaded.length) this.arrange();
    }
    this.layout();
  }

  get width() { return this.loaded[0].image.width; }
  get height() { return this.loaded[0].image.height; }

  // Canvases and menus for the pictures that are there now.
  arrange() {
    const { pictures, reference } = this.options;
    const size = `${this.width}x${this.height}`;
    if (!this.view || this.size !== size) this.view = null;
    this.size = size;
    const last = reference >= 0 ? reference : pictures.length - 1;
    const asked = String(this.options.pair); // of another scene, another pair; else the user's choice stays
    if (!this.pair || asked !== this.asked || Math.max(...this.pair) >= pictures.length) {
      this.asked = asked;
      const first = this.loaded.findIndex(({ image }, i) => i !== last && image.width === this.loaded[last].image.width);
      this.pair = [...(this.options.pair || [Math.max(first, 0), last])];
    }
    this.selects.forEach((select, which) => {
      select.replaceChildren(...pictures.map(({ label }, i) => element("option", { value: i, textContent: label.split("\n")[0] })));
      select.value = this.pair[which];
    });
    const count = this.mode === MODES[0] ? pictures.length : 1;
    if (!this.figures || this.figures.length !== count) this.choose(this.mode);
  }

  choose(mode) {
    this.mode = mode;
    this.buttons.forEach((button) => button.setAttribute("aria-pressed", button.textContent === mode));
    const one = mode !== MODES[0];
    this.two.hidden = !one;
    this.two.style.display = one ? "" : "none";
    this.splitLabel.style.display = mode === "swipe" ? "" : "none";
    this.gainLabel.style.display = mode === "difference" ? "" : "none";
    clearInterval(this.timer);
    if (mode === "blink") this.timer = setInterval(() => { if (!this.paused) { this.turn ^= 1; this.draw(); } }, BLINK);
    const shown = one ? 1 : this.options.pictures.length;
    this.figures = [...Array(shown)].map(() => {
      const canvas = element("canvas");
      canvas.setAttribute("role", "img");
      const caption = element("figcaption");
      this.listen(canvas);
      return { canvas, caption, box: element("figure", {}, canvas, caption) };
    });
    this.panels.replaceChildren(...this.figures.map(({ box }) => box));
    this.layout();
  }

  pick(which, index) { this.pair[which] = index; this.draw(); }
  toggleLens() { this.lens = !this.lens; this.lensButton.setAttribute("aria-pressed", this.lens); this.draw(); }

  // Sizes of the canvases from the width of the page.
  layout() {
    if (!this.loaded.length || !this.figures) return;
    const total = this.root.clientWidth || 640;
    const count = this.figures.length;
    let columns = clamp(Math.floor((total + 8) / (this.options.least + 8)), 1, count);
    const most = this.options.columns;
    if (most && count > 1) for (columns = Math.min(columns, most); most % columns; ) columns--;
    const rows = Math.ceil(count / columns);
    const across = most && count > 1 ? columns : Math.ceil(count / rows);
    const width = Math.floor(Math.min((total - 8 * (across - 1)) / across, count === 1 ? 640 : 480));
    const height = Math.round(Math.min((width * this.height) / this.width, 1.25 * width));
    const ratio = window.devicePixelRatio || 1;
    for (const { canvas, box } of this.figures) {
      canvas.width = width * ratio;
      canvas.height = height * ratio;
      Object.assign(canvas.style, { width: `${width}px`, height: `${height}px` });
      box.style.width = `${width}px`;
    }
    const small = Math.min(120 / this.width, 90 / this.height);
    this.overview.width = Math.round(this.width * small);
    this.overview.height = Math.round(this.height * small);
    if (this.view && this.panel) this.view.zoom *= width / this.panel.width; // what is visible stays
    this.panel = { width, height, ratio };
    if (!this.view) this.fit();
    else this.draw();
  }

  fit() {
    const zoom = Math.min(this.panel.width / this.width, this.panel.height / this.height);
    this.view = { x: this.width / 2, y: this.height / 2, zoom };
    this.draw();
  }

  zoomBy(factor, at = null) {
    const least = Math.min(this.panel.width / this.width, this.panel.height / this.height);
    const zoom = clamp(this.view.zoom * factor, least, 32);
    const [x, y] = at || [this.view.x, this.view.y];
    this.view.x = x + ((this.view.x - x) * this.view.zoom) / zoom;
    this.view.y = y + ((this.view.y - y) * this.view.zoom) / zoom;
    this.view.zoom = zoom;
    this.draw();
  }

  // The visible rectangle in pixels, kept inside the picture.
  visible() {
    const { width, height } = this.panel;
    const half = [width / this.view.zoom / 2, height / this.view.zoom / 2];
    const inside = (centre, half, length) => (2 * half >= length ? length / 2 : clamp(centre, half, length - half));
    this.view.x = inside(this.view.x, half[0], this.width);
    this.view.y = inside(this.view.y, half[1], this.height);
    return { left: this.view.x - half[0], top: this.view.y - half[1], width: 2 * half[0], height: 2 * half[1] };
  }

  at(event) {
    const box = event.target.getBoundingClientRect();
    const seen = this.visible();
    return [
      seen.left + ((event.clientX - box.left) / box.width) * seen.width,
      seen.top + ((event.clientY - box.top) / box.height) * seen.height,
    ];
  }

  listen(canvas) {
    canvas.onpointerdown = (event) => {
      canvas.setPointerCapture(event.pointerId);
      this.touches.set(event.pointerId, [event.clientX, event.clientY]);
      this.moved = this.touches.size > 1 ? 99 : 0;
      const box = canvas.getBoundingClientRect();
      const seam = Math.abs((event.clientX - box.left) / box.width - this.split) * box.width < 14;
      this.swiping = this.mode === "swipe" && seam;
    };
    canvas.onpointermove = (event) => {
      if (this.lens) { this.pointer = this.at(event); this.draw(); }
      const before = this.touches.get(event.pointerId);
      if (!before && this.options.onhover) this.options.onhover(...this.inside(this.at(event)));
      if (!before) return;
      const now = [event.clientX, event.clientY];
      const step = [now[0] - before[0], now[1] - before[1]];
      this.moved += Math.hypot(...step);
      const other = [...this.touches].find(([id]) => id !== event.pointerId);
      this.touches.set(event.pointerId, now);
      if (other) {
        const distance = (from) => Math.hypot(from[0] - other[1][0], from[1] - other[1][1]);
        this.zoomBy(distance(now) / Math.max(distance(before), 1), this.at(event));
      } else if (this.swiping) {
        const box = canvas.getBoundingClientRect();
        this.split = clamp((event.clientX - box.left) / box.width, 0, 1);
        this.slider.value = 100 * this.split;
        this.draw();
      } else {
        this.view.x -= step[0] / this.view.zoom;
        this.view.y -= step[1] / this.view.zoom;
        this.draw();
      }
    };
    canvas.onpointerup = canvas.onpointercancel = (event) => {
      const clicked = this.touches.delete(event.pointerId) && this.moved < 4 && !this.swiping && event.type === "pointerup";
      if (clicked) this.point(...this.at(event));
      this.swiping = false;
    };
    canvas.onpointerleave = () => {
      if (this.pointer) { this.pointer = null; this.draw(); }
      if (this.options.onhover) this.options.onhover();
    };
    canvas.addEventListener("wheel", (event) => {
      event.preventDefault();
      this.zoomBy(event.deltaY < 0 ? 1.25 : 0.8, this.at(event));
    }, { passive: false });
  }

  // The pixel at a place, kept inside the picture.
  inside([x, y]) { return [clamp(Math.floor(x), 0, this.width - 1), clamp(Math.floor(y), 0, this.height - 1)]; }

  point(x, y) {
    const point = this.inside([x, y]);
    this.options.point = point;
    this.draw();
    if (this.options.onpoint) this.options.onpoint(...point);
  }

  key(event) {
    if (["INPUT", "SELECT"].includes(event.target.tagName) || event.ctrlKey || event.metaKey || event.altKey) return;
    const arrows = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
    const arrow = arrows[event.key];
    if (arrow && event.shiftKey && this.options.point) this.point(this.options.point[0] + arrow[0], this.options.point[1] + arrow[1]);
    else if (arrow) {
      this.view.x += (arrow[0] * this.panel.width) / this.view.zoom / 8;
      this.view.y += (arrow[1] * this.panel.height) / this.view.zoom / 8;
      this.draw();
    } else if (event.key === "+" || event.key === "=") this.zoomBy(2);
    else if (event.key === "-") this.zoomBy(0.5);
    else if (event.key === "0") this.fit();
    else if (event.key >= "1" && event.key <= "4") this.choose(MODES[event.key - 1]);
    else if (event.key === "l" || event.key === "L") this.toggleLens();
    else if (event.key === " " && this.mode === "blink" && event.target.tagName !== "BUTTON") this.paused = !this.paused;
    else return;
    event.preventDefault();
    event.stopPropagation(); // a notebook would take it for a command
  }

  draw() {
    if (!this.view || !this.loaded.length) return;
    const { pictures, reference, point, legend } = this.options;
    const seen = this.visible();
    const box = {
      left: Math.max(Math.ceil(seen.left), 0), top: Math.max(Math.ceil(seen.top), 0),
      right: Math.min(Math.floor(seen.left + seen.width), this.width), bottom: Math.min(Math.floor(seen.top + seen.height), this.height),
    };
    const quality = (index) => {
      const [one, truth] = [this.loaded[index], this.loaded[reference]];
      if (!truth || index === reference || pictures[index].unscored || box.right <= box.left || box.bottom <= box.top) return "";
      if (truth.image.width !== this.width || one.image.width !== this.width || one.image.height !== this.height) return "";
      if (!one.planes || !truth.planes) return "";
      const value = psnr(one.planes, truth.planes, this.width, box, this.options.color === "rgb" ? 3 : 1);
      return `\n${Number.isFinite(value) ? value.toFixed(2) + " dB" : "equal to it"} in view`;
    };
    const [a, b] = this.pair;
    this.figures.forEach(({ canvas, caption }, index) => {
      const context = canvas.getContext("2d");
      context.setTransform(this.panel.ratio, 0, 0, this.panel.ratio, 0, 0);
      context.clearRect(0, 0, this.panel.width, this.panel.height);
      let text;
      if (this.mode === MODES[0]) {
        this.paint(context, index, seen);
        text = pictures[index].label + quality(index);
      } else if (this.mode === "difference") {
        this.difference(context, seen);
        text = `${pictures[a].label.split("\n")[0]} − ${pictures[b].label.split("\n")[0]}, ${this.gain} times; grey: equal`;
      } else if (this.mode === "blink") {
        const now = this.pair[this.turn];
        this.paint(context, now, seen);
        text = pictures[now].label + quality(now) + (this.paused ? " (stopped; space goes on)" : "");
      } else {
        const x = this.split * this.panel.width;
        this.paint(context, b, seen);
        context.save();
        context.beginPath();
        context.rect(0, 0, x, this.panel.height);
        context.clip();
        this.paint(context, a, seen);
        context.restore();
        context.fillStyle = "#fff";
        context.fillRect(x - 1, 0, 2, this.panel.height);
        text = `left: ${pictures[a].label.split("\n")[0]}${quality(a)}\nright: ${pictures[b].label.split("\n")[0]}${quality(b)}`;
      }
      if (point) this.cross(context, point, seen);
      if (caption.textContent !== text) caption.textContent = text;
      canvas.setAttribute("aria-label", text);
    });
    this.frame(box);
    const where = `${box.right - box.left} x ${box.bottom - box.top} of ${this.width} x ${this.height} pixels${point ? `, pixel ${point[0]}, ${point[1]}` : ""}`;
    this.legend.textContent = [legend, where, KEYS].filter(Boolean).join(" · ");
  }

  // Draw what is visible of a picture, with the lens.
  paint(context, index, seen) {
    const { image } = this.loaded[index];
    const factor = image.width / this.width;
    const { width, height } = this.panel;
    context.imageSmoothingEnabled = Boolean(this.options.pictures[index].resample) || this.view.zoom < factor;
    const put = (source, target) => context.drawImage(image, ...source.map((value) => value * factor), ...target);
    put([seen.left, seen.top, seen.width, seen.height], [0, 0, width, height]);
    if (!this.lens || !this.pointer) return;
    const radius = Math.min(width, height) / 5;
    const [x, y] = [(this.pointer[0] - seen.left) * this.view.zoom, (this.pointer[1] - seen.top) * this.view.zoom];
    const part = radius / this.view.zoom / LENS;
    context.save();
    context.beginPath();
    context.arc(x, y, radius, 0, 7);
    context.clip();
    put([this.pointer[0] - part, this.pointer[1] - part, 2 * part, 2 * part], [x - radius, y - radius, 2 * radius, 2 * radius]);
    context.restore();
    context.strokeStyle = "#fff";
    context.beginPath();
    context.arc(x, y, radius, 0, 7);
    context.stroke();
  }

  // Draw the first picture of the pair minus the second, around grey.
  difference(context, seen) {
    const [one, two] = this.pair.map((index) => this.loaded[index].data);
    if (!one || !two || one.width !== two.width) {
      context.fillStyle = "#888";
      context.fillText("two pictures of one size are needed", 12, 24);
      return;
    }
    const same = this.painted && this.painted.gain === this.gain && this.painted.one === one && this.painted.two === two;
    if (!same) {
      const made = new ImageData(one.width, one.height);
      for (let i = 0; i < made.data.length; i += 4) {
        for (let c = 0; c < 3; c++) made.data[i + c] = 128 + this.gain * (one.data[i + c] - two.data[i + c]);
        made.data[i + 3] = 255;
      }
      const canvas = element("canvas", { width: one.width, height: one.height });
      canvas.getContext("2d").putImageData(made, 0, 0);
      this.painted = { gain: this.gain, one, two, canvas };
    }
    const factor = one.width / this.width;
    context.imageSmoothingEnabled = false;
    context.drawImage(this.painted.canvas, ...[seen.left, seen.top, seen.width, seen.height].map((v) => v * factor), 0, 0, this.panel.width, this.panel.height);
  }

  cross(context, [x, y], seen) {
    const [left, top, side] = [(x - seen.left) * this.view.zoom, (y - seen.top) * this.view.zoom, Math.max(this.view.zoom, 5)];
    for (const [color, grow] of [["#000", 1], ["#ff4040", 0]]) {
      context.strokeStyle = color;
      context.strokeRect(left - grow - 0.5, top - grow - 0.5, side + 2 * grow + 1, side + 2 * grow + 1);
    }
  }

  frame(box) {
    const context = this.overview.getContext("2d");
    const part = this.overview.width / this.width;
    const whole = this.loaded[Math.max(this.options.reference, 0)].image;
    context.drawImage(whole, 0, 0, this.overview.width, this.overview.height);
    context.strokeStyle = "#ff4040";
    context.lineWidth = 2;
    context.strokeRect(box.left * part, box.top * part, (box.right - box.left) * part, (box.bottom - box.top) * part);
  }

  destroy() {
    clearInterval(this.timer);
    this.observer.disconnect();
  }
}

export function mount(root, options) {
  return new Viewer(root, options);
}

export default {
  render({ model, el }) {
    const urls = new Map(); // of the bytes of each picture
    const pictures = () => {
      const old = [...urls.values()];
      urls.clear();
      const made = model.get("pictures").map(({ png, ...rest }, index) => {
        const url = URL.createObjectURL(new Blob([png.buffer ? png : new Uint8Array(png)], { type: "image/png" }));
        urls.set(index, url);
        return { ...rest, src: url };
      });
      setTimeout(() => old.forEach((url) => URL.revokeObjectURL(url)), 5000);
      return made;
    };
    const fields = () => ["reference", "color", "rounded", "legend", "point"].reduce((all, name) => ({ ...all, [name]: model.get(name) }), {});
    const viewer = mount(el, {
      ...fields(),
      pictures: pictures(),
      onpoint: (x, y) => { model.set("point", [x, y]); model.save_changes(); },
    });
    const changed = () => viewer.set({ ...fields(), pictures: pictures() });
    const moved = () => viewer.set({ point: model.get("point") });
    model.on("change:pictures", changed);
    model.on("change:point", moved);
    return () => { model.off("change:pictures", changed); model.off("change:point", moved); viewer.destroy(); };
  },
};
