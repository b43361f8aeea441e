//! The narrow face through which everything else meets a GPU: create, upload, compile, encode, submit, read back.
//!
//! In a browser (and in Node) it goes straight to the WebGPU API through `web-sys`; natively it goes through `wgpu`, so
//! that kernels are tested in seconds without a browser. Both give the same types with the same methods.

use std::cell::Cell;
use std::rc::Rc;

#[cfg(not(target_arch = "wasm32"))]
mod native;
#[cfg(target_arch = "wasm32")]
mod web;

#[cfg(not(target_arch = "wasm32"))]
pub use native::{BindGroup, Buffer, Encoder, Gpu, Pass, Pipeline, Readback};
#[cfg(target_arch = "wasm32")]
pub use web::{BindGroup, Buffer, Encoder, Gpu, Pass, Pipeline, Readback};

/// Why the GPU could not do what was asked.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum GpuError {
    /// There is no WebGPU here, or no adapter.
    #[error(
        "WebGPU is not available here: {reason}. Use a browser with WebGPU (Chrome or Edge 113, Firefox 141, Safari 26 \
         or later) on a page served over https or from localhost, with hardware acceleration on"
    )]
    Unavailable {
        /// What was found missing.
        reason: String,
    },
    /// There is an adapter, which is a program on the CPU, and none such was to be taken.
    #[error(
        "the only WebGPU adapter here ({adapter}) is a program on the CPU, which is faster without it; device: \"webgpu\" takes \
         it all the same"
    )]
    Software {
        /// Its name.
        adapter: String,
    },
    /// The device refused an allocation.
    #[error("the GPU has no room for {bytes} bytes ({what})")]
    OutOfMemory {
        /// What the buffer was for.
        what: String,
        /// Its size.
        bytes: u64,
    },
    /// A buffer or a dispatch exceeds a limit of the device that can't be split around.
    #[error("{what} needs {needed}, and this GPU's {limit} is {allowed}")]
    Limit {
        /// What was asked.
        what: String,
        /// The limit's name in the WebGPU standard.
        limit: &'static str,
        /// How much was needed.
        needed: u64,
        /// How much there is.
        allowed: u64,
    },
    /// The device is gone (the driver restarted, the laptop switched GPUs, the page was hidden too long), and so were
    /// those that took its place, or it is the caller's.
    #[error("the GPU device was lost ({reason}); load the model again, on another device if this one was yours")]
    Lost {
        /// The browser's words.
        reason: String,
    },
    /// A kernel did not compile: a bug in Layerline or in the driver.
    #[error("the kernel {kernel} does not compile on this GPU: {message}")]
    Compile {
        /// The kernel's name.
        kernel: String,
        /// The compiler's words.
        message: String,
    },
    /// The WebGPU implementation refused a call: a bug in Layerline or in the driver.
    #[error("WebGPU refused {what}: {message}")]
    Refused {
        /// The call.
        what: &'static str,
        /// The implementation's words.
        message: String,
    },
}

impl GpuError {
    /// The stable code that JavaScript sees.
    pub fn code(&self) -> &'static str {
        match self {
            GpuError::Unavailable { .. } | GpuError::Software { .. } => "WEBGPU_UNAVAILABLE",
            GpuError::OutOfMemory { .. } => "OUT_OF_MEMORY",
            GpuError::Limit { .. } => "GPU_LIMIT",
            GpuError::Lost { .. } => "DEVICE_LOST",
            GpuError::Compile { .. } => "KERNEL_COMPILE",
            GpuError::Refused { .. } => "WEBGPU_REFUSED",
        }
    }
}

/// What a device can do, as the adapter reported it.
#[derive(Debug, Clone, Default)]
pub struct Capabilities {
    /// `GPUAdapterInfo.vendor`
    pub vendor: String,
    /// `GPUAdapterInfo.architecture`
    pub architecture: String,
    /// `GPUAdapterInfo.description`
    pub description: String,
    /// `GPUAdapterInfo.isFallbackAdapter`: the browser has no real GPU to offer.
    pub fallback: bool,
    /// The device has `shader-f16`.
    pub shader_f16: bool,
    /// The device has `subgroups`.
    pub subgroups: bool,
    /// The smallest subgroup that a kernel may be run with; 0 where unknown.
    pub subgroup_min_size: u32,
    /// The largest.
    pub subgroup_max_size: u32,
    /// `maxBufferSize`, in bytes
    pub max_buffer_size: u64,
    /// `maxStorageBufferBindingSize`, in bytes
    pub max_storage_buffer_binding_size: u64,
    /// `maxComputeWorkgroupsPerDimension`
    pub max_workgroups_per_dimension: u32,
    /// `maxComputeInvocationsPerWorkgroup`
    pub max_invocations_per_workgroup: u32,
    /// `maxComputeWorkgroupStorageSize`, in bytes
    pub max_workgroup_storage: u32,
    /// `minUniformBufferOffsetAlignment`, in bytes
    pub uniform_alignment: u32,
}

impl Capabilities {
    /// Whether the "GPU" is a program on the CPU: SwiftShader in Chromium, lavapipe (llvmpipe) of Mesa elsewhere.
    pub fn is_software(&self) -> bool {
        if self.fallback {
            return true;
        }
        let names = [&self.architecture, &self.description].map(|name| name.to_ascii_lowercase());
        ["swiftshader", "llvmpipe", "software"].iter().any(|known| names.iter().any(|name| name.contains(known)))
    }
}

impl GpuOptions {
    /// Whether such an adapter may be taken.
    ///
    /// # Errors
    /// [`GpuError::Software`]
    fn accept(&self, capabilities: &Capabilities) -> Result<(), GpuError> {
        match self.without_software && capabilities.is_software() {
            true => {
                let Capabilities { description, architecture, .. } = capabilities;
                let adapter = if description.is_empty() { architecture } else { description };
                Err(GpuError::Software { adapter: adapter.clone() })
            }
            false => Ok(()),
        }
    }
}

/// What a buffer is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Usage {
    /// Read and written by kernels, written by the host, copied from and to.
    Storage,
    /// Small parameters, written by the host.
    Uniform,
    /// Read back by the host.
    Readback,
}

/// A buffer, or a part of one, as a kernel sees it.
#[derive(Clone, Copy)]
pub enum Binding<'a> {
    /// All of the buffer.
    Whole(&'a Buffer),
    /// `size` bytes from `offset`, which is a multiple of the alignment that the limits ask for.
    Part {
        /// The buffer.
        buffer: &'a Buffer,
        /// First byte.
        offset: u64,
        /// Bytes.
        size: u64,
    },
}

/// Counts what lives on the device, at the allocation call itself.
#[derive(Debug, Clone, Default)]
pub struct Usages {
    bytes: Rc<Cell<u64>>,
    all: Rc<Cell<u64>>,
    peak: Rc<Cell<u64>>,
    buffers: Rc<Cell<u32>>,
    room: Option<u64>,
}

impl Usages {
    fn new(options: &GpuOptions) -> Usages {
        Usages { room: options.room, ..Usages::default() }
    }

    /// Bytes in live buffers.
    pub fn bytes(&self) -> u64 {
        self.bytes.get()
    }

    /// The most that `bytes` has been.
    pub fn peak_bytes(&self) -> u64 {
        self.peak.get()
    }

    /// Live buffers.
    pub fn buffers(&self) -> u32 {
        self.buffers.get()
    }

    /// Bytes of all buffers that ever were created.
    pub fn created_bytes(&self) -> u64 {
        self.all.get()
    }

    /// Whether there is room for so much more, where tests say how much there is.
    fn has_room(&self, what: &str, size: u64) -> Result<(), GpuError> {
        match self.room {
            Some(room) if self.bytes() + size > room => {
                Err(GpuError::OutOfMemory { what: what.to_owned(), bytes: size })
            }
            _ => Ok(()),
        }
    }

    fn created(&self, size: u64) {
        self.bytes.set(self.bytes.get().saturating_add(size));
        self.peak.set(self.peak.get().max(self.bytes.get()));
        self.all.set(self.all.get().saturating_add(size));
        self.buffers.set(self.buffers.get().saturating_add(1));
    }

    fn destroyed(&self, size: u64) {
        self.bytes.set(self.bytes.get().saturating_sub(size));
        self.buffers.set(self.buffers.get().saturating_sub(1));
    }
}

/// What a device is asked for.
#[derive(Debug, Clone, Default)]
pub struct GpuOptions {
    /// Use no `shader-f16` even where there is some: for tests of the packed kernels.
    pub without_f16: bool,
    /// Use no subgroups even where there are some: for tests.
    pub without_subgroups: bool,
    /// Treat `maxStorageBufferBindingSize` as this small: for tests of split weights.
    pub max_binding: Option<u64>,
    /// Take no adapter that is a program on the CPU.
    pub without_software: bool,
    /// Have no more memory than so many bytes: for tests of what happens then.
    pub room: Option<u64>,
    /// A device that the caller owns; it is never destroyed here.
    #[cfg(target_arch = "wasm32")]
    pub device: Option<web_sys::GpuDevice>,
}
