//! Who calls and what they may do: bearer tokens, RBAC rules and `TokenReview`.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use crate::{requests::Request, status::Refusal};

/// The audience of tokens that the API server itself accepts.
pub const API_AUDIENCE: &str = "https://kubernetes.default.svc.cluster.local";

/// One RBAC rule; `*` stands for all, resources are written `nodes` or `nodes/status`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Rule {
    /// `get`, `list`, `watch`, `create`, `update`, `patch`, `delete`.
    pub verbs: Vec<String>,
    /// API groups, `""` for the core group.
    pub groups: Vec<String>,
    /// Plurals, with `/subresource` where one is meant.
    pub resources: Vec<String>,
    /// Names it is restricted to; empty for all. Never matches a create, nor a list without a name selector.
    pub names: Vec<String>,
    /// The namespace it is restricted to (a Role), or all (a `ClusterRole`).
    pub namespace: Option<String>,
}

impl Rule {
    /// A cluster-wide rule for one group.
    pub fn new(verbs: &[&str], group: &str, resources: &[&str]) -> Self {
        let own = |list: &[&str]| list.iter().map(|s| (*s).to_owned()).collect();
        Self {
            verbs: own(verbs),
            groups: vec![group.into()],
            resources: own(resources),
            ..Self::default()
        }
    }

    /// The same within one namespace.
    #[must_use]
    pub fn in_namespace(mut self, namespace: &str) -> Self {
        self.namespace = Some(namespace.into());
        self
    }

    /// The rules of a `Role` or `ClusterRole` object; a Role's rules hold in its namespace. Parts of another shape
    /// grant nothing.
    pub fn of_role(role: &Value) -> Vec<Self> {
        let list = |rule: &Value, name: &str| -> Vec<String> {
            let items = rule[name].as_array().map(Vec::as_slice).unwrap_or_default();
            items
                .iter()
                .filter_map(Value::as_str)
                .map(str::to_owned)
                .collect()
        };
        let namespace = match role["kind"].as_str() {
            Some("Role") => Some(
                role["metadata"]["namespace"]
                    .as_str()
                    .unwrap_or("default")
                    .to_owned(),
            ),
            _ => None,
        };
        let rules = role["rules"]
            .as_array()
            .map(Vec::as_slice)
            .unwrap_or_default();
        rules
            .iter()
            .map(|rule| Self {
                verbs: list(rule, "verbs"),
                groups: list(rule, "apiGroups"),
                resources: list(rule, "resources"),
                names: list(rule, "resourceNames"),
                namespace: namespace.clone(),
            })
            .collect()
    }

    /// Whether the rule allows what the request did or tries to do.
    pub fn allows(&self, request: &Request) -> bool {
        let holds = |list: &[String], wanted: &str| list.iter().any(|x| x == "*" || x == wanted);
        let all_subresources = format!("*/{}", request.subresource);
        !request.resource.is_empty()
            && holds(&self.verbs, &request.verb)
            && holds(&self.groups, &request.group)
            && (holds(&self.resources, &request.qualified())
                || self.resources.contains(&all_subresources))
            && (self.names.is_empty() || self.names.contains(&request.name))
            && self
                .namespace
                .as_ref()
                .is_none_or(|ns| *ns == request.namespace)
    }

    /// The rule's single rights.
    fn rights(&self) -> impl Iterator<Item = Self> {
        self.verbs.iter().flat_map(move |verb| {
            self.groups.iter().flat_map(move |group| {
                self.resources.iter().map(move |resource| Self {
                    verbs: vec![verb.clone()],
                    groups: vec![group.clone()],
                    resources: vec![resource.clone()],
                    names: self.names.clone(),
                    namespace: self.namespace.clone(),
                })
            })
        })
    }
}

/// Granted rights against used rights, both ways, each as `verb resource.group` (and ` in namespace`).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Comparison {
    /// Granted, and no request needed it.
    pub unused: BTreeSet<String>,
    /// Asked for, and no rule grants it.
    pub missing: BTreeSet<String>,
}

/// Compares rules with the requests that were made under them. Requests outside the resource API do not count.
pub fn compare(rules: &[Rule], requests: &[Request]) -> Comparison {
    let resource = |plural: &str, group: &str| match group {
        "" => plural.to_owned(),
        _ => format!("{plural}.{group}"),
    };
    let mut out = Comparison::default();
    for request in requests.iter().filter(|r| !r.resource.is_empty()) {
        if !rules.iter().any(|rule| rule.allows(request)) {
            let what = resource(&request.qualified(), &request.group);
            out.missing.insert(format!(
                "{} {what} in {:?}",
                request.verb, request.namespace
            ));
        }
    }
    for right in rules.iter().flat_map(Rule::rights) {
        if !requests.iter().any(|request| right.allows(request)) {
            let what = resource(&right.resources.concat(), &right.groups.concat());
            out.unused.insert(format!(
                "{} {what} in {:?}",
                right.verbs.concat(),
                right.namespace
            ));
        }
    }
    out
}

/// Whom a bearer token stands for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Identity {
    /// `system:serviceaccount:<namespace>:<name>` or any other user name.
    pub user: String,
    /// UID of the account.
    pub uid: String,
    /// Groups.
    pub groups: Vec<String>,
    /// What `TokenReview` answers as `extra`.
    pub extra: BTreeMap<String, Vec<String>>,
    /// Audiences of the token. Without [`API_AUDIENCE`] it is no credential for this server (401).
    pub audiences: Vec<String>,
    /// What the caller may do.
    pub rules: Vec<Rule>,
}

impl Identity {
    /// May do everything.
    pub fn admin() -> Self {
        let everything = Rule {
            groups: vec!["*".into()],
            ..Rule::new(&["*"], "", &["*"])
        };
        Self {
            user: "kubernetes-admin".into(),
            groups: vec!["system:masters".into(), "system:authenticated".into()],
            audiences: vec![API_AUDIENCE.into()],
            rules: vec![everything],
            ..Self::default()
        }
    }

    /// A `ServiceAccount`'s token for this server, without any right.
    pub fn service_account(namespace: &str, name: &str) -> Self {
        Self {
            user: format!("system:serviceaccount:{namespace}:{name}"),
            uid: format!("sa-{namespace}-{name}"),
            groups: vec![
                "system:serviceaccounts".into(),
                format!("system:serviceaccounts:{namespace}"),
                "system:authenticated".into(),
            ],
            audiences: vec![API_AUDIENCE.into()],
            ..Self::default()
        }
    }

    /// Adds a rule.
    #[must_use]
    pub fn allow(mut self, rule: Rule) -> Self {
        self.rules.push(rule);
        self
    }

    /// Replaces the audiences (a projected token names its own).
    #[must_use]
    pub fn audiences(mut self, audiences: &[&str]) -> Self {
        self.audiences = audiences.iter().map(|a| (*a).to_owned()).collect();
        self
    }

    /// Binds the token to a Pod, as a projected token is.
    #[must_use]
    pub fn bound_to_pod(self, name: &str, uid: &str) -> Self {
        self.extra("authentication.kubernetes.io/pod-name", name)
            .extra("authentication.kubernetes.io/pod-uid", uid)
    }

    /// Names the node of that Pod (servers from 1.32 on do).
    #[must_use]
    pub fn bound_to_node(self, name: &str, uid: &str) -> Self {
        self.extra("authentication.kubernetes.io/node-name", name)
            .extra("authentication.kubernetes.io/node-uid", uid)
    }

    fn extra(mut self, key: &str, value: &str) -> Self {
        self.extra.insert(key.into(), vec![value.into()]);
        self
    }
}

/// Tokens and whom they stand for.
#[derive(Debug)]
pub(crate) struct Auth {
    tokens: BTreeMap<String, Identity>,
}

impl Auth {
    pub(crate) fn new() -> Self {
        Self {
            tokens: BTreeMap::from([(crate::ADMIN_TOKEN.to_owned(), Identity::admin())]),
        }
    }

    pub(crate) fn set(&mut self, token: &str, identity: Identity) {
        self.tokens.insert(token.to_owned(), identity);
    }

    pub(crate) fn revoke(&mut self, token: &str) {
        self.tokens.remove(token);
    }

    /// The caller behind an `Authorization` header. None at all is `system:anonymous`, a wrong one is a 401.
    pub(crate) fn caller(&self, header: Option<&str>) -> Result<Identity, Refusal> {
        let Some(header) = header else {
            return Ok(Identity {
                user: "system:anonymous".into(),
                groups: vec!["system:unauthenticated".into()],
                ..Identity::default()
            });
        };
        let (scheme, token) = header.split_once(' ').unwrap_or_default();
        self.tokens
            .get(token.trim())
            .filter(|identity| {
                scheme.eq_ignore_ascii_case("bearer")
                    && identity.audiences.iter().any(|a| a == API_AUDIENCE)
            })
            .cloned()
            .ok_or_else(Refusal::unauthorized)
    }

    /// Fills in the status of a `TokenReview`.
    pub(crate) fn review(&self, mut review: Value) -> Result<Value, Refusal> {
        let token = review["spec"]["token"]
            .as_str()
            .unwrap_or_default()
            .to_owned();
        if token.is_empty() {
            return Err(Refusal::bad_request(
                "token is required for TokenReview in authentication",
            ));
        }
        let asked: Vec<String> = match review["spec"]["audiences"].as_array() {
            Some(list) if !list.is_empty() => list
                .iter()
                .filter_map(Value::as_str)
                .map(str::to_owned)
                .collect(),
            _ => vec![API_AUDIENCE.to_owned()],
        };
        let status = match self.tokens.get(&token) {
            None => {
                json!({"user": {}, "error": "[invalid bearer token, Token has been invalidated]"})
            }
            Some(identity) => {
                let common: Vec<&String> = identity
                    .audiences
                    .iter()
                    .filter(|a| asked.contains(a))
                    .collect();
                if common.is_empty() {
                    let error = format!(
                        "[invalid bearer token, token audiences {:?} is invalid for the target audiences {asked:?}]",
                        identity.audiences
                    );
                    json!({"user": {}, "error": error})
                } else {
                    json!({
                        "authenticated": true,
                        "audiences": common,
                        "user": {
                            "username": identity.user,
                            "uid": identity.uid,
                            "groups": identity.groups,
                            "extra": identity.extra,
                        },
                    })
                }
            }
        };
        crate::store::map_of(&mut review).insert("status".into(), status);
        Ok(review)
    }
}

/// 403 in the words of a real server, unless some rule allows the request.
pub(crate) fn authorize(identity: &Identity, request: &Request) -> Result<(), Refusal> {
    if identity.rules.iter().any(|rule| rule.allows(request)) {
        return Ok(());
    }
    Err(forbidden(&identity.user, request))
}

pub(crate) fn forbidden(user: &str, request: &Request) -> Refusal {
    let group = &request.group;
    let what = if group.is_empty() {
        request.resource.clone()
    } else {
        format!("{}.{group}", request.resource)
    };
    let subject = if request.name.is_empty() {
        what
    } else {
        format!("{what} \"{}\"", request.name)
    };
    let scope = if request.namespace.is_empty() {
        "at the cluster scope".to_owned()
    } else {
        format!("in the namespace \"{}\"", request.namespace)
    };
    let message = format!(
        "{subject} is forbidden: User \"{user}\" cannot {} resource \"{}\" in API group \"{group}\" {scope}",
        request.verb,
        request.qualified()
    );
    Refusal::forbidden(message, &request.resource, group, &request.name)
}
