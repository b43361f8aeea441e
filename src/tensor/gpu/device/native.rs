//! The GPU's face over `wgpu`, for native tests and tools.

use std::rc::Rc;
use std::sync::{Arc, Mutex};

use super::{Binding, Capabilities, GpuError, GpuOptions, Usage, Usages};
use crate::hub::Chunk;

struct Inner {
    device: wgpu::Device,
    queue: wgpu::Queue,
    capabilities: Capabilities,
    usages: Usages,
    lost: Arc<Mutex<Option<String>>>,
    /// A call that was refused, which wgpu would panic at.
    refused: Arc<Mutex<Option<String>>>,
}

/// A device and its queue.
#[derive(Clone)]
pub struct Gpu(Rc<Inner>);

/// Device memory. Dropping it frees the memory.
pub struct Buffer {
    raw: wgpu::Buffer,
    size: u64,
    usages: Usages,
}

impl Drop for Buffer {
    fn drop(&mut self) {
        self.raw.destroy();
        self.usages.destroyed(self.size);
    }
}

impl Buffer {
    /// Bytes.
    pub fn size(&self) -> u64 {
        self.size
    }
}

/// A compiled kernel.
#[derive(Clone)]
pub struct Pipeline {
    raw: wgpu::ComputePipeline,
    layout: wgpu::BindGroupLayout,
}

/// The buffers that one dispatch reads and writes.
#[derive(Clone)]
pub struct BindGroup(wgpu::BindGroup);

impl Gpu {
    /// Asks for the fastest adapter, with all the limits and the features that it offers and we use.
    ///
    /// # Errors
    /// [`GpuError::Unavailable`] where there is no adapter.
    pub async fn request(options: &GpuOptions) -> Result<Gpu, GpuError> {
        let instance = wgpu::Instance::new(wgpu::InstanceDescriptor::new_without_display_handle());
        let adapter = instance
            .request_adapter(&wgpu::RequestAdapterOptions {
                power_preference: wgpu::PowerPreference::HighPerformance,
                ..Default::default()
            })
            .await
            .map_err(|e| GpuError::Unavailable { reason: e.to_string() })?;
        let (info, limits) = (adapter.get_info(), adapter.limits());
        let wanted = [
            (wgpu::Features::SHADER_F16, !options.without_f16),
            (wgpu::Features::SUBGROUP, !options.without_subgroups),
        ]
        .into_iter()
        .filter(|(_, asked)| *asked)
        .fold(wgpu::Features::empty(), |all, (one, _)| all | one)
            & adapter.features();
        let (device, queue) = adapter
            .request_device(&wgpu::DeviceDescriptor {
                label: Some("layerline"),
                required_features: wanted,
                required_limits: limits.clone(),
                ..Default::default()
            })
            .await
            .map_err(|e| GpuError::Unavailable { reason: e.to_string() })?;
        let max_binding = limits.max_storage_buffer_binding_size;
        let capabilities = Capabilities {
            fallback: info.device_type == wgpu::DeviceType::Cpu,
            vendor: format!("{:#x}", info.vendor),
            architecture: info.driver,
            description: info.name,
            shader_f16: wanted.contains(wgpu::Features::SHADER_F16),
            subgroups: wanted.contains(wgpu::Features::SUBGROUP),
            subgroup_min_size: info.subgroup_min_size,
            subgroup_max_size: info.subgroup_max_size,
            max_buffer_size: limits.max_buffer_size,
            max_storage_buffer_binding_size: options.max_binding.map_or(max_binding, |max| max.min(max_binding)),
            max_workgroups_per_dimension: limits.max_compute_workgroups_per_dimension,
            max_invocations_per_workgroup: limits.max_compute_invocations_per_workgroup,
            max_workgroup_storage: limits.max_compute_workgroup_storage_size,
            uniform_alignment: limits.min_uniform_buffer_offset_alignment,
        };
        options.accept(&capabilities)?;
        let lost = Arc::new(Mutex::new(None));
        let heard = lost.clone();
        device.set_device_lost_callback(move |_, reason| {
            if let Ok(mut lost) = heard.lock() {
                *lost = Some(reason);
            }
        });
        let refused = Arc::new(Mutex::new(None));
        let heard = refused.clone();
        device.on_uncaptured_error(Arc::new(move |error: wgpu::Error| {
            if let Ok(mut refused) = heard.lock() {
                refused.get_or_insert(error.to_string());
            }
        }));
        Ok(Gpu(Rc::new(Inner { device, queue, capabilities, usages: Usages::new(options), lost, refused })))
    }

    /// As [`Gpu::request`], in place of a device that was lost.
    ///
    /// # Errors
    /// [`GpuError::Unavailable`] where there is no adapter.
    pub async fn request_again(options: &GpuOptions) -> Result<Gpu, GpuError> {
        Gpu::request(options).await
    }

    /// What the device can do.
    pub fn capabilities(&self) -> &Capabilities {
        &self.0.capabilities
    }

    /// What lives on the device.
    pub fn usages(&self) -> &Usages {
        &self.0.usages
    }

    /// Loses the device, as a driver does that starts anew: for tests.
    pub fn lose(&self) {
        self.0.device.destroy();
        let _ = self.0.device.poll(wgpu::PollType::Poll);
        // Where work is under way, wgpu tells of it later.
        if let Ok(mut lost) = self.0.lost.lock() {
            lost.get_or_insert("destroyed".to_owned());
        }
    }

    /// Fails once the device is lost, or where it has refused a call.
    pub fn alive(&self) -> Result<(), GpuError> {
        match self.0.lost.lock().map(|lost| lost.clone()) {
            Ok(None) => match self.0.refused.lock().ok().and_then(|mut refused| refused.take()) {
                Some(message) => Err(GpuError::Refused { what: "a call", message }),
                None => Ok(()),
            },
            Ok(Some(reason)) => Err(GpuError::Lost { reason }),
            Err(_) => Err(GpuError::Lost { reason: "the device's watcher died".to_owned() }),
        }
    }

    /// A buffer of `size` bytes, rounded up to 4, zeroed. A failing allocation shows at the next [`Gpu::checked`].
    pub fn create_buffer(&self, label: &str, size: u64, usage: Usage) -> Result<Buffer, GpuError> {
        let size = size.max(4).next_multiple_of(4);
        let allowed = self.0.capabilities.max_buffer_size;
        if size > allowed {
            return Err(GpuError::Limit { what: label.to_owned(), limit: "maxBufferSize", needed: size, allowed });
        }
        self.0.usages.has_room(label, size)?;
        let usage = match usage {
            Usage::Storage => wgpu::BufferUsages::STORAGE | wgpu::BufferUsages::COPY_DST | wgpu::BufferUsages::COPY_SRC,
            Usage::Uniform => wgpu::BufferUsages::UNIFORM | wgpu::BufferUsages::COPY_DST,
            Usage::Readback => wgpu::BufferUsages::MAP_READ | wgpu::BufferUsages::COPY_DST,
        };
        let descriptor = wgpu::BufferDescriptor { label: Some(label), size, usage, mapped_at_creation: false };
        let raw = self.0.device.create_buffer(&descriptor);
        self.0.usages.created(size);
        Ok(Buffer { raw, size, usages: self.0.usages.clone() })
    }

    /// Runs `create`, which allocates, and waits to hear whether the device had the memory and the calls were valid.
    pub async fn checked<T, E: From<GpuError>>(
        &self,
        what: &str,
        create: impl FnOnce() -> Result<T, E>,
    ) -> Result<T, E> {
        let before = self.0.usages.bytes();
        let full = self.0.device.push_error_scope(wgpu::ErrorFilter::OutOfMemory);
        let invalid = self.0.device.push_error_scope(wgpu::ErrorFilter::Validation);
        let made = create();
        let (invalid, full) = (invalid.pop(), full.pop());
        let bytes = self.0.usages.bytes().saturating_sub(before);
        let (invalid, full) = (invalid.await, full.await);
        self.alive()?;
        if full.is_some() {
            return Err(GpuError::OutOfMemory { what: what.to_owned(), bytes }.into());
        }
        if let Some(error) = invalid {
            return Err(GpuError::Refused { what: "an allocation", message: error.to_string() }.into());
        }
        made
    }

    /// Copies `bytes`, whose length is a multiple of 4, to the buffer at `offset`, a multiple of 4.
    pub fn write(&self, buffer: &Buffer, offset: u64, bytes: &[u8]) -> Result<(), GpuError> {
        self.0.queue.write_buffer(&buffer.raw, offset, bytes);
        Ok(())
    }

    /// As [`Gpu::write`].
    pub fn write_chunk(&self, buffer: &Buffer, offset: u64, chunk: &Chunk) -> Result<(), GpuError> {
        self.write(buffer, offset, chunk.as_bytes())
    }

    /// Compiles a kernel whose entry point is `main`.
    pub async fn compile(&self, kernel: &str, wgsl: &str) -> Result<Pipeline, GpuError> {
        // Naga has the subgroup functions, but refuses the directive that the standard asks for.
        let wgsl = wgsl.replace("enable subgroups;\n", "");
        let scope = self.0.device.push_error_scope(wgpu::ErrorFilter::Validation);
        let module = self.0.device.create_shader_module(wgpu::ShaderModuleDescriptor {
            label: Some(kernel),
            source: wgpu::ShaderSource::Wgsl(wgsl.into()),
        });
        let raw = self.0.device.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
            label: Some(kernel),
            layout: None,
            module: &module,
            entry_point: Some("main"),
            compilation_options: Default::default(),
            cache: None,
        });
        if let Some(error) = scope.pop().await {
            return Err(GpuError::Compile { kernel: kernel.to_owned(), message: error.to_string() });
        }
        let layout = raw.get_bind_group_layout(0);
        Ok(Pipeline { raw, layout })
    }

    /// Binds `buffers` to the kernel's bindings 0, 1, 2 … of group 0.
    pub fn bind(&self, pipeline: &Pipeline, buffers: &[Binding<'_>]) -> BindGroup {
        let entries: Vec<wgpu::BindGroupEntry<'_>> = (0..)
            .zip(buffers)
            .map(|(binding, buffer)| wgpu::BindGroupEntry {
                binding,
                resource: match *buffer {
                    Binding::Whole(buffer) => buffer.raw.as_entire_binding(),
                    Binding::Part { buffer, offset, size } => wgpu::BindingResource::Buffer(wgpu::BufferBinding {
                        buffer: &buffer.raw,
                        offset,
                        size: wgpu::BufferSize::new(size),
                    }),
                },
            })
            .collect();
        BindGroup(self.0.device.create_bind_group(&wgpu::BindGroupDescriptor {
            label: None,
            layout: &pipeline.layout,
            entries: &entries,
        }))
    }

    /// A new, empty command encoder.
    pub fn encoder(&self) -> Encoder {
        Encoder { raw: self.0.device.create_command_encoder(&Default::default()), queue: self.0.queue.clone() }
    }

    /// Waits until everything submitted so far has run.
    pub async fn idle(&self) -> Result<(), GpuError> {
        // A native caller has no event loop to yield to.
        let _ = self.0.device.poll(wgpu::PollType::wait_indefinitely());
        self.alive()
    }

    /// Starts to read `size` bytes from the front of a readback buffer, once the work submitted so far has filled it.
    pub fn map(&self, buffer: &Rc<Buffer>, size: u64) -> Readback {
        let failed = Arc::new(Mutex::new(None));
        let heard = failed.clone();
        buffer.raw.map_async(wgpu::MapMode::Read, 0..size, move |result| {
            if let (Err(error), Ok(mut failed)) = (result, heard.lock()) {
                *failed = Some(error.to_string());
            }
        });
        Readback { gpu: self.clone(), buffer: buffer.clone(), size, failed }
    }
}

/// A read that is under way.
pub struct Readback {
    gpu: Gpu,
    buffer: Rc<Buffer>,
    size: u64,
    failed: Arc<Mutex<Option<String>>>,
}

impl Readback {
    /// The bytes, when they are there.
    pub async fn bytes(self) -> Result<Vec<u8>, GpuError> {
        self.gpu.idle().await?;
        let refused = |message: String| GpuError::Refused { what: "mapAsync", message };
        if let Some(message) = self.failed.lock().ok().and_then(|f| f.clone()) {
            return Err(refused(message));
        }
        let range = self.buffer.raw.get_mapped_range(0..self.size).map_err(|e| refused(e.to_string()))?;
        let bytes = range.to_vec();
        drop(range);
        self.buffer.raw.unmap();
        Ok(bytes)
    }
}

/// Records work for the device.
pub struct Encoder {
    raw: wgpu::CommandEncoder,
    queue: wgpu::Queue,
}

impl Encoder {
    /// Opens a compute pass; dropping it ends the pass.
    pub fn pass(&mut self) -> Pass {
        Pass(self.raw.begin_compute_pass(&Default::default()).forget_lifetime())
    }

    /// Copies `size` bytes between buffers.
    pub fn copy(
        &mut self,
        from: &Buffer,
        from_offset: u64,
        to: &Buffer,
        to_offset: u64,
        size: u64,
    ) -> Result<(), GpuError> {
        self.raw.copy_buffer_to_buffer(&from.raw, from_offset, &to.raw, to_offset, size);
        Ok(())
    }

    /// Hands the work to the device.
    pub fn submit(self) {
        self.queue.submit([self.raw.finish()]);
    }
}

/// One compute pass.
pub struct Pass(wgpu::ComputePass<'static>);

impl Pass {
    /// Runs `groups` workgroups of a kernel.
    pub fn dispatch(&mut self, pipeline: &Pipeline, bind_group: &BindGroup, groups: [u32; 3]) {
        self.0.set_pipeline(&pipeline.raw);
        self.0.set_bind_group(0, &bind_group.0, &[]);
        let [x, y, z] = groups;
        self.0.dispatch_workgroups(x, y, z);
    }
}
