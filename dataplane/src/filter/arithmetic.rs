//! Numbers in filters: fields of a frame, its length, and what is worked out of them.

use super::parser::{Arithmetic, DEEPEST, Parsed, Parser, Read, protocol};
use super::primitives::Protocol;
use super::program::{Operator, Relation, Test, Value};
use super::words::Word;

impl Parser<'_> {
    /// After the left side of a comparison: the rest of it; or the number alone, if there is none.
    pub(super) fn compared(&mut self, first: Arithmetic) -> Parsed<Read> {
        let left = self.arithmetic_from(first, 0)?;
        let relation = match self.peek() {
            Some(Word::Is("=")) => Relation::Equal,
            Some(Word::Is("!=")) => Relation::NotEqual,
            Some(Word::Is("<")) => Relation::Less,
            Some(Word::Is("<=")) => Relation::LessOrEqual,
            Some(Word::Is(">")) => Relation::Greater,
            Some(Word::Is(">=")) => Relation::GreaterOrEqual,
            _ => return Ok(Read::Value(left)),
        };
        self.next += 1;
        let right = self.arithmetic(0)?;
        let mut tests = left.guards;
        tests.extend(right.guards);
        tests.push(Test::Relation(left.value, relation, right.value));
        Ok(Read::Test(Test::All(tests), None))
    }

    fn arithmetic(&mut self, weakest: u8) -> Parsed<Arithmetic> {
        let first = self.factor()?;
        self.arithmetic_from(first, weakest)
    }

    /// Operators that bind at least as strongly as `weakest`, and what is between them.
    fn arithmetic_from(&mut self, first: Arithmetic, weakest: u8) -> Parsed<Arithmetic> {
        let mut left = first;
        while let Some((operator, binds)) = self.peek().and_then(operator)
            && binds >= weakest
        {
            self.next += 1;
            let start = self.next;
            let right = self.arithmetic(binds + 1)?;
            if let Value::Number(number) = right.value {
                let wrong = match operator {
                    Operator::Divide | Operator::Modulo if number == 0 => Some("division by zero"),
                    Operator::ShiftLeft | Operator::ShiftRight if number > 31 => {
                        Some("a shift is at most 31")
                    }
                    _ => None,
                };
                if let Some(wrong) = wrong {
                    self.next = start;
                    return Err(self.wrong(wrong));
                }
            }
            left.guards.extend(right.guards);
            left.value = Value::Binary(Box::new(left.value), operator, Box::new(right.value));
        }
        Ok(left)
    }

    /// A number, the length, a field, a negative, or arithmetic in brackets.
    pub(super) fn factor(&mut self) -> Parsed<Arithmetic> {
        let plain = |value| Arithmetic { value, guards: Vec::new() };
        let Some(word) = self.peek() else { return Err(self.wrong("expected a number")) };
        self.depth += 1;
        if self.depth > DEEPEST {
            return Err(self.wrong(format!("nested more than {DEEPEST} deep")));
        }
        let field = match word {
            Word::Is(name) => protocol(name),
            _ => None,
        };
        let factor = match word {
            Word::Number(number) => {
                self.next += 1;
                plain(Value::Number(number))
            }
            Word::Is("len") => {
                self.next += 1;
                plain(Value::Length)
            }
            Word::Is("-") => {
                self.next += 1;
                let Arithmetic { value, guards } = self.factor()?;
                let value = Value::Binary(Box::new(Value::Number(0)), Operator::Subtract, Box::new(value));
                Arithmetic { value, guards }
            }
            Word::Is("(") => {
                self.next += 1;
                let inner = self.arithmetic(0)?;
                self.expect(")")?;
                inner
            }
            _ => match field {
                Some(protocol) => self.field(protocol)?,
                None => return Err(self.wrong("expected a number, `len` or a field such as tcp[13]")),
            },
        };
        self.depth -= 1;
        Ok(factor)
    }

    /// `protocol[offset]` or `protocol[offset:size]`.
    fn field(&mut self, protocol: Protocol) -> Parsed<Arithmetic> {
        let start = self.next;
        self.next += 1;
        self.expect("[")?;
        let Arithmetic { value, mut guards } = self.arithmetic(0)?;
        let mut bytes = 1;
        if self.peek() == Some(Word::Is(":")) {
            self.next += 1;
            bytes = match self.peek() {
                Some(Word::Number(1)) => 1,
                Some(Word::Number(2)) => 2,
                Some(Word::Number(4)) => 4,
                _ => return Err(self.wrong("a field has 1, 2 or 4 bytes")),
            };
            self.next += 1;
        }
        self.expect("]")?;
        let Some((field, guard)) = self.layers.field(protocol, bytes) else {
            self.next = start;
            return Err(self.wrong("not supported: its header starts at no fixed place"));
        };
        guards.extend(guard);
        Ok(Arithmetic { value: Value::Load(field, Box::new(value)), guards })
    }

    pub(super) fn number(&mut self, what: &str) -> Parsed<u32> {
        let Some(Word::Number(number)) = self.peek() else {
            return Err(self.wrong(format!("expected {what}")));
        };
        self.next += 1;
        Ok(number)
    }
}

/// An operator, and how strongly it binds.
fn operator(word: Word<'_>) -> Option<(Operator, u8)> {
    let Word::Is(sign) = word else { return None };
    Some(match sign {
        "|" => (Operator::Or, 0),
        "^" => (Operator::Xor, 1),
        "&" => (Operator::And, 2),
        "<<" => (Operator::ShiftLeft, 3),
        ">>" => (Operator::ShiftRight, 3),
        "+" => (Operator::Add, 4),
        "-" => (Operator::Subtract, 4),
        "*" => (Operator::Multiply, 5),
        "/" => (Operator::Divide, 5),
        "%" => (Operator::Modulo, 5),
        _ => return None,
    })
}
