// Controls above the viewer, in a page without a kernel. It stands behind viewer.js and before the script of a paper, which
// defines `compose(scene, values)`: pictures for the viewer from what is stored of a scene and the values of the controls.

const decoded = new Map();

// The pixels of a stored picture, once decoded: an ImageData.
async function imageData(src) {
  if (!decoded.has(src)) decoded.set(src, decode(src).then(pixels));
  return decoded.get(src);
}

// A canvas with the pixels of an ImageData, or of a function of row, column and channel in 0..255.
function canvasOf(width, height, value) {
  const canvas = element("canvas", { width, height });
  const made = value instanceof ImageData ? value : new ImageData(width, height);
  if (made !== value) {
    for (let y = 0, i = 0; y < height; y++) {
      for (let x = 0; x < width; x++, i += 4) {
        for (let c = 0; c < 3; c++) made.data[i + c] = Math.round(value(y, x, c)); // clipped by its array
        made.data[i + 3] = 255;
      }
    }
  }
  canvas.getContext("2d").putImageData(made, 0, 0);
  return canvas;
}

// Numbers stored as base64 of little-endian bytes.
function numbers(text, kind = Float32Array) {
  return new kind(Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0)).buffer);
}

function control({ name, label, kind, options, min, max, step, value }, changed) {
  const input = kind === "choice"
    ? element("select", {}, ...options.map((option) => element("option", { value: option, textContent: option })))
    : element("input", { type: kind === "switch" ? "checkbox" : "range", min, max, step });
  if (kind === "switch") input.checked = value;
  else input.value = kind === "steps" ? options.indexOf(value) : value;
  if (kind === "steps") Object.assign(input, { min: 0, max: options.length - 1, step: 1, value: options.indexOf(value) });
  input.id = `control-${name}`;
  const output = element("output", {}, "");
  const read = () => (kind === "switch" ? input.checked : kind === "steps" ? options[+input.value] : kind === "choice" ? input.value : +input.value);
  input.oninput = () => changed(name, read());
  const write = (now) => {
    if (kind === "switch") input.checked = now;
    else input.value = kind === "steps" ? options.indexOf(now) : now;
    output.textContent = ["range", "steps"].includes(kind) ? now : "";
    input.setAttribute("aria-valuetext", now);
  };
  return { box: element("label", {}, `${label} `, input, output), write };
}

// Build the page: `data` has `controls`, `scenes` by name, and what the viewer takes besides pictures (`color`, `rounded`, `legend`).
async function explore(data, compose) {
  const values = Object.fromEntries(data.controls.map(({ name, value }) => [name, value]));
  const names = Object.keys(data.scenes);
  values.picture = names[0];
  let latest = 0;
  const viewer = mount(document.getElementById("viewer"), { ...data.viewer, onpoint: (x, y) => change({ point: [x, y] }) });
  const show = async () => {
    const call = ++latest;
    const shown = await compose(data.scenes[values.picture], values);
    if (call === latest) await viewer.set(shown);
  };
  const change = (changes) => {
    Object.assign(values, changes);
    controls.forEach(({ write }, name) => write(values[name]));
    return show();
  };
  const described = [...data.controls, { name: "picture", label: "picture", kind: "choice", options: names, value: names[0] }];
  const controls = new Map(described.map((one) => [one.name, control(one, (name, value) => change({ [name]: value }))]));
  document.getElementById("controls").append(...[...controls.values()].map(({ box }) => box));
  window.explorer = { values, viewer, change };
  await change({});
}
