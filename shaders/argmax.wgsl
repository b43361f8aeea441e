// The index of the largest logit, the first among equals. GATHER = false: each workgroup finds the best of its SPAN
// logits; GATHER = true: one workgroup finds the best of these, and its index is the next token.

struct Params {
    count: u32,     // logits, or candidates
}

struct Candidate {
    value: f32,
    index: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> logits: array<f32>;
@group(0) @binding(2) var<storage, read_write> candidates: array<Candidate>;
@group(0) @binding(3) var<storage, read_write> ids: array<u32>;

var<workgroup> best: array<Candidate, WORKGROUP>;

fn better(a: Candidate, b: Candidate) -> bool {
    return a.value > b.value || (a.value == b.value && a.index < b.index);
}

@compute @workgroup_size(WORKGROUP)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    var mine = Candidate(-3.4e38, 0xffffffffu);
    let first = select(group.x * SPAN, 0u, GATHER);
    let end = select(min(first + SPAN, params.count), params.count, GATHER);
    for (var i = first + local; i < end; i += WORKGROUP) {
        var one: Candidate;
        if GATHER {
            one = candidates[i];
        } else {
            one = Candidate(logits[i], i);
        }
        if better(one, mine) {
            mine = one;
        }
    }
    best[local] = mine;
    for (var step = WORKGROUP >> 1u; step > 0u; step >>= 1u) {
        workgroupBarrier();
        if local < step && better(best[local + step], best[local]) {
            best[local] = best[local + step];
        }
    }
    if local == 0u {
        if GATHER {
            // Logits that are all NaN have no largest: 0 is at least inside the vocabulary.
            ids[0] = select(best[0].index, 0u, best[0].index == 0xffffffffu);
        } else {
            candidates[group.x] = best[0];
        }
    }
}
