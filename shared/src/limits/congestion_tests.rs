use super::*;

fn window(widest: u32) -> (Arc<CongestionWindow>, Deadline) {
    (CongestionWindow::new(widest), Deadline::after(Duration::from_secs(600)))
}

async fn later(millis: u64) {
    tokio::time::sleep(Duration::from_millis(millis)).await;
}

#[tokio::test(start_paused = true)]
async fn a_burst_of_refusals_halves_the_window_once() {
    let (window, _) = window(64);
    let sent = Instant::now();
    for _ in 0..10 {
        later(5).await;
        window.congested(sent, None);
    }
    assert_eq!(window.size(), 32);
    let next = Instant::now();
    later(5).await;
    window.congested(next, None);
    assert_eq!(window.size(), 16, "the next epoch halves it again");
}

#[tokio::test(start_paused = true)]
async fn a_window_worth_of_successes_widens_it_by_one() {
    let (window, _) = window(8);
    window.congested(Instant::now(), None);
    assert_eq!(window.size(), 4);
    window.succeeded(Instant::now());
    assert_eq!(window.size(), 4, "a request from before the epoch tells nothing");
    later(1).await;
    for _ in 0..5 {
        window.succeeded(Instant::now());
    }
    assert_eq!(window.size(), 5);
    for _ in 0..1000 {
        window.succeeded(Instant::now());
    }
    assert_eq!(window.size(), 8, "never wider than it began");
}

#[tokio::test(start_paused = true)]
async fn slots_follow_the_window_down_and_up() {
    let (window, deadline) = window(8);
    let mut slots = Vec::new();
    for _ in 0..6 {
        slots.push(window.admit(&deadline).await.unwrap());
    }
    later(1).await;
    window.congested(Instant::now(), None);
    assert_eq!((window.size(), window.free.available_permits()), (3, 0), "half of the six that are out");
    slots.truncate(3);
    assert_eq!(window.free.available_permits(), 0, "six were out, three may be");
    slots.truncate(2);
    assert_eq!(window.free.available_permits(), 1);
    later(1).await;
    for _ in 0..20 {
        window.succeeded(Instant::now());
    }
    assert_eq!((window.size(), window.free.available_permits()), (7, 5));
    drop(slots);
    assert_eq!(window.free.available_permits(), 7);
}

#[tokio::test(start_paused = true)]
async fn what_a_registry_asks_for_holds_for_all_who_were_not_sent_yet() {
    let (window, deadline) = window(8);
    let sent = Instant::now();
    window.congested(sent, Some(Duration::from_secs(3)));
    let slot = window.admit(&deadline).await.unwrap();
    assert!((3000..=3250).contains(&sent.elapsed().as_millis()), "{:?}", sent.elapsed());
    drop(slot);
    let short = Deadline::after(Duration::from_secs(1));
    window.congested(Instant::now(), Some(Duration::from_secs(2)));
    assert_eq!(window.admit(&short).await.err(), Some(NotAdmitted::Shut(Duration::from_secs(2))));
    window.congested(Instant::now(), Some(Duration::from_secs(91)));
    let refused = window.admit(&deadline).await.err();
    assert_eq!(refused, Some(NotAdmitted::Shut(Duration::from_secs(91))), "nobody waits for so long");
}

#[tokio::test(start_paused = true)]
async fn epochs_in_a_row_shut_the_window_longer_each_time_and_a_success_ends_the_row() {
    let (window, deadline) = window(64);
    let mut pauses = Vec::new();
    for _ in 0..7 {
        later(1).await;
        window.congested(Instant::now(), None);
        pauses.push(window.shut_for().as_secs());
        window.open(&deadline).await.unwrap();
    }
    assert_eq!(pauses, [0, 1, 2, 4, 8, 8, 8]);
    later(1).await;
    window.succeeded(Instant::now());
    window.congested(Instant::now(), None);
    assert_eq!(window.shut_for(), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn a_full_window_waits_no_longer_than_the_deadline() {
    let (window, _) = window(1);
    let deadline = Deadline::after(Duration::from_secs(2));
    let _slot = window.admit(&deadline).await.unwrap();
    assert_eq!(window.admit(&deadline).await.err(), Some(NotAdmitted::DeadlinePassed));
}
