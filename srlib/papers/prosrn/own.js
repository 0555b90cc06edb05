// A picture of the reader's own, doubled by ProSRN in this page: the layers of model.py in plain JavaScript. Feature maps are
// {count, height, width, data}, with `count` planes in a Float64Array.
const SLOPE = 0.2; // of LeakyReLU
const SIDE = 96; // pixels of LR at most: a few seconds of work
const LEAST = 16;
const copied = (use) => use.startsWith("a small copy"); // one of USES of page.py
const input = element("input", { type: "file", accept: "image/*", ariaLabel: "your own picture" });
const own = { file: null, made: new Map(), problem: "" };
input.onchange = () => {
  own.file = input.files[0] || null;
  own.made.clear();
  window.explorer.change({});
};

// The float32 numbers of IEEE half precision.
function halves(text) {
  return Float64Array.from(numbers(text, Uint16Array), (bits) => {
    const [sign, exponent, fraction] = [bits >> 15 ? -1 : 1, (bits >> 10) & 31, bits & 1023];
    return sign * (exponent ? 2 ** (exponent - 15) * (1 + fraction / 1024) : 2 ** -14 * (fraction / 1024));
  });
}

// Layers in the order in which page.py packs them: each a 3x3 convolution, and last the 4x4 kernel that doubles the image.
function unpack({ weights, width, depth }) {
  const values = halves(weights);
  let at = 0;
  const take = (length) => values.subarray(at, (at += length));
  const layer = (inputs, outputs) => ({ outputs, weight: take(9 * inputs * outputs), bias: take(outputs) });
  const sizes = [[1, width], ...Array(depth + 1).fill([width, width]), [width, 1]];
  const [entry, ...layers] = sizes.map(([inputs, outputs]) => layer(inputs, outputs));
  return { entry, extract: layers.slice(0, depth), up: layers[depth], fusion: layers[depth + 1], image: take(16) };
}

// A 3x3 convolution with a border of zeros.
function convolve(x, { outputs, weight, bias }) {
  const width = x.width + 2;
  const size = width * (x.height + 2);
  const padded = new Float64Array(x.count * size);
  for (let plane = 0; plane < x.count; plane++) {
    for (let y = 0; y < x.height; y++) {
      const from = (plane * x.height + y) * x.width;
      padded.set(x.data.subarray(from, from + x.width), plane * size + (y + 1) * width + 1);
    }
  }
  const made = { count: outputs, height: x.height, width: x.width, data: new Float64Array(outputs * x.height * x.width) };
  const sums = new Float64Array(x.height * width); // rows are two pixels too long
  for (let o = 0; o < outputs; o++) {
    sums.fill(bias[o]);
    for (let c = 0; c < x.count; c++) {
      const [a, b, d, e, f, g, h, k, l] = weight.subarray((o * x.count + c) * 9, (o * x.count + c + 1) * 9);
      for (let i = 0, top = c * size; i < sums.length - 2; i++, top++) {
        const middle = top + width;
        const low = middle + width;
        sums[i] += a * padded[top] + b * padded[top + 1] + d * padded[top + 2] + e * padded[middle] + f * padded[middle + 1] +
          g * padded[middle + 2] + h * padded[low] + k * padded[low + 1] + l * padded[low + 2];
      }
    }
    for (let y = 0; y < x.height; y++) made.data.set(sums.subarray(y * width, y * width + x.width), (o * x.height + y) * x.width);
  }
  return made;
}

const map = (x, value) => ({ ...x, data: x.data.map(value) });
const leaky = (x) => map(x, (value) => (value < 0 ? SLOPE * value : value));
const plus = (x, y) => map(x, (value, i) => value + y.data[i]);

// A transposed convolution of stride 2, padding 1: each pixel adds the kernel, times its value, to the larger image. With a kernel
// of one weight it sets zeros between the pixels, which a convolution then takes for the transposed one of many planes.
function spread(x, kernel, padding) {
  const side = Math.sqrt(kernel.length);
  const made = { count: x.count, height: 2 * x.height, width: 2 * x.width, data: new Float64Array(4 * x.data.length) };
  for (let i = 0; i < x.data.length; i++) {
    const [column, row, plane] = [i % x.width, Math.floor(i / x.width) % x.height, Math.floor(i / x.width / x.height)];
    for (let k = 0; k < kernel.length; k++) {
      const [y, left] = [2 * row + Math.floor(k / side) - padding, 2 * column + (k % side) - padding];
      if (y >= 0 && left >= 0 && y < made.height && left < made.width) {
        made.data[(plane * made.height + y) * made.width + left] += kernel[k] * x.data[i];
      }
    }
  }
  return made;
}

// ProSRN's x2 step on luma in 0..1; `tell` is called with the share of the work that is done.
async function step(net, luma, tell) {
  const run = async (x, layer, share) => {
    tell(share);
    await new Promise((resolve) => setTimeout(resolve)); // the page stays alive
    return convolve(x, layer);
  };
  const source = leaky(await run(luma, net.entry, 0));
  let x = source;
  for (const [i, layer] of net.extract.entries()) x = plus(leaky(await run(x, layer, (0.7 * i) / net.extract.length)), source);
  x = leaky(await run(spread(x, [1], 0), net.up, 0.7));
  return plus(spread(luma, net.image, 1), await run(x, net.fusion, 0.95));
}

// Planes resized from top to bottom by MATLAB's bicubic `imresize`, transposed, so that twice is the whole.
function resizedDown(x, factor) {
  const cubic = (t) => (t < 1 ? 1.5 * t ** 3 - 2.5 * t ** 2 + 1 : t < 2 ? -0.5 * t ** 3 + 2.5 * t ** 2 - 4 * t + 2 : 0);
  const shrink = Math.min(factor, 1);
  const made = { count: x.count, height: x.width, width: x.height * factor, data: new Float64Array(x.data.length * factor) };
  for (let o = 0; o < made.width; o++) {
    const centre = (o + 0.5) / factor - 0.5;
    const first = Math.ceil(centre - 2 / shrink);
    const taps = Array.from({ length: Math.floor(centre + 2 / shrink) - first + 1 }, (_, k) => {
      const i = first + k;
      return [i < 0 ? -1 - i : i < x.height ? i : 2 * x.height - 1 - i, cubic(Math.abs(centre - i) * shrink)];
    });
    const total = taps.reduce((sum, [, weight]) => sum + weight, 0);
    for (let row = 0; row < x.count * x.width; row++) {
      const from = Math.floor(row / x.width) * x.height * x.width + (row % x.width);
      made.data[row * made.width + o] = taps.reduce((sum, [i, weight]) => sum + weight * x.data[from + i * x.width], 0) / total;
    }
  }
  return made;
}

const doubled = (x) => resizedDown(resizedDown(x, 2), 2);
const rounded = (x) => map(x, (value) => clamp(Math.floor(value + 0.5), 0, 255));
const halved = (x) => rounded(resizedDown(rounded(resizedDown(x, 0.5)), 0.5)); // of bytes, as MATLAB rounds them

function toPlanes({ width, height, data }) {
  const count = width * height;
  const values = Float64Array.from({ length: 3 * count }, (_, i) => data[4 * (i % count) + Math.floor(i / count)]);
  return { count: 3, width, height, data: values };
}

function toImage({ width, height, data }) {
  return imageOf(width, height, (y, x, c) => data[(c * height + y) * width + x]);
}

// Three planes times a matrix, whose rows are those of the new planes: [constant, of the first, second, third].
function mixed(x, rows) {
  const count = x.width * x.height;
  return map(x, (_, i) => {
    const [constant, ...weights] = rows[Math.floor(i / count)];
    return weights.reduce((sum, weight, k) => sum + weight * x.data[k * count + (i % count)], constant);
  });
}

// BT.601 as in srlib.core.color.
const toYCbCr = (x) => mixed(x, [
  [16, 65.481 / 255, 128.553 / 255, 24.966 / 255],
  [128, -37.797 / 255, -74.203 / 255, 112 / 255],
  [128, 112 / 255, -93.786 / 255, -18.214 / 255],
]);
const [LUMA, CHROMA] = [255 / 219, 255 / 224];
const toRGB = (x) => mixed(x, [
  [-16 * LUMA - 128 * 1.402 * CHROMA, LUMA, 0, 1.402 * CHROMA],
  [-16 * LUMA + 128 * 1.058272 * CHROMA, LUMA, -0.344136 * CHROMA, -0.714136 * CHROMA],
  [-16 * LUMA - 128 * 1.772 * CHROMA, LUMA, 1.772 * CHROMA, 0],
]);

// What is shown of a picture, as ImageData of even sides: a small copy's middle, or the middle itself.
function middle(image, use) {
  const copy = copied(use);
  const most = copy ? 2 * SIDE : SIDE;
  const shrink = copy ? Math.min(1, most / Math.min(image.width, image.height)) : 1;
  const size = [image.width, image.height].map((side) => Math.round(side * shrink));
  const [width, height] = size.map((side) => Math.min(side, most) & ~1);
  const canvas = element("canvas", { width, height });
  const context = canvas.getContext("2d");
  context.imageSmoothingQuality = "high";
  context.drawImage(image, (width - size[0]) >> 1, (height - size[1]) >> 1, ...size);
  return context.getImageData(0, 0, width, height);
}

// The chosen picture, or the stored one where there is none or it is of no use; `own.problem` says so.
async function chosen(scene) {
  own.problem = "";
  if (!own.file) return decode(scene.sample);
  const address = URL.createObjectURL(own.file);
  const image = await decode(address).catch(() => null);
  URL.revokeObjectURL(address);
  if (!image) own.problem = `${own.file.name} is not a picture that this browser can read.`;
  else if (Math.min(image.width, image.height) < 2 * LEAST) {
    own.problem = `${own.file.name} has ${image.width}x${image.height} pixels; at least ${2 * LEAST} a side are needed.`;
  } else return image;
  return decode(scene.sample);
}

// Whether a scene is still the one that is shown, as another may be chosen while the network works.
function isShown(scene) {
  const { data, values } = window.explorer;
  return data.scenes[values.picture] === scene;
}

async function enlargeOwn(scene, use) {
  const part = middle(await chosen(scene), use);
  const lr = copied(use) ? halved(toPlanes(part)) : toPlanes(part);
  const ycbcr = toYCbCr(lr);
  const began = performance.now();
  const luma = { ...lr, count: 1, data: ycbcr.data.subarray(0, lr.width * lr.height).map((value) => value / 255) };
  const sr = await step((scene.net ||= unpack(scene)), luma, (share) => {
    if (isShown(scene)) document.getElementById("about").textContent = `ProSRN at work in this page: ${(100 * share).toFixed(0)} %`;
  });
  const seconds = (performance.now() - began) / 1000;
  const enlarged = map(doubled(ycbcr), (value, i) => (i < sr.data.length ? 255 * sr.data[i] : value));
  return { part, lr: toImage(lr), seconds, problem: own.problem, bicubic: toImage(doubled(lr)), sr: toImage(toRGB(enlarged)) };
}

async function yourOwn(scene, use) {
  if (!own.made.has(use)) own.made.set(use, enlargeOwn(scene, use));
  const { part, lr, seconds, problem, bicubic, sr } = await own.made.get(use);
  const copy = copied(use);
  const quality = (image) => (copy ? `: ${dB(score(image, part, scene.border))}` : "");
  const label = (name, image) => `${name}${quality(image)}\n${image.width}x${image.height} pixels`;
  const pictures = [
    { label: `LR, the input\n${lr.width}x${lr.height} pixels`, canvas: enlarged(lr, 2), unscored: true },
    { label: label("Bicubic", bicubic), canvas: canvasOf(bicubic) },
    { label: label(scene.network, sr), canvas: canvasOf(sr) },
  ];
  if (copy) pictures.push({ label: `the original\n${part.width}x${part.height} pixels`, canvas: canvasOf(part) });
  return {
    pictures,
    reference: copy ? 3 : -1,
    pair: [1, 2],
    figures: [{ canvas: input, caption: "Choose a picture of your own. It stays on your machine." }],
    describe: () => `${problem || (own.file ? `${own.file.name}.` : "A stored picture, until you choose one.")} ` +
      `The network took ${seconds.toFixed(1)} s, in this page.`,
  };
}
