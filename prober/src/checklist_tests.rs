use pnwatch_core::name::Vantage;

use super::*;
use crate::samples::inventory;

fn plan(ports: &[u16]) -> Plan {
    let vantage: Vantage = "host/a".parse().unwrap();
    Plan::for_vantage(
        &inventory(ports),
        &vantage,
        &BTreeMap::new(),
        Pace::default(),
    )
}

fn ids(list: &Checklist) -> BTreeMap<String, CheckId> {
    list.iter()
        .map(|(id, check)| (format!("{} {}", check.subject, check.probe), id))
        .collect()
}

#[test]
fn a_plan_becomes_checks_that_keep_their_numbers() {
    let mut list = Checklist::default();
    let control = ["198.51.100.1:80".parse().unwrap()];
    list.rebuild(&[&plan(&[30001, 30002])], &control, "pnwatch/0 (+prober)");
    let before = ids(&list);
    assert_eq!(before.len(), 1 + 1 + 2 * 3 + 1, "{before:?}");
    list.rebuild(&[&plan(&[30002, 30003])], &control, "pnwatch/0 (+prober)");
    let after = ids(&list);
    for (name, id) in &after {
        match before.get(name) {
            Some(kept) => assert_eq!(kept, id, "{name}"),
            None => assert!(name.contains("a30003") && !before.values().any(|old| old == id)),
        }
    }
    assert!(!after.keys().any(|name| name.contains("a30001")));
}

#[test]
fn plans_are_united_and_the_first_wins() {
    let mut list = Checklist::default();
    let (one, mut two) = (plan(&[30001]), plan(&[30001, 30002]));
    two.targets[0].port = 31999;
    list.rebuild(&[&one, &two], &[], "x");
    assert_eq!(list.len(), 2 + 2 * 3);
    let subject = one.targets[0].subject();
    let check = list
        .get(list.find(&subject, Probe::Connect).unwrap())
        .unwrap();
    let Ask::Up {
        to,
        request,
        tenant,
    } = &check.ask
    else {
        panic!("{check:?}");
    };
    assert_eq!((to.port(), tenant.as_deref()), (30001, Some("t")));
    assert!(request.starts_with(b"GET /up HTTP/1.1\r\nHost: 172.16.0.2:30001\r\n"));
}

#[test]
fn a_changed_endpoint_is_a_new_check() {
    let mut list = Checklist::default();
    let mut plan = plan(&[30001]);
    list.rebuild(&[&plan], &[], "x");
    let subject = plan.targets[0].subject();
    let before = list.find(&subject, Probe::Connect);
    plan.targets[0].address = [172, 16, 0, 3].into();
    list.rebuild(&[&plan], &[], "x");
    assert_ne!(list.find(&subject, Probe::Connect), before);
}
