// A token that is routed to the expert that runs.
struct Route {
    token: u32,
    weight: f32,
}

