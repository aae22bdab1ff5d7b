use core::fmt::Write as _;

use proptest::prelude::*;

use super::*;
use crate::inventory::InventoryFile;

fn inventory(hosts: usize, accounts: usize) -> Inventory {
    let mut text = String::from(
        r#"{"pn_cidr":"172.16.0.0/22","nodes":[{"name":"n1","address":"172.16.0.2"}],"vantages":[{"vantage":"node/n1","address":"172.16.0.2"}"#,
    );
    for h in 0..hosts {
        let last = h % 250 + 1;
        let _ = write!(
            text,
            r#",{{"vantage":"host/m{h:03}","address":"172.16.1.{last}"}}"#
        );
    }
    text += r#"],"targets":["#;
    let targets: Vec<String> = (0..accounts)
        .map(|a| {
            format!(
                r#"{{"account":"a{a}","instance":"i{a}","node":"n1","address":"172.16.0.2","port":{}}}"#,
                30_000 + a
            )
        })
        .collect();
    text += &targets.join(",");
    text += "]}";
    let file: InventoryFile = serde_json::from_str(&text).unwrap();
    file.into_inventory(Cluster::new("production").unwrap())
        .unwrap()
}

fn plan(inventory: &Inventory, vantage: &str) -> Plan {
    let vantage = vantage.parse().unwrap();
    Plan::for_vantage(inventory, &vantage, &BTreeMap::new(), Pace::default())
}

#[test]
fn replicas_that_never_talk_hand_out_the_same_plan() {
    let one = plan(&inventory(5, 3), "host/m001");
    let other = plan(&inventory(5, 3), "host/m001");
    assert_eq!(one, other);
    assert_eq!(one.id, one.content_id());
    assert_ne!(one.id, plan(&inventory(5, 4), "host/m001").id);
    assert_ne!(one.id, plan(&inventory(5, 3), "host/m002").id);
}

#[test]
fn an_excuse_does_not_change_a_plan() {
    let mut inventory = inventory(2, 1);
    let before = plan(&inventory, "host/m001");
    for (subject, mut target) in inventory
        .targets
        .clone()
        .iter()
        .map(|(s, t)| (s.clone(), t.clone()))
    {
        target.excuse = Some(crate::inventory::Excuse {
            reason: "draining".into(),
            until: crate::time::Timestamp::from_unix_seconds(5),
        });
        inventory.targets.insert(subject, target);
    }
    assert_eq!(plan(&inventory, "host/m001"), before);
}

#[test]
fn each_kind_of_vantage_gets_its_part() {
    let inventory = inventory(12, 3);
    let host = plan(&inventory, "host/m000");
    assert_eq!(
        (host.nodes.len(), host.targets.len(), host.neighbours.len()),
        (1, 3, 4)
    );
    let node = plan(&inventory, "node/n1");
    assert_eq!((node.nodes.len(), node.neighbours.len()), (0, 8));
    let vm = plan(&inventory, "vm/m000/0");
    assert_eq!(
        (vm.nodes.len(), vm.targets.len(), vm.neighbours.len()),
        (0, 3, 0)
    );
}

#[test]
fn a_reported_address_wins_over_the_expected_one() {
    let inventory = inventory(2, 0);
    let moved = Ipv4Addr::new(172, 16, 3, 3);
    let addresses = BTreeMap::from([("host/m001".parse().unwrap(), moved)]);
    let own = "host/m000".parse().unwrap();
    let plan = Plan::for_vantage(&inventory, &own, &addresses, Pace::default());
    assert_eq!(plan.neighbours[0].address, moved);
}

#[test]
fn what_is_not_for_us_is_refused_in_a_clear_line() {
    let inventory = inventory(2, 1);
    let good = plan(&inventory, "host/m000");
    let (cluster, own) = (inventory.cluster.clone(), "host/m000".parse().unwrap());
    assert_eq!(good.validate(&cluster, &own), Ok(()));
    let changed = |change: fn(&mut Plan)| {
        let mut plan = good.clone();
        change(&mut plan);
        plan.validate(&cluster, &own).unwrap_err()
    };
    assert_eq!(changed(|p| p.version = 2), PlanError::Version(2));
    assert!(matches!(
        changed(|p| p.cluster = "staging".parse().unwrap()),
        PlanError::Cluster(_)
    ));
    assert!(matches!(
        changed(|p| p.vantage = "host/m001".parse().unwrap()),
        PlanError::Vantage(_)
    ));
    assert_eq!(changed(|p| p.targets[0].port = 1), PlanError::Damaged);
    let large = changed(|p| p.targets = vec![p.targets[0].clone(); MAX_PLANNED + 1]);
    assert_eq!(large, PlanError::TooLarge(MAX_PLANNED + 1));
}

#[test]
fn a_difference_is_counted() {
    let (old, new) = (
        plan(&inventory(2, 3), "host/m000"),
        plan(&inventory(3, 2), "host/m000"),
    );
    let diff = PlanDiff::between(&old, &new);
    assert_eq!((diff.added, diff.removed), (1, 1));
    assert_eq!(PlanDiff::between(&old, &old), PlanDiff::default());
}

proptest! {
    /// Nobody ARPs itself, everybody is ARPed by somebody, and nobody by too many.
    #[test]
    fn the_ring_is_sparse_and_leaves_nobody_out(hosts in 0usize..40) {
        let inventory = inventory(hosts, 0);
        let mut asked: BTreeMap<Vantage, usize> = BTreeMap::new();
        for h in 0..hosts {
            let own: Vantage = format!("host/m{h:03}").parse().unwrap();
            let plan = plan(&inventory, &own.to_string());
            prop_assert!(plan.neighbours.iter().all(|n| n.vantage != own));
            prop_assert!(plan.neighbours.len() <= 2 * RING_REACH);
            for neighbour in plan.neighbours {
                *asked.entry(neighbour.vantage).or_default() += 1;
            }
        }
        if hosts > 1 {
            prop_assert_eq!(asked.len(), hosts);
        }
        prop_assert!(asked.values().all(|n| *n <= 2 * RING_REACH));
    }
}
