//! Which labels an expression's result carries: enough of `PromQL`'s typing to check templates.

use std::collections::{BTreeMap, BTreeSet};

use pnwatch_core::metric;
use promql_parser::parser::{Expr, LabelModifier, VectorMatchCardinality};

use crate::files::{list, word, yaml};

/// Labels that a scrape adds to everything.
const SCRAPED: [&str; 3] = ["job", "pod", "instance"];

/// Labels of every series that rules may read.
pub(crate) struct Known {
    series: BTreeMap<String, BTreeSet<String>>,
}

impl Known {
    /// pnwatch's metrics, the ledger's, the cache's, and what the rules record of them.
    pub(crate) fn new() -> Self {
        let mut known = Self {
            series: BTreeMap::new(),
        };
        for m in metric::ALL {
            known.add(m.name, m.labels);
            if m.kind == metric::MetricKind::Histogram {
                let with_bound: Vec<&str> = m.labels.iter().copied().chain(["le"]).collect();
                known.add(&format!("{}_bucket", m.name), &with_bound);
            }
        }
        for name in pnwatch_core::rules::CACHE_FAMILIES {
            known.add(
                name,
                &["env", "namespace", "tenant_id", "region", "route", "status"],
            );
        }
        for group in list(&yaml("rules.yaml")["groups"]) {
            for rule in list(&group["rules"]) {
                if let Some(name) = rule["record"].as_str() {
                    let labels = known
                        .of(&promql_parser::parser::parse(word(rule, "expr")).unwrap())
                        .unwrap();
                    known.series.insert(name.to_owned(), labels);
                }
            }
        }
        known
    }

    fn add(&mut self, name: &str, labels: &[&str]) {
        let all = labels
            .iter()
            .chain(&SCRAPED)
            .chain(&[metric::CLUSTER_LABEL]);
        self.series
            .insert(name.to_owned(), all.map(ToString::to_string).collect());
    }

    /// Labels of the result; an error names a series that nobody publishes.
    pub(crate) fn of(&self, expr: &Expr) -> Result<BTreeSet<String>, String> {
        Ok(match expr {
            Expr::VectorSelector(s) => self.selector(s.name.as_deref())?,
            Expr::MatrixSelector(m) => self.selector(m.vs.name.as_deref())?,
            Expr::Paren(p) => self.of(&p.expr)?,
            Expr::Subquery(s) => self.of(&s.expr)?,
            Expr::Unary(u) => self.of(&u.expr)?,
            Expr::Aggregate(a) => {
                let inner = self.of(&a.expr)?;
                match &a.modifier {
                    // The largest keep their labels.
                    None if matches!(a.op.to_string().as_str(), "topk" | "bottomk") => inner,
                    None => BTreeSet::new(),
                    Some(LabelModifier::Include(l)) => l
                        .labels
                        .iter()
                        .filter(|l| inner.contains(*l))
                        .cloned()
                        .collect(),
                    Some(LabelModifier::Exclude(l)) => inner
                        .into_iter()
                        .filter(|n| !l.labels.contains(n))
                        .collect(),
                }
            }
            Expr::Binary(b) => self.binary(b)?,
            Expr::Call(c) => self.call(c)?,
            Expr::NumberLiteral(_) | Expr::StringLiteral(_) | Expr::Extension(_) => BTreeSet::new(),
        })
    }

    fn selector(&self, name: Option<&str>) -> Result<BTreeSet<String>, String> {
        let name = name.ok_or("a selector without a name reads everything")?;
        self.series
            .get(name)
            .cloned()
            .ok_or_else(|| format!("nobody publishes {name}"))
    }

    fn binary(&self, b: &promql_parser::parser::BinaryExpr) -> Result<BTreeSet<String>, String> {
        let (left, right) = (self.of(&b.lhs)?, self.of(&b.rhs)?);
        let modifier = b.modifier.as_ref();
        if matches!(&*b.lhs, Expr::NumberLiteral(_)) || scalar(&b.lhs) {
            return Ok(right);
        }
        // Set operators and comparisons keep the left side; so does arithmetic, but for its match.
        if b.op.is_set_operator() || b.op.is_comparison_operator() {
            return Ok(left);
        }
        Ok(match modifier.map(|m| (&m.card, &m.matching)) {
            Some((VectorMatchCardinality::ManyToOne(extra), _)) => left
                .into_iter()
                .chain(extra.labels.iter().cloned())
                .collect(),
            Some((VectorMatchCardinality::OneToOne, Some(LabelModifier::Include(on)))) => {
                on.labels.iter().cloned().collect()
            }
            _ => left,
        })
    }

    fn call(&self, c: &promql_parser::parser::Call) -> Result<BTreeSet<String>, String> {
        let args: Vec<&Expr> = c.args.args.iter().map(AsRef::as_ref).collect();
        let mut labels = BTreeSet::new();
        for arg in &args {
            labels.extend(self.of(arg)?);
        }
        if c.func.name == "absent" {
            return Ok(BTreeSet::new());
        }
        if c.func.name == "label_replace"
            && let Some(Expr::StringLiteral(name)) = args.get(1)
        {
            labels.insert(name.val.clone());
        }
        Ok(labels)
    }
}

fn scalar(expr: &Expr) -> bool {
    matches!(expr, Expr::Call(c) if c.func.name == "time")
}
