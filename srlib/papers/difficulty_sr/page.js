// Difficulty-SR: patches take bicubic interpolation or the network by a rule; both outputs are stored, and put together here.
const HUES = ["#b2182b", "#ef8a62", "#f4c842", "#5aae61", "#2166ac"]; // of the classes, hardest to easiest
// Green as grey, under the colours of the classes.
const grey = ({ width, height, data }) => imageOf(width, height, (y, x) => data[4 * (y * width + x) + 1]);
const worked = new Map(); // what does not depend on the rule, by scene

// The squared error of each patch inside the border, for both branches, and their number of values.
async function errorsOf(scene) {
  if (worked.has(scene)) return worked.get(scene);
  const [hr, plain, complex] = await Promise.all([scene.hr, scene.plain, scene.complex].map(imageData));
  const inside = (value, length) => clamp(value, scene.border, length - scene.border);
  const sum = (image, [y, x]) => {
    const [a, b, width] = [planesOf(image), planesOf(hr), hr.width];
    let total = 0;
    for (let row = inside(y, hr.height); row < inside(y + scene.side, hr.height); row++) {
      for (let i = row * width + inside(x, width); i < row * width + inside(x + scene.side, width); i++) total += (a[i] - b[i]) ** 2;
    }
    return total;
  };
  const count = (hr.width - 2 * scene.border) * (hr.height - 2 * scene.border);
  const sums = scene.corners.map((corner) => [sum(plain, corner), sum(complex, corner)]);
  const made = { hr, plain, complex, count, sums, drawn: {}, picture: canvasOf(grey(plain)) };
  worked.set(scene, made);
  return made;
}

const easyProbability = (probabilities, level) => probabilities.slice(level).reduce((a, b) => a + b, 0);
const likeliest = (probabilities) => probabilities.indexOf(Math.max(...probabilities));

// Which patches take bicubic interpolation, for a threshold or (null) by the likeliest class.
function easyPatches(scene, level, threshold) {
  return scene.probabilities.map((p) => (threshold === null ? likeliest(p) >= level : easyProbability(p, level) >= threshold));
}

function psnrOf({ sums, count }, easy) {
  return 10 * Math.log10((255 ** 2 * count) / sums.reduce((total, [plain, complex], i) => total + (easy[i] ? plain : complex), 0));
}

function maskOf(scene, { plain, picture }, easy, level) {
  const { side } = scene;
  const [width, height] = [2 * plain.width, 2 * plain.height]; // twice, for letters that stay sharp
  const canvas = element("canvas", { width, height });
  const context = canvas.getContext("2d");
  context.drawImage(picture, 0, 0, width, height);
  context.textAlign = "center";
  scene.corners.forEach(([y, x], i) => {
    const probabilities = scene.probabilities[i];
    context.fillStyle = HUES[likeliest(probabilities)];
    context.globalAlpha = 0.55;
    context.fillRect(2 * x, 2 * y, 2 * side, 2 * side);
    context.globalAlpha = 1;
    context.lineWidth = easy[i] ? 12 : 2;
    context.strokeStyle = "#fff";
    const inset = context.lineWidth / 2;
    context.strokeRect(2 * x + inset, 2 * y + inset, 2 * (side - inset), 2 * (side - inset));
    context.fillStyle = "#fff";
    context.strokeStyle = "#000c";
    context.lineWidth = 8;
    context.lineJoin = "round";
    const write = (text, size, down) => {
      context.font = `600 ${size}px system-ui,sans-serif`;
      context.strokeText(text, 2 * x + side, 2 * y + side + down);
      context.fillText(text, 2 * x + side, 2 * y + side + down);
    };
    const share = Math.round(100 * easyProbability(probabilities, level));
    write(`${share} %`, side * 0.6, easy[i] ? 0 : side * 0.2);
    if (easy[i]) write("bicubic", side * 0.4, side * 0.62);
  });
  return canvas;
}

function composite(scene, { plain, complex }, easy) {
  const canvas = canvasOf(complex);
  const context = canvas.getContext("2d");
  scene.corners.forEach(([y, x], i) => { if (easy[i]) context.putImageData(plain, 0, 0, x, y, scene.side, scene.side); });
  return canvas;
}

async function compose(scene, { rule, level, threshold }) {
  const branches = await errorsOf(scene);
  const easiest = scene.easy.indexOf(level);
  const current = rule === "threshold" ? threshold : null;
  const easy = easyPatches(scene, easiest, current);
  const count = easy.filter(Boolean).length;
  const quality = psnrOf(branches, easy);
  const curve = [...Array(102).keys()].map((k) => [k / 100, psnrOf(branches, easyPatches(scene, easiest, k / 100))]);
  const byClass = psnrOf(branches, easyPatches(scene, easiest, null));
  const figure = chart({
    title: "PSNR of the whole picture in dB (up) against the threshold (across); dashed: by the likeliest class",
    lines: [{ points: curve, color: "#0173b2" }, { points: [[0, byClass], [1.01, byClass]], dashed: true }],
    marks: [{ at: [current === null ? 1.01 : current, quality], color: "#d55e00", text: dB(quality) }],
  });
  const describe = (x, y) => {
    const patch = scene.corners.findIndex(([top, left]) => x >= left && x < left + scene.side && y >= top && y < top + scene.side);
    if (patch < 0) return "Point at a patch, or click on it: what does the network gain there?";
    const [plain, complex] = scene.psnr[patch];
    const probabilities = scene.probabilities[patch];
    const guess = likeliest(probabilities);
    return `This patch: bicubic ${plain.toFixed(2)} dB, IDN ${complex.toFixed(2)} dB; the network gains ${(complex - plain).toFixed(2)} dB. ` +
      `The identifier's guess is ${scene.classes[guess]} (${(100 * probabilities[guess]).toFixed(0)} %), so it ` +
      (easy[patch] ? "is left to bicubic interpolation." : "goes through IDN.");
  };
  const key = `${easiest} ${easy}`;
  if (branches.drawn.key !== key) {
    branches.drawn = { key, mask: maskOf(scene, branches, easy, easiest), whole: composite(scene, branches, easy) };
  }
  const share = ((100 * count) / easy.length).toFixed(0);
  return {
    pictures: [
      { label: `Difficulty-SR: ${dB(quality)}\n${count} of ${easy.length} patches bicubic (${share} %)`, canvas: branches.drawn.whole },
      {
        label: "what the identifier thinks\nprobability that a patch is easy",
        canvas: branches.drawn.mask, unscored: true, resample: true,
      },
      { label: `IDN everywhere: ${dB(psnrOf(branches, easy.map(() => false)))}`, src: scene.complex },
      { label: `Bicubic everywhere: ${dB(psnrOf(branches, easy.map(() => true)))}`, src: scene.plain },
      { label: "HR, the original", src: scene.hr },
    ],
    reference: 4,
    columns: 3,
    figures: [figure],
    keys: scene.classes.map((name, k) => [HUES[k], `${name}${k === 0 ? " (hardest)" : k === 4 ? " (easiest)" : ""}`]),
    describe,
  };
}
