// Every kernel that a token costs, alone, beside what the device can do at most.
import { openEnvironment } from "../tests/e2e/support/environments.mjs";
import { hostRates, kernelRates } from "./kernel_rates.mjs";
import { attentionCase, ceilings, matrixCase, mergeCase, vectorCase } from "./kernels.mjs";
import { SHAPES } from "./synthetic.mjs";

const BATCH_MS = 20;
const POOL_BYTES = 1.2e9;
const STORAGE = "bfloat16 (packed)";

// As src/tensor/gpu/kernel.rs has them for GPUs whose subgroups are 32 wide, and others beside them.
const VECTOR = { workgroup: 32, lanes: 32, together: 2, octets: true };
const OTHER_VECTORS = [
  { ...VECTOR, together: 1, octets: false },
  { ...VECTOR, workgroup: 64 },
  { ...VECTOR, together: 4 },
  { workgroup: 64, lanes: 32, together: 4, octets: false },
  { workgroup: 128, lanes: 128, together: 2, octets: true, reduction: "workgroup" },
];
const MANY_ROWS = 6144;
const TILES = { m: 64, n: 64, k: 4, microM: 2, microN: 1 };
const SMALL_TILES = { m: 32, n: 32, k: 4, microM: 1, microN: 1 };
const OTHER_TILES = [TILES, SMALL_TILES, { m: 128, n: 128, k: 4, microM: 2, microN: 2 }];
const SPLITS = { workgroup: 128, span: 32, groups: 512 };

/** Sections of `{ title, rows }`, a row what `kernelRates` gives, with `bytes` and `flops` where the case has them. */
export async function measureKernels(environmentName, model) {
  const environment = await openEnvironment(environmentName);
  const measured = async (title, cases) => {
    const plain = cases.map(({ label, code, groups, bindings, subgroup }) => ({
      label,
      code,
      groups,
      bindings,
      subgroup,
    }));
    const options = { cases: plain, batchMs: BATCH_MS, poolBytes: POOL_BYTES };
    const rates = await environment.run(kernelRates, options);
    return { title, rows: rates.map((rate, i) => ({ ...rate, bytes: cases[i].bytes, flops: cases[i].flops })) };
  };
  try {
    // A GPU that idled takes a second to reach its clock.
    for (let turn = 0; turn < 8; turn++) await measured("", ceilings(512e6));
    const sections = [await measured("what the device can do", ceilings(512e6))];
    const host = await environment.run(hostRates, { writeBytes: 2 ** 30 });
    for (const section of sectionsOf(model)) sections.push(await measured(...section));
    return { sections, host };
  } finally {
    await environment.close();
  }
}

function* sectionsOf(model) {
  const config = SHAPES[model];
  const heads = config.num_attention_heads;
  const kvHeads = config.num_key_value_heads;
  const headDim = config.head_dim;
  const hidden = config.hidden_size;
  const wide = config.intermediate_size;
  const qkv = [(heads + 2 * kvHeads) * headDim, hidden];
  const weights = [
    ["qkv", qkv, { norm: true }],
    ["o", [hidden, heads * headDim], { add: true }],
    ["gate+up", [2 * wide, hidden], { norm: true, gated: true }],
    ["down", [hidden, wide], { add: true }],
    ["head", [config.vocab_size, hidden], {}],
  ];
  for (const [name, shape, fused] of weights) {
    const forms = [VECTOR, ...OTHER_VECTORS].filter(({ together }) => !fused.gated || together > 1);
    const cases = forms.map((form) => ({ label: vectorName(form), ...vectorCase(STORAGE, shape, form, fused) }));
    yield [`one token, ${name}, ${shape.join(" × ")}`, cases.filter(({ groups: [x] }) => x < 65536)];
  }
  for (const storage of ["float32", "float16 (packed)", "float16 (shader-f16)"]) {
    const square = vectorCase(storage, [8192, 8192], { ...VECTOR, octets: storage !== "float32" });
    yield [`one token, 8192 × 8192 of ${storage}`, [{ label: vectorName(VECTOR), ...square }]];
  }
  for (const tokens of [128, 256]) {
    for (const [name, shape] of weights.slice(0, 4)) {
      const own = shape[0] < MANY_ROWS ? SMALL_TILES : TILES;
      const forms = [own, ...OTHER_TILES.filter((form) => form !== own)];
      const cases = forms.map((form) => ({ label: tilesName(form), ...matrixCase(STORAGE, shape, tokens, form) }));
      yield [`${tokens} tokens, ${name}, ${shape.join(" × ")}`, cases];
    }
    const many = attentionCase({ heads, kvHeads, headDim }, tokens, 0, SPLITS);
    yield [`${tokens} tokens, attention`, [{ label: "from the first on", ...many }]];
  }
  for (const position of [127, 511, 2047, 8191]) {
    const most = Math.min(64, Math.max(1, Math.floor(SPLITS.groups / (kvHeads * Math.ceil(heads / kvHeads / 4)))));
    const splits = Math.min(most, Math.ceil((position + 1) / SPLITS.span));
    const split = attentionCase({ heads, kvHeads, headDim }, 1, position, { ...SPLITS, splits });
    const merge = mergeCase({ heads, kvHeads, headDim }, position, splits);
    const alone = attentionCase({ heads, kvHeads, headDim }, 1, position, SPLITS);
    yield [
      `one token, attention to ${position + 1}`,
      [
        { label: `shared out over ${splits}`, ...split },
        { label: "put together", ...merge },
        { label: "not shared out", ...alone },
      ],
    ];
  }
}

const vectorName = ({ workgroup, lanes, together, octets, reduction = "subgroup" }) =>
  `workgroups of ${workgroup}, ${lanes} lanes for ${together} rows, ${octets ? "octets" : "quads"}, ${reduction} sums`;
const tilesName = ({ m, n, k, microM, microN }) => `tiles ${m} × ${n} × ${4 * k}, ${4 * microM} × ${4 * microN} each`;
