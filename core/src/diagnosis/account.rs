//! Accounts on nodes that are not to blame: port and pod.

use super::Diagnosis;
use super::scope::{Blamed, Case, Extent};
use super::symptom::{Reach, Witnesses};
use super::table::{self, AccountSigns, AnswerSign};
use super::{filter, repair, text, witness};
use crate::board::{Path, Tally};
use crate::fault::{Blame, Confidence, Fault};
use crate::inventory::AccountTarget;
use crate::name::Vantage;
use crate::outcome::{Cause, Layer};
use crate::subject::{Subject, TargetKind};

pub(super) fn diagnose(case: &Case<'_>, blamed: &Blamed, found: &mut Vec<Diagnosis>) {
    if blamed.network == Some(Extent::All) {
        return;
    }
    for (subject, target) in &case.inventory.targets {
        let asked = case.board.is_missed(subject) || case.is_traced();
        if asked && !filter::undecided(case, blamed, subject, target) {
            found.extend(judge(case, blamed, subject, target));
        }
    }
}

fn judge(
    case: &Case<'_>,
    blamed: &Blamed,
    subject: &Subject,
    target: &AccountTarget,
) -> Option<Diagnosis> {
    let now = case.now.tick;
    // What the node, its filter or the network explains is theirs.
    let credible = |v: &Vantage, p: &Path| {
        let explained = |onset| case.explained(blamed, subject, onset);
        case.credible(blamed, v, p) && !p.state.missing_since().is_some_and(explained)
    };
    let tcp = case.board.tally(subject, Layer::Tcp, None, now, credible);
    let http = case.board.tally(subject, Layer::Http, None, now, credible);
    if case.must_wait(subject, &tcp) || case.must_wait(subject, &http) {
        return None;
    }
    let signs = AccountSigns {
        tcp: connects(&tcp, &http),
        http: Reach::of(&http),
        answer: answer(case, subject, &http),
        gateway: target.kind == TargetKind::Gateway,
        excused: case.is_excused(subject, target),
        witnesses: Witnesses::count(tcp.reached.len() + tcp.missing.len()),
    };
    let named = case.ask(
        table::ACCOUNT,
        &signs,
        (Blame::Account, target.account.as_str()),
    )?;
    let at_tcp = signs.tcp == Reach::Nobody;
    let tally = if at_tcp { &tcp } else { &http };
    // While its node is away a pod is asked nothing: an outage from before goes on.
    let since = tally.onset.into_iter().chain(tally.began).min();
    let mut diagnosis = Diagnosis::new(
        Blame::Account,
        target.account.as_str(),
        named,
        since.unwrap_or(now),
    );
    let layer = if at_tcp { Layer::Tcp } else { Layer::Http };
    let name = text::subject(subject);
    diagnosis
        .evidence
        .extend(text::tally_line(case, layer, &name, tally));
    if !at_tcp {
        diagnosis
            .evidence
            .extend(text::reached_line(case, Layer::Tcp, &name, &tcp));
    }
    diagnosis.accounts = vec![target.account.clone()];
    diagnosis.vantages.clone_from(&tally.missing);
    diagnosis.account = Some(target.account.clone());
    diagnosis.node = Some(target.node.clone());
    diagnosis.address = Some(target.address);
    diagnosis.summary = format!(
        "account {}: {} ({}:{} on node {}); {}",
        target.account,
        text::account_clause(named.fault, text::newest_cause(case, subject, layer, tally)),
        target.address,
        target.port,
        target.node,
        text::affected(1, &tally.missing)
    );
    if at_tcp && text::newest_cause(case, subject, layer, tally) == Some(Cause::SynUnanswered) {
        let (lines, possible) = witness::of_unanswered(case, target, tally);
        diagnosis.evidence.extend(lines);
        diagnosis.missing.extend(possible);
    }
    if named.fault == Fault::AccountUnreachable {
        diagnosis.missing.push(
            "whether the pod answers inside the cluster (scrape of its podIP): it splits pod \
             from path"
                .into(),
        );
    }
    if named.confidence == Confidence::Low {
        diagnosis
            .missing
            .push("a second client vantage: one witness cannot tell its own fault".into());
    }
    diagnosis.repair = repair::account(named.fault, target);
    Some(diagnosis)
}

/// Connecting is a success of its own, even where the connect check itself has none newer
/// than the onset: an HTTP failure after accept proves it.
fn connects(tcp: &Tally, http: &Tally) -> Reach {
    match Reach::of(tcp) {
        Reach::Unknown if http.down > 0 => Reach::All,
        reach => reach,
    }
}

fn answer(case: &Case<'_>, subject: &Subject, http: &Tally) -> AnswerSign {
    let mut seen = http
        .missing
        .iter()
        .filter_map(|v| case.board.path(v, subject, Layer::Http)?.state.last_miss())
        .map(|(_, cause)| match cause {
            Cause::WrongTenant => AnswerSign::WrongTenant,
            Cause::TlsFailed => AnswerSign::Tls,
            Cause::DnsFailed => AnswerSign::Name,
            _ => AnswerSign::Dead,
        });
    seen.find(|sign| *sign != AnswerSign::Dead)
        .unwrap_or(AnswerSign::Dead)
}
