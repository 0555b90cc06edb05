// DDet: kernels and what they add are stored; sums, colours and differences are made here.
const CELL = 15; // CSS pixels of a weight
const CHANGE = 16; // grey levels in full colour, of corrections and changes
const unpacked = new Map();

async function unpack(scene) {
  if (unpacked.has(scene)) return unpacked.get(scene);
  const levels = (text) => Float32Array.from(numbers(text, Int16Array), (value) => value / scene.fine);
  const [lr, hr] = [await imageData(scene.lr), await imageData(scene.hr)];
  const made = { lr, hr, correction: levels(scene.correction) };
  made.kernels = scene.kernels.map((text) => Float32Array.from(numbers(text, Int16Array), (value) => (value / 32767) * scene.full));
  for (const name of ["on", "off"]) {
    const contributions = scene[name].contributions.map(levels);
    made[name] = { contributions, refined: levels(scene[name].refined) };
  }
  unpacked.set(scene, made);
  return made;
}

// Luma as grey, as an ImageData.
function grey(y, { width, height }) {
  return imageOf(width, height, (row, column) => ((y[row * width + column] - 16) * 255) / 219);
}

// Luma with the chroma of LR, as an ImageData.
function colorize(y, lr) {
  const rgb = lr.data;
  return imageOf(lr.width, lr.height, (row, column, c) => {
    const i = row * lr.width + column;
    const [r, g, b] = [rgb[4 * i], rgb[4 * i + 1], rgb[4 * i + 2]];
    return rgb[4 * i + c] + ((y[i] - (16 + (65.481 * r + 128.553 * g + 24.966 * b) / 255)) * 255) / 219;
  });
}

function signedCanvas(values, { width, height }, full) {
  return canvasOf(imageOf(width, height, (y, x, c) => signedColor(values[y * width + x], full)[c]));
}

// The weights of a pixel around its centre, which is black and written out; the others reach full colour at `full`.
function kernelCanvas(kernel, size, largest, full) {
  const canvas = element("canvas", { width: 2 * CELL * largest, height: 2 * CELL * largest });
  canvas.style.width = `min(${CELL * largest}px, 28vw)`;
  const context = canvas.getContext("2d");
  context.scale(2, 2);
  const margin = (largest - size) / 2;
  for (let i = 0; i < size * size; i++) {
    const [y, x] = [Math.floor(i / size), i % size];
    const centre = i === (size * size - 1) / 2;
    context.fillStyle = centre ? "#000" : `rgb(${signedColor(kernel[i], full).map(Math.round)})`;
    context.fillRect((x + margin) * CELL, (y + margin) * CELL, CELL - 1, CELL - 1);
  }
  canvas.setAttribute("role", "img");
  canvas.setAttribute("aria-label", `filter of ${size} by ${size} weights`);
  return canvas;
}

async function compose(scene, { cdm, refine, point }) {
  const { lr, hr, kernels, correction, ...parts } = await unpack(scene);
  const { contributions, refined } = parts[cdm ? "on" : "off"];
  const { width, height } = lr;
  const columns = Math.ceil(width / scene.every);
  const [x, y] = (point || [width / 2, height / 2]).map((value) => value - (value % scene.every));
  const pixel = y * width + x;
  const sumTo = (last, i) => contributions.slice(0, last + 1).reduce((sum, plane) => sum + plane[i], 0);
  const sums = contributions.map((_, last) => contributions[0].map((_, i) => sumTo(last, i)));
  const output = refine ? refined : sums[sums.length - 1];
  const result = colorize(output, lr);
  const complete = colorize(parts.on.refined, lr);
  const quality = (image) => score(image, hr, 0);
  const own = kernels.map((all, k) => {
    const count = scene.sizes[k] ** 2;
    const start = ((y / scene.every) * columns + x / scene.every) * count;
    return all.slice(start, start + count);
  });
  const around = (kernel) => kernel.filter((_, i) => i !== (kernel.length - 1) / 2);
  const full = Math.max(1e-9, ...own.map((kernel) => Math.max(...around(kernel).map(Math.abs))));
  const largest = Math.max(...scene.sizes);
  const signed = (value, places) => `${value < 0 ? "−" : "+"}${Math.abs(value).toFixed(places)}`;
  const figures = own.map((kernel, k) => ({
    canvas: kernelCanvas(kernel, scene.sizes[k], largest, full),
    caption: `${scene.sizes[k]}×${scene.sizes[k]} adds ${signed(contributions[k][pixel], 1)}\n` +
      `centre ${signed(kernel[(kernel.length - 1) / 2], 3)}\nsum ${signed(kernel.reduce((a, b) => a + b, 0), 3)}`,
  }));
  const steps = scene.sizes.map((_, k) => ({
    label: `${scene.sizes.slice(0, k + 1).map((size) => `${size}×${size}`).join(" + ")}${k === 0 ? " alone" : ""}\nin luma`,
    canvas: canvasOf(grey(sums[k], lr)),
    unscored: true,
  }));
  const off = [...(cdm ? [] : ["CDM"]), ...(refine ? [] : ["refinement"])];
  const input = planesOf(lr);
  const change = output.map((value, i) => value - (off.length ? parts.on.refined[i] : input[i]));
  return {
    pictures: [
      { label: `LR, the input: ${dB(quality(lr))}`, src: scene.lr },
      ...steps,
      {
        label: `CDM adds ${signed(correction[pixel], 1)} here${cdm ? "" : " (off)"}\nred brighter, blue darker`,
        canvas: signedCanvas(correction, lr, CHANGE), unscored: true,
      },
      { label: `result: ${dB(quality(result))}${off.length ? `\nwith all parts: ${dB(quality(complete))}` : ""}`, canvas: canvasOf(result) },
      {
        label: off.length ? `change without ${off.join(" and ")}` : "result minus LR\nswitch a part off for its share",
        canvas: signedCanvas(change, lr, CHANGE), unscored: true,
      },
      { label: "HR, the original", src: scene.hr },
    ],
    reference: steps.length + 4,
    pair: [0, steps.length + 2],
    columns: 4,
    least: 150,
    point: point || [x, y],
    figures,
    keys: [["rgb(67,147,195)", "negative"], ["#fff", "0"], ["rgb(214,96,77)", "positive"], ["#000", "the pixel itself, whose weight stands below"]],
    describe: () => `Filters of the pixel in row ${y}, column ${x}. LR has ${planesOf(lr)[pixel].toFixed(0)} levels of luma there, ` +
      `HR ${planesOf(hr)[pixel].toFixed(0)}, the result ${output[pixel].toFixed(1)}. Full colour: a weight of ${(full).toFixed(4)}; in the maps ${CHANGE} levels.`,
  };
}
