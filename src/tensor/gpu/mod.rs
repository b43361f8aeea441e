//! The ops on a GPU: a block is recorded once, tied to buffers once, and replayed for every token.

pub mod device;
pub mod dispatch;
pub mod kernel;
pub mod program;
pub mod record;

#[cfg(test)]
pub(crate) mod tests;
