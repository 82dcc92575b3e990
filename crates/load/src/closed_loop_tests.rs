//! Users in a closed loop, against real sockets.

use super::tests::*;
use super::*;
use sb_workload::LoadShape;
use sb_workload::users::ThinkTime;

fn users(users: u64, milliseconds: u64, think_time: ThinkTime) -> LoadShape {
    LoadShape::Users { users, duration: Duration::from_millis(milliseconds), think_time }
}

fn fixed(milliseconds: u64) -> ThinkTime {
    ThinkTime::Fixed(Duration::from_millis(milliseconds))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_user_waits_for_its_answer_and_thinks_before_it_sends_again() {
    let (address, seen) = http_server(|| Duration::from_millis(30)).await;
    let trial = Trial::new(vec![request("get", &format!("http://{address}/a"))], users(4, 1_000, fixed(70)));
    let summary = trial.run().await;
    // Ten rounds of at least 100 ms fit into the second; a busy machine has fewer, and none can have more.
    assert!((20..=40).contains(&summary.sent), "{}", summary.sent);
    assert_eq!((summary.planned, summary.answered, summary.failed), (None, summary.sent, 0));
    assert_eq!((summary.lateness_ms, summary.latency_from_planned_ms), (None, None));
    assert!(summary.invalid.is_empty() && !summary.cancelled, "{:?}", summary.invalid);
    let about = summary.closed_loop.unwrap();
    assert_eq!(about.users, 4);
    assert!((about.think_time_ms - 70.0).abs() < 1e-9);
    assert!(about.interval_ms.unwrap() >= 100.0, "{about:?}");
    assert!(summary.notes[0].contains("closed loop of 4 users"), "{:?}", summary.notes);

    let rows = trial.rows();
    assert_eq!(rows.len() as u64, summary.sent);
    let mut numbers: Vec<u64> = rows.iter().map(|row| row.invocation).collect();
    numbers.sort_unstable();
    assert_eq!(numbers, (1..=summary.sent).collect::<Vec<_>>());
    assert!(rows.iter().all(|row| row.planned.is_none() && row.sent.is_some()));
    let first = rows.iter().filter_map(|row| row.sent).min().unwrap().micros();
    let mut sent: Vec<i64> = rows.iter().map(|row| row.sent.unwrap().micros()).collect();
    sent.sort_unstable();
    assert!(sent[3] - first < 60_000, "all begin together: {sent:?}");
    for (round, four) in sent.chunks(4).enumerate() {
        let earliest = first + i64::try_from(round).unwrap() * 100_000;
        assert!(four[0] >= earliest - 1_000, "round {round} begins before its users had thought");
    }
    assert!(sent.last().unwrap() - first < 1_000_000, "nothing begins after the end");
    assert!(seen.connections.load(Ordering::Relaxed) <= 4, "one connection is enough for each user");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_more_requests_are_under_way_than_there_are_users() {
    let (address, _) = http_server(|| Duration::from_millis(5)).await;
    let trial = Trial::new(vec![request("get", &format!("http://{address}/"))], users(3, 400, fixed(0)));
    let summary = trial.run().await;
    assert!(summary.sent > 30, "without a thought they send again at once: {}", summary.sent);
    let mut changes: Vec<(i64, i32)> = trial
        .rows()
        .iter()
        .flat_map(|row| [(row.sent.unwrap().micros(), 1), (row.answered.unwrap().micros(), -1)])
        .collect();
    // Within a microsecond an answer comes before what it allows.
    changes.sort_unstable();
    let most = changes.iter().scan(0, |now, (_, change)| {
        *now += change;
        Some(*now)
    });
    assert_eq!(most.max(), Some(3));
    let users: Vec<String> = trial
        .k6_rows()
        .into_iter()
        .filter(|row| row["metric_name"] == "vus")
        .map(|row| row["metric_value"].clone())
        .collect();
    assert!(users.iter().all(|users| users == "3.000000"), "{users:?}");
}

/// A server that stalls for half a second once: with one user who would send every 10 ms, some fifty requests are missing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stall_is_reported_with_the_requests_that_it_held_back() {
    let count = Arc::new(AtomicU64::new(0));
    let delay = move || match count.fetch_add(1, Ordering::Relaxed) {
        20 => Duration::from_millis(500),
        _ => Duration::ZERO,
    };
    let (address, _) = http_server(delay).await;
    let trial = Trial::new(vec![request("get", &format!("http://{address}/"))], users(1, 2_500, fixed(10)));
    let summary = trial.run().await;
    let measured = summary.latency_ms.unwrap();
    let corrected = summary.closed_loop.unwrap().corrected_latency_ms.unwrap();
    // One slow request of some 150; an open load would have had one in five that waited.
    assert!(measured.p95 < 100.0, "{measured:?}");
    assert!(corrected.p95 > 200.0 && corrected.max >= 500.0, "{corrected:?}");
    assert!(summary.notes[0].contains("coordinated omission"), "{:?}", summary.notes);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn speed_shortens_thoughts_and_the_load_and_not_the_number_of_users() {
    let (address, seen) = http_server(|| Duration::from_millis(10)).await;
    let shape = users(2, 60_000, ThinkTime::Fixed(Duration::from_secs(4)));
    let mut trial = Trial::new(vec![request("get", &format!("http://{address}/"))], shape);
    trial.spec.load.speed = 100.0;
    let begun = Instant::now();
    let summary = trial.run().await;
    assert!(begun.elapsed() < Duration::from_secs(5));
    // 600 ms, in rounds of at least 50 ms.
    assert!((8..=24).contains(&summary.sent), "{}", summary.sent);
    assert!((summary.closed_loop.unwrap().think_time_ms - 40.0).abs() < 1e-9);
    assert_eq!(seen.requests().len() as u64, summary.sent);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn users_who_think_when_the_load_is_cancelled_send_nothing_more() {
    let (address, seen) = http_server(|| Duration::ZERO).await;
    let trial =
        Trial::new(vec![request("get", &format!("http://{address}/"))], users(5, 600_000, fixed(300_000)));
    let cancel = CancellationToken::new();
    let stopped = cancel.clone();
    let stopping = async move {
        tokio::time::sleep(Duration::from_millis(300)).await;
        stopped.cancel();
    };
    let mut planned = vec![];
    let load = run(trial.spec.clone(), |now| planned.push((now.planned, now.expected_s)), cancel);
    let began = Instant::now();
    let (summary, ()) = tokio::join!(load, stopping);
    let summary = summary.unwrap();
    assert!(began.elapsed() < Duration::from_secs(10));
    assert_eq!((summary.sent, seen.requests().len()), (5, 5));
    assert!(summary.cancelled);
    assert_eq!(summary.invalid, ["The load was cancelled after 5 invocations."]);
    assert!(planned.iter().all(|progress| *progress == (None, Some(600.0))), "{planned:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn users_who_cannot_connect_do_not_try_as_fast_as_they_can() {
    let address = {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        listener.local_addr().unwrap()
    };
    let trial = Trial::new(vec![request("get", &format!("http://{address}/"))], users(2, 1_000, fixed(0)));
    let summary = trial.run().await;
    assert!((2..=20).contains(&summary.not_sent), "{}", summary.not_sent);
    assert_eq!((summary.sent, summary.answered, summary.failed), (0, 0, summary.not_sent));
    assert!(summary.invalid[0].contains("an error rate of 100.0 %"), "{:?}", summary.invalid);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_user_sends_depends_on_the_seed_and_not_on_the_answers() {
    let paths = |delay: u64| async move {
        let (address, seen) = http_server(move || Duration::from_millis(delay)).await;
        let requests = ["a", "b", "c"].map(|name| request(name, &format!("http://{address}/{name}")));
        let trial = Trial::new(requests.to_vec(), users(1, 400, fixed(1)));
        trial.run().await;
        seen.requests().into_iter().map(|(path, ..)| path).take(8).collect::<Vec<_>>()
    };
    let (fast, slow) = (paths(2).await, paths(20).await);
    assert_eq!(fast.len(), 8);
    assert_eq!(fast, slow);
}
