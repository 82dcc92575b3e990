//! A sending thread: takes its share of the plan, sends each invocation at its time, and records what came of it.
//!
//! Threads share nothing that they would have to wait for. Each goes through the whole plan and sends every n-th
//! invocation, so the choice of requests depends on the seed alone. Each has connections, a tally and rows of its
//! own.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::ops::Range;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Poll, Waker};
use std::time::{Duration, Instant};

use tokio::sync::{Notify, mpsc};
use tokio::task::{JoinSet, LocalSet};
use tokio_util::sync::CancellationToken;

use super::answer::Extracted;
use super::connect::Connector;
use super::cookies::Jar;
use super::draw::{Draw, Draws, Ids};
use super::pace::{Clock, Pacer};
use super::pool::Pool;
use super::prepare::{Choice, Prepared, Scope, Values};
use super::record::{Block, Rows, SharedTally};
use super::rows::Row;
use super::send::{self, Exchanged, Luggage};
use sb_measurement::{Outcome, Timestamp};
use sb_workload::Settings;
use sb_workload::schedule::Schedule;
use sb_workload::users::ThinkTime;

/// How often rows go to the files although there are few.
const FLUSH: Duration = Duration::from_millis(500);

/// So many invocations are begun before the sockets have their turn. The runtime does 61 things in a turn: enough of them must
/// be ends of requests, or a thread that is late would only begin more and more, each on a connection of its own.
const AT_ONCE: usize = 8;

/// A user who cannot connect waits at least so long before the next attempt: without a pause, it would write rows of failures
/// as fast as this machine can.
const NO_CONNECTION: Duration = Duration::from_millis(100);

/// What all threads of a load have in common.
pub(super) struct Shared {
    pub(super) choices: Vec<Choice>,
    pub(super) values: Values,
    pub(super) settings: Settings,
    pub(super) connector: Arc<Connector>,
    pub(super) clock: Clock,
    pub(super) max_in_flight: u64,
    pub(super) in_flight: AtomicU64,
    /// Nothing more is sent.
    pub(super) stop: CancellationToken,
    /// What is under way is given up.
    pub(super) abort: CancellationToken,
}

/// What others see of a thread.
pub(super) struct Counted {
    /// Requests that have left, answered or not: ahead of the tally, which knows those that are over.
    pub(super) sent: AtomicU64,
    pub(super) tally: SharedTally,
}

impl Counted {
    pub(super) fn new() -> Self {
        Self { sent: AtomicU64::new(0), tally: SharedTally::new() }
    }
}

/// What a thread sends.
pub(super) enum Share {
    /// Open loop: every `of`-th invocation from `first` on, at its time.
    Open { schedule: Schedule, first: usize, of: usize, start: Instant },
    /// One after another.
    InTurn { total: u64 },
    /// Each of these users for itself.
    Users { users: Range<u64>, group: Group },
}

/// What all users of a closed loop have in common.
#[derive(Clone)]
pub(super) struct Group {
    pub(super) think_time: ThinkTime,
    /// Divides think times.
    pub(super) speed: f64,
    pub(super) start: Instant,
    /// No invocation begins from here on.
    pub(super) end: Instant,
    pub(super) seed: u64,
    /// How many invocations have begun, of all users.
    pub(super) begun: Arc<AtomicU64>,
}

struct Lane {
    shared: Arc<Shared>,
    counted: Arc<Counted>,
    pool: Pool,
    rows: Rows,
    ids: RefCell<Ids>,
    /// Those who have nothing to send.
    idle: RefCell<Vec<Rc<Sender>>>,
    /// Whether invocations are due at times that do not depend on the answers before, or one after another by number.
    has_plan: bool,
    /// Invocations of this thread that are not over.
    under_way: Cell<u64>,
    /// One of them is over.
    one_over: Notify,
    abort: CancellationToken,
}

/// A task that sends one invocation after another: making one for each would cost more than all else that is done for it.
#[derive(Default)]
struct Sender {
    job: RefCell<Option<(Draw, Instant)>>,
    waker: RefCell<Option<Waker>>,
}

impl Sender {
    fn give(&self, draw: Draw, due: Instant) {
        *self.job.borrow_mut() = Some((draw, due));
        if let Some(waker) = &*self.waker.borrow() {
            waker.wake_by_ref();
        }
    }

    async fn job(&self) -> (Draw, Instant) {
        poll_fn(|context| {
            if let Some(job) = self.job.borrow_mut().take() {
                return Poll::Ready(job);
            }
            let mut waker = self.waker.borrow_mut();
            if waker.as_ref().is_none_or(|waker| !waker.will_wake(context.waker())) {
                *waker = Some(context.waker().clone());
            }
            Poll::Pending
        })
        .await
    }
}

/// Sends a share of the load, to its end.
pub(super) fn run(
    shared: Arc<Shared>,
    counted: Arc<Counted>,
    writer: mpsc::Sender<Block>,
    draws: Draws,
    share: Share,
) -> std::io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let local = LocalSet::new();
    let has_plan = !matches!(share, Share::Users { .. });
    let lane = Rc::new(Lane {
        pool: Pool::new(Arc::clone(&shared.connector), &shared.settings),
        rows: Rows::new(writer, shared.settings.k6_metrics),
        ids: RefCell::new(Ids::new()),
        idle: RefCell::default(),
        has_plan,
        under_way: Cell::new(0),
        one_over: Notify::new(),
        // Not shared with other threads, since every request asks it.
        abort: shared.abort.child_token(),
        shared,
        counted,
    });
    let result = local.block_on(&runtime, lane.go(draws, share));
    // Connections end with their tasks.
    drop(local);
    result
}

impl Lane {
    async fn go(self: Rc<Self>, draws: Draws, share: Share) -> std::io::Result<()> {
        let keeper = tokio::task::spawn_local(Rc::clone(&self).keep());
        let result = match share {
            Share::Open { schedule, first, of, start } => self.pace(draws, schedule, first, of, start).await,
            Share::InTurn { total } => {
                self.send_in_turn(draws, total).await;
                Ok(())
            }
            Share::Users { users, group } => {
                let mut living = JoinSet::new();
                for user in users {
                    living.spawn_local(Rc::clone(&self).live(user, group.clone()));
                }
                // The load is lost with the first of them, as with a thread that sends.
                while let Some(ended) = living.join_next().await {
                    ended.map_err(std::io::Error::other)?;
                }
                Ok(())
            }
        };
        while self.under_way.get() > 0 {
            self.one_over.notified().await;
        }
        keeper.abort();
        self.rows.flush().await;
        result
    }

    /// What must be done now and then.
    async fn keep(self: Rc<Self>) {
        loop {
            tokio::time::sleep(FLUSH).await;
            self.rows.flush().await;
            self.pool.close_idle();
        }
    }

    /// Begins every invocation at its time, whatever became of those before.
    async fn pace(
        self: &Rc<Self>,
        mut draws: Draws,
        schedule: Schedule,
        first: usize,
        of: usize,
        start: Instant,
    ) -> std::io::Result<()> {
        let stop = self.shared.stop.child_token();
        let mut pacer = Pacer::new()?;
        let mut now = Instant::now();
        let mut at_once = 0;
        for (place, offset) in schedule.enumerate() {
            if place % of != first {
                draws.pass();
                continue;
            }
            let Some(due) = start.checked_add(offset) else { return Ok(()) };
            // Drawing first: only the sending is left to do at the due time.
            let draw = draws.draw(self.shared.clock.time(due));
            if due > now {
                tokio::select! {
                    biased;
                    () = stop.cancelled() => return Ok(()),
                    waited = pacer.wait_until(due) => waited?,
                }
                now = Instant::now();
                at_once = 0;
            } else if at_once == AT_ONCE {
                if stop.is_cancelled() {
                    return Ok(());
                }
                tokio::task::yield_now().await;
                at_once = 0;
            }
            at_once += 1;
            if !self.begin(draw, due).await {
                return Ok(());
            }
        }
        Ok(())
    }

    /// False when there is no use in going on.
    async fn begin(self: &Rc<Self>, draw: Draw, due: Instant) -> bool {
        let shared = &self.shared;
        if shared.in_flight.fetch_add(1, Ordering::Relaxed) < shared.max_in_flight {
            self.under_way.set(self.under_way.get() + 1);
            let idle = self.idle.borrow_mut().pop();
            let sender = idle.unwrap_or_else(|| {
                let sender = Rc::<Sender>::default();
                tokio::task::spawn_local(Rc::clone(self).serve(Rc::clone(&sender)));
                sender
            });
            sender.give(draw, due);
            return true;
        }
        shared.in_flight.fetch_sub(1, Ordering::Relaxed);
        let room = self.rows.room().await;
        let planned = shared.clock.time(due);
        let Some(prepared) = shared.choices[draw.choice].requests.first() else { return room };
        let row = Row {
            invocation: draw.number,
            labels: &prepared.labels,
            trace_id: None,
            planned: Some(planned),
            sent: None,
            answered: None,
            status: None,
            outcome: Outcome::Dropped,
        };
        self.counted.tally.lock().add(&row);
        self.rows.dropped(&row, planned);
        room
    }

    /// Sends whatever the sender is given.
    async fn serve(self: Rc<Self>, sender: Rc<Sender>) {
        loop {
            let (draw, due) = sender.job().await;
            self.invoke(draw, due).await;
            self.idle.borrow_mut().push(Rc::clone(&sender));
        }
    }

    /// Closed loop: the next invocation is due when the last one is over.
    async fn send_in_turn(&self, mut draws: Draws, total: u64) {
        for _ in 0..total {
            if self.shared.stop.is_cancelled() {
                return;
            }
            let due = Instant::now();
            let draw = draws.draw(self.shared.clock.time(due));
            self.shared.in_flight.fetch_add(1, Ordering::Relaxed);
            self.under_way.set(self.under_way.get() + 1);
            self.invoke(draw, due).await;
        }
    }

    /// One user of a closed loop: sends, waits for the answer, thinks, and sends again.
    async fn live(self: Rc<Self>, user: u64, group: Group) {
        let Group { think_time, speed, start, end, seed, begun } = group;
        let weights = self.shared.choices.iter().map(|choice| choice.weight);
        let mut draws = Draws::of_user(seed, user, weights);
        let stop = self.shared.stop.child_token();
        let mut next = start;
        while next < end {
            tokio::select! {
                biased;
                () = stop.cancelled() => return,
                () = tokio::time::sleep_until(next.into()) => {}
            }
            let now = Instant::now();
            // A machine that is late does not make the load longer.
            if now >= end {
                return;
            }
            let number = begun.fetch_add(1, Ordering::Relaxed) + 1;
            let draw = draws.draw_numbered(number, self.shared.clock.time(now));
            self.shared.in_flight.fetch_add(1, Ordering::Relaxed);
            self.under_way.set(self.under_way.get() + 1);
            let is_sent = self.invoke(draw, now).await;
            let mut thought = draws.think(&think_time).div_f64(speed);
            if !is_sent {
                thought = thought.max(NO_CONNECTION);
            }
            let Some(later) = Instant::now().checked_add(thought) else { return };
            next = later;
        }
    }

    /// The planned time of a row, where there is a plan.
    fn due(&self, planned: Instant) -> Option<Timestamp> {
        self.has_plan.then(|| self.shared.clock.time(planned))
    }

    /// Sends one invocation and records what came of it. It counts as under way until there is room for its rows. False:
    /// the last of its requests did not leave.
    async fn invoke(&self, mut draw: Draw, mut planned: Instant) -> bool {
        let choice = &self.shared.choices[draw.choice];
        let begun = Instant::now();
        let mut ended = begun;
        let mut extracted = Extracted::new();
        let mut jar = (self.shared.settings.cookies && choice.is_sequence).then(Jar::default);
        self.counted.tally.lock().begun += 1;
        let mut requests = choice.requests.iter();
        let (mut is_first, mut is_sent) = (true, true);
        for prepared in requests.by_ref() {
            if !is_first {
                // It could not leave earlier.
                planned = ended;
                self.ids.borrow_mut().renew(&mut draw, self.shared.clock.time(planned));
            }
            is_first = false;
            let outcome;
            (outcome, is_sent, ended) =
                self.request(prepared, &draw, planned, &mut extracted, jar.as_mut()).await;
            if outcome != Outcome::Ok {
                break;
            }
        }
        for prepared in requests {
            self.skip(prepared, &draw, ended);
        }
        self.rows.iteration(self.shared.clock.time(ended), ended - begun);
        self.shared.in_flight.fetch_sub(1, Ordering::Relaxed);
        self.under_way.set(self.under_way.get() - 1);
        self.one_over.notify_one();
        is_sent
    }

    /// One request: its outcome, whether something of it left, and when it was over.
    async fn request(
        &self,
        prepared: &Prepared,
        draw: &Draw,
        planned: Instant,
        extracted: &mut Extracted,
        jar: Option<&mut Jar>,
    ) -> (Outcome, bool, Instant) {
        let known = extracted.clone();
        let scope = Scope { values: &self.shared.values, draw, extracted: &known };
        let (exchanged, url) = match prepared.url(scope) {
            Ok(url) => {
                // Only this thread writes it.
                let sent = &self.counted.sent;
                let on_sent = || sent.store(sent.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
                let luggage = Luggage { scope, url: &url, jar, on_sent: &on_sent };
                let exchanged = send::send(&self.pool, prepared, luggage, extracted, &self.abort).await;
                (exchanged, Some(url))
            }
            Err(problem) => (Exchanged::unsendable(problem), None),
        };
        self.rows.room().await;
        let clock = &self.shared.clock;
        let ended = clock.time(exchanged.ended);
        let is_answered = matches!(exchanged.outcome, Outcome::Ok | Outcome::FailedCheck);
        let row = Row {
            invocation: draw.number,
            labels: &prepared.labels,
            trace_id: prepared.is_traced().then(|| draw.trace_id.xray()),
            planned: self.due(planned),
            sent: exchanged.is_sent.then(|| clock.time(exchanged.begun)),
            answered: is_answered.then_some(ended),
            status: exchanged.status,
            outcome: exchanged.outcome,
        };
        let mut tally = self.counted.tally.lock();
        tally.add(&row);
        if exchanged.outcome == Outcome::FailedCheck && !exchanged.error.is_empty() {
            tally.add_failed_check(&exchanged.error, 1);
        }
        drop(tally);
        let shown = url.as_ref().map_or(&b""[..], |url| &url.shown);
        self.rows.request(&row, Some((&exchanged, ended, shown)));
        (exchanged.outcome, exchanged.is_sent, exchanged.ended)
    }

    /// A request whose turn did not come.
    fn skip(&self, prepared: &Prepared, draw: &Draw, planned: Instant) {
        let row = Row {
            invocation: draw.number,
            labels: &prepared.labels,
            trace_id: None,
            planned: self.due(planned),
            sent: None,
            answered: None,
            status: None,
            outcome: Outcome::Skipped,
        };
        self.counted.tally.lock().add(&row);
        self.rows.request(&row, None);
    }
}
