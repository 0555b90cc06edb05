// ProSRN: the images of each step are stored, and the two ends of the blend, which is made here.
const COLORS = ["#0173b2", "#de8f05", "#029e73"];
const worked = new Map(); // errors of the two ends, by scene

// A picture in squares, `factor` times as large.
function enlarged({ width, height, data }, factor) {
  return canvasOf(imageOf(width * factor, height * factor, (y, x, c) => data[4 * (Math.floor(y / factor) * width + Math.floor(x / factor)) + c]));
}

async function stepByStep(scene, network) {
  const [lr, ...truths] = await Promise.all([scene.lr, ...scene.truths].map(imageData));
  const lines = [];
  for (const [label, sources] of Object.entries(scene.networks)) {
    const images = await Promise.all(sources.map(imageData));
    lines.push({ label, psnrs: images.map((image, k) => score(image, truths[k], scene.borders[k])) });
  }
  const { psnrs } = lines.find(({ label }) => label === network);
  const color = (label) => COLORS[lines.findIndex((line) => line.label === label)];
  const last = scene.levels.length - 1;
  if (!worked.has(scene.lr)) worked.set(scene.lr, enlarged(lr, scene.levels[last]));
  return {
    pictures: [
      { label: `LR, the input\n${lr.width}x${lr.height} pixels`, canvas: worked.get(scene.lr), unscored: true },
      ...scene.levels.map((level, k) => ({
        label: `x${level}: ${dB(psnrs[k])}\n${lr.width * level}x${lr.height * level} pixels`, src: scene.networks[network][k],
      })),
      { label: "HR, the original", src: scene.hr },
    ],
    reference: last + 2,
    pair: [last + 1, last + 2],
    columns: 0,
    least: 170,
    keys: lines.map(({ label }) => [color(label), label]),
    figures: [chart({
      title: "PSNR in dB (up) of each step (across), against the original reduced to its size",
      lines: lines.map(({ label, psnrs }) => ({
        points: psnrs.map((value, k) => [k, value]), color: color(label), dots: true, dashed: label !== network,
      })),
      marks: psnrs.map((value, k) => ({ at: [k, value], color: color(network) })),
      ticks: scene.levels.map((level, k) => [k, `x${level}`]),
    })],
    describe: () => `From x${scene.levels[0]} to x${scene.levels[last]} PSNR falls by ${(psnrs[0] - psnrs[last]).toFixed(2)} dB: ` +
      "LR holds ever less of the larger originals. LapSRN, trained for each factor, loses as much of its gain over bicubic.",
  };
}

async function blended(scene, share) {
  const [plain, sharp, hr] = await Promise.all([...scene.blend, scene.hr].map(imageData));
  const mix = (part) => imageOf(plain.width, plain.height, (y, x, c) => {
    const i = 4 * (y * plain.width + x) + c;
    return (1 - part) * plain.data[i] + part * sharp.data[i];
  });
  const quality = (image) => score(image, hr, scene.border);
  if (!worked.has(scene)) worked.set(scene, [...Array(11).keys()].map((k) => [k / 10, quality(mix(k / 10))]));
  const mixed = mix(share);
  const now = quality(mixed);
  return {
    pictures: [
      { label: `${scene.ends[0]}: ${dB(quality(plain))}`, src: scene.blend[0] },
      { label: `${(100 * share).toFixed(0)} % ${scene.ends[1]}: ${dB(now)}`, canvas: canvasOf(mixed) },
      { label: `${scene.ends[1]}: ${dB(quality(sharp))}`, src: scene.blend[1] },
      { label: "HR, the original", src: scene.hr },
    ],
    reference: 3,
    pair: [0, 2],
    columns: 4,
    least: 170,
    figures: [chart({
      title: `PSNR in dB at x4 (up) against the share of ${scene.ends[1]} (across)`,
      lines: [{ points: worked.get(scene), color: COLORS[0] }],
      marks: [{ at: [share, now], color: "#d55e00", text: dB(now) }],
    })],
    describe: () => "Look at edges and fine texture: the more of the GAN, the sharper, and the farther from the original in PSNR.",
  };
}

function compose(scene, { show, network, share, use }) {
  if (scene.weights) return yourOwn(scene, use);
  return show && show.startsWith("blend") ? blended(scene, share) : stepByStep(scene, network);
}
