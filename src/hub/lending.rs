//! Memory that bytes are read into, and that is used again when they have gone where they belong.

use std::cell::RefCell;
use std::rc::Rc;

use js_sys::{ArrayBuffer, Uint8Array};

/// Buffers that are kept for the next read. More may be out at a time, and go to the collector then.
const KEPT: usize = 16;

/// Lends buffers of one size.
#[derive(Debug, Clone)]
pub(super) struct Lender(Rc<Free>);

#[derive(Debug)]
struct Free {
    size: u32,
    buffers: RefCell<Vec<ArrayBuffer>>,
}

impl Lender {
    /// Lends `size` bytes at a time.
    pub(super) fn new(size: u32) -> Lender {
        Lender(Rc::new(Free { size, buffers: RefCell::default() }))
    }

    /// A buffer to read into. Reading detaches it: what is read comes in another object over the same memory.
    pub(super) fn lend(&self) -> Uint8Array {
        let free = self.0.buffers.borrow_mut().pop();
        Uint8Array::new(&free.unwrap_or_else(|| ArrayBuffer::new(self.0.size)))
    }

    /// … with room for `length` bytes, be it more than is lent otherwise.
    pub(super) fn lend_at_least(&self, length: u32) -> Uint8Array {
        if length <= self.0.size { self.lend() } else { Uint8Array::new_with_length(length) }
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
        let Free { size, buffers } = &*self.lender.0;
        let mut buffers = buffers.borrow_mut();
        if buffers.len() < KEPT && self.buffer.byte_length() == *size {
            buffers.push(self.buffer.clone());
        }
    }
}
