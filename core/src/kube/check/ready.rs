//! Instances that never came up, and pods that cannot start: F27 (`never_ready`).

use super::{Case, object, tick_of};
use crate::diagnosis::Diagnosis;
use crate::fault::{Blame, Fault, Severity};
use crate::kube::marks::Marks;
use crate::kube::object::{InstanceObject, Kind, quoted, said};
use crate::kube::view::{self, Objects};
use crate::name::Account;
use crate::time::{Now, spoken};

/// F27: an instance that never came up, or whose pod cannot start.
pub(super) fn never(
    objects: &Objects<'_>,
    instance: &InstanceObject,
    marks: &mut Marks,
    now: Now,
) -> Option<Diagnosis> {
    let account = Account::new(said(instance.account.as_ref())?).ok()?;
    let pod = objects.primary(instance);
    let phase = said(instance.phase.as_ref());
    let published =
        view::port(instance).is_some() && said(instance.node_address.as_ref()).is_some();
    let key = &instance.meta.key;
    let reason = if let Some(pod) = pod.filter(|p| p.phase.as_deref() == Some("Pending")) {
        let why = pod
            .trouble
            .as_deref()
            .map_or("no reason given".into(), quoted);
        format!("pod {}: status.phase is Pending ({why})", pod.meta.key.name)
    } else if published || phase == Some("Ready") {
        return None;
    } else if pod.is_none() && objects.knows(Kind::Pod) {
        format!("pod {}-0 does not exist", key.name)
    } else {
        let why = said(instance.message.as_ref()).map_or("no status.message".into(), quoted);
        format!(
            "status.phase is {} ({why})",
            quoted(phase.unwrap_or("empty"))
        )
    };
    let first = marks.since(format!("never ready {}/{}", key.namespace, key.name), now);
    // The object's own age counts, so that a restart of ours starts no new wait.
    let born = if published {
        pod.and_then(|p| p.meta.created)
    } else {
        instance.meta.created
    };
    let since = born.map_or(first.tick, |born| tick_of(born, now).min(first.tick));
    if now.tick.since(since) < objects.settings.times.ready {
        return None;
    }
    let mut evidence = vec![format!("{}: {reason}", object("KuraInstance", key))];
    if let Some(message) = said(instance.message.as_ref()) {
        evidence.push(format!("status.message: {}", quoted(message)));
    }
    if !published {
        evidence.push("no endpoint was ever published (status.nodeAddress, nodePort)".into());
    }
    let case = Case {
        blame: Blame::Account,
        subject: account.to_string(),
        fault: Fault::NeverReady,
        severity: Severity::Warning,
        since,
        summary: format!(
            "account {account}: its cache {} has not become ready for {}: {reason}",
            key.name,
            spoken(now.tick.since(since))
        ),
        evidence,
        look: (
            "in the cluster".into(),
            format!("kubectl -n {} describe pod {}-0", key.namespace, key.name),
        ),
    };
    let mut told = case.told(now);
    told.account = Some(account.clone());
    told.accounts = vec![account];
    Some(told)
}
