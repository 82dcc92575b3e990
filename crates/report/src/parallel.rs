//! Work on several processors.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use parking_lot::Mutex;

/// As many threads as there are processors, up to eight: beyond that, the disk is what everything waits for.
pub(crate) fn processors() -> usize {
    thread::available_parallelism().map_or(1, usize::from).min(8)
}

/// What `work` makes of each item, in the order of the items. Threads take one item after the other, so the largest should come
/// first.
pub(crate) fn map<T: Sync, R: Send>(items: &[T], work: impl Fn(usize, &T) -> R + Sync) -> Vec<R> {
    let results: Vec<Mutex<Option<R>>> = items.iter().map(|_| Mutex::new(None)).collect();
    let next = AtomicUsize::new(0);
    let take = || {
        loop {
            let place = next.fetch_add(1, Ordering::Relaxed);
            let Some(item) = items.get(place) else { return };
            let result = work(place, item);
            if let Some(slot) = results.get(place) {
                *slot.lock() = Some(result);
            }
        }
    };
    thread::scope(|scope| {
        for _ in 1..processors().min(items.len()) {
            scope.spawn(take);
        }
        take();
    });
    results.into_iter().filter_map(Mutex::into_inner).collect()
}

#[cfg(test)]
mod tests {
    #[test]
    fn results_come_in_the_order_of_the_items() {
        let items: Vec<usize> = (0..1000).collect();
        assert_eq!(super::map(&items, |_, item| item * 2), (0..2000).step_by(2).collect::<Vec<_>>());
        assert_eq!(super::map(&[] as &[usize], |_, item| *item), [0; 0]);
    }
}
