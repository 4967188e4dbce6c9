//! A table of the file as its reader sees it: the keys it may have, and their values by type; the rest is a problem.

use std::borrow::Cow;
use std::ops::{Range, RangeInclusive};

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::problem::Problems;

/// What a kind of table may say.
pub(super) struct Shape {
    /// How the operator would point at it: `[[port]]`.
    pub(super) label: &'static str,
    /// The keys it may have.
    pub(super) keys: &'static [&'static str],
    /// Keys that are known, and not there yet.
    pub(super) later: &'static [&'static str],
}

/// A string of the file and where it stands.
#[derive(Clone)]
pub(super) struct Text<'d> {
    pub(super) value: &'d str,
    pub(super) span: Range<usize>,
}

/// One table. Whatever it holds that its shape does not know has been noted as a problem.
pub(super) struct Fields<'d> {
    table: &'d DeTable<'d>,
    /// Its header, or the whole of it when it is inline.
    pub(super) span: Range<usize>,
    shape: &'static Shape,
    pub(super) problems: &'d Problems,
}

impl<'d> Fields<'d> {
    pub(super) fn new(
        table: &'d DeTable<'d>,
        span: Range<usize>,
        shape: &'static Shape,
        problems: &'d Problems,
    ) -> Self {
        for key in table.keys() {
            let (name, label) = (key.get_ref().as_ref(), shape.label);
            if shape.later.contains(&name) {
                let rule = format!("`{name}` in {label}: this version does not have it yet");
                problems.push(key.span(), rule, "take it out, or use a version that has it");
            } else if !shape.keys.contains(&name) {
                let remedy = suggest(name, shape.keys.iter().copied())
                    .unwrap_or_else(|| format!("{label} takes {}", list(shape.keys.iter().copied())));
                problems.push(key.span(), format!("unknown key `{name}` in {label}"), remedy);
            }
        }
        Self { table, span, shape, problems }
    }

    /// Whether a table of its shape may have this key.
    pub(super) fn knows(&self, key: &str) -> bool {
        self.shape.keys.contains(&key)
    }

    /// How the operator would point at it.
    pub(super) fn label(&self) -> &'static str {
        self.shape.label
    }

    /// The value of `key` and where it stands.
    pub(super) fn value(&self, key: &str) -> Option<&'d Spanned<DeValue<'d>>> {
        debug_assert!(self.shape.keys.contains(&key), "{key} is a key of {}", self.shape.label);
        self.table.get(key)
    }

    pub(super) fn text(&self, key: &str) -> Option<Text<'d>> {
        let value = self.value(key)?;
        let text = value.get_ref().as_str();
        if text.is_none() {
            self.wrong_type(key, value, "a string");
        }
        text.map(|text| Text { value: text, span: value.span() })
    }

    /// The strings of the array at `key`; none is as good as empty.
    pub(super) fn texts(&self, key: &str) -> Vec<Text<'d>> {
        let Some(value) = self.value(key) else { return Vec::new() };
        let texts = value.get_ref().as_array().and_then(|array| {
            let text = |element: &'d Spanned<DeValue<'d>>| {
                element.get_ref().as_str().map(|value| Text { value, span: element.span() })
            };
            array.iter().map(text).collect::<Option<Vec<_>>>()
        });
        if texts.is_none() {
            self.wrong_type(key, value, "an array of strings");
        }
        texts.unwrap_or_default()
    }

    /// The string at `key`; that it is not there is a problem.
    pub(super) fn required(&self, key: &str, example: &str) -> Option<Text<'d>> {
        if self.value(key).is_none() {
            let rule = format!("{} has no `{key}`", self.shape.label);
            self.problems.push(self.span.clone(), rule, format!("add {key} = {example}"));
        }
        self.text(key)
    }

    /// That there is nothing at `key` is a problem.
    pub(super) fn required_integer(&self, key: &str, example: &str) {
        if self.value(key).is_none() {
            let rule = format!("{} has no `{key}`", self.shape.label);
            self.problems.push(self.span.clone(), rule, format!("add {key} = {example}"));
        }
    }

    pub(super) fn boolean(&self, key: &str) -> Option<bool> {
        let value = self.value(key)?;
        let boolean = value.get_ref().as_bool();
        if boolean.is_none() {
            self.wrong_type(key, value, "true or false");
        }
        boolean
    }

    pub(super) fn integer<T: TryFrom<i64>>(&self, key: &str, bounds: RangeInclusive<i64>) -> Option<T> {
        self.integer_of(key, self.value(key)?, bounds)
    }

    /// The integer `value`, which is `key` or an element of it.
    pub(super) fn integer_of<T: TryFrom<i64>>(
        &self,
        key: &str,
        value: &Spanned<DeValue<'_>>,
        bounds: RangeInclusive<i64>,
    ) -> Option<T> {
        let (low, high) = (bounds.start(), bounds.end());
        let Some(integer) = value.get_ref().as_integer() else {
            self.wrong_type(key, value, &format!("an integer from {low} to {high}"));
            return None;
        };
        let number = i64::from_str_radix(integer.as_str(), integer.radix()).ok();
        let inside =
            number.filter(|number| bounds.contains(number)).and_then(|number| T::try_from(number).ok());
        if inside.is_none() {
            let rule = format!("`{key}` is {integer}, and must be from {low} to {high}");
            self.problems.push(value.span(), rule, format!("choose a number from {low} to {high}"));
        }
        inside
    }

    /// One of a few words.
    pub(super) fn word<T: Copy>(&self, key: &str, words: &[(&str, T)]) -> Option<T> {
        let text = self.text(key)?;
        let found = words.iter().find(|(word, _)| *word == text.value).map(|&(_, meaning)| meaning);
        if found.is_none() {
            let names = || words.iter().map(|(word, _)| *word);
            let rule = format!("`{key}` is \"{}\", and must be one of {}", text.value, list(names()));
            let remedy = suggest(text.value, names()).unwrap_or_else(|| "choose one of them".into());
            self.problems.push(text.span, rule, remedy);
        }
        found
    }

    /// The table at `key`.
    pub(super) fn table(&self, key: &str, shape: &'static Shape) -> Option<Fields<'d>> {
        let value = self.value(key)?;
        self.sub(key, value, shape)
    }

    /// The array of tables at `key`; none is as good as empty.
    pub(super) fn tables(&self, key: &str, shape: &'static Shape) -> Vec<Fields<'d>> {
        let Some(value) = self.value(key) else { return Vec::new() };
        let Some(array) = value.get_ref().as_array() else {
            let rule = format!("`{key}` is {}, and must be an array of tables", kind(value.get_ref()));
            self.problems.push(value.span(), rule, format!("write {} on a line of its own", shape.label));
            return Vec::new();
        };
        array.iter().filter_map(|element| self.sub(key, element, shape)).collect()
    }

    /// The table that is this value at `key`, or in an array there.
    pub(super) fn sub(
        &self,
        key: &str,
        value: &'d Spanned<DeValue<'d>>,
        shape: &'static Shape,
    ) -> Option<Fields<'d>> {
        let table = value.get_ref().as_table();
        if table.is_none() {
            self.wrong_type(key, value, "a table");
        }
        table.map(|table| Fields::new(table, value.span(), shape, self.problems))
    }

    pub(super) fn wrong_type(&self, key: &str, value: &Spanned<DeValue<'_>>, wanted: &str) {
        let rule = format!("`{key}` is {}, and must be {wanted}", kind(value.get_ref()));
        self.problems.push(value.span(), rule, format!("write {wanted}"));
    }
}

fn kind(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "a string",
        DeValue::Integer(_) => "an integer",
        DeValue::Float(_) => "a float",
        DeValue::Boolean(_) => "a boolean",
        DeValue::Datetime(_) => "a date",
        DeValue::Array(_) => "an array",
        DeValue::Table(_) => "a table",
    }
}

/// "did you mean …?", if one of `known` is near enough to `word` to be meant.
pub(crate) fn suggest<'k>(word: &str, known: impl Iterator<Item = &'k str>) -> Option<String> {
    const LONGEST: usize = 32;
    if word.len() > LONGEST {
        return None;
    }
    let near = known.map(|name| (strsim::damerau_levenshtein(word, name), name)).min()?;
    let (distance, name) = near;
    let allowed = word.chars().count().max(name.chars().count()) / 3;
    (distance <= allowed).then(|| format!("did you mean `{name}`?"))
}

fn list<'k>(names: impl Iterator<Item = &'k str>) -> Cow<'static, str> {
    names.collect::<Vec<_>>().join(", ").into()
}
