//! Memory that bodies are read into, and that is used again when what was read has gone where it belongs.

use std::cell::RefCell;
use std::rc::Rc;

use js_sys::{ArrayBuffer, Uint8Array};

/// Bytes that are read at a time, at most.
const SIZE: u32 = 256 << 10;
/// Buffers that are kept for the next read. More may be out at a time, and go to the collector then.
const KEPT: usize = 16;

/// Lends buffers.
#[derive(Debug, Clone, Default)]
pub(super) struct Lender(Rc<RefCell<Vec<ArrayBuffer>>>);

impl Lender {
    /// A buffer to read into. Reading detaches it: what is read comes in another object over the same memory.
    pub(super) fn lend(&self) -> Uint8Array {
        let free = self.0.borrow_mut().pop();
        Uint8Array::new(&free.unwrap_or_else(|| ArrayBuffer::new(SIZE)))
    }
}

/// A buffer that is out. It goes back when this is dropped.
#[derive(Debug)]
pub(super) struct Lent {
    buffer: ArrayBuffer,
    lender: Lender,
}

impl Lent {
    /// The memory that came back from a read.
    pub(super) fn new(buffer: ArrayBuffer, lender: &Lender) -> Lent {
        Lent { buffer, lender: lender.clone() }
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        let mut free = self.lender.0.borrow_mut();
        if free.len() < KEPT {
            free.push(self.buffer.clone());
        }
    }
}
