//! YAML text to [`tree`](super::tree): documents, anchors and merge keys, all of it bounded.
//!
//! A syntax error costs its own document; reading goes on with the next one. Nothing here knows
//! which keys mean what.

use super::problem::Problems;
use super::scalar::quoted;
use super::tree::{Entry, Node, Place, Value};
use serde_saphyr::granit_parser::{
    self, Event, Options, Parser, ScalarStyle, ScanError, Span, StrInput, Tag,
};
use std::collections::HashMap;
use std::rc::Rc;

/// Nodes of a file, and of any value after its aliases are expanded.
const MAX_NODES: usize = 200_000;
/// Documents of a file that may be broken before the rest is given up.
const MAX_BROKEN: usize = 20;
/// Levels of nesting, aliases expanded. Everything that recurses over a tree relies on it.
const MAX_DEPTH: usize = 64;

/// Reads all documents of a file. Empty documents are left out; broken ones are reported.
pub(super) fn parse(file: u32, text: &str, problems: &Problems) -> Vec<Rc<Node>> {
    let builder = Builder {
        file,
        text,
        problems,
        anchors: HashMap::new(),
        open: Vec::new(),
        nodes: 0,
        broken: 0,
        documents: Vec::new(),
    };
    builder.run()
}

struct Builder<'a> {
    file: u32,
    text: &'a str,
    problems: &'a Problems,
    /// Complete nodes by anchor, of the current document.
    anchors: HashMap<usize, Rc<Node>>,
    /// Lists and mappings that are not closed yet, outermost first.
    open: Vec<Open>,
    nodes: usize,
    /// Documents given up.
    broken: usize,
    documents: Vec<Rc<Node>>,
}

struct Open {
    at: Place,
    anchor: usize,
    content: Content,
}

enum Content {
    List(Vec<Rc<Node>>),
    Map { entries: Vec<Entry>, key: Option<Key> },
}

/// A key that waits for its value.
enum Key {
    Text(String, Place),
    /// Not a text; reported, and dropped with its value.
    Unusable,
}

fn options() -> Options {
    let mut options = granit_parser::options! {
        emit_unresolved_aliases: true,
        flow_nesting_limit: MAX_DEPTH,
        block_nesting_limit: MAX_DEPTH,
    };
    options.set_emit_comments(false);
    options
}

// === impl Builder ===

impl Builder<'_> {
    fn run(mut self) -> Vec<Rc<Node>> {
        let mut parser = Parser::new_from_str_with_options(self.text, options());
        while self.nodes < MAX_NODES {
            match parser.next_event() {
                None => return self.documents,
                Some(Ok((event, span))) => self.take(event, &span),
                Some(Err(error)) => {
                    self.report(&error);
                    if !self.recover(&mut parser) {
                        return self.documents;
                    }
                }
            }
        }
        let message = format!("more than {MAX_NODES} values in one file");
        self.problems.wrong_hint(Place::of_file(self.file), message, "split it into several files");
        self.documents
    }

    fn recover<'t>(&mut self, parser: &mut Parser<'t, StrInput<'t>>) -> bool {
        self.open.clear();
        self.broken = self.broken.saturating_add(1);
        self.broken < MAX_BROKEN && parser.proceed_next_document().unwrap_or(false)
    }

    fn take(&mut self, event: Event<'_>, span: &Span) {
        let at = self.place(span.start.line(), span.start.col());
        match event {
            Event::DocumentStart(..) => {
                self.anchors.clear();
                self.open.clear();
            }
            Event::Scalar(text, style, anchor, tag) => {
                let forced = self.is_forced_text(at, tag.as_deref());
                let plain = style == ScalarStyle::Plain && !forced;
                let node = Node::new(at, Value::Scalar { text: text.into_owned(), plain });
                self.complete(node, anchor);
            }
            Event::SequenceStart(_, anchor, tag) => {
                let _ = self.is_forced_text(at, tag.as_deref());
                self.open.push(Open { at, anchor, content: Content::List(Vec::new()) });
            }
            Event::MappingStart(_, anchor, tag) => {
                let _ = self.is_forced_text(at, tag.as_deref());
                let content = Content::Map { entries: Vec::new(), key: None };
                self.open.push(Open { at, anchor, content });
            }
            Event::SequenceEnd | Event::MappingEnd => self.close(),
            Event::Alias(id) => self.alias(at, id),
            Event::UnresolvedAlias(name) => {
                self.problems.wrong_hint(
                    at,
                    format!("there is no anchor `&{}`", quoted(&name)),
                    "a text that begins with `*` needs quotes",
                );
                self.attach(Rc::new(Node::nothing(at)));
            }
            _ => {}
        }
    }

    fn alias(&mut self, at: Place, id: usize) {
        let node = self.anchors.get(&id).cloned().unwrap_or_else(|| {
            // The only anchor that is known but not complete is one around the alias.
            self.problems.wrong(at, "an alias may not stand inside the value that it names");
            Rc::new(Node::nothing(at))
        });
        self.attach(node);
    }

    fn close(&mut self) {
        let Some(open) = self.open.pop() else { return };
        let value = match open.content {
            Content::List(items) => Value::List(items),
            Content::Map { entries, .. } => Value::Map(self.unique(entries)),
        };
        self.complete(Node::new(open.at, value), open.anchor);
    }

    fn complete(&mut self, node: Node, anchor: usize) {
        let node = if node.weight > MAX_NODES {
            let message = format!("more than {MAX_NODES} values once aliases are filled in");
            self.problems.wrong(node.at, message);
            Node::nothing(node.at)
        } else if node.depth > MAX_DEPTH {
            self.problems.wrong(node.at, format!("nested more than {MAX_DEPTH} levels deep"));
            Node::nothing(node.at)
        } else {
            node
        };
        let node = Rc::new(node);
        if anchor != 0 {
            let _ = self.anchors.insert(anchor, Rc::clone(&node));
        }
        self.attach(node);
    }

    /// Hands a complete node to the innermost open one, or makes it a document.
    fn attach(&mut self, node: Rc<Node>) {
        self.nodes = self.nodes.saturating_add(1);
        let Some(open) = self.open.last_mut() else {
            if !node.is_nothing() {
                self.documents.push(node);
            }
            return;
        };
        match &mut open.content {
            Content::List(items) => items.push(node),
            Content::Map { entries, key } => match key.take() {
                Some(Key::Text(text, at)) => entries.push(Entry { key: text, at, value: node }),
                Some(Key::Unusable) => {}
                None => {
                    *key = Some(match &node.value {
                        Value::Scalar { text, .. } => Key::Text(text.clone(), node.at),
                        _ => {
                            let message = format!("a key must be a text, not {}", node.kind());
                            let hint = "a text that begins with `{` or `[` needs quotes";
                            self.problems.wrong_hint(node.at, message, hint);
                            Key::Unusable
                        }
                    });
                }
            },
        }
    }

    /// The entries without repeated keys, and with what `<<` merges in.
    fn unique(&mut self, entries: Vec<Entry>) -> Vec<Entry> {
        let mut lines: HashMap<String, u32> = HashMap::with_capacity(entries.len());
        let mut kept = Vec::with_capacity(entries.len());
        let mut merged = Vec::new();
        for entry in entries {
            if let Some(line) = lines.get(&entry.key) {
                let message = format!("`{}` is given twice", quoted(&entry.key));
                self.problems.wrong_hint(entry.at, message, format!("the first is in line {line}"));
            } else {
                let _ = lines.insert(entry.key.clone(), entry.at.line);
                if entry.key == "<<" { merged.push(entry.value) } else { kept.push(entry) }
            }
        }
        for node in merged {
            for entry in self.merge_sources(&node) {
                if !lines.contains_key(&entry.key) {
                    let _ = lines.insert(entry.key.clone(), entry.at.line);
                    self.nodes = self.nodes.saturating_add(1);
                    kept.push(entry);
                }
            }
        }
        kept
    }

    /// The entries of the mapping, or of the mappings in the list, after a merge key.
    fn merge_sources(&self, node: &Node) -> Vec<Entry> {
        match &node.value {
            Value::Map(entries) => entries.clone(),
            Value::List(items) => items.iter().flat_map(|item| self.merge_sources(item)).collect(),
            Value::Scalar { .. } => {
                self.problems.wrong(node.at, "`<<` merges mappings, not a text");
                Vec::new()
            }
        }
    }

    /// Whether a tag makes a text of whatever follows. Tags that we do not know are reported.
    fn is_forced_text(&self, at: Place, tag: Option<&Tag>) -> bool {
        match tag.map(|tag| (tag.core_suffix(), tag.original())) {
            None | Some((Some("map" | "seq"), _)) => false,
            Some((Some("str"), _)) => true,
            Some((_, written)) if written == "!" => true,
            Some((Some(_), _)) => false,
            Some((None, written)) => {
                let message = format!("the tag `{}` means nothing here", quoted(&written));
                self.problems.wrong_hint(at, message, "a text that begins with `!` needs quotes");
                false
            }
        }
    }

    fn report(&self, error: &ScanError) {
        let at = self.place(error.marker().line(), error.marker().col());
        let message = format!("this is not YAML: {}", error.info());
        match self.likely_cause(at, &error.info()) {
            Some(hint) => self.problems.wrong_hint(at, message, hint),
            None => self.problems.wrong(at, message),
        }
    }

    /// The few mistakes behind most syntax errors, recognised by the line and the parser's words.
    fn likely_cause(&self, at: Place, error: &str) -> Option<&'static str> {
        let line = self.text.lines().nth((at.line as usize).checked_sub(1)?)?;
        let indent = line.len() - line.trim_start().len();
        if error.contains("tab") || line.get(..indent).is_some_and(|i| i.contains('\t')) {
            return Some("YAML is indented with spaces, never with tabs");
        }
        if error.contains("flow mapping") || error.contains("flow sequence") {
            return Some("inside of { } and [ ] a text with one of { } [ ] , : needs quotes");
        }
        let value = line.split_once(": ").map_or(line, |(_, value)| value).trim_start();
        if value.starts_with(['*', '&', '!', '%', '@', '`']) {
            return Some("a text that begins with one of * & ! % @ ` needs quotes");
        }
        value.contains(": ").then_some("a text that contains `: ` needs quotes")
    }

    fn place(&self, line: usize, column: usize) -> Place {
        let number = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
        Place { file: self.file, line: number(line), column: number(column).saturating_add(1) }
    }
}
