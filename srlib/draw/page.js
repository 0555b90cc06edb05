// Controls, charts and texts around the viewer, in a page without a kernel. It stands behind viewer.js and before the script of a
// paper, which defines `compose(scene, values)`. From what is stored of a scene and the values of the controls it returns what the
// viewer takes (`pictures`, `reference`, `point`, ...) and, where it has them,
//   figures   [{canvas, caption}], above the pictures
//   keys      [[color, text]], a legend of colours
//   describe  a function of a pixel, or of none: the sentence about it, also while the mouse moves

const ARITHMETIC = { color: "y", rounded: false }; // of PSNR, by the protocol; `explore` sets it
const decoded = new Map();
const luma = new WeakMap(); // planes of an ImageData

// The pixels of a stored picture, once decoded: an ImageData.
async function imageData(src) {
  if (!decoded.has(src)) decoded.set(src, decode(src).then(pixels));
  return decoded.get(src);
}

// An ImageData of a function of row, column and channel in 0..255; rounded and clipped.
function imageOf(width, height, value) {
  const made = new ImageData(width, height);
  for (let y = 0, i = 0; y < height; y++) {
    for (let x = 0; x < width; x++, i += 4) {
      for (let c = 0; c < 3; c++) made.data[i + c] = Math.floor(Math.max(value(y, x, c), 0) + 0.5);
      made.data[i + 3] = 255;
    }
  }
  return made;
}

function canvasOf(image) {
  const canvas = element("canvas", { width: image.width, height: image.height });
  canvas.getContext("2d").putImageData(image, 0, 0);
  return canvas;
}

// White for 0, red for `full` and more, blue for -`full` and less: [r, g, b].
function signedColor(value, full) {
  const share = clamp(value / full, -1, 1);
  return (share < 0 ? [5, 48, 97] : [103, 0, 31]).map((dark, c) => {
    const middle = (share < 0 ? [67, 147, 195] : [214, 96, 77])[c];
    const size = Math.abs(share);
    return size < 0.6 ? 255 + ((middle - 255) * size) / 0.6 : middle + ((dark - middle) * (size - 0.6)) / 0.4;
  });
}

function planesOf(image) {
  if (!luma.has(image)) luma.set(image, planes(image, ARITHMETIC.color, ARITHMETIC.rounded));
  return luma.get(image);
}

const channels = () => (ARITHMETIC.color === "rgb" ? 3 : 1);

// PSNR in dB of an ImageData against another under the protocol, without `border` pixels at each side.
function score(image, truth, border) {
  const box = { left: border, top: border, right: image.width - border, bottom: image.height - border };
  return psnr(planesOf(image), planesOf(truth), image.width, box, channels());
}

const dB = (value) => (Number.isFinite(value) ? `${value.toFixed(2)} dB` : "equal to HR");

// Numbers stored as base64 of little-endian bytes.
function numbers(text, kind = Float32Array) {
  return new kind(Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0)).buffer);
}

// Round steps of an axis: about `count` of them between two values.
function steps(low, high, count) {
  const rough = (high - low) / count;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((factor) => factor * power).find((size) => size >= rough * 0.999);
  const places = Math.max(0, -Math.floor(Math.log10(step) + 1e-9));
  const made = [];
  for (let k = Math.ceil(low / step - 1e-9); k * step <= high + 1e-9 * step; k++) made.push([k * step, (k * step).toFixed(places)]);
  return made;
}

// A figure of curves. lines: [{points: [[x, y]], color, dots, dashed, label}]; marks: [{at: [x, y], color, text}], the points that are
// chosen; ticks: [[x, text]] where x is not a scale of numbers; title: what is up and what is across.
function chart({ title, lines, marks, ticks, width = 380, height = 190 }) {
  const ratio = 2;
  const canvas = element("canvas", { width: width * ratio, height: height * ratio });
  Object.assign(canvas.style, { width: `${width}px`, maxWidth: "100%" });
  const context = canvas.getContext("2d");
  context.scale(ratio, ratio);
  const { color: ink, backgroundColor: paper } = getComputedStyle(document.body);
  const all = [...lines.flatMap(({ points }) => points), ...marks.map(({ at }) => at)].filter(([, y]) => Number.isFinite(y));
  const extent = (values, share) => {
    const [low, high] = [Math.min(...values), Math.max(...values)];
    const room = (high - low || 0.1) * share;
    return [low - room, high + room];
  };
  const [left, right] = extent(all.map(([x]) => x), 0.04);
  const [low, high] = extent(all.map(([, y]) => y), 0.15);
  const box = { left: 44, right: width - 10, top: 8, bottom: height - 22 };
  const place = ([x, y]) => [
    box.left + ((x - left) / (right - left)) * (box.right - box.left),
    box.bottom - ((y - low) / (high - low)) * (box.bottom - box.top),
  ];
  context.font = "11px system-ui,sans-serif";
  context.lineWidth = 1;
  const draw = (points, color, dashed = false) => {
    context.strokeStyle = color;
    context.setLineDash(dashed ? [4, 3] : []);
    context.beginPath();
    points.forEach((point, i) => context[i ? "lineTo" : "moveTo"](...place(point)));
    context.stroke();
  };
  const dot = (at, radius, color) => {
    context.fillStyle = color;
    context.beginPath();
    context.arc(...place(at), radius, 0, 7);
    context.fill();
  };
  context.globalAlpha = 0.2;
  for (const [y] of steps(low, high, 4)) draw([[left, y], [right, y]], ink);
  context.globalAlpha = 1;
  context.fillStyle = ink;
  context.textAlign = "right";
  for (const [y, text] of steps(low, high, 4)) context.fillText(text, box.left - 5, place([left, y])[1] + 4);
  context.textAlign = "center";
  for (const [x, text] of ticks || steps(left, right, 5)) context.fillText(text, place([x, low])[0], height - 6);
  context.lineWidth = 1.6;
  for (const { points, color, dots, dashed } of lines) {
    const known = points.filter(([, y]) => Number.isFinite(y));
    if (dots !== "only") draw(known, color || ink, dashed);
    if (dots) known.forEach((point) => dot(point, 3, color || ink));
  }
  context.setLineDash([]);
  for (const { at, color, text } of marks.filter(({ at: [, y] }) => Number.isFinite(y))) {
    dot(at, 6, color);
    if (!text) continue;
    const [x, y] = place(at);
    context.textAlign = x > width / 2 ? "right" : "left";
    context.fillStyle = ink;
    Object.assign(context, { strokeStyle: paper, lineWidth: 4, lineJoin: "round" }); // a rim keeps letters off the lines
    const where = [text, x + (x > width / 2 ? -9 : 9), y < box.top + 24 ? y + 16 : y - 8];
    context.strokeText(...where);
    context.fillText(...where);
  }
  canvas.setAttribute("role", "img");
  const named = marks.map(({ at, text }) => `${text || "chosen"}: ${at[1].toFixed(2)}`).join("; ");
  canvas.setAttribute("aria-label", `${title}; ${named}`);
  return { canvas, caption: title };
}

function control({ name, label, kind, options, min, max, step, value }, changed) {
  const input = kind === "choice"
    ? element("select", {}, ...options.map((option) => element("option", { value: option, textContent: option })))
    : element("input", { type: kind === "switch" ? "checkbox" : "range", min, max, step });
  if (kind === "steps") Object.assign(input, { min: 0, max: options.length - 1, step: 1 });
  input.id = `control-${name}`;
  const output = element("output", {}, "");
  const read = { choice: () => input.value, switch: () => input.checked, steps: () => options[+input.value], range: () => +input.value }[kind];
  input.oninput = () => changed(name, read());
  const write = (now) => {
    if (kind === "switch") input.checked = now;
    else input.value = kind === "steps" ? options.indexOf(now) : now;
    output.textContent = kind === "range" ? now.toFixed(2) : kind === "steps" ? now : "";
    input.setAttribute("aria-valuetext", now);
  };
  write(value);
  return { box: element("label", {}, `${label} `, input, output), write };
}

// Build the page: `data` has `controls`, `scenes` by name, and what the viewer takes besides pictures (`color`, `rounded`, `legend`).
async function explore(data, compose) {
  Object.assign(ARITHMETIC, { color: data.viewer.color, rounded: data.viewer.rounded });
  const names = Object.keys(data.scenes);
  const picture = { name: "picture", label: "picture", kind: "choice", options: names, value: names[0] };
  const described = names.length > 1 ? [picture, ...data.controls] : data.controls;
  const values = { picture: names[0], point: null, ...Object.fromEntries(data.controls.map(({ name, value }) => [name, value])) };
  const [keys, figures, about] = ["keys", "figures", "about"].map((id) => document.getElementById(id));
  let describe = null;
  const inform = (...pixel) => { about.textContent = describe ? describe(...(pixel.length ? pixel : values.point || [])) : ""; };
  const viewer = mount(document.getElementById("viewer"), {
    ...data.viewer, onpoint: (x, y) => change({ point: [x, y] }), onhover: (...pixel) => inform(...pixel),
  });
  let latest = 0;
  const show = async () => {
    const call = ++latest;
    const { figures: drawn = [], keys: colors = [], describe: sentence = null, ...shown } = await compose(data.scenes[values.picture], values);
    if (call !== latest) return;
    figures.replaceChildren(...drawn.map(({ canvas, caption }) => element("figure", {}, canvas, element("figcaption", {}, caption))));
    keys.replaceChildren(...colors.map(([color, text]) => element("span", {}, element("i", { style: `background:${color}` }), text)));
    describe = sentence;
    inform();
    await viewer.set({ point: values.point, pair: null, columns: 0, least: PANEL, ...shown }); // of this scene, not the last one's
  };
  const change = (changes) => {
    if (changes.picture && changes.picture !== values.picture) values.point = null;
    Object.assign(values, changes);
    described.forEach(({ name, when = {} }) => {
      const { box, write } = controls.get(name);
      write(values[name]);
      box.hidden = Object.entries(when).some(([other, value]) => ![value].flat().includes(values[other]));
    });
    return show();
  };
  const controls = new Map(described.map((one) => [one.name, control(one, (name, value) => change({ [name]: value }))]));
  document.getElementById("controls").append(...[...controls.values()].map(({ box }) => box));
  window.explorer = { data, values, viewer, change };
  await change({});
}
