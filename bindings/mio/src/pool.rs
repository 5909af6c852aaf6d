//! Threads for slow work.

use crate::event_loop::{Inbox, Message};
use drywire::engine::{Done, JobId, Work};
use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread;

/// A queue that a fixed number of threads works off; they start with the first job.
///
/// Loops hand over only about as many jobs as there are workers and leave the rest in the core,
/// where the protocol sees them waiting and can refuse.
pub(crate) struct Pool {
    workers: usize,
    queue: Mutex<Queue>,
    filled: Condvar,
}

#[derive(Default)]
struct Queue {
    tasks: VecDeque<Task>,
    started: bool,
    closed: bool,
}

pub(crate) struct Task {
    pub(crate) work: Work,
    pub(crate) service: usize,
    /// Where the result goes.
    pub(crate) inbox: Arc<Inbox>,
}

impl Pool {
    pub(crate) fn new(workers: usize) -> Arc<Self> {
        Arc::new(Self { workers, queue: Mutex::default(), filled: Condvar::new() })
    }

    /// How many jobs of one service and loop may be with the pool at a time: one is under way
    /// and one at hand for each worker, which need not wait for the loop between short ones. Zero
    /// if there are no workers and the loops do the jobs themselves.
    pub(crate) const fn quota(&self) -> usize {
        2 * self.workers
    }

    pub(crate) fn submit(self: &Arc<Self>, task: Task) {
        let mut queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
        queue.tasks.push_back(task);
        if !queue.started {
            queue.started = true;
            for _ in 0..self.workers {
                let pool = Arc::clone(self);
                thread::spawn(move || pool.work());
            }
        }
        drop(queue);
        self.filled.notify_one();
    }

    /// Lets the threads end after the jobs they are at; nobody waits for the results.
    pub(crate) fn close(&self) {
        let mut queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
        queue.closed = true;
        queue.tasks.clear();
        drop(queue);
        self.filled.notify_all();
    }

    fn work(&self) {
        loop {
            let queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
            let idle = |q: &mut Queue| q.tasks.is_empty() && !q.closed;
            let mut queue =
                self.filled.wait_while(queue, idle).unwrap_or_else(PoisonError::into_inner);
            let Some(Task { work, service, inbox }) = queue.tasks.pop_front() else { return };
            drop(queue);
            inbox.send(Message::Done { service, done: run(work) });
        }
    }
}

/// Does a job; its name if it panicked.
pub(crate) fn run(work: Work) -> Result<Done, JobId> {
    let id = work.id();
    catch_unwind(AssertUnwindSafe(|| work.run())).map_err(|_| id)
}
