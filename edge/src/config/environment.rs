//! What a configuration may take from the environment: the names below, and only where a key
//! names a vantage. One file then serves every node of a cluster, and nothing else of
//! a process' environment can slip into a setting.

use std::collections::BTreeMap;

/// Every variable that may be named, as `${NAME}`.
const NAMES: &[&str] = &["NODE_NAME"];

/// The variables of [`NAMES`] that are set.
#[derive(Debug, Clone, Default)]
pub(super) struct Environment(BTreeMap<&'static str, String>);

impl Environment {
    /// Asks `variable` for each name; an empty value counts as not set.
    pub(super) fn new(variable: impl Fn(&str) -> Option<String>) -> Self {
        let set = NAMES.iter().filter_map(|name| {
            let value = variable(name).filter(|value| !value.is_empty())?;
            Some((*name, value))
        });
        Self(set.collect())
    }

    /// This process' variables.
    pub(super) fn of_process() -> Self {
        Self::new(|name| std::env::var(name).ok())
    }

    /// `text` with each `${NAME}` replaced; the error is the reason and the fix. What was put in
    /// is not looked at again.
    pub(super) fn expand(&self, text: &str) -> Result<String, String> {
        let mut whole = String::with_capacity(text.len());
        let mut rest = text;
        while let Some((before, after)) = rest.split_once("${") {
            let Some((name, after)) = after.split_once('}') else {
                return Err("`${` without `}`; write ${NODE_NAME}".to_owned());
            };
            if !NAMES.contains(&name) {
                return Err(format!(
                    "${{{}}} is not replaced; the only variable that is: ${{{}}}",
                    super::tree::shortened(name),
                    NAMES.join("}, ${")
                ));
            }
            let Some(value) = self.0.get(name) else {
                return Err(format!(
                    "the environment variable {name} is not set; set it (in a Pod: valueFrom.fieldRef spec.nodeName), or write the name itself"
                ));
            };
            whole.push_str(before);
            whole.push_str(value);
            rest = after;
        }
        whole.push_str(rest);
        Ok(whole)
    }
}

#[cfg(test)]
mod tests {
    use super::Environment;

    fn environment() -> Environment {
        Environment::new(|name| match name {
            "NODE_NAME" => Some("prod-kura-fleet-1${NODE_NAME}".to_owned()),
            other => Some(format!("secret of {other}")),
        })
    }

    #[test]
    fn only_the_listed_name_is_replaced_and_only_once() {
        let all = environment();
        let seen = all.expand("node/${NODE_NAME}").unwrap();
        assert_eq!(seen, "node/prod-kura-fleet-1${NODE_NAME}");
        assert_eq!(all.expand("host/$mini-1").unwrap(), "host/$mini-1");
        assert_eq!(all.expand("").unwrap(), "");
        let refused = all.expand("node/${HOME}").unwrap_err();
        assert!(refused.contains("${HOME} is not replaced"), "{refused}");
        assert!(!refused.contains("secret of"), "{refused}");
        assert!(all.expand("node/${NODE_NAME").is_err());
        assert!(all.expand("node/${}").is_err());
    }

    #[test]
    fn a_name_that_is_not_set_or_empty_is_refused() {
        for value in [None, Some(String::new())] {
            let none = Environment::new(|_| value.clone());
            let refused = none.expand("node/${NODE_NAME}").unwrap_err();
            assert!(refused.contains("NODE_NAME is not set"), "{refused}");
            assert_eq!(none.expand("node/a").unwrap(), "node/a");
        }
    }
}
