//! The stated subset of Helm's templates, and nothing else: any other construct is an error.
//!
//! Actions: `{{ pipeline }}`, `if`/`else if`/`else`, `with`/`else`, `range` (over a list or a map,
//! with or without variables), `define`, comments, `-` on either side. Functions: the arms of
//! [`call`]. A value that does not exist is an error, where Helm would print nothing.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::functions::{call, items, shown, truth};

/// Why a template cannot be read or rendered.
pub(crate) type Fault = String;

/// Named templates.
pub(crate) type Defined = BTreeMap<String, Vec<Node>>;

#[derive(Debug, Clone)]
pub(crate) enum Node {
    Text(String),
    Print(Pipe),
    If(Vec<(Pipe, Vec<Node>)>, Vec<Node>),
    With(Pipe, Vec<Node>, Vec<Node>),
    Range(Vec<String>, Pipe, Vec<Node>),
}

/// Commands, each of which gets the result of the one before as its last argument.
pub(crate) type Pipe = Vec<Vec<Word>>;

#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Word {
    /// `.a.b`, `$.a`, `$x.a`: the variable (empty = the dot), and the keys.
    Path(String, Vec<String>),
    Literal(Value),
    Name(String),
    Nested(Pipe),
}

enum Piece {
    Text(String),
    Action(String),
}

/// Cuts the text at its actions and trims where they say so.
fn pieces(text: &str) -> Result<Vec<Piece>, Fault> {
    let mut found = Vec::new();
    let mut rest = text;
    let mut trim = false;
    while let Some((before, after)) = rest.split_once("{{") {
        let comment = after.trim_start_matches(['-', ' ']).starts_with("/*");
        let end = if comment {
            after
                .find("*/")
                .and_then(|at| after[at..].find("}}").map(|n| at + n))
        } else {
            after.find("}}")
        };
        let end = end.ok_or_else(|| format!("no }}}} after {{{{{after:.40}"))?;
        let (inner, next) = (&after[..end], &after[end + 2..]);
        let mut before = if trim { before.trim_start() } else { before };
        let inner = match inner.strip_prefix("- ") {
            Some(inner) => {
                before = before.trim_end();
                inner
            }
            None => inner,
        };
        trim = inner.ends_with(" -") || inner.ends_with("/-");
        let inner = if trim {
            &inner[..inner.len() - 1]
        } else {
            inner
        };
        found.push(Piece::Text(before.to_owned()));
        if !comment {
            found.push(Piece::Action(inner.trim().to_owned()));
        }
        rest = next;
    }
    let rest = if trim { rest.trim_start() } else { rest };
    found.push(Piece::Text(rest.to_owned()));
    Ok(found)
}

/// The words of an action; strings stay whole.
fn tokens(action: &str) -> Result<Vec<String>, Fault> {
    let mut found: Vec<String> = Vec::new();
    let mut rest = action.trim_start();
    while let Some(first) = rest.chars().next() {
        let length = match first {
            '"' => rest[1..].find('"').ok_or("an open string")? + 2,
            '(' | ')' | '|' | ',' => 1,
            ':' if rest.starts_with(":=") => 2,
            '.' | '$' | '_' | 'a'..='z' | 'A'..='Z' | '0'..='9' => rest
                .find(|c: char| !(c.is_ascii_alphanumeric() || ".$_".contains(c)))
                .unwrap_or(rest.len()),
            other => return Err(format!("{other:?} in {{{{ {action} }}}}")),
        };
        found.push(rest[..length].to_owned());
        rest = rest[length..].trim_start();
    }
    Ok(found)
}

fn word(token: &str) -> Result<Word, Fault> {
    if let Some(text) = token.strip_prefix('"') {
        let text = text.trim_end_matches('"');
        if text.contains('\\') {
            return Err(format!("an escape in {token}"));
        }
        return Ok(Word::Literal(Value::from(text)));
    }
    if let Ok(number) = token.parse::<i64>() {
        return Ok(Word::Literal(Value::from(number)));
    }
    if token.starts_with(['.', '$']) {
        let (variable, keys) = token.split_once('.').unwrap_or((token, ""));
        let keys = keys.split('.').filter(|key| !key.is_empty());
        return Ok(Word::Path(
            variable.to_owned(),
            keys.map(str::to_owned).collect(),
        ));
    }
    Ok(Word::Name(token.to_owned()))
}

/// Reads up to the end or a closing parenthesis.
fn pipe(tokens: &mut std::slice::Iter<'_, String>, nested: bool) -> Result<Pipe, Fault> {
    let mut all: Pipe = vec![Vec::new()];
    while let Some(token) = tokens.next() {
        let last = all.last_mut().ok_or("no command")?;
        match token.as_str() {
            ")" if nested => return Ok(all),
            "(" => last.push(Word::Nested(pipe(tokens, true)?)),
            "|" => all.push(Vec::new()),
            ")" | "," | ":=" => return Err(format!("{token} where none belongs")),
            other => last.push(word(other)?),
        }
    }
    if nested {
        Err("an open parenthesis".to_owned())
    } else {
        Ok(all)
    }
}

fn whole(tokens: &[String]) -> Result<Pipe, Fault> {
    let all = pipe(&mut tokens.iter(), false)?;
    if all.iter().any(Vec::is_empty) {
        return Err(format!("an empty command in {tokens:?}"));
    }
    Ok(all)
}

type Pieces = std::iter::Peekable<std::vec::IntoIter<Piece>>;

/// Reads a file: its text, and what it defines.
pub(crate) fn read(text: &str, defined: &mut Defined) -> Result<Vec<Node>, Fault> {
    let mut all = pieces(text)?.into_iter().peekable();
    let (nodes, end) = block(&mut all, defined)?;
    match end {
        None => Ok(nodes),
        Some(end) => Err(format!("{end:?} closes nothing")),
    }
}

/// Nodes up to `end` or `else`, whose words it gives back.
fn block(
    all: &mut Pieces,
    defined: &mut Defined,
) -> Result<(Vec<Node>, Option<Vec<String>>), Fault> {
    let mut nodes = Vec::new();
    while let Some(piece) = all.next() {
        let action = match piece {
            Piece::Text(text) => {
                nodes.push(Node::Text(text));
                continue;
            }
            Piece::Action(action) => action,
        };
        let words = tokens(&action)?;
        match words.first().map(String::as_str) {
            Some("end" | "else") => return Ok((nodes, Some(words))),
            Some("if") => nodes.push(condition(&words[1..], all, defined)?),
            Some("with") => {
                let (body, end) = block(all, defined)?;
                let other = if end.is_some_and(|end| end[0] == "else") {
                    closed(all, defined)?
                } else {
                    Vec::new()
                };
                nodes.push(Node::With(whole(&words[1..])?, body, other));
            }
            Some("range") => {
                let at = words.iter().position(|word| word == ":=");
                let names = words[1..at.unwrap_or(1)].iter().filter(|word| *word != ",");
                let over = whole(&words[at.map_or(1, |at| at + 1)..])?;
                let names = names.cloned().collect();
                nodes.push(Node::Range(names, over, closed(all, defined)?));
            }
            Some("define") => {
                let name = words
                    .get(1)
                    .ok_or("define without a name")?
                    .trim_matches('"');
                let body = closed(all, defined)?;
                if defined.insert(name.to_owned(), body).is_some() {
                    return Err(format!("{name} is defined twice"));
                }
            }
            Some("template" | "block" | "break" | "continue") => {
                return Err(format!("{action} is outside the subset"));
            }
            _ => nodes.push(Node::Print(whole(&words)?)),
        }
    }
    Ok((nodes, None))
}

/// A block that ends with `end`.
fn closed(all: &mut Pieces, defined: &mut Defined) -> Result<Vec<Node>, Fault> {
    match block(all, defined)? {
        (nodes, Some(end)) if end == ["end"] => Ok(nodes),
        (_, end) => Err(format!("expected end, found {end:?}")),
    }
}

fn condition(words: &[String], all: &mut Pieces, defined: &mut Defined) -> Result<Node, Fault> {
    let mut branches = Vec::new();
    let mut test = whole(words)?;
    loop {
        let (body, end) = block(all, defined)?;
        branches.push((test, body));
        let end = end.ok_or("an if without end")?;
        match end
            .iter()
            .map(String::as_str)
            .collect::<Vec<_>>()
            .as_slice()
        {
            ["end"] => return Ok(Node::If(branches, Vec::new())),
            ["else"] => return Ok(Node::If(branches, closed(all, defined)?)),
            ["else", "if", ..] => test = whole(&end[2..])?,
            _ => return Err(format!("{end:?} is outside the subset")),
        }
    }
}

/// What a template sees.
pub(crate) struct World<'a> {
    pub(crate) defined: &'a Defined,
    /// The chart's files, for `.Files`.
    pub(crate) files: &'a BTreeMap<String, String>,
}

#[derive(Clone)]
struct Scope {
    dot: Value,
    variables: BTreeMap<String, Value>,
}

impl World<'_> {
    /// Renders with `root` as `.` and `$`.
    pub(crate) fn render(&self, nodes: &[Node], root: &Value) -> Result<String, Fault> {
        let scope = Scope {
            dot: root.clone(),
            variables: BTreeMap::from([("$".to_owned(), root.clone())]),
        };
        let mut out = String::new();
        self.write(nodes, &scope, &mut out)?;
        Ok(out)
    }

    fn write(&self, nodes: &[Node], scope: &Scope, out: &mut String) -> Result<(), Fault> {
        for node in nodes {
            match node {
                Node::Text(text) => out.push_str(text),
                Node::Print(pipe) => out.push_str(&shown(&self.value(pipe, scope)?)?),
                Node::If(branches, other) => {
                    let mut taken = other;
                    for (test, body) in branches {
                        if truth(&self.value(test, scope)?) {
                            taken = body;
                            break;
                        }
                    }
                    self.write(taken, scope, out)?;
                }
                Node::With(pipe, body, other) => {
                    let value = self.value(pipe, scope)?;
                    if truth(&value) {
                        let inner = Scope {
                            dot: value,
                            ..scope.clone()
                        };
                        self.write(body, &inner, out)?;
                    } else {
                        self.write(other, scope, out)?;
                    }
                }
                Node::Range(names, over, body) => {
                    for (key, value) in items(&self.value(over, scope)?)? {
                        let mut inner = Scope {
                            dot: value.clone(),
                            ..scope.clone()
                        };
                        if let [.., last] = names.as_slice() {
                            inner.variables.insert(last.clone(), value);
                        }
                        if let [first, _] = names.as_slice() {
                            inner.variables.insert(first.clone(), key);
                        }
                        self.write(body, &inner, out)?;
                    }
                }
            }
        }
        Ok(())
    }

    fn value(&self, pipe: &Pipe, scope: &Scope) -> Result<Value, Fault> {
        let mut last: Option<Value> = None;
        for command in pipe {
            last = Some(self.command(command, last.as_ref(), scope)?);
        }
        last.ok_or_else(|| "an empty pipeline".to_owned())
    }

    fn command(
        &self,
        words: &[Word],
        piped: Option<&Value>,
        scope: &Scope,
    ) -> Result<Value, Fault> {
        let arguments = |skip: usize| -> Result<Vec<Value>, Fault> {
            let given = words[skip..].iter().map(|word| self.operand(word, scope));
            given.chain(piped.cloned().map(Ok)).collect()
        };
        match &words[0] {
            Word::Name(name) if name == "include" => {
                let [Value::String(name), dot] = &arguments(1)?[..] else {
                    return Err("include takes a name and a value".to_owned());
                };
                let nodes = self
                    .defined
                    .get(name)
                    .ok_or(format!("{name} is not defined"))?;
                self.render(nodes, dot).map(Value::from)
            }
            Word::Name(name) => call(name, &arguments(1)?),
            Word::Path(_, keys) if keys.len() == 2 && keys[0] == "Files" => {
                self.file(&keys[1], &arguments(1)?)
            }
            word if words.len() == 1 && piped.is_none() => self.operand(word, scope),
            _ => Err(format!("{words:?} is no function")),
        }
    }

    fn file(&self, method: &str, arguments: &[Value]) -> Result<Value, Fault> {
        let [Value::String(name)] = arguments else {
            return Err(format!(".Files.{method} takes a path"));
        };
        match (method, name.split_once('*')) {
            ("Get", None) => {
                let text = self
                    .files
                    .get(name)
                    .ok_or(format!("the chart has no {name}"))?;
                Ok(Value::from(text.as_str()))
            }
            ("Glob", Some((start, end))) => Ok(self
                .files
                .iter()
                .filter(|(path, _)| {
                    let middle = path.strip_prefix(start).and_then(|p| p.strip_suffix(end));
                    middle.is_some_and(|middle| !middle.contains('/'))
                })
                .map(|(path, text)| (path.clone(), Value::from(text.as_str())))
                .collect::<serde_json::Map<_, _>>()
                .into()),
            _ => Err(format!(".Files.{method} {name:?} is outside the subset")),
        }
    }

    fn operand(&self, word: &Word, scope: &Scope) -> Result<Value, Fault> {
        match word {
            Word::Literal(value) => Ok(value.clone()),
            Word::Nested(pipe) => self.value(pipe, scope),
            Word::Name(name) => self.command(&[Word::Name(name.clone())], None, scope),
            Word::Path(variable, keys) => {
                let mut value = if variable.is_empty() {
                    &scope.dot
                } else {
                    let known = scope.variables.get(variable);
                    known.ok_or(format!("{variable} is not set"))?
                };
                for key in keys {
                    value = value
                        .get(key)
                        .ok_or_else(|| format!("{variable}.{} does not exist", keys.join(".")))?;
                }
                Ok(value.clone())
            }
        }
    }
}
