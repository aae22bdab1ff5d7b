//! What a rule of the table is: conditions on signs, a name, and a reason a person can read.
//!
//! Rules are data, asked in order: the first whose conditions all hold decides. So the same
//! rows judge, are explained to whoever asks, are printed in docs/faults.md, and are taken away
//! one by one to see that a test notices.

use super::table::Named;

/// A small closed thing that can be seen.
pub trait Sign: Copy + PartialEq + 'static {
    /// Every value.
    const VALUES: &'static [Self];

    /// The word for it.
    fn word(self) -> &'static str;
}

impl Sign for bool {
    const VALUES: &'static [Self] = &[false, true];

    fn word(self) -> &'static str {
        if self { "yes" } else { "no" }
    }
}

/// All signs that one table is asked with.
pub trait Signs: Copy + core::fmt::Debug + 'static {
    /// Name and word of each, in the order of their declaration.
    fn words(&self) -> Vec<(&'static str, &'static str)>;

    /// Every combination.
    fn every() -> Vec<Self>;
}

/// One condition of a rule.
#[derive(Debug, Clone, Copy)]
pub struct Condition<S: 'static> {
    /// The sign's name.
    pub sign: &'static str,
    /// Whether it holds.
    pub holds: fn(&S) -> bool,
    /// What it asks for: `a|b`.
    pub wants: fn() -> String,
    /// What is there instead.
    pub saw: fn(&S) -> &'static str,
}

/// One row.
#[derive(Debug, Clone, Copy)]
pub struct Rule<S: 'static> {
    /// Its name, unique over all tables.
    pub id: &'static str,
    /// All of these must hold.
    pub when: &'static [Condition<S>],
    /// What it names; `None` = it keeps silent, and no later row is asked.
    pub names: Option<Named>,
    /// Why, as a sentence.
    pub because: &'static str,
}

impl<S> Rule<S> {
    /// The first condition that does not hold.
    pub fn fails(&self, signs: &S) -> Option<&Condition<S>> {
        self.when.iter().find(|c| !(c.holds)(signs))
    }
}

/// The rules that count. All of them; but a test may take one away to see that it is missed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct InForce {
    without: Option<&'static str>,
}

impl InForce {
    /// All but `rule`.
    pub const fn without(rule: &'static str) -> Self {
        Self {
            without: Some(rule),
        }
    }

    /// Whether `rule` counts.
    pub fn has(self, rule: &str) -> bool {
        self.without != Some(rule)
    }
}

/// The first rule in force whose conditions all hold.
pub fn decide<S>(rules: &'static [Rule<S>], signs: &S, force: InForce) -> Option<&'static Rule<S>> {
    let mut counting = rules.iter().filter(|rule| force.has(rule.id));
    counting.find(|rule| rule.fails(signs).is_none())
}

/// What `rules` name.
pub fn named<S>(rules: &'static [Rule<S>], signs: &S) -> Option<Named> {
    decide(rules, signs, InForce::default()).and_then(|rule| rule.names)
}

/// Signs, in words, under which `rules` name something else once `rule` is taken away; `None` =
/// it is not of these rules, or the others say the same without it, everywhere.
pub fn missed_under<S: Signs>(rules: &'static [Rule<S>], rule: &str) -> Option<String> {
    let rule = rules.iter().find(|one| one.id == rule)?;
    let without = InForce::without(rule.id);
    let names = |signs: &S, force| decide(rules, signs, force).and_then(|rule| rule.names);
    let found = S::every()
        .into_iter()
        .find(|signs| names(signs, without) != names(signs, InForce::default()))?;
    let words = found.words().into_iter();
    let words: Vec<String> = words.map(|(sign, word)| format!("{sign} {word}")).collect();
    Some(words.join(", "))
}

/// The words of the values that `fits`, of the type of the sign that `of` reads.
pub fn wanted<S, T: Sign>(_of: fn(&S) -> T, fits: fn(T) -> bool) -> String {
    let words: Vec<&str> = T::VALUES
        .iter()
        .filter(|value| fits(**value))
        .map(|value| value.word())
        .collect();
    words.join("|")
}

/// Closed words that are signs: see [`crate::outcome::labels`].
macro_rules! sign_words {
    ($($name:ident),+) => {$(
        impl $crate::diagnosis::rule::Sign for $name {
            const VALUES: &'static [Self] = Self::ALL;
            fn word(self) -> &'static str {
                self.as_label()
            }
        }
    )+};
}
pub(crate) use sign_words;

/// A struct of signs, with every combination of them.
macro_rules! signs {
    ($(#[$doc:meta])* $name:ident { $($(#[$field_doc:meta])* $field:ident: $type:ty,)+ }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub struct $name { $($(#[$field_doc])* pub $field: $type,)+ }

        impl $crate::diagnosis::rule::Signs for $name {
            fn words(&self) -> Vec<(&'static str, &'static str)> {
                vec![$((stringify!($field), $crate::diagnosis::rule::Sign::word(self.$field)),)+]
            }

            fn every() -> Vec<Self> {
                let mut all = Vec::new();
                $crate::diagnosis::rule::combined!(all, $name, [], $($field: $type,)+);
                all
            }
        }
    };
}
pub(crate) use signs;

/// One loop per sign, the last innermost.
macro_rules! combined {
    ($all:ident, $name:ident, [$($done:ident,)*], $field:ident: $type:ty, $($rest:tt)*) => {
        for &$field in <$type as $crate::diagnosis::rule::Sign>::VALUES {
            $crate::diagnosis::rule::combined!($all, $name, [$($done,)* $field,], $($rest)*);
        }
    };
    ($all:ident, $name:ident, [$($done:ident,)*],) => {
        $all.push($name { $($done,)* });
    };
}
pub(crate) use combined;

/// Rows: `"id" { sign: pattern, … } => name, "because";`
macro_rules! rules {
    ($signs:ty; $($id:literal { $($field:ident: $fits:pat),* $(,)? } => $names:expr, $because:literal;)+) => {
        &[$($crate::diagnosis::rule::Rule {
            id: $id,
            when: &[$($crate::diagnosis::rule::Condition {
                sign: stringify!($field),
                holds: |s: &$signs| matches!(s.$field, $fits),
                wants: || $crate::diagnosis::rule::wanted(
                    |s: &$signs| s.$field,
                    |value| matches!(value, $fits),
                ),
                saw: |s: &$signs| $crate::diagnosis::rule::Sign::word(s.$field),
            }),*],
            names: $names,
            because: $because,
        }),+]
    };
}
pub(crate) use rules;
