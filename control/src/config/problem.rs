//! What is wrong with a file: where, what the rule is and what to do, as an operator reads it.

use std::cell::RefCell;
use std::fmt::{self, Write as _};
use std::ops::Range;

/// One thing that is wrong, as bytes of the text it is about.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Problem {
    /// The offending bytes of the file.
    pub span: Range<usize>,
    /// What is wrong: the object and the rule.
    pub rule: String,
    /// What to do.
    pub remedy: String,
}

/// Everything that is wrong with a file, ready to print: the first problem first, each one starting with
/// `file:line:column: `.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{0}")]
pub struct Refused(String);

impl Refused {
    /// A file that could not be read at all.
    pub(super) fn unread(name: &str, why: impl fmt::Display) -> Self {
        Self(format!("{}: {why}", printable(name)))
    }

    /// Nothing of a file: what was asked makes no sense.
    pub(super) fn because(why: impl fmt::Display) -> Self {
        Self(printable(&why.to_string()))
    }
}

/// Problems as they are found, in any order.
#[derive(Default)]
pub(crate) struct Problems(RefCell<Vec<Problem>>);

impl Problems {
    pub(crate) fn push(&self, span: Range<usize>, rule: impl Into<String>, remedy: impl Into<String>) {
        self.0.borrow_mut().push(Problem { span, rule: rule.into(), remedy: remedy.into() });
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.borrow().is_empty()
    }

    /// The first of them without its place, for a text that nobody has seen.
    pub(super) fn in_words(self) -> Refused {
        let first = self.0.into_inner().into_iter().min_by_key(|problem| problem.span.start);
        Refused::because(first.map_or_else(String::new, |first| format!("{}: {}", first.rule, first.remedy)))
    }

    /// All of them in the order of the file, with the text that each is about.
    pub(crate) fn refusal(self, name: &str, text: &str) -> Refused {
        const SHOWN: usize = 20;
        let mut problems = self.0.into_inner();
        problems.sort_by_key(|problem| problem.span.start);
        let mut out = String::new();
        for problem in problems.iter().take(SHOWN) {
            describe(&mut out, name, text, problem);
        }
        if problems.len() > SHOWN {
            // Writing to a String cannot fail.
            let _ = writeln!(out, "… and {} more", problems.len() - SHOWN);
        }
        Refused(out.trim_end().to_owned())
    }
}

/// The line of `text` that `offset` is in, counted from one.
pub(super) fn line_number(text: &str, offset: usize) -> usize {
    text.as_bytes()[..offset.min(text.len())].iter().filter(|&&byte| byte == b'\n').count() + 1
}

fn describe(out: &mut String, name: &str, text: &str, problem: &Problem) {
    let start = floor(text, problem.span.start);
    let number = line_number(text, start);
    let line_start = text[..start].rfind('\n').map_or(0, |newline| newline + 1);
    let line_end = text[start..].find('\n').map_or(text.len(), |length| start + length);
    let end = floor(text, problem.span.end).clamp(start, line_end);

    let before = &text[line_start..start];
    let column = before.chars().count() + 1;
    let line = Excerpt::of(before, &text[start..end], text[end..line_end].trim_end_matches('\r'));
    let gutter = " ".repeat(number.to_string().len());
    // Writing to a String cannot fail.
    let _ = writeln!(out, "{}:{number}:{column}: {}", printable(name), printable(&problem.rule));
    let _ = writeln!(out, "  {number} | {}", line.text);
    let _ = writeln!(out, "  {gutter} | {}", line.carets);
    let _ = writeln!(out, "  {gutter} = {}", printable(&problem.remedy));
}

/// As much of a line as a terminal can show, and carets under what it is about.
struct Excerpt {
    text: String,
    carets: String,
}

impl Excerpt {
    fn of(before: &str, about: &str, after: &str) -> Self {
        const AROUND: usize = 60;
        let skipped = before.chars().count().saturating_sub(AROUND);
        let lead: String = before.chars().skip(skipped).map(shown).collect();
        let about: String = about.chars().take(AROUND).map(shown).collect();
        let tail: String = after.chars().take(AROUND).map(shown).collect();
        let carets: String = lead.chars().map(|c| if c == '\t' { c } else { ' ' }).collect();
        let carets = carets + &"^".repeat(about.chars().count().max(1));
        Self { text: format!("{lead}{about}{tail}").trim_end().to_owned(), carets }
    }
}

/// What is shown for a character: a file must not send escapes to the terminal.
fn shown(character: char) -> char {
    if character.is_control() && character != '\t' { '\u{fffd}' } else { character }
}

fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}

/// The last character boundary of `text` at or before `offset`.
fn floor(text: &str, offset: usize) -> usize {
    let mut offset = offset.min(text.len());
    while !text.is_char_boundary(offset) {
        offset -= 1;
    }
    offset
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn problems_come_in_the_order_of_the_file_with_their_lines() {
        let problems = Problems::default();
        problems.push(10..13, "second", "b");
        problems.push(1..3, "first", "a");
        let text = "äbc\n\tdéfgh\n";
        let expected = "f:1:1: first\n  1 | äbc\n    | ^^\n    = a\n\
                        f:2:5: second\n  2 | \tdéfgh\n    | \t   ^^\n    = b";
        assert_eq!(problems.refusal("f", text).to_string(), expected);
    }

    #[test]
    fn no_escape_reaches_the_terminal() {
        let problems = Problems::default();
        problems.push(0..1, "`\u{1b}[2J` is no name", "x");
        assert!(!problems.refusal("\u{1b}", "\u{1b}[2J").to_string().contains('\u{1b}'));
    }
}
