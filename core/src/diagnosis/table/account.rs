//! One account's target whose node is not to blame.

use super::{AnswerSign, Confidence, Fault, Named, Severity, critical, named};
use crate::diagnosis::rule::{self, Rule, rules, signs};
use crate::diagnosis::symptom::{Reach, Witnesses};
use Confidence::{High, Low, Medium};

signs! {
    /// The signs of one account target whose node is not to blame.
    AccountSigns {
        /// Whether client vantages connect.
        tcp: Reach,
        /// Whether `/up` answers them rightly.
        http: Reach,
        /// What comes back where it does not.
        answer: AnswerSign,
        /// It is an https gateway, not a `NodePort`.
        gateway: bool,
        /// Draining, rolling, paused or in maintenance, before the deadline.
        excused: bool,
        /// How many client vantages have evidence.
        witnesses: Witnesses,
    }
}

/// The rows of one account target.
pub static ACCOUNT: &[Rule<AccountSigns>] = rules! { AccountSigns;
    "account_wrong_tenant" { tcp: Reach::All | Reach::Some, http: Reach::Nobody, answer: AnswerSign::WrongTenant }
        => critical(Fault::WrongTenant, High),
        "its port answers for another tenant; no drain excuses that";
    "account_gateway_name" { http: Reach::Nobody, answer: AnswerSign::Name, gateway: true }
        => critical(Fault::GatewayBroken, High),
        "the gateway's name does not resolve to the node's PN address; no drain excuses that";
    "account_draining_port" { tcp: Reach::Nobody, excused: true }
        => named(Fault::Draining, Severity::Info, High),
        "its pod drains, rolls or is paused, so that a dead port is expected until the deadline";
    "account_draining_answer" { tcp: Reach::All | Reach::Some, http: Reach::Nobody, excused: true }
        => named(Fault::Draining, Severity::Info, High),
        "its pod drains, rolls or is paused, so that a wrong answer is expected until the deadline";
    "account_gateway_tls" { tcp: Reach::All | Reach::Some, http: Reach::Nobody, answer: AnswerSign::Tls, gateway: true }
        => critical(Fault::GatewayBroken, High),
        "the gateway accepts, and TLS with it fails";
    "account_gateway_answer" { tcp: Reach::All | Reach::Some, http: Reach::Nobody, gateway: true }
        => critical(Fault::GatewayBroken, Medium),
        "the gateway accepts, and does not answer rightly";
    "account_gateway_port" { tcp: Reach::Nobody, gateway: true }
        => critical(Fault::GatewayBroken, Medium),
        "nobody connects to the gateway";
    "account_pod_dead" { tcp: Reach::All | Reach::Some, http: Reach::Nobody, witnesses: Witnesses::Many }
        => critical(Fault::PodDead, High),
        "its port accepts, and the cache behind it answers nobody rightly";
    "account_pod_dead_one_witness" { tcp: Reach::All | Reach::Some, http: Reach::Nobody }
        => critical(Fault::PodDead, Medium),
        "its port accepts, and the cache behind it does not answer the only witness rightly";
    "account_unreachable" { tcp: Reach::Nobody, witnesses: Witnesses::Many }
        => critical(Fault::AccountUnreachable, Medium),
        "nobody connects to its port, while its node is fine";
    "account_unreachable_one_witness" { tcp: Reach::Nobody }
        => critical(Fault::AccountUnreachable, Low),
        "the only witness does not connect to its port, while its node is fine";
};

/// Names the fault of one account.
pub fn account(signs: AccountSigns) -> Option<Named> {
    rule::named(ACCOUNT, &signs)
}
