// D2C-SR: the predictions and weights of networks of several alphas are stored; they are fused here.
const networks = new Map(); // decoded, with their learned fusion, by what is stored of them

// The sum of weights times predictions; weightAt gives the weight of prediction k at the pixel in place i of an ImageData.
function fuse(predictions, weightAt) {
  const { width, height } = predictions[0];
  return imageOf(width, height, (y, x, c) => {
    const i = 4 * (y * width + x);
    let sum = 0;
    for (let k = 0; k < predictions.length; k++) sum += weightAt(k, i) * predictions[k].data[i + c];
    return sum;
  });
}

// The mean absolute difference of two predictions, over all pairs.
function apart(predictions) {
  let [sum, count] = [0, 0];
  predictions.forEach(({ data: a }, k) => predictions.slice(k + 1).forEach(({ data: b }) => {
    for (let i = 0; i < a.length; i++) if (i % 4 < 3) { sum += Math.abs(a[i] - b[i]); count++; }
  }));
  return sum / Math.max(count, 1);
}

async function load(stored) {
  if (networks.has(stored)) return networks.get(stored);
  const [predictions, weights] = await Promise.all([stored.predictions, stored.weights].map((all) => Promise.all(all.map(imageData))));
  const count = predictions.length;
  const total = (i) => weights.reduce((sum, { data }) => sum + data[i], 0); // 255 but for rounding
  const maps = weights.map(({ width, height, data }) => canvasOf(imageOf(width, height,
    (y, x, c) => signedColor((data[4 * (y * width + x)] * count) / 255 - 1, 1)[c])));
  const means = weights.map(({ data }) => data.reduce((sum, value, i) => sum + (i % 4 ? 0 : value), 0) / (255 * data.length / 4));
  const fused = fuse(predictions, (k, i) => weights[k].data[i] / total(i));
  const made = { predictions, maps, means, fused, canvas: canvasOf(fused) };
  networks.set(stored, made);
  return made;
}

async function compose(scene, { alpha, ...values }) {
  const hr = await imageData(scene.hr);
  const names = scene.alphas;
  const all = await Promise.all(scene.networks.map(load));
  const { predictions, maps, means, fused, canvas } = all[names.indexOf(alpha)];
  const stored = scene.networks[names.indexOf(alpha)];
  const quality = (image) => score(image, hr, scene.border);
  const sliders = predictions.map((_, k) => values[`w${k + 1}`]);
  const sum = sliders.reduce((a, b) => a + b, 0);
  const hand = sliders.map((value) => (sum > 0 ? value / sum : 1 / sliders.length));
  const byHand = fuse(predictions, (k) => hand[k]);
  const best = all.map(({ predictions }) => Math.max(...predictions.map(quality)));
  const curve = all.map(({ fused }, x) => [x, quality(fused)]);
  const at = curve[names.indexOf(alpha)];
  const figure = chart({
    title: "PSNR in dB (up) against α (across); solid: learned fusion, dashed: the best single prediction",
    lines: [
      { points: curve, color: "#0173b2", dots: true },
      { points: best.map((value, x) => [x, value]), color: "#949494", dashed: true, dots: true },
    ],
    marks: [{ at, color: "#d55e00", text: dB(at[1]) }],
    ticks: names.map((name, x) => [x, name]),
  });
  const shares = hand.map((share) => `${(100 * share).toFixed(0)} %`).join(", ");
  return {
    pictures: [
      ...predictions.map((image, k) => ({ label: `prediction ${k + 1}: ${dB(quality(image))}`, src: stored.predictions[k] })),
      ...maps.map((map, k) => ({ label: `learned weight of ${k + 1}\nmean ${means[k].toFixed(2)}`, canvas: map, unscored: true })),
      { label: `LR, the input: ${dB(quality(await imageData(scene.lr)))}`, src: scene.lr },
      { label: `learned fusion: ${dB(quality(fused))}`, canvas },
      { label: `by hand: ${dB(quality(byHand))}\n${shares}`, canvas: canvasOf(byHand) },
      { label: "HR, the original", src: scene.hr },
    ],
    reference: 2 * predictions.length + 3,
    pair: [2 * predictions.length + 1, 2 * predictions.length + 2],
    columns: 4,
    least: 150,
    figures: [figure],
    describe: () => `With α = ${alpha} two predictions differ by ${apart(predictions).toFixed(1)} levels on average. ` +
      `Learned weights ${dB(quality(fused))}, yours ${dB(quality(byHand))}, the best single prediction ${dB(best[names.indexOf(alpha)])}.`,
    keys: [
      ["rgb(5,48,97)", "weight 0"],
      ["#fff", `${(1 / hand.length).toFixed(2)}, the mean`],
      ["rgb(103,0,31)", `${(2 / hand.length).toFixed(2)} and more`],
    ],
  };
}
