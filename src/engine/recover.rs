//! What a call survives: a device that is lost, in whose place another comes; a GPU, or a CPU's memory, with less room than was
//! thought, which gets less of the model; a text that leaves weights less of their share. The weights that have gone, or go elsewhere,
//! come again, and what was under way is done again from what is known.

use std::rc::Rc;

use super::Engine;
use super::runner::{Runner, Setting};
use super::wishes::Wishes;
use crate::hub::HubError;
use crate::placement::Device;
use crate::tensor::gpu::device::{Gpu, GpuError};
use crate::{Error, Result};

/// Devices that may be lost, one after the other, before a call gets anywhere.
const MOST_LOSSES: u32 = 3;

/// How often a call may find that there is less room.
const MOST_TIMES_FULL: u32 = 12;

/// Of what had room, how much is put there the next time: the rest is for what else had none.
const KEPT: (u64, u64) = (4, 5);

impl Engine {
    /// Does `work` on the model's devices, and again on others where that is lost meanwhile, or on less of the GPU where it
    /// is full.
    ///
    /// `work` must be such that it can be begun anew.
    ///
    /// # Errors
    /// `DEVICE_LOST` where it happens too often, or where the device is the caller's; `work`'s.
    pub(super) async fn on_some_device<T>(&self, mut work: impl AsyncFnMut(&Runner) -> Result<T>) -> Result<T> {
        let (mut losses, mut times_full) = (0, 0);
        loop {
            self.alive()?;
            let runner = self.runner();
            let error = match work(&runner).await {
                Ok(done) => return Ok(done),
                Err(error) => error,
            };
            let has_made_way = matches!(error, Error::Hub(HubError::Aborted { .. })) && runner.loader().is_retired();
            if has_made_way {
                // Another call has found out, and is at it.
                drop(self.recovering.lock().await);
                if !Rc::ptr_eq(&runner, &self.runner()) {
                    continue;
                }
            }
            // What a lost device makes of a call may look like anything.
            if let Some(lost) = lost(&runner, &error, has_made_way) {
                losses += 1;
                if losses > MOST_LOSSES || !self.can_move() {
                    return Err(lost.into());
                }
                self.move_on(&runner).await?;
                continue;
            }
            times_full += 1;
            let full = match error.code() {
                "OUT_OF_MEMORY" => Some(Device::Gpu),
                "CPU_OUT_OF_MEMORY" => Some(Device::Cpu),
                // Nobody has succeeded.
                _ if has_made_way => None,
                _ => return Err(error),
            };
            if times_full > MOST_TIMES_FULL || !self.shrink(&runner, full).await? {
                return Err(error);
            }
        }
    }

    /// Whether another device may be asked for: one that the caller has made can't be replaced by us.
    fn can_move(&self) -> bool {
        #[cfg(target_arch = "wasm32")]
        return self.device.device.is_none();
        #[cfg(not(target_arch = "wasm32"))]
        true
    }

    /// Puts the model on another device, if nobody has yet.
    async fn move_on(&self, lost: &Rc<Runner>) -> Result<()> {
        let _one_at_a_time = self.recovering.lock().await;
        if !Rc::ptr_eq(lost, &self.runner()) {
            return Ok(());
        }
        self.device_losses.set(self.device_losses.get() + 1);
        let gpu = Gpu::request_again(&self.device).await?;
        let wishes = self.wishes.borrow().clone();
        self.replace_runner(Some(gpu), wishes).await
    }

    /// Gives a device that is full less of the model, if nobody has yet; none where that was tried in vain. `false`: it can't have less.
    async fn shrink(&self, full: &Rc<Runner>, device: Option<Device>) -> Result<bool> {
        let _one_at_a_time = self.recovering.lock().await;
        if !Rc::ptr_eq(full, &self.runner()) {
            return Ok(true);
        }
        let wishes = self.wishes.borrow().clone();
        let Some(device) = device else {
            return self.replace_runner(None, wishes).await.map(|()| true);
        };
        if let Some(room) = full.take_wanted().filter(|_| device == Device::Gpu) {
            // Texts grow: there is to be room for a while.
            let longer = Wishes { room: room.doubled(), ..wishes.clone() };
            return match self.replace_runner(None, longer).await {
                Err(Error::Placement(_)) => self.replace_runner(None, Wishes { room, ..wishes }).await,
                done => done,
            }
            .map(|()| true);
        }
        let has_room = match self.resident_bytes_on(device) {
            // It was full before the first weight came.
            0 => full.offload.bytes_on(device),
            bytes => bytes,
        };
        let beside = if device == Device::Gpu { full.kept_bytes() } else { 0 };
        let less = (has_room / KEPT.1 * KEPT.0).saturating_add(beside);
        let Some(placement) = wishes.placement.with_less(device, less) else { return Ok(false) };
        self.replace_runner(None, Wishes { placement, room: full.kept.get(), ..wishes }).await?;
        Ok(true)
    }

    /// Puts the model where these wishes say, on another GPU where that is given.
    async fn replace_runner(&self, gpu: Option<Gpu>, wishes: Wishes) -> Result<()> {
        let sources = self.sources.borrow().clone();
        let setting = Setting { wishes: &wishes, sources: &sources, background: &self.background };
        let runner = self.runner().again(gpu, setting).await?;
        self.wishes.replace(wishes);
        self.runner.replace(Rc::new(runner));
        Ok(())
    }
}

/// The loss of the device that an error comes of.
fn lost(runner: &Runner, error: &Error, has_made_way: bool) -> Option<GpuError> {
    if error.code() == "DISPOSED" || (error.code() == "ABORTED" && !has_made_way) {
        return None;
    }
    runner.alive().err().filter(|error| matches!(error, GpuError::Lost { .. }))
}
