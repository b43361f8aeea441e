//! A device that is lost in the middle of something: another takes its place, the weights come again, and what was under
//! way is done again from what is known.

use std::rc::Rc;

use super::Engine;
use super::runner::Runner;
use crate::tensor::gpu::device::{Gpu, GpuError};
use crate::{Error, Result};

/// Devices that may be lost, one after the other, before a call gets anywhere.
const MOST_LOSSES: u32 = 3;

impl Engine {
    /// Does `work` on the model's device, and again on another where that is lost meanwhile.
    ///
    /// `work` must be such that it can be begun anew.
    ///
    /// # Errors
    /// `DEVICE_LOST` where it happens too often, or where the device is the caller's; `work`'s.
    pub(super) async fn on_some_device<T>(&self, mut work: impl AsyncFnMut(&Runner) -> Result<T>) -> Result<T> {
        let mut losses = 0;
        loop {
            self.alive()?;
            let runner = self.runner();
            let error = match work(&runner).await {
                Ok(done) => return Ok(done),
                Err(error) => error,
            };
            // What a lost device makes of a call may look like anything.
            let Some(lost) = lost(&runner, &error) else { return Err(error) };
            losses += 1;
            if losses > MOST_LOSSES || !self.can_move() {
                return Err(lost.into());
            }
            self.move_on(&runner).await?;
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
        lost.loader().retire();
        let gpu = Gpu::request_again(&self.device).await?;
        let sources = self.sources.borrow().clone();
        let (model, timings) = (self.model.clone(), self.timings.clone());
        let runner = Runner::new(Some(gpu), model, &self.wishes, &sources, &self.background, timings).await?;
        self.runner.replace(Rc::new(runner));
        Ok(())
    }
}

/// The loss of the device that an error comes of.
fn lost(runner: &Runner, error: &Error) -> Option<GpuError> {
    if error.code() == "DISPOSED" || error.code() == "ABORTED" {
        return None;
    }
    runner.alive().err()
}
