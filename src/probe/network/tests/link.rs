//! The model of one direction, and of a handshake over both.

use super::super::link::{Passage, SEGMENT_BYTES};
use super::super::profile::{OVERLAYS, PROFILES};
use super::*;
use proptest::prelude::*;

const MS: Duration = Duration::from_millis(1);

/// Sends a segment every so often; the passages with their times of entry.
fn stream(link: &mut Link, packets: u64, every: Duration) -> Vec<(MonoNanos, Passage)> {
    let times = (0..packets).map(|number| at(every * number as u32));
    times.map(|now| (now, link.segment(now, 100, false))).collect()
}

fn any_network() -> impl Strategy<Value = Network> {
    let overlays = prop::collection::vec(any::<bool>(), OVERLAYS.len());
    (0..PROFILES.len(), overlays).prop_map(|(profile, wanted)| {
        let overlays = OVERLAYS.iter().zip(wanted).filter(|(_, is_wanted)| *is_wanted);
        let overlays = overlays.map(|(overlay, _)| *overlay).collect();
        Network { profile: PROFILES[profile].clone(), overlays, seed: None }
    })
}

proptest! {
    /// Guarantees that a seed decides everything, that a stream keeps its order, and that nothing is
    /// faster than light.
    #[test]
    fn a_stream_is_in_order_and_repeatable(
        network in any_network(),
        seed in any::<u64>(),
        sizes in prop::collection::vec((1..=SEGMENT_BYTES, 0_u64..50_000), 1..200),
    ) {
        let pass = |link: &mut Link| -> Vec<(MonoNanos, Passage)> {
            let mut now = MonoNanos(0);
            sizes.iter().map(|(bytes, pause_us)| {
                now = now.plus(Duration::from_micros(*pause_us));
                (now, link.segment(now, *bytes, pause_us % 2 == 0))
            }).collect()
        };
        let (mut up, mut down) = links(&network, seed);
        let (passed, back) = (pass(&mut up), pass(&mut down));
        prop_assert_eq!(&passed, &pass(&mut links(&network, seed).0));
        for list in [&passed, &back] {
            prop_assert!(list.is_sorted_by_key(|(_, passage)| passage.arrives));
            let least = network.profile.round_trip / 2;
            prop_assert!(list.iter().all(|(now, passage)| passage.arrives.since(*now) >= least));
        }
    }

    /// Guarantees that which packets are lost does not depend on when they are sent.
    #[test]
    fn losses_do_not_depend_on_the_time(seed in any::<u64>(), pause_us in 0_u64..100_000) {
        let network = named("2g-rural+bursty");
        let losses = |every: Duration| -> Vec<u32> {
            let passed = stream(&mut links(&network, seed).0, 500, every);
            passed.iter().map(|(_, passage)| passage.lost).collect()
        };
        prop_assert_eq!(losses(Duration::ZERO), losses(Duration::from_micros(pause_us)));
        let arrivals = |every: Duration| -> Vec<bool> {
            let (mut up, _) = links(&named("edge"), seed);
            (0..300).map(|number| up.datagram(at(every * number), 1).is_some()).collect()
        };
        prop_assert_eq!(arrivals(MS), arrivals(MS * 7));
    }
}

/// Guarantees the share of lost datagrams, by the binomial distribution's 99 % bounds over all
/// profiles and several seeds; one of these in a hundred might be outside.
#[test]
fn losses_are_as_frequent_as_they_should_be() {
    let mut outside = 0;
    for profile in &PROFILES {
        for seed in 0..10 {
            let network = named(&profile.name);
            let (mut up, _) = links(&network, seed);
            let packets = 50_000_u32;
            let sent = (0..packets).map(|number| up.datagram(at(MS * number * 60), 100));
            let lost = sent.filter(Option::is_none).count() as f64;
            let share = f64::from(profile.loss_ppm) / 1e6;
            let (n, sigma) = (f64::from(packets), (share * (1.0 - share)).sqrt());
            outside += usize::from((lost - n * share).abs() > 2.576 * sigma * n.sqrt());
        }
    }
    assert!(outside <= 3, "{outside} of 70 are outside of their bounds");
}

/// Guarantees that bursts lose as many as the two states say in the long run, and close together.
#[test]
fn bursts_come_in_bursts() {
    let mut network = named("wifi+bursty");
    network.profile.up_bits = 1_000_000_000;
    let (mut up, _) = links(&network, 5);
    let packets = 400_000_u32;
    let lost: Vec<bool> = (0..packets).map(|n| up.datagram(at(MS * n), 100).is_none()).collect();
    let share = lost.iter().filter(|lost| **lost).count() as f64 / f64::from(packets);
    // A fortieth and a bit of the time is a burst, and half of it is lost.
    let expected = 0.005 / (0.005 + 0.2) * 0.5;
    assert!((share / expected - 1.0).abs() < 0.1, "{share} instead of {expected}");
    let pairs = lost.windows(2).filter(|pair| pair[0]).map(|pair| pair[1]);
    let (again, all) = pairs.fold((0, 0), |(again, all), lost| (again + u32::from(lost), all + 1));
    let again = f64::from(again) / f64::from(all);
    assert!((0.3..0.5).contains(&again), "after one loss the next is as likely as {again}");
}

/// Guarantees the rate within 3 % for every profile, in both directions, losses included where they
/// are rare.
#[test]
fn the_rate_is_kept() {
    for profile in &PROFILES {
        let network = named(&profile.name);
        let (up, down) = links(&network, 11);
        for (mut link, bits) in [(up, profile.up_bits), (down, profile.down_bits)] {
            // Ten seconds and more, so that a loss at the end does not count.
            let segments = (bits as usize / SEGMENT_BYTES).max(2_000);
            let mut now = MonoNanos(0);
            let mut last = MonoNanos(0);
            for _ in 0..segments {
                now = link.full_until(now).unwrap_or(now).max(now);
                last = link.segment(now, SEGMENT_BYTES, true).arrives;
            }
            let seconds = last.since(MonoNanos(0)).as_secs_f64() - profile.round_trip.as_secs_f64();
            let rate = (segments * SEGMENT_BYTES * 8) as f64 / seconds;
            let off = rate / bits as f64 - 1.0;
            assert!(off.abs() < 0.03, "{}: {rate} instead of {bits}", profile.name);
        }
    }
}

/// Guarantees what a lost segment costs: a round trip where others follow, otherwise the timer; and
/// that those behind it wait.
#[test]
fn what_is_lost_comes_later() {
    let round_trip = 100 * MS;
    let mut network = steady(round_trip, 1_000_000_000_000);
    network.profile.loss_ppm = 200_000;
    let one_way = round_trip / 2;
    let delays = |followed: bool| -> Vec<(u32, Duration)> {
        let (mut up, _) = links(&network, 2);
        let sent = (0..200).map(|n| (at(MS * n * 5_000), n));
        let passed = sent.map(|(now, _)| (now, up.segment(now, 1, followed)));
        passed.map(|(now, p)| (p.lost, p.arrives.since(now) - one_way)).collect()
    };
    for (lost, delay) in delays(false).into_iter().filter(|(lost, _)| *lost < 3) {
        assert_eq!(delay, [0, 300, 900][lost as usize] * MS, "lost {lost} times");
    }
    for (lost, delay) in delays(true).into_iter().filter(|(lost, _)| *lost < 3) {
        assert_eq!(delay, [0, 100, 400][lost as usize] * MS, "lost {lost} times");
    }
    network.profile.loss_ppm = 10_000;
    let (mut up, _) = links(&network, 2);
    let passed = stream(&mut up, 2_000, MS);
    let (_, hole) = passed.iter().find(|(_, passage)| passage.lost > 0).expect("one is lost");
    let behind = passed.iter().filter(|(_, passage)| passage.arrives == hole.arrives).count();
    assert!(behind > 50, "{behind} arrive with it");
}

/// Guarantees that the queue is as deep as it should be: a stream waits for room, a datagram that
/// finds none is lost.
#[test]
fn the_queue_is_bounded() {
    let network = steady(20 * MS, 1_000_000);
    let (mut up, mut down) = links(&network, 1);
    // 125 bytes take a millisecond; the queue holds 200 of them, and one is being sent.
    let taken = (0..400).filter(|_| up.datagram(at(MS), 125).is_some()).count();
    assert_eq!(taken, 201);
    assert_eq!(down.full_until(at(MS)), None);
    for _ in 0..300 {
        let _ = down.segment(at(MS), 125, false);
    }
    assert_eq!(down.full_until(at(MS)), Some(at(101 * MS)));
    assert_eq!(down.full_until(at(101 * MS)), None);
}

/// Guarantees that the traffic of others delays what goes up by half a second to a second, and
/// nothing that comes down.
#[test]
fn bufferbloat_delays_the_uplink() {
    let (mut up, mut down) = links(&named("wifi+bufferbloat"), 3);
    let queued: Vec<Duration> =
        stream(&mut up, 600, 50 * MS).iter().map(|(_, passage)| passage.queued).collect();
    assert!(queued.iter().all(|queued| (500 * MS..=1_000 * MS).contains(queued)), "{queued:?}");
    assert!(stream(&mut down, 600, 50 * MS).iter().all(|(_, p)| p.queued == Duration::ZERO));
}

/// Guarantees that a handover holds packets up to its end, and that a tunnel costs a stream time and
/// a datagram its life.
#[test]
fn outages_delay_or_lose() {
    let mut network = named("wifi+handover");
    network.profile.jitter = Duration::ZERO;
    let (mut up, _) = links(&network, 4);
    let passed = stream(&mut up, 20_000, MS);
    let longest = passed.iter().map(|(now, passage)| passage.arrives.since(*now)).max();
    let longest = longest.expect("some passed");
    assert!((80 * MS..=83 * MS).contains(&longest), "{longest:?}");
    assert!(passed.iter().all(|(_, passage)| passage.lost == 0));

    let (mut up, mut down) = links(&named("wifi+tunnel"), 4);
    let (datagrams, every) = (6_000, 10 * MS);
    let lost = (0..datagrams).filter(|n| up.datagram(at(every * *n), 10).is_none()).count();
    assert_eq!(lost, 1_000, "10 s of 60 s");
    let passed = stream(&mut down, 6_000, every);
    let longest = passed.iter().map(|(now, passage)| passage.arrives.since(*now)).max();
    let longest = longest.expect("some passed");
    // The timer doubles: up to as long again as the outage itself.
    assert!((10_000 * MS..=20_500 * MS).contains(&longest), "{longest:?}");
}

/// Guarantees that connecting costs a round trip, and a second more for a lost SYN, then two.
#[test]
fn a_handshake_costs_a_round_trip() {
    let clock = Clock::manual(crate::base::clock::UnixNanos(0));
    let mut network = steady(100 * MS, 1_000_000_000_000);
    assert_eq!(path(&network, 1, &clock).answered(at(MS)).0, at(101 * MS));
    network.profile.loss_ppm = 300_000;
    let answered = |seed| path(&network, seed, &clock).answered(MonoNanos(0)).0;
    let mut after: Vec<u64> = (0..200).map(|seed| answered(seed).0 / 1_000_000).collect();
    after.sort_unstable();
    after.dedup();
    assert_eq!(after[..4], [100, 1_100, 3_100, 7_100]);
    network.profile.loss_ppm = 1_000_000;
    assert_eq!(path(&network, 1, &clock).answered(MonoNanos(0)).0, at(127_000 * MS));
}

/// Guarantees that a handshake which was given up is no burden for the next one: nothing stands in line
/// that was not sent, and of its SYNs only those are lost that were.
#[tokio::test]
async fn a_handshake_given_up_leaves_nothing_behind() {
    let clock = Clock::system();
    let mut network = steady(100 * MS, 1_000_000_000_000);
    network.profile.loss_ppm = 1_000_000;
    let mut path = path(&network, 1, &clock);
    let given_up = tokio::time::timeout(20 * MS, path.shake_hands()).await;
    assert!(given_up.is_err());
    let now = clock.monotonic();
    assert_eq!(path.up.segment(now, 100, false).queued, Duration::ZERO);
    assert_eq!(path.tally.sum().lost, 1);
}
