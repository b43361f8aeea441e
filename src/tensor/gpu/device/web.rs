//! The GPU's face over the WebGPU API of a browser or of Node.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use futures_util::future::select;
use js_sys::{Object, Reflect, Uint8Array};
use wasm_bindgen::{JsCast, JsValue, prelude::Closure};
use wasm_bindgen_futures::JsFuture;
use web_sys::{
    GpuAutoLayoutMode, GpuBindGroupDescriptor, GpuBindGroupEntry, GpuBindGroupLayout, GpuBufferBinding,
    GpuBufferDescriptor, GpuComputePassEncoder, GpuComputePipeline, GpuComputePipelineDescriptor, GpuDevice,
    GpuDeviceDescriptor, GpuErrorFilter, GpuPowerPreference, GpuProgrammableStage, GpuQueue, GpuRequestAdapterOptions,
    GpuShaderModuleDescriptor,
};

use super::{Binding, Capabilities, GpuError, GpuOptions, Usage, Usages};
use crate::hub::{Chunk, Timer};

/// How long after a call has failed the loss of the device is told at the latest.
const LOSS_IS_TOLD: Duration = Duration::from_secs(1);
/// Browsers restart their GPU process in about a second.
const REQUESTS: u32 = 10;
const BETWEEN_REQUESTS: Duration = Duration::from_millis(500);

/// `GPUBufferUsage` and `GPUMapMode`, whose values the standard fixes.
mod flags {
    pub const MAP_READ: u32 = 0x1;
    pub const COPY_SRC: u32 = 0x4;
    pub const COPY_DST: u32 = 0x8;
    pub const UNIFORM: u32 = 0x40;
    pub const STORAGE: u32 = 0x80;
    pub const MODE_READ: u32 = 0x1;
}

struct Inner {
    device: GpuDevice,
    queue: GpuQueue,
    owned: bool,
    capabilities: Capabilities,
    usages: Usages,
    lost: RefCell<Option<String>>,
}

impl Drop for Inner {
    fn drop(&mut self) {
        if self.owned {
            self.device.destroy();
        }
    }
}

/// A device and its queue.
#[derive(Clone)]
pub struct Gpu(Rc<Inner>);

/// Device memory. Dropping it frees the memory at once.
pub struct Buffer {
    raw: web_sys::GpuBuffer,
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
    raw: GpuComputePipeline,
    layout: GpuBindGroupLayout,
}

/// The buffers that one dispatch reads and writes.
#[derive(Clone)]
pub struct BindGroup(web_sys::GpuBindGroup);

fn words(value: &JsValue) -> String {
    Reflect::get(value, &"message".into())
        .ok()
        .and_then(|m| m.as_string())
        .or_else(|| value.as_string())
        .unwrap_or_else(|| format!("{value:?}"))
}

fn navigator_gpu() -> Result<web_sys::Gpu, GpuError> {
    let unavailable = |reason: &str| GpuError::Unavailable { reason: reason.to_owned() };
    let navigator = Reflect::get(&js_sys::global(), &"navigator".into())
        .ok()
        .filter(|n| n.is_object())
        .ok_or_else(|| unavailable("there is no navigator object"))?;
    let gpu = Reflect::get(&navigator, &"gpu".into()).ok().filter(|g| g.is_object());
    Ok(gpu.ok_or_else(|| unavailable("this browser has no navigator.gpu"))?.unchecked_into())
}

impl Gpu {
    /// Asks for the fastest adapter, with all the limits and the features that it offers and we use.
    ///
    /// # Errors
    /// [`GpuError::Unavailable`] where there is no WebGPU or no adapter.
    pub async fn request(options: &GpuOptions) -> Result<Gpu, GpuError> {
        if let Some(device) = &options.device {
            let limits = device.limits();
            let features: JsValue = device.features().into();
            let capabilities = capabilities(&limits, &features, Some(device.adapter_info()), options);
            return Ok(Gpu::watch(device.clone(), false, capabilities, options));
        }
        let gpu = navigator_gpu()?;
        let ask = GpuRequestAdapterOptions::new();
        ask.set_power_preference(GpuPowerPreference::HighPerformance);
        let adapter = JsFuture::from(gpu.request_adapter_with_options(&ask))
            .await
            .map_err(|e| GpuError::Unavailable { reason: format!("requestAdapter failed: {}", words(&e)) })?;
        let adapter: JsValue = adapter.into();
        if adapter.is_null() || adapter.is_undefined() {
            return Err(GpuError::Unavailable {
                reason: "the browser offers no GPU adapter (is hardware acceleration off, or the GPU blocklisted?)"
                    .into(),
            });
        }
        let adapter: web_sys::GpuAdapter = adapter.unchecked_into();
        let features: JsValue = adapter.features().into();
        let capabilities = capabilities(&adapter.limits(), &features, Some(adapter.info()), options);
        options.accept(&capabilities)?;

        let descriptor = GpuDeviceDescriptor::new();
        let wanted: Vec<js_sys::JsString> =
            [("shader-f16", capabilities.shader_f16), ("subgroups", capabilities.subgroups)]
                .into_iter()
                .filter(|(_, there)| *there)
                .map(|(name, _)| js_sys::JsString::from(name))
                .collect();
        descriptor.set_required_features(&wanted);
        let limits = Object::new();
        for name in [
            "maxBufferSize",
            "maxStorageBufferBindingSize",
            "maxComputeInvocationsPerWorkgroup",
            "maxComputeWorkgroupSizeX",
            "maxComputeWorkgroupStorageSize",
            "maxComputeWorkgroupsPerDimension",
            "maxStorageBuffersPerShaderStage",
        ] {
            if let Ok(value) = Reflect::get(&adapter.limits(), &name.into()) {
                // A plain object takes every property.
                let _ = Reflect::set(&limits, &name.into(), &value);
            }
        }
        let _ = Reflect::set(&descriptor, &"requiredLimits".into(), &limits);
        let device = JsFuture::from(adapter.request_device_with_descriptor(&descriptor))
            .await
            .map_err(|e| GpuError::Unavailable { reason: format!("requestDevice failed: {}", words(&e)) })?;
        // What the device was given, which is not always what the adapter has.
        let capabilities =
            Capabilities { uniform_alignment: device.limits().min_uniform_buffer_offset_alignment(), ..capabilities };
        Ok(Gpu::watch(device, true, capabilities, options))
    }

    /// As [`Gpu::request`], in place of a device that was lost: what took it may take a while to come back.
    ///
    /// # Errors
    /// [`GpuError::Unavailable`] where it doesn't come back.
    pub async fn request_again(options: &GpuOptions) -> Result<Gpu, GpuError> {
        for _ in 1..REQUESTS {
            if let Ok(gpu) = Gpu::request(options).await {
                return Ok(gpu);
            }
            Timer::new(BETWEEN_REQUESTS).await;
        }
        Gpu::request(options).await
    }

    fn watch(device: GpuDevice, owned: bool, capabilities: Capabilities, options: &GpuOptions) -> Gpu {
        let gpu = Gpu(Rc::new(Inner {
            queue: device.queue(),
            device,
            owned,
            capabilities,
            usages: Usages::new(options),
            lost: RefCell::new(None),
        }));
        // The promise outlives us where the device is the caller's, so it holds us weakly.
        let weak = Rc::downgrade(&gpu.0);
        let on_lost = Closure::once_into_js(move |info: JsValue| {
            if let Some(inner) = weak.upgrade() {
                inner.lost.replace(Some(words(&info)));
            }
        });
        if let Ok(then) = Reflect::get(&gpu.0.device.lost(), &"then".into()) {
            let _ = then.unchecked_into::<js_sys::Function>().call1(&gpu.0.device.lost(), &on_lost);
        }
        gpu
    }

    /// What the device can do.
    pub fn capabilities(&self) -> &Capabilities {
        &self.0.capabilities
    }

    /// What lives on the device.
    pub fn usages(&self) -> &Usages {
        &self.0.usages
    }

    /// Fails once the device is lost.
    pub fn alive(&self) -> Result<(), GpuError> {
        match &*self.0.lost.borrow() {
            Some(reason) => Err(GpuError::Lost { reason: reason.clone() }),
            None => Ok(()),
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
            Usage::Storage => flags::STORAGE | flags::COPY_DST | flags::COPY_SRC,
            Usage::Uniform => flags::UNIFORM | flags::COPY_DST,
            Usage::Readback => flags::MAP_READ | flags::COPY_DST,
        };
        let descriptor = GpuBufferDescriptor::new(0, usage);
        descriptor.set_size_f64(size as f64);
        descriptor.set_label(label);
        let raw = self
            .0
            .device
            .create_buffer(&descriptor)
            .map_err(|e| GpuError::Refused { what: "createBuffer", message: words(&e) })?;
        self.0.usages.created(size);
        Ok(Buffer { raw, size, usages: self.0.usages.clone() })
    }

    /// Runs `create`, which allocates, and waits to hear whether the device had the memory and the calls were valid.
    pub async fn checked<T, E: From<GpuError>>(
        &self,
        what: &str,
        create: impl FnOnce() -> Result<T, E>,
    ) -> Result<T, E> {
        let device = &self.0.device;
        let before = self.0.usages.bytes();
        device.push_error_scope(GpuErrorFilter::OutOfMemory);
        device.push_error_scope(GpuErrorFilter::Validation);
        let made = create();
        let (invalid, full) = (device.pop_error_scope(), device.pop_error_scope());
        let bytes = self.0.usages.bytes().saturating_sub(before);
        let invalid: JsValue = JsFuture::from(invalid).await.map_or(JsValue::NULL, Into::into);
        let full: JsValue = JsFuture::from(full).await.map_or(JsValue::NULL, Into::into);
        self.alive()?;
        if full.is_object() {
            return Err(GpuError::OutOfMemory { what: what.to_owned(), bytes }.into());
        }
        if invalid.is_object() {
            return Err(GpuError::Refused { what: "an allocation", message: words(&invalid) }.into());
        }
        made
    }

    /// Copies `bytes`, whose length is a multiple of 4, to the buffer at `offset`, a multiple of 4.
    pub fn write(&self, buffer: &Buffer, offset: u64, bytes: &[u8]) -> Result<(), GpuError> {
        self.0
            .queue
            .write_buffer_with_f64_and_u8_slice(&buffer.raw, offset as f64, bytes)
            .map_err(|e| GpuError::Refused { what: "writeBuffer", message: words(&e) })
    }

    /// As [`Gpu::write`], from JavaScript's memory without a copy into wasm.
    pub fn write_chunk(&self, buffer: &Buffer, offset: u64, chunk: &Chunk) -> Result<(), GpuError> {
        let bytes: &Uint8Array = chunk.as_js();
        self.0
            .queue
            .write_buffer_with_f64_and_buffer_source(&buffer.raw, offset as f64, bytes)
            .map_err(|e| GpuError::Refused { what: "writeBuffer", message: words(&e) })
    }

    /// Compiles a kernel whose entry point is `main`, off the main thread where the browser can.
    pub async fn compile(&self, kernel: &str, wgsl: &str) -> Result<Pipeline, GpuError> {
        let failed = |message: String| GpuError::Compile { kernel: kernel.to_owned(), message };
        let source = GpuShaderModuleDescriptor::new(wgsl);
        source.set_label(kernel);
        let module = self.0.device.create_shader_module(&source);
        let stage = GpuProgrammableStage::new(&module);
        stage.set_entry_point("main");
        let descriptor = GpuComputePipelineDescriptor::new_with_gpu_auto_layout_mode(GpuAutoLayoutMode::Auto, &stage);
        descriptor.set_label(kernel);
        let raw = match JsFuture::from(self.0.device.create_compute_pipeline_async(&descriptor)).await {
            Ok(raw) => raw,
            Err(error) => {
                self.alive()?;
                return Err(failed(words(&error)));
            }
        };
        let layout = raw.get_bind_group_layout(0);
        Ok(Pipeline { raw, layout })
    }

    /// Binds `buffers` to the kernel's bindings 0, 1, 2 … of group 0.
    pub fn bind(&self, pipeline: &Pipeline, buffers: &[Binding<'_>]) -> BindGroup {
        let entries: Vec<GpuBindGroupEntry> = (0..)
            .zip(buffers)
            .map(|(slot, binding)| {
                let resource = match *binding {
                    Binding::Whole(buffer) => GpuBufferBinding::new(&buffer.raw),
                    Binding::Part { buffer, offset, size } => {
                        let part = GpuBufferBinding::new(&buffer.raw);
                        part.set_offset_f64(offset as f64);
                        part.set_size_f64(size as f64);
                        part
                    }
                };
                GpuBindGroupEntry::new_with_gpu_buffer_binding(slot, &resource)
            })
            .collect();
        BindGroup(self.0.device.create_bind_group(&GpuBindGroupDescriptor::new(&entries, &pipeline.layout)))
    }

    /// A new, empty command encoder.
    pub fn encoder(&self) -> Encoder {
        Encoder { raw: self.0.device.create_command_encoder(), queue: self.0.queue.clone() }
    }

    /// Waits until everything submitted so far has run.
    pub async fn idle(&self) -> Result<(), GpuError> {
        let _ = JsFuture::from(self.0.queue.on_submitted_work_done()).await;
        self.alive()
    }

    /// Starts to read `size` bytes from the front of a readback buffer, once the work submitted so far has filled it.
    pub fn map(&self, buffer: &Rc<Buffer>, size: u64) -> Readback {
        Readback {
            mapped: JsFuture::from(buffer.raw.map_async_with_f64_and_f64(flags::MODE_READ, 0.0, size as f64)),
            gpu: self.clone(),
            buffer: buffer.clone(),
            size,
        }
    }
}

/// A read that is under way.
pub struct Readback {
    mapped: JsFuture<js_sys::Undefined>,
    gpu: Gpu,
    buffer: Rc<Buffer>,
    size: u64,
}

impl Readback {
    /// The bytes, when they are there.
    pub async fn bytes(self) -> Result<Vec<u8>, GpuError> {
        let mapped = match self.mapped.await {
            Ok(_) => self.buffer.raw.get_mapped_range_with_f64_and_f64(0.0, self.size as f64),
            Err(error) => Err(error),
        };
        match mapped {
            Ok(range) => {
                let bytes = Uint8Array::new(&range).to_vec();
                self.buffer.raw.unmap();
                Ok(bytes)
            }
            Err(error) => {
                // Nearly always the device is lost, which is told at about the same time.
                select(JsFuture::from(self.gpu.0.device.lost()), Timer::new(LOSS_IS_TOLD)).await;
                self.gpu.alive()?;
                Err(GpuError::Refused { what: "mapAsync", message: words(&error) })
            }
        }
    }
}

/// Records work for the device.
pub struct Encoder {
    raw: web_sys::GpuCommandEncoder,
    queue: GpuQueue,
}

impl Encoder {
    /// Opens a compute pass; dropping it ends the pass.
    pub fn pass(&mut self) -> Pass {
        Pass(self.raw.begin_compute_pass())
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
        self.raw
            .copy_buffer_to_buffer_with_f64_and_f64_and_f64(
                &from.raw,
                from_offset as f64,
                &to.raw,
                to_offset as f64,
                size as f64,
            )
            .map_err(|e| GpuError::Refused { what: "copyBufferToBuffer", message: words(&e) })
    }

    /// Hands the work to the device.
    pub fn submit(self) {
        self.queue.submit(&[self.raw.finish()]);
    }
}

/// One compute pass.
pub struct Pass(GpuComputePassEncoder);

impl Pass {
    /// Runs `groups` workgroups of a kernel.
    pub fn dispatch(&mut self, pipeline: &Pipeline, bind_group: &BindGroup, groups: [u32; 3]) {
        self.0.set_pipeline(&pipeline.raw);
        self.0.set_bind_group(0, Some(&bind_group.0));
        let [x, y, z] = groups;
        self.0.dispatch_workgroups_with_workgroup_count_y_and_workgroup_count_z(x, y, z);
    }
}

impl Drop for Pass {
    fn drop(&mut self) {
        self.0.end();
    }
}

fn capabilities(
    limits: &web_sys::GpuSupportedLimits,
    features: &JsValue,
    info: Option<web_sys::GpuAdapterInfo>,
    options: &GpuOptions,
) -> Capabilities {
    let has = |name: &str| -> bool {
        Reflect::get(features, &"has".into())
            .ok()
            .and_then(|has| has.dyn_into::<js_sys::Function>().ok())
            .and_then(|has| has.call1(features, &name.into()).ok())
            .is_some_and(|there| there.is_truthy())
    };
    // GPUAdapterInfo is younger than WebGPU, and its fields came one by one.
    let info: JsValue = info.map_or(JsValue::NULL, Into::into);
    let text = |name: &str| {
        if !info.is_object() {
            return String::new();
        }
        Reflect::get(&info, &name.into()).ok().and_then(|v| v.as_string()).unwrap_or_default()
    };
    let number = |name: &str| {
        if !info.is_object() {
            return 0;
        }
        Reflect::get(&info, &name.into()).ok().and_then(|v| v.as_f64()).map_or(0, |v| v as u32)
    };
    let max_binding = limits.max_storage_buffer_binding_size() as u64;
    Capabilities {
        vendor: text("vendor"),
        architecture: text("architecture"),
        description: text("description"),
        fallback: Reflect::get(&info, &"isFallbackAdapter".into()).is_ok_and(|fallback| fallback.is_truthy()),
        shader_f16: has("shader-f16") && !options.without_f16,
        subgroups: has("subgroups") && !options.without_subgroups,
        subgroup_min_size: number("subgroupMinSize"),
        subgroup_max_size: number("subgroupMaxSize"),
        max_buffer_size: limits.max_buffer_size() as u64,
        max_storage_buffer_binding_size: options.max_binding.map_or(max_binding, |max| max.min(max_binding)),
        max_workgroups_per_dimension: limits.max_compute_workgroups_per_dimension(),
        max_invocations_per_workgroup: limits.max_compute_invocations_per_workgroup(),
        max_workgroup_storage: limits.max_compute_workgroup_storage_size(),
        uniform_alignment: limits.min_uniform_buffer_offset_alignment(),
    }
}
