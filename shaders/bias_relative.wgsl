// What a score gets by how far the key is from the query's token: an element of a table, by the bucket of the distance and
// the head. Up to EXACT each distance has a bucket of its own, beyond them each has as many as their logarithm says, up to
// the last. SIDES: keys behind the token have buckets of their own, after the others.
// The first distances of buckets are exact, but not their logarithms; with the few dozen buckets that models have, no other
// distance is that near to the next one.
const MARGIN = 1e-4;

@group(0) @binding(6) var<storage, read> table: array<f32>;

fn bias(key: u32, position: vec4<u32>, head: vec4<u32>) -> vec4<f32> {
    let behind = vec4<u32>(key) > position;
    let before = max(position, vec4<u32>(key)) - vec4<u32>(key);
    let distance = select(before, select(vec4<u32>(), vec4<u32>(key) - position, vec4<bool>(SIDES)), behind);
    let logarithm = log(vec4<f32>(max(distance, vec4<u32>(EXACT))) / f32(EXACT));
    let far = EXACT + vec4<u32>(logarithm * bitcast<f32>(BUCKET_FACTOR) + MARGIN);
    var bucket = select(min(far, vec4<u32>(BUCKETS - 1u)), distance, distance < vec4<u32>(EXACT));
    if SIDES {
        bucket += select(vec4<u32>(), vec4<u32>(BUCKETS), behind);
    }
    let at = bucket * params.heads + head;
    return vec4<f32>(table[at.x], table[at.y], table[at.z], table[at.w]);
}
