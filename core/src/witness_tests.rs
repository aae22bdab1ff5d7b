use super::*;

const CLIENT: Ipv4Addr = Ipv4Addr::new(172, 16, 0, 11);
const SERVER: Ipv4Addr = Ipv4Addr::new(172, 16, 0, 2);
const WHO: (Ipv4Addr, Ipv4Addr, u16) = (CLIENT, SERVER, 30815);
const SECOND: u64 = 1_000_000;

fn flow(syn_age_us: u64, syn_ack_age_us: Option<u64>) -> FlowCount {
    FlowCount {
        client: CLIENT,
        server: SERVER,
        port: 30815,
        syns: 4,
        repeats: 1,
        syn_acks: u32::from(syn_ack_age_us.is_some()),
        syn_age_us,
        syn_ack_age_us,
    }
}

fn said(flows: Vec<FlowCount>) -> WitnessReport {
    WitnessReport {
        window_us: 10 * SECOND,
        flows,
        ..WitnessReport::default()
    }
}

#[test]
fn where_a_syn_ended_is_told_by_the_receiver() {
    let lately = Duration::from_secs(3);
    for (report, expected) in [
        (said(vec![]), Arrival::NeverCame),
        // Answered before the fault only.
        (
            said(vec![flow(SECOND, Some(5 * SECOND))]),
            Arrival::Unanswered,
        ),
        (said(vec![flow(SECOND, None)]), Arrival::Unanswered),
        (said(vec![flow(SECOND, Some(SECOND))]), Arrival::AnswerLost),
        // None since the fault.
        (
            said(vec![flow(5 * SECOND, Some(5 * SECOND))]),
            Arrival::NeverCame,
        ),
        (
            WitnessReport {
                unlisted_syns: 1,
                ..said(vec![])
            },
            Arrival::Unwatched,
        ),
        (
            WitnessReport {
                dropped: 1,
                ..said(vec![])
            },
            Arrival::Unwatched,
        ),
        (
            WitnessReport {
                window_us: SECOND,
                ..said(vec![])
            },
            Arrival::Unwatched,
        ),
    ] {
        assert_eq!(report.arrival(WHO, lately), expected, "{report:?}");
    }
    let other = (CLIENT, SERVER, 30816);
    let report = said(vec![flow(SECOND, None)]);
    assert_eq!(report.arrival(other, lately), Arrival::NeverCame);
}

#[test]
fn what_remains_possible_is_listed_and_differs() {
    let mut texts: Vec<&str> = Arrival::ALL
        .iter()
        .flat_map(|a| [None, Some(false), Some(true)].map(|full| a.remaining(full)))
        .collect();
    texts.sort_unstable();
    texts.dedup();
    assert_eq!(texts.len(), 6);
}

#[test]
fn strays_and_unanswered_flows_are_found() {
    let pn: Cidr = "172.16.0.0/22".parse().unwrap();
    let vm = FlowCount {
        client: Ipv4Addr::new(192, 168, 64, 2),
        ..flow(SECOND, None)
    };
    let report = said(vec![flow(SECOND, Some(1)), vm]);
    assert_eq!(report.strays(pn).collect::<Vec<_>>(), [&vm]);
    assert_eq!(report.unanswered().collect::<Vec<_>>(), [&vm]);
    assert_eq!(report.queue_full(), None);
}

#[test]
fn a_table_is_exhausted_before_it_is_full() {
    for (used, limit, exhausted) in [
        (0, 0, false),
        (94, 100, false),
        (95, 100, true),
        (9, 9, true),
    ] {
        assert_eq!(
            Usage { used, limit }.is_exhausted(),
            exhausted,
            "{used}/{limit}"
        );
    }
}
