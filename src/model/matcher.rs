//! `where`: which attributes an item must carry to count.

use super::labels::Labels;

/// One key and the values that it may have. `values` is never empty; several mean any of them.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct AttributeMatch {
    /// The attribute's key, a current semantic-convention name.
    pub key: String,
    /// Exact values; one of them must be there.
    pub values: Vec<String>,
}

/// All of these must match. Empty matches everything.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct Where(pub Vec<AttributeMatch>);

impl Where {
    /// Whether, for every key, `has(key, value)` holds for one of its values.
    pub fn matches(&self, mut has: impl FnMut(&str, &str) -> bool) -> bool {
        self.0.iter().all(|m| m.values.iter().any(|value| has(&m.key, value)))
    }
}

/// How a label matcher compares, in Alertmanager's four ways.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MatchOp {
    /// `=`
    Equal,
    /// `!=`
    NotEqual,
    /// `=~`, anchored
    Regex,
    /// `!~`, anchored
    NotRegex,
}

/// A matcher of routes and silences, `name=value` in Alertmanager's notation.
#[derive(Clone, Debug)]
pub struct LabelMatcher {
    /// The label's name. An absent label matches as if it were empty.
    pub name: String,
    /// The comparison.
    pub op: MatchOp,
    /// What to compare with.
    pub value: String,
    regex: Option<regex::Regex>,
}

/// Why a matcher cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MatcherError {
    /// No operator found.
    #[error("`{0}` is not a matcher: write name=value, name!=value, name=~regex or name!~regex")]
    Malformed(String),
    /// The regular expression does not compile.
    #[error("the regular expression of `{0}` does not compile")]
    Regex(String),
}

impl LabelMatcher {
    /// Builds a matcher; regular expressions are anchored at both ends.
    ///
    /// # Errors
    /// When the regular expression does not compile.
    pub fn new(name: &str, op: MatchOp, value: &str) -> Result<Self, MatcherError> {
        let regex = match op {
            MatchOp::Equal | MatchOp::NotEqual => None,
            MatchOp::Regex | MatchOp::NotRegex => Some(
                regex::RegexBuilder::new(&format!("^(?s:{value})$"))
                    .size_limit(1 << 20)
                    .build()
                    .map_err(|_| MatcherError::Regex(format!("{name}=~{value}")))?,
            ),
        };
        Ok(Self { name: name.to_owned(), op, value: value.to_owned(), regex })
    }

    /// Reads `name=value`, `name!=value`, `name=~regex`, `name!~regex`; the value may be quoted.
    ///
    /// # Errors
    /// When there is no operator, no name, or the regular expression does not compile.
    pub fn parse(text: &str) -> Result<Self, MatcherError> {
        let malformed = || MatcherError::Malformed(text.to_owned());
        let at = text.find(['=', '!']).ok_or_else(malformed)?;
        let (name, rest) = text.split_at(at);
        let (op, value) = [
            ("=~", MatchOp::Regex),
            ("!~", MatchOp::NotRegex),
            ("!=", MatchOp::NotEqual),
            ("=", MatchOp::Equal),
        ]
        .into_iter()
        .find_map(|(sign, op)| rest.strip_prefix(sign).map(|value| (op, value.trim())))
        .ok_or_else(malformed)?;
        let name = name.trim();
        if name.is_empty() {
            return Err(malformed());
        }
        let unquoted = value.strip_prefix('"').and_then(|v| v.strip_suffix('"')).unwrap_or(value);
        Self::new(name, op, unquoted)
    }

    /// Whether a label set passes.
    #[must_use]
    pub fn matches(&self, labels: &Labels) -> bool {
        let got = labels.get(&self.name).unwrap_or("");
        let by_regex = || self.regex.as_ref().is_some_and(|regex| regex.is_match(got));
        match self.op {
            MatchOp::Equal => got == self.value,
            MatchOp::NotEqual => got != self.value,
            MatchOp::Regex => by_regex(),
            MatchOp::NotRegex => !by_regex(),
        }
    }
}

impl std::fmt::Display for LabelMatcher {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let op = match self.op {
            MatchOp::Equal => "=",
            MatchOp::NotEqual => "!=",
            MatchOp::Regex => "=~",
            MatchOp::NotRegex => "!~",
        };
        write!(f, "{}{op}{:?}", self.name, self.value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Guarantees Alertmanager's notation and its view of absent labels.
    #[test]
    fn matchers_read_and_match_as_alertmanager_has_them() {
        let labels = Labels::new([("severity", "page"), ("owner", "chat\nteam")]);
        let check = |text: &str, expected: bool| {
            let matcher = LabelMatcher::parse(text).expect(text);
            assert_eq!(matcher.matches(&labels), expected, "{text}");
        };
        check("severity=page", true);
        check("severity=\"page\"", true);
        check("severity!=page", false);
        check("severity=~pa|ge", false);
        check("severity=~page|ticket", true);
        check("owner=~chat.*", true);
        check("region=", true);
        check("region!~.+", true);
        assert!(LabelMatcher::parse("severity").is_err());
        assert!(LabelMatcher::parse("severity=~(").is_err());
    }

    /// Guarantees "a list means any, several keys mean all".
    #[test]
    fn where_is_all_of_any() {
        let one = |key: &str, values: &[&str]| AttributeMatch {
            key: key.to_owned(),
            values: values.iter().map(|v| (*v).to_owned()).collect(),
        };
        let filter = Where(vec![one("os.name", &["Android", "iOS"]), one("app", &["chat"])]);
        let item = |os: &'static str| {
            move |key: &str, value: &str| {
                (key == "os.name" && value == os) || (key, value) == ("app", "chat")
            }
        };
        assert!(filter.matches(item("iOS")));
        assert!(!filter.matches(item("Linux")));
        assert!(!filter.matches(|_, _| false));
        assert!(Where::default().matches(|_, _| false));
    }
}
