// BTSRN: two splits of ten blocks beside each other, what is stored being the output of each.
const SIDES = { left: "#0173b2", right: "#de8f05" };

async function compose(scene, { left, right }) {
  const hr = await imageData(scene.hr);
  const points = [];
  for (const [split, src] of Object.entries(scene.outputs)) {
    points.push({ split, at: [scene.mult_adds[split], score(await imageData(src), hr, scene.border)] });
  }
  const marked = (split) => points.find((point) => point.split === split);
  const shown = (split) => ({
    label: `${split}: ${dB(marked(split).at[1])}, ${marked(split).at[0].toFixed(0)} G mult-adds`, src: scene.outputs[split],
  });
  const bicubic = score(await imageData(scene.bicubic), hr, scene.border);
  const figure = chart({
    title: "PSNR of the whole picture in dB (up) against billions of mult-adds for 1280x720 (across); a dot per split",
    lines: [{ points: points.map(({ at }) => at), dots: "only" }],
    marks: [[left, SIDES.left], [right, SIDES.right]].map(([split, color]) => ({ at: marked(split).at, color, text: split })),
  });
  return {
    pictures: [{ label: `Bicubic: ${dB(bicubic)}`, src: scene.bicubic }, shown(left), shown(right), { label: "HR, the original", src: scene.hr }],
    reference: 3,
    pair: [1, 2],
    figures: [figure],
    describe: () => {
      const [[cheap, low], [dear, high]] = [marked(left), marked(right)].map(({ split, at }) => [split, at]).sort((a, b) => a[1][0] - b[1][0]);
      const gain = high[1] - low[1];
      if (left === right) return "Choose two splits to compare them.";
      return `${dear} does ${(high[0] / low[0]).toFixed(1)} times the mult-adds of ${cheap} ` +
        `and gives ${Math.abs(gain).toFixed(2)} dB ${gain < 0 ? "less" : "more"} on this picture.`;
    },
  };
}
