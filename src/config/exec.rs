//! The `exec:` block of a probe, and the list of programs that may run.
//!
//! ```yaml
//! exec:
//!   command: [ /usr/local/lib/radiosonde/push, --region, eu-west ]   # no shell
//!   env: { APNS_KEY: "${env.APNS_KEY}" }    # nothing else, but for PATH and RADIOSONDE_…
//!   stdin: '{"run":"${run.id}"}'            # or as YAML, written as JSON
//!   directory: /var/lib/push-probe
//! ```
//!
//! What the program must print is told in [`crate::probe::exec`]. It must be on the list in
//! `radiosonde.yaml`, `exec: { allow: [ /usr/local/lib/radiosonde ] }`.

use super::fields::{Context, Fields};
use super::names::is_variable;
use super::scalar::quoted;
use super::steps::Steps;
use super::template::Secrets;
use super::tree::{Entry, Node, Value};
use crate::base::secret::Secret;
use crate::probe::exec::{ExecStep, RESERVED_PREFIX, is_plain, may_run};
use crate::probe::spec::HeaderText;
use std::path::{Path, PathBuf};

/// Arguments of a program, and variables of its environment.
const MAX_ITEMS: usize = 100;

impl Steps<'_> {
    /// The block.
    pub(super) fn exec(&self, node: &Node) -> Option<ExecStep> {
        self.cx.fields(node, "an exec block", |fields| {
            let example = "[ /usr/local/lib/radiosonde/push, --region, eu-west ]";
            let command = fields.need("command", example).map(|node| self.command(node));
            let environment = fields.get("env").map(|node| self.environment(node));
            let input = fields.get("stdin").and_then(|node| self.input(node));
            let directory = self.directory(fields);
            let (program, arguments) = command??;
            Some(ExecStep {
                program,
                arguments,
                environment: environment.unwrap_or_default(),
                input,
                directory,
            })
        })?
    }

    /// Program and arguments.
    fn command(&self, node: &Node) -> Option<(PathBuf, Vec<String>)> {
        let Value::List(items) = &node.value else {
            let message = format!("`command` must be a list, not {}", node.kind());
            let hint = "no shell takes it apart: write [ /path/to/program, argument ]";
            self.cx.problems.wrong_hint(node.at, message, hint);
            return None;
        };
        let Some((program, arguments)) = items.split_first() else {
            self.cx.problems.wrong(node.at, "`command` names no program");
            return None;
        };
        if arguments.len() > MAX_ITEMS {
            self.cx.problems.wrong(node.at, format!("more than {MAX_ITEMS} arguments"));
        }
        let program = self.program(program);
        let arguments = arguments.iter().take(MAX_ITEMS);
        let arguments: Vec<_> = arguments.map(|node| self.argument(node)).collect();
        Some((program?, arguments.into_iter().collect::<Option<_>>()?))
    }

    fn program(&self, node: &Node) -> Option<PathBuf> {
        let path = self.cx.plain_path(node, "command")?;
        if !may_run(&path, self.programs) {
            let shown = path.display().to_string();
            let shown = quoted(&shown);
            self.cx.problems.wrong_hint(
                node.at,
                format!("this probe runs {shown}, which is not allowed"),
                format!("if it may, say so in radiosonde.yaml: exec: {{ allow: [ {shown} ] }}"),
            );
            return None;
        }
        Some(path)
    }

    /// Arguments are seen by everybody on the machine.
    fn argument(&self, node: &Node) -> Option<String> {
        let Value::Scalar { text, .. } = &node.value else {
            self.cx.expected(node, "command", "a list of texts");
            return None;
        };
        let filled = self.cx.run_text(node.at, text, &self.scope, Secrets::Refused)?;
        self.without_zero(node, &filled.text).then_some(filled.text)
    }

    fn environment(&self, node: &Node) -> Vec<(String, HeaderText)> {
        let Value::Map(entries) = &node.value else {
            self.cx.expected(node, "env", "a mapping of names and values");
            return Vec::new();
        };
        if entries.len() > MAX_ITEMS {
            self.cx.problems.wrong(node.at, format!("more than {MAX_ITEMS} variables"));
        }
        entries.iter().take(MAX_ITEMS).filter_map(|entry| self.variable(entry)).collect()
    }

    fn variable(&self, entry: &Entry) -> Option<(String, HeaderText)> {
        let name = &entry.key;
        if !is_variable(name) {
            let message = format!("`{}` is not the name of an environment variable", quoted(name));
            self.cx.problems.wrong(entry.at, message);
            return None;
        }
        if name.starts_with(RESERVED_PREFIX) {
            let message = format!("the variable {name} is set by the probe itself");
            self.cx.problems.wrong_hint(entry.at, message, "remove it");
            return None;
        }
        let Value::Scalar { text, .. } = &entry.value.value else {
            self.cx.expected(&entry.value, name, "a text");
            return None;
        };
        let at = entry.value.at;
        let filled = self.cx.run_text(at, text, &self.scope, Secrets::Allowed)?;
        let is_whole = self.without_zero(&entry.value, &filled.text);
        is_whole.then(|| (name.clone(), shown_unless(filled.is_secret, filled.text)))
    }

    /// What the program reads: a text, or JSON written as YAML. It is never shown.
    fn input(&self, node: &Node) -> Option<HeaderText> {
        self.message(node, "stdin").map(|text| shown_unless(true, text))
    }

    fn directory(&self, fields: &mut Fields<'_>) -> Option<PathBuf> {
        let node = fields.get("directory")?;
        self.cx.plain_path(node, "directory")
    }

    /// The system knows no text with a zero in it.
    fn without_zero(&self, node: &Node, text: &str) -> bool {
        let has_zero = text.contains('\0');
        if has_zero {
            self.cx.problems.wrong(node.at, "no program can be given a zero byte");
        }
        !has_zero
    }
}

fn shown_unless(is_secret: bool, text: String) -> HeaderText {
    if is_secret { HeaderText::Secret(Secret::new(text)) } else { HeaderText::Plain(text) }
}

impl Context<'_> {
    /// The entries of `exec: { allow: […] }`: programs, and folders of them.
    pub(super) fn programs(&self, node: &Node) -> Vec<PathBuf> {
        let allowed = self.fields(node, "exec", |fields| {
            let node = fields.need("allow", "[ /usr/local/lib/radiosonde ]")?;
            let items = self.items(node, "allow").iter();
            Some(items.filter_map(|node| self.plain_path(node, "allow")).collect())
        });
        allowed.flatten().unwrap_or_default()
    }

    /// A path that says for itself where it leads.
    fn plain_path(&self, node: &Node, key: &str) -> Option<PathBuf> {
        let path = Path::new(self.text(node, key)?);
        if is_plain(path) {
            return Some(path.to_owned());
        }
        let message = format!("`{}` is not a plain absolute path", quoted(&path.to_string_lossy()));
        let hint = "write it from /, without . and ..";
        self.problems.wrong_hint(node.at, message, hint);
        None
    }
}
