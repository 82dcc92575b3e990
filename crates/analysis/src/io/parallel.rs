//! Work on one piece of an input after the other, in several threads, with results in the order of the input.

use std::collections::BTreeMap;
use std::io;
use std::num::NonZeroUsize;
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread;

use parking_lot::{Condvar, Mutex, MutexGuard};

/// Pieces per thread that may wait for an earlier one to be added.
const AHEAD: u64 = 4;

/// Reads pieces with `next` (false at the end; never called by two threads at once), makes something of each with
/// `work`, and gives the results to `add` in the order of the pieces, on this thread. A piece is room that is used
/// again for a later one.
///
/// No more pieces are ahead of the first one that is not added than [`AHEAD`] for each job.
///
/// # Errors
/// Those of `next` and `add`. What was added before stays added.
pub(crate) fn in_order<P: Default, T: Send>(
    jobs: NonZeroUsize,
    mut next: impl FnMut(&mut P) -> io::Result<bool> + Send,
    work: impl Fn(&mut P) -> T + Sync,
    add: &mut dyn FnMut(T) -> io::Result<()>,
) -> io::Result<()> {
    if jobs.get() == 1 {
        let mut piece = P::default();
        while next(&mut piece)? {
            add(work(&mut piece))?;
        }
        return Ok(());
    }
    let queue = Queue {
        state: Mutex::new(State { next, taken: 0, added: 0, is_over: false }),
        changed: Condvar::new(),
        ahead: AHEAD * jobs.get() as u64,
    };
    thread::scope(|scope| {
        let (sender, receiver) = mpsc::channel();
        for _ in 0..jobs.get() {
            let (sender, queue, work) = (sender.clone(), &queue, &work);
            scope.spawn(move || {
                // Also when the work panics: others must not wait for its piece.
                let _end = EndOnDrop(queue);
                queue.work(work, &sender);
            });
        }
        drop(sender);
        let _end = EndOnDrop(&queue);
        add_in_order(&queue, &receiver, add)
    })
}

/// The number of a piece and the result of the work on it; an error of the input takes the place of a piece.
type Numbered<T> = (u64, io::Result<T>);

fn add_in_order<N, T>(
    queue: &Queue<N>,
    receiver: &Receiver<Numbered<T>>,
    add: &mut dyn FnMut(T) -> io::Result<()>,
) -> io::Result<()> {
    let mut early = BTreeMap::new();
    let mut expected = 0;
    for (number, result) in receiver {
        early.insert(number, result);
        while let Some(result) = early.remove(&expected) {
            add(result?)?;
            expected += 1;
        }
        queue.lock().added = expected;
        queue.changed.notify_all();
    }
    Ok(())
}

struct Queue<N> {
    state: Mutex<State<N>>,
    /// More was added, or all is over.
    changed: Condvar,
    ahead: u64,
}

struct State<N> {
    next: N,
    taken: u64,
    added: u64,
    is_over: bool,
}

impl<N> Queue<N> {
    fn lock(&self) -> MutexGuard<'_, State<N>> {
        self.state.lock()
    }

    fn work<P: Default, T>(&self, work: &(impl Fn(&mut P) -> T + Sync), sender: &Sender<Numbered<T>>)
    where
        N: FnMut(&mut P) -> io::Result<bool>,
    {
        let mut piece = P::default();
        loop {
            let mut state = self.lock();
            while !state.is_over && state.taken >= state.added + self.ahead {
                self.changed.wait(&mut state);
            }
            if state.is_over {
                return;
            }
            let found = (state.next)(&mut piece);
            let number = state.taken;
            state.taken += 1;
            state.is_over = !matches!(found, Ok(true));
            drop(state);
            let result = match found {
                Ok(false) => return,
                Ok(true) => Ok(work(&mut piece)),
                Err(error) => Err(error),
            };
            if sender.send((number, result)).is_err() {
                return;
            }
        }
    }
}

/// Ends the work of all threads when one of them can go on no more.
struct EndOnDrop<'a, N>(&'a Queue<N>);

impl<N> Drop for EndOnDrop<'_, N> {
    fn drop(&mut self) {
        self.0.lock().is_over = true;
        self.0.changed.notify_all();
    }
}
