//! How large files and functions may be, in lines of code: blank lines and comments are free.

use crate::source::{Source, tree};
use crate::{Violation, assert_none};
use std::collections::BTreeSet;
use syn::spanned::Spanned;
use syn::visit::{self, Visit};

/// Lines of code of a file.
const MAX_FILE: usize = 600;
/// Half of all files have no more.
const MAX_MEDIAN_FILE: usize = 120;
/// Lines of code of a function.
const MAX_FUNCTION: usize = 120;
/// Parameters of a function, `self` included.
const MAX_PARAMETERS: usize = 6;

/// A function with a body.
#[derive(Clone, Debug)]
pub struct Function {
    name: String,
    line: usize,
    code_lines: usize,
    parameters: usize,
}

/// All functions of a source.
pub fn functions(syntax: &syn::File, code_lines: &BTreeSet<usize>) -> Vec<Function> {
    let mut visitor = Functions { code_lines, found: Vec::new() };
    visitor.visit_file(syntax);
    visitor.found
}

struct Functions<'a> {
    code_lines: &'a BTreeSet<usize>,
    found: Vec<Function>,
}

impl Functions<'_> {
    fn add(&mut self, signature: &syn::Signature, body: &syn::Block) {
        let (first, last) = (signature.span().start().line, body.span().end().line);
        self.found.push(Function {
            name: signature.ident.to_string(),
            line: first,
            code_lines: self.code_lines.range(first..=last).count(),
            parameters: signature.inputs.len(),
        });
    }
}

impl<'ast> Visit<'ast> for Functions<'_> {
    fn visit_item_fn(&mut self, function: &'ast syn::ItemFn) {
        self.add(&function.sig, &function.block);
        visit::visit_item_fn(self, function);
    }

    fn visit_impl_item_fn(&mut self, function: &'ast syn::ImplItemFn) {
        self.add(&function.sig, &function.block);
        visit::visit_impl_item_fn(self, function);
    }

    fn visit_trait_item_fn(&mut self, function: &'ast syn::TraitItemFn) {
        if let Some(body) = &function.default {
            self.add(&function.sig, body);
        }
        visit::visit_trait_item_fn(self, function);
    }
}

fn too_large(source: &Source) -> Vec<Violation> {
    let mut wrong = Vec::new();
    let lines = source.code_lines.len();
    if lines > MAX_FILE {
        let what = format!("{lines} lines of code, at most {MAX_FILE}: part it by subject");
        wrong.push(Violation::new(&source.path, 1, what));
    }
    for Function { name, line, code_lines, parameters } in &source.functions {
        if *code_lines > MAX_FUNCTION {
            let what = format!(
                "`{name}` has {code_lines} lines of code, at most {MAX_FUNCTION}: name its parts"
            );
            wrong.push(Violation::new(&source.path, *line, what));
        }
        if *parameters > MAX_PARAMETERS {
            let what = format!(
                "`{name}` has {parameters} parameters, at most {MAX_PARAMETERS}: give those a type \
                 that belong together"
            );
            wrong.push(Violation::new(&source.path, *line, what));
        }
    }
    wrong
}

/// Guarantees the bounds of files and functions, and that half of the files are short.
#[test]
fn files_and_functions_stay_small() {
    let check = |text: &str, expected: usize| {
        assert_eq!(too_large(&Source::parse("src/a.rs", text)).len(), expected);
    };
    let statements = |count: usize| "let a = 1;\n\n// Why.\n".repeat(count);
    check(&format!("fn a() {{\n{}}}", statements(MAX_FUNCTION - 2)), 0);
    check(&format!("fn a() {{\n{}}}", statements(MAX_FUNCTION - 1)), 1);
    check(&"/// A.\nstruct A;\n".repeat(MAX_FILE), 0);
    check(&"struct A;\n".repeat(MAX_FILE + 1), 1);
    check("trait A { fn a(&self, b: B, c: C, d: D, e: E, f: F, g: G) {} }", 1);
    check("impl A { fn a(&self, b: B, c: C, d: D, e: E, f: F) {} }", 0);

    let mut wrong: Vec<Violation> = tree().iter().flat_map(too_large).collect();
    let mut lengths: Vec<usize> = tree().iter().map(|source| source.code_lines.len()).collect();
    lengths.sort_unstable();
    let median = lengths.get(lengths.len() / 2).copied().unwrap_or_default();
    if median > MAX_MEDIAN_FILE {
        let what = format!("the median file has {median} lines of code, at most {MAX_MEDIAN_FILE}");
        wrong.push(Violation::new("src", 1, what));
    }
    assert_none(wrong);
}
