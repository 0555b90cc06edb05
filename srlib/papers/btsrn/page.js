// BTSRN: two splits of ten blocks beside each other, what is stored being the output of each.
async function compose(scene, { left, right, picture }) {
  const one = (split) => ({ label: `BTSRN ${split}\n${scene.mult_adds[split]}`, src: scene.outputs[split] });
  return {
    pictures: [{ label: "Bicubic", src: scene.bicubic }, one(left), one(right), { label: `HR\n${picture}`, src: scene.hr }],
    reference: 3,
  };
}
