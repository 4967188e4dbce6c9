//! A filter as it runs: a tree of questions about the bytes of a frame, asked without allocating.

/// What is asked of a frame.
#[derive(Clone, Debug)]
pub(super) enum Test {
    /// Each of these, in order, until one does not hold.
    All(Vec<Test>),
    /// One of these, in order.
    Any(Vec<Test>),
    Not(Box<Test>),
    /// Some of a field's bits, against a number.
    Field {
        field: Field,
        mask: u32,
        relation: Relation,
        number: u32,
    },
    /// Two numbers that take working out.
    Relation(Value, Relation, Value),
}

/// One, two or four bytes of a frame, in network byte order.
#[derive(Clone, Copy, Debug)]
pub(super) struct Field {
    /// From the frame's first byte, or from the end of an IPv4 header's options.
    pub(super) offset: u32,
    pub(super) bytes: usize,
    /// Where the IPv4 header starts whose length is to be added.
    pub(super) behind: Option<u32>,
}

/// A number that is worked out of a frame, modulo 2³².
#[derive(Clone, Debug)]
pub(super) enum Value {
    Number(u32),
    /// The frame's length, in bytes.
    Length,
    /// A field that is so many bytes further on.
    Load(Field, Box<Value>),
    Binary(Box<Value>, Operator, Box<Value>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Operator {
    Add,
    Subtract,
    Multiply,
    Divide,
    Modulo,
    And,
    Or,
    Xor,
    ShiftLeft,
    ShiftRight,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Relation {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

impl Test {
    /// Whether it holds; `None` when it asks for bytes that the frame has not, or divides by zero. Then the frame is not
    /// wanted, whatever was negated.
    pub(super) fn holds(&self, frame: &[u8]) -> Option<bool> {
        match self {
            Self::All(tests) => {
                for test in tests {
                    if !test.holds(frame)? {
                        return Some(false);
                    }
                }
                Some(true)
            }
            Self::Any(tests) => {
                for test in tests {
                    if test.holds(frame)? {
                        return Some(true);
                    }
                }
                Some(false)
            }
            Self::Not(test) => Some(!test.holds(frame)?),
            Self::Field { field, mask, relation, number } => {
                Some(relation.holds(field.read(frame, 0)? & mask, *number))
            }
            Self::Relation(left, relation, right) => Some(relation.holds(left.of(frame)?, right.of(frame)?)),
        }
    }

    /// Both, the second if the first holds.
    pub(super) fn and(self, other: Self) -> Self {
        match self {
            Self::All(mut tests) => {
                tests.push(other);
                Self::All(tests)
            }
            first => Self::All(vec![first, other]),
        }
    }

    /// Either, the second if the first does not hold.
    pub(super) fn or(self, other: Self) -> Self {
        match self {
            Self::Any(mut tests) => {
                tests.push(other);
                Self::Any(tests)
            }
            first => Self::Any(vec![first, other]),
        }
    }
}

impl Field {
    #[inline]
    fn read(self, frame: &[u8], further: u32) -> Option<u32> {
        let further = match self.behind {
            Some(header) => {
                further.wrapping_add(4 * u32::from(frame.get(usize::try_from(header).ok()?)? & 0xf))
            }
            None => further,
        };
        let start = usize::try_from(u64::from(self.offset) + u64::from(further)).ok()?;
        let bytes = frame.get(start..start.checked_add(self.bytes)?)?;
        Some(bytes.iter().fold(0, |number, &byte| number << 8 | u32::from(byte)))
    }
}

impl Value {
    fn of(&self, frame: &[u8]) -> Option<u32> {
        match self {
            Self::Number(number) => Some(*number),
            Self::Length => u32::try_from(frame.len()).ok(),
            Self::Load(field, further) => field.read(frame, further.of(frame)?),
            Self::Binary(left, operator, right) => operator.of(left.of(frame)?, right.of(frame)?),
        }
    }
}

impl Operator {
    fn of(self, left: u32, right: u32) -> Option<u32> {
        Some(match self {
            Self::Add => left.wrapping_add(right),
            Self::Subtract => left.wrapping_sub(right),
            Self::Multiply => left.wrapping_mul(right),
            Self::Divide => left.checked_div(right)?,
            Self::Modulo => left.checked_rem(right)?,
            Self::And => left & right,
            Self::Or => left | right,
            Self::Xor => left ^ right,
            Self::ShiftLeft => left.checked_shl(right).unwrap_or(0),
            Self::ShiftRight => left.checked_shr(right).unwrap_or(0),
        })
    }
}

impl Relation {
    #[inline]
    fn holds(self, left: u32, right: u32) -> bool {
        match self {
            Self::Equal => left == right,
            Self::NotEqual => left != right,
            Self::Less => left < right,
            Self::LessOrEqual => left <= right,
            Self::Greater => left > right,
            Self::GreaterOrEqual => left >= right,
        }
    }
}
