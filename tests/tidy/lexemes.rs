//! Source text as a flat list of words and signs, each with its line. Macros are read like all
//! other code, which a syntax tree would not do.

use proc_macro2::{Delimiter, Spacing, TokenStream, TokenTree};

/// A word or sign.
#[derive(Clone, Debug)]
pub struct Lexeme {
    /// As written; `::` and `..` are one sign, every other sign is one character.
    pub text: String,
    /// The line of its beginning, from 1.
    pub line: usize,
    /// The line of its end: a string may have many.
    pub last_line: usize,
    /// Whether it is a keyword or a name.
    pub is_word: bool,
    /// Whether it is (a part of what stands for) a doc comment.
    pub is_doc: bool,
}

/// Signs of two characters that are kept together: whether a path goes on, and a range that is no
/// method call, must be told apart.
const PAIRS: [char; 2] = [':', '.'];

/// All lexemes of a text, in order.
pub fn lexemes(tokens: TokenStream, text: &str) -> Vec<Lexeme> {
    let lines: Vec<&str> = text.lines().collect();
    let mut flat = Vec::new();
    flatten(tokens, &lines, &mut flat);
    flat
}

fn flatten(tokens: TokenStream, lines: &[&str], flat: &mut Vec<Lexeme>) {
    let mut tokens = tokens.into_iter().peekable();
    while let Some(token) = tokens.next() {
        let (start, end) = (token.span().start(), token.span().end());
        let rest = lines.get(start.line.saturating_sub(1)).copied().unwrap_or_default();
        let mut here = rest.chars().skip(start.column);
        let is_doc = here.next() == Some('/') && matches!(here.next(), Some('/' | '*'));
        let lexeme = |text: String, is_word: bool| Lexeme {
            text,
            line: start.line,
            last_line: end.line,
            is_word,
            is_doc,
        };
        match token {
            TokenTree::Group(group) => {
                let (open, close) = match group.delimiter() {
                    Delimiter::Parenthesis => ("(", ")"),
                    Delimiter::Brace => ("{", "}"),
                    Delimiter::Bracket => ("[", "]"),
                    Delimiter::None => ("", ""),
                };
                flat.push(Lexeme { last_line: start.line, ..lexeme(open.to_owned(), false) });
                flatten(group.stream(), lines, flat);
                flat.push(Lexeme { line: end.line, ..lexeme(close.to_owned(), false) });
            }
            TokenTree::Ident(ident) => flat.push(lexeme(ident.to_string(), true)),
            TokenTree::Literal(literal) => flat.push(lexeme(literal.to_string(), false)),
            TokenTree::Punct(sign) => {
                let sign_text = sign.as_char();
                let is_pair = sign.spacing() == Spacing::Joint
                    && PAIRS.contains(&sign_text)
                    && matches!(tokens.peek(), Some(TokenTree::Punct(next)) if next.as_char() == sign_text);
                if is_pair {
                    let _ = tokens.next();
                    flat.push(lexeme(format!("{sign_text}{sign_text}"), false));
                } else {
                    flat.push(lexeme(sign_text.to_string(), false));
                }
            }
        }
    }
}

/// The index behind the bracket that closes the one at `open`.
pub fn behind_group(lexemes: &[Lexeme], open: usize) -> usize {
    let mut depth = 0_usize;
    for (at, lexeme) in lexemes.iter().enumerate().skip(open) {
        match lexeme.text.as_str() {
            "(" | "[" | "{" => depth += 1,
            ")" | "]" | "}" => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth == 0 {
            return at + 1;
        }
    }
    lexemes.len()
}

/// Whether the lexemes from `at` on read like this.
pub fn reads(lexemes: &[Lexeme], at: usize, words: &[&str]) -> bool {
    let found = lexemes.get(at..at + words.len());
    found.is_some_and(|found| found.iter().zip(words).all(|(lexeme, word)| lexeme.text == *word))
}
