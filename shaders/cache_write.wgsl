// The cache for attention.wgsl where it writes it itself. Reading what may be written is slower on some devices.
@group(0) @binding(2) var<storage, read_write> keys: array<vec2<u32>>;
@group(0) @binding(3) var<storage, read_write> values: array<vec2<u32>>;

fn keep(at: u32, key: vec2<u32>, value: vec2<u32>) {
    keys[at] = key;
    values[at] = value;
}
