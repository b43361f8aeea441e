//! A crew of the system's threads.

use std::cell::RefCell;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;

use super::{Bench, CpuError, Crew, Hand, Order};

/// Bytes that go with an order, and come back, at most.
const ROOM: usize = 4 << 20;

type Told = (Order, Vec<u8>);
type Answer = Result<Vec<u8>, CpuError>;

struct Thread {
    orders: SyncSender<Told>,
    answers: Receiver<Answer>,
    /// The last answer's memory, to be used again.
    spare: RefCell<Vec<u8>>,
    room: usize,
}

impl Hand for Thread {
    fn room(&self) -> usize {
        self.room
    }

    fn tell(&self, order: &Order, given: &[u8]) {
        let mut bytes = self.spare.take();
        bytes.clear();
        bytes.extend_from_slice(given);
        // That it listens no more shows when it doesn't answer.
        let _ = self.orders.send((order.clone(), bytes));
    }

    fn wait(&self, answer: &mut [u8]) -> Result<(), CpuError> {
        let bytes = self.answers.recv().map_err(|_| CpuError::Silent)??;
        answer.iter_mut().zip(&bytes).for_each(|(to, from)| *to = *from);
        self.spare.replace(bytes);
        Ok(())
    }
}

impl Crew {
    /// So many threads beside the caller's, which have parts of matrices of `least` bytes or more.
    ///
    /// # Errors
    /// The system's, where it has no more threads.
    pub fn of_threads(count: usize, least: u64) -> std::io::Result<Crew> {
        Crew::of_threads_with_room(count, least, ROOM)
    }

    pub(super) fn of_threads_with_room(count: usize, least: u64, room: usize) -> std::io::Result<Crew> {
        let one = |_| -> std::io::Result<Box<dyn Hand>> {
            let (orders, told) = sync_channel::<Told>(1);
            let (answer, answers) = sync_channel::<Answer>(1);
            thread::Builder::new().name("layerline hand".to_owned()).spawn(move || {
                let mut bench = Bench::default();
                // Ends when the crew is dropped.
                let mut bytes = Vec::new();
                for (order, given) in told {
                    let done = bench.obey(&order, &given, &mut bytes);
                    // What was given is used again for the next answer.
                    let bytes = std::mem::replace(&mut bytes, given);
                    if answer.send(done.map(|()| bytes)).is_err() {
                        return;
                    }
                }
            })?;
            Ok(Box::new(Thread { orders, answers, spare: RefCell::default(), room }))
        };
        Ok(Crew::new((0..count).map(one).collect::<std::io::Result<_>>()?, least))
    }
}
